from fastws.net.http2_stream cimport Http2Stream
from fastws.net.http_handler cimport HttpHandler


cdef class Http2Request(HttpHandler):
    cdef public Http2Stream stream
    cdef public object head
    cdef object _current
    cdef long long _body_bytes

    cdef response_completed(self, exchange, bint keep_alive)
    cdef update_reading(self)
