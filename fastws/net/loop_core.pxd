cimport cython

from fastws.net.loop_counts cimport LoopCounts
from fastws.http.head_reader cimport HeadReader
from fastws.http.repeats cimport Repeats


cdef class Resumable:
    cdef resume(self)


cdef class LoopCore:
    cdef public object loop
    cdef public object context
    cdef public object clock
    cdef public double now
    cdef public object receive_buffer
    cdef public bint draining
    cdef public bint shutting_down
    cdef public bint aborted
    cdef list _corked
    cdef list _corked_carriers
    cdef bint _turn_due
    cdef public bint polling
    cdef public bint woken
    cdef bint _resuming
    cdef list _resumable
    cdef public Py_ssize_t requests
    cdef public set opening
    cdef public set stalled
    cdef public set streams
    cdef public Py_ssize_t write_high_water
    cdef public LoopCounts counts
    cdef public set tasks
    cdef public list idle_waiters
    cdef public HeadReader heads
    cdef public Repeats responses
    cdef public Repeats fields
    cdef public object topics
    cdef public object config
    cdef public object application
    cdef object _on_error
    cdef public object log_limit
    cdef public object at_last_request
    cdef public object engine
    cdef public bint secure
    cdef public set connections
    cdef public Py_ssize_t requests_total
    cdef public Py_ssize_t last_request
    cdef public Py_ssize_t websockets
    cdef public object max_websockets
    cdef public object max_requests
    cdef public object limit_request_body
    cdef public object allowed_origins
    cdef public object limits
    cdef public bytes head_lines
    cdef public dict pages
    cdef public double timeout_request_head
    cdef public double timeout_keep_alive

    cdef cork(self, corked)
    cdef cork_carrier(self, carrier)
    cdef _end_turn_soon(self)
    cdef _end_turn_of(self, list corked)
    cdef resume_soon(self, Resumable resumable)
    cdef wake(self, waiter)
    @cython.locals(each=Resumable)
    cdef end_polling(self)
