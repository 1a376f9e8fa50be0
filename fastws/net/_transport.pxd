cimport cython

from fastws.net._writing cimport SocketWriter


@cython.final
cdef class SocketTransport(SocketWriter):
    cdef object peer_name
    cdef bint resets  # its end is to be a reset, by SO_LINGER
    cdef bint ended  # the kernel has told of an end: read up to it
    cdef bint parted  # what is there may end a read early

    cdef take_end(self)
    cdef look_for_end(self)
