import cython

from fastws.http.head cimport RequestHead
from fastws.http.http2_head cimport Http2Head
from fastws.net.http2_stream cimport Carrier, Http2Stream
from fastws.net.http_handler cimport Exchange, Gateway, HttpHandler
from fastws.net.loop_core cimport LoopCore

cdef Py_ssize_t BODY_BYTES


cdef class Http2Request(HttpHandler):
    cdef public Http2Stream stream
    cdef public object head
    cdef Exchange _current
    cdef long long _body_bytes

    @cython.locals(carrier=Carrier)
    cdef _take(self, Http2Stream stream)
    @cython.locals(state=LoopCore)
    cpdef begin(self, Http2Head request, bint ended)
    @cython.locals(state=LoopCore, gateway=Gateway)
    cdef _begin(self, RequestHead head, bint ended)
    @cython.locals(state=LoopCore, gateway=Gateway)
    cdef _begin_websocket(self, Http2Head request)
    cdef _finish(self)
    cdef response_completed(self, Exchange exchange, bint keep_alive)
    cdef update_reading(self)
