cimport cython

from fastws.websocket._text cimport text_size
from fastws.net.loop_core cimport LoopCore
from fastws.net.loop_counts cimport LoopCounts


@cython.final
cdef class Traffic:
    cdef object _observer
    cdef public dict scope
    cdef LoopCore _shared
    cdef LoopCounts _counts
    cdef double _began
    cdef double _pinged
    cdef public object by
    cdef public long long messages_in
    cdef public long long bytes_in
    cdef public long long messages_out
    cdef public long long bytes_out

    @cython.locals(size=Py_ssize_t)
    cdef received(self, list events)
    @cython.locals(size=Py_ssize_t)
    cdef sent(self, message)
    cdef sent_size(self, Py_ssize_t size)
