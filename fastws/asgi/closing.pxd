from fastws.asgi.lifetime cimport Lifetime


cdef class Closing(Lifetime):
    cdef int _close_code
    cdef str _close_reason
    cdef bint _close_sent
    cdef bint _disconnect_received


cdef object OPEN
cdef object CLOSING
