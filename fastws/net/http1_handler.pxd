import cython

from fastws.http.head cimport RequestHead
from fastws.net._copying cimport copied
from fastws.net.http1_reader cimport Http1Reader
from fastws.net.http_handler cimport Exchange, Gateway

cdef double IDLE_SECONDS


cdef class Http1Handler(Http1Reader):
    cdef object _upgrade
    cdef object _page
    cdef bint _eof

    cdef bytes_received(self, buffer, Py_ssize_t size)
    cdef _take(self, bytes data)
    cdef response_completed(self, Exchange exchange, bint keep_alive)
    cdef update_reading(self)
    cdef _serve(self, RequestHead head)
    @cython.locals(gateway=Gateway)
    cdef _begin(self, RequestHead head)
    @cython.locals(gateway=Gateway)
    cdef _begin_websocket(self, bytes early_data)
    cdef bint _goes_on(self, bytes data, Py_ssize_t position) except -1
