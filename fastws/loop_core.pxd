from fastws.loop_counts cimport LoopCounts


cdef class LoopCore:
    cdef public object loop
    cdef public double now
    cdef public object receive_buffer
    cdef public bint draining
    cdef public bint shutting_down
    cdef list _corked
    cdef public Py_ssize_t requests
    cdef public set stalled
    cdef public Py_ssize_t write_high_water
    cdef public LoopCounts counts

    cdef cork(self, corked)
