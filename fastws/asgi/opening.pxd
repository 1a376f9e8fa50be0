from fastws.http.head cimport RequestHead
from fastws.net.channel cimport Channel


cdef class Opening:
    cdef RequestHead _head
    cdef object _scope
    cdef object _upgrade
    cdef public bytes early
    cdef public object responder

    cdef bytes _accepted(self, dict event, bytes extensions, shared)
    cpdef answer(self, Channel connection, bytes response)
    cpdef refuse(self, error, Channel connection, shared)
