cdef class Waiting:
    cdef public object future
    cdef public bint busy
