import cython

from fastws.net.channel cimport Channel
from fastws.http.head cimport RequestHead
from fastws.http.response_head cimport ResponseHead, repeated_response_head
from fastws.net.http_handler cimport Exchange
from fastws.net.loop_core cimport LoopCore


cdef class Responder(Exchange):
    cdef public Channel connection
    cdef public LoopCore shared
    cdef public RequestHead head
    cdef public object stage
    cdef public int status
    cdef public long long body_bytes
    cdef public bint gone
    cdef public bint keep_alive
    cdef public bytes own_lines
    cdef ResponseHead _response
    cdef object _framing
    cdef bint _trailers
    cdef object _trailer_fields

    cdef bint finished(self) except -1
    cdef _send_event(self, dict event)
    cdef _start(self, dict event)
    cdef _prepare(self, Channel connection, LoopCore state, RequestHead head, bint keep_alive)
    cdef _send_body(self, dict event)
    @cython.locals(promised=cython.longlong, sent=cython.longlong)
    cdef _check_length(self, framing, Py_ssize_t size, bint more)
    cdef _write_body(self, bytes body, bint more)
    cdef _write_hint(self, ResponseHead hint)
    cdef _write_trailers(self, fields)
    cdef bint _may_keep_alive(self)
    cdef _default_lines(self, ResponseHead response)
    cdef _complete(self)


cpdef bytes plain_body(body)


cdef object START
cdef object BODY
cdef object TRAILERS
cdef object DONE
cdef object NO_BODY
cdef object LENGTH
cdef object CHUNKED
cdef object UNTIL_CLOSE
cdef Py_ssize_t JOIN_BYTES
