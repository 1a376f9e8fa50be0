from fastws.http._plain_heads cimport PlainHeads
from fastws.http.head cimport RequestHead


cdef class HeadReader:
    cdef public Py_ssize_t end
    cdef object _limits
    cdef PlainHeads _plain
    cdef bytes _raw
    cdef list _headers
    cdef RequestHead _head

    cpdef RequestHead read(self, bytes data, Py_ssize_t start)
    cdef RequestHead _read_strictly(self, bytes data, Py_ssize_t start)
