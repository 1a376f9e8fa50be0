from fastws.asgi.outbox cimport Outbox


cdef class Lifetime(Outbox):
    cdef double _ping_due
    cdef double _pinged
    cdef double _idle_timeout
    cdef double _end_due


cdef object CONNECTING
cdef object DENYING
cdef object OPEN
cdef object CLOSED
