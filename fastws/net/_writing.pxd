from fastws.net._poller cimport Polled
from fastws.net.connection cimport Connection


cdef class SocketWriter(Polled):
    cdef Connection protocol
    cdef bint ending  # nothing more is read or written: connection_lost is to come
    cdef bint eof_wanted
    cdef bint writing_paused
    cdef bint delayed  # the backlog waits for no peer, but for the end of what goes on now
    cdef list backlog  # bytes that wait for the peer, or None
    cdef Py_ssize_t first  # of them: those before it are sent
    cdef Py_ssize_t first_sent  # bytes of that one
    cdef Py_ssize_t waiting  # bytes of them all that are not sent
    cdef Py_ssize_t high
    cdef Py_ssize_t low

    cdef bint put_off(self, Py_ssize_t size) except -1
    cdef keep(self, list chunks, Py_ssize_t size, Py_ssize_t sent, bint try_now)
    cdef pause_if_full(self)
    cdef bint send_some(self) except -1
    cdef drop(self, Py_ssize_t count)
    cdef send_backlog(self)
    cdef bint wait_to_write(self, bint waiting) except -1
    cdef shut_writing(self)
    cdef finish(self)
    cdef end(self, error)
