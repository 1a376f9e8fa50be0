import cython

from fastws.http.head cimport RequestHead
from fastws.net.http_handler cimport Exchange, HttpHandler

cdef Py_ssize_t CHUNK_OVERHEAD_BYTES, DISCARD_BYTES


cdef class Http1Reader(HttpHandler):
    cdef object _parser
    cdef RequestHead _head
    cdef bytes _stash
    cdef long long _body_left
    cdef long long _body_bytes
    cdef long long _framing_bytes
    cdef long long _discarded
    cdef Exchange _current
    cdef bint _in_body
    cdef bint _tail_open
    cdef bint _closing

    cdef _expect_first(self)
    @cython.locals(position=Py_ssize_t, length=Py_ssize_t, end=Py_ssize_t, head=RequestHead)
    cdef _parse(self, bytes data)
    cdef _feed_body(self, bytes data)
    @cython.locals(end=Py_ssize_t, found=Py_ssize_t)
    cdef Py_ssize_t _body_end(self, bytes data, Py_ssize_t position) except -1
    cdef _take_body(self, bytes data)
    cdef _end_body(self)
    cdef _begin_body(self, RequestHead head)
    cdef _serve(self, RequestHead head)
    cdef _begin(self, RequestHead head)
    cdef bint _goes_on(self, bytes data, Py_ssize_t position) except -1
