import cython

from fastws.asgi.closing cimport Closing
from fastws.asgi.responder cimport Responder


cdef class Session(Closing):
    cdef public object task
    cdef object _opening
    cdef bint _connect_received

    cdef _next_event(self)
    cdef _send_event(self, dict event)
    @cython.locals(responder=Responder)
    cpdef _continue_denial(self, dict event)


cdef object CONNECTING
cdef object DENYING
cdef object OPEN
cdef object CLOSING
cdef object CLOSED
