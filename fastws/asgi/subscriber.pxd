cdef class Subscriber:
    cdef settle(self)
    cdef resume(self)
    cdef leave(self)
