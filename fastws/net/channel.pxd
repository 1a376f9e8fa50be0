from fastws.net.loop_core cimport LoopCore

cdef long long BURST_BYTES, STALLED_BYTES


cdef class Handler:
    cdef bytes_received(self, buffer, Py_ssize_t size)
    cdef Py_ssize_t wanted(self) except -1
    cdef size_t place(self) except 0
    cdef receive_placed(self, Py_ssize_t size)


cdef class Channel:
    cdef public LoopCore state
    cdef public Handler handler
    cdef public long long number
    cdef public double since
    cdef public double deadline
    cdef public double last_seen
    cdef public long long allowance
    cdef public long long burst
    cdef object _drain_waiters
    cdef long long _unsent
    cdef double _stalled_since
    cdef long long _stalled_unsent
    cdef public bint reading_paused
    cdef public bint writing_paused
    cdef public bint unfinished

    cdef _prepare(self, LoopCore state)
    cdef write(self, bytes data)
    cdef write_all(self, list chunks)
    cdef wait_for_room(self)
    cdef call_ended(self)
