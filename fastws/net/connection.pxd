from fastws.net.channel cimport Channel


cdef class Stream:
    cpdef write(self, bytes data)
    cpdef writelines(self, list chunks)


cdef class Connection(Channel):
    cdef public object transport
    cdef Stream _stream
    cdef public object client
    cdef bint _eof

    cdef received(self, Py_ssize_t nbytes)
    cdef Py_ssize_t wanted(self) except -1
    cdef received_placed(self, Py_ssize_t nbytes)
    cdef write(self, bytes data)
    cdef write_all(self, list chunks)
