cdef class LoopCore:
    cdef public object loop
    cdef public double now
    cdef public object receive_buffer
    cdef public bint shutting_down
    cdef list _corked

    cdef cork(self, corked)
