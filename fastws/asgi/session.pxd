cimport cython

from fastws.asgi.subscriber cimport Subscriber
from fastws.asgi.traffic cimport Traffic
from fastws.asgi.waiting cimport Waiting
from fastws.net.channel cimport Channel, Handler
from fastws.websocket.engine cimport Engine
from fastws.net.loop_core cimport LoopCore, Resumable


cdef class Session(Handler):
    cdef public Channel connection
    cdef public LoopCore shared
    cdef public object state
    cdef public Engine engine
    cdef public object task
    cdef public Subscriber subscriber
    cdef object _opening
    cdef bint _connect_received
    cdef list _queue
    cdef Py_ssize_t _queue_head
    cdef long long _queue_bytes
    cdef bint _reading_on
    cdef object _waiter
    cdef Waiting _waiting
    cdef public Resumable parked
    cdef bint _busy
    cdef Py_ssize_t _max_queue
    cdef long long _max_queue_bytes
    cdef object _rates
    cdef double _ping_due
    cdef double _idle_timeout
    cdef double _last_message
    cdef double _end_due
    cdef bint _retiring
    cdef bint _direct
    cdef bint _corked
    cdef int _close_code
    cdef str _close_reason
    cdef bint _close_sent
    cdef bint _closed_by_app
    cdef bint _disconnect_received
    cdef double _pinged
    cdef Traffic _traffic

    cdef bytes_received(self, buffer, Py_ssize_t size)
    cdef Py_ssize_t wanted(self) except -1
    cdef size_t place(self) except 0
    cdef receive_placed(self, Py_ssize_t size)
    cdef _take(self, list events, Py_ssize_t size)
    cdef _next_event(self)
    cdef _wait_for_event(self)
    cdef _send_event(self, dict event)
    cdef _send_message(self, dict event)
    cdef _flush(self)
    cdef count_sent(self, Py_ssize_t size)
    cdef write_frames(self, list frames)
    cdef _pop(self, Py_ssize_t size)
    @cython.locals(size=Py_ssize_t, waiting=Py_ssize_t, controls=bint, ends=bint)
    cdef _take_events(self, list events)
    cdef _wake(self)
    cdef waits_in(self)
    cdef _put_off(self)
    cdef _read_on(self)
    cdef bint _is_full(self)


cdef object CONNECTING
cdef object DENYING
cdef object OPEN
cdef object CLOSING
cdef object CLOSED
cdef Py_ssize_t CORK_BYTES
