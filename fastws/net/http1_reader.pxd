from fastws.http.head cimport RequestHead
from fastws.net.http_handler cimport HttpHandler


cdef class Http1Reader(HttpHandler):
    cdef object _parser
    cdef RequestHead _head
    cdef bytes _stash
    cdef long long _body_left
    cdef long long _body_bytes
    cdef long long _framing_bytes
    cdef long long _discarded
    cdef object _current
    cdef bint _in_body
    cdef bint _tail_open
    cdef bint _closing

    cdef _expect_first(self)
    cdef _parse(self, bytes data)
    cdef _feed_body(self, data)
    cdef _begin_body(self, RequestHead head)
    cdef _serve(self, RequestHead head)
    cdef _begin(self, RequestHead head)
    cdef bint _goes_on(self, bytes data, Py_ssize_t position) except -1
