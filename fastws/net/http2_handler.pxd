import cython

from fastws.http.http2_head cimport Http2Head
from fastws.http.http2_protocol cimport Http2Protocol
from fastws.http.http2_sending cimport StreamState
from fastws.net._copying cimport copied
from fastws.net.http2_request cimport Http2Request
from fastws.net.http2_stream cimport Carrier, Http2Stream
from fastws.net.http_handler cimport Exchange

cdef Py_ssize_t QUANTUM_BYTES


cdef class Http2Handler(Carrier):
    cdef list _begun
    cdef dict _waiting
    cdef Py_ssize_t _max_streams
    cdef bint _reading
    cdef bint _corked
    cdef bint _closing
    cdef int _retiring
    cdef double _ping_interval
    cdef double _pinged

    cdef bytes_received(self, buffer, Py_ssize_t size)
    cdef _take(self, bytes data)
    cdef response_completed(self, Exchange exchange, bint keep_alive)
    cdef update_reading(self)
    cdef ask_flush(self)
    cdef bint flush_alone(self, StreamState stream) except -1
    cdef wait_for_window(self, Http2Stream stream)
    cdef bint must_wait(self) except -1
    cdef stream_gone(self, Http2Stream stream)
    @cython.locals(owner=Http2Stream, asked=Http2Request, request=Http2Head)
    cpdef head_received(self, StreamState stream, block)
    @cython.locals(owner=Http2Stream)
    cpdef stream_data(self, StreamState stream, bytes data, long long size)
    @cython.locals(owner=Http2Stream)
    cpdef stream_ended(self, StreamState stream)
    @cython.locals(request=Http2Head)
    cdef Http2Head _read(self, block, bint ended)
    @cython.locals(stream=StreamState, request=Http2Head, owner=Http2Stream, handler=Http2Request)
    cdef _serve_begun(self)
    @cython.locals(stream=Http2Stream, protocol=Http2Protocol)
    cdef _pump(self)
    cdef _flush(self)
    cdef _update_deadline(self)
    cdef _end(self)
    cdef _cut_streams(self)
