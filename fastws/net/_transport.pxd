from fastws.net._writing cimport SocketWriter

cdef enum:
    MAX_READS = 4  # of one connection in its turn, while they fill the buffer


cdef class SocketTransport(SocketWriter):
    cdef object peer_name
    cdef bint resets  # its end is to be a reset, by SO_LINGER
    cdef bint ended  # the kernel has told of an end: read up to it
    cdef bint parted  # what is there may end a read early

    cdef Py_ssize_t receive(self, void *place, Py_ssize_t room) except -1
    cdef take_end(self)
    cdef look_for_end(self)
