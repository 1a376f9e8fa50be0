import cython

from fastws.http.http2_protocol cimport Http2Protocol, StreamState
from fastws.net.http2_stream cimport Carrier, Http2Stream


cdef class Http2Handler(Carrier):
    cdef list _begun
    cdef dict _waiting
    cdef list _leaving
    cdef bint _reading
    cdef bint _corked
    cdef bint _closing
    cdef int _retiring

    cdef response_completed(self, exchange, bint keep_alive)
    cdef update_reading(self)
    cdef ask_flush(self)
    cdef wait_for_window(self, Http2Stream stream)
    cdef bint must_wait(self) except -1
    cdef stream_gone(self, Http2Stream stream)
    cdef _serve_begun(self)
    @cython.locals(stream=Http2Stream, protocol=Http2Protocol)
    cdef _pump(self)
    cdef _flush(self)
    cdef _update_deadline(self)
