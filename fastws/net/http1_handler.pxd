from fastws.http.head cimport RequestHead
from fastws.net._copying cimport copied
from fastws.net.http1_reader cimport Http1Reader

cdef double IDLE_SECONDS


cdef class Http1Handler(Http1Reader):
    cdef object _upgrade
    cdef object _page
    cdef bint _eof

    cdef bytes_received(self, buffer, Py_ssize_t size)
    cdef _take(self, bytes data)
    cdef response_completed(self, exchange, bint keep_alive)
    cdef update_reading(self)
    cdef _serve(self, RequestHead head)
    cdef _begin(self, RequestHead head)
    cdef bint _goes_on(self, bytes data, Py_ssize_t position) except -1
