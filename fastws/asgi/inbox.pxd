cimport cython

from fastws.asgi.traffic cimport Traffic
from fastws.asgi.waiting cimport Waiting
from fastws.net.channel cimport Channel, Handler
from fastws.net.loop_core cimport LoopCore, Resumable
from fastws.websocket.engine cimport Engine


cdef class Inbox(Handler):
    cdef public Channel connection
    cdef public LoopCore shared
    cdef public object state
    cdef public Engine engine
    cdef public Resumable parked
    cdef list _queue
    cdef Py_ssize_t _queue_head
    cdef long long _queue_bytes
    cdef Py_ssize_t _max_queue
    cdef long long _max_queue_bytes
    cdef object _waiter
    cdef object _crowd
    cdef Waiting _waiting
    cdef object _rates
    cdef Traffic _traffic
    cdef double _last_message
    cdef bint _busy
    cdef bint _reading_on
    cdef bint _retiring
    cdef bint _closed_by_app

    cdef _prepare(self, Channel connection, LoopCore state)
    cdef bytes_received(self, buffer, Py_ssize_t size)
    cdef Py_ssize_t wanted(self) except -1
    cdef size_t place(self) except 0
    cdef receive_placed(self, Py_ssize_t size)
    cdef _take(self, list events, Py_ssize_t size)
    @cython.locals(size=Py_ssize_t, waiting=Py_ssize_t, controls=bint, ends=bint)
    cdef _take_events(self, list events)
    cdef _next_event(self)
    cdef dict _next_message(self)
    cdef _pop(self, Py_ssize_t size)
    cdef bint _is_full(self)
    cdef _put_off(self)
    cdef _read_on(self)
    cdef waits_in(self)
    cdef _wait_for_event(self)
    cdef _wake(self)


cdef object CONNECTING
cdef object OPEN
cdef Py_ssize_t TRIMMED
