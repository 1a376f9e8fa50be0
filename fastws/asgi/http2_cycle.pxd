import cython

from fastws.asgi.http_cycle cimport HttpCycle
from fastws.asgi.opening cimport Opening
from fastws.asgi.responder cimport Responder
from fastws.http.response_head cimport ResponseHead
from fastws.net.channel cimport Channel
from fastws.net.http2_stream cimport Http2Stream


cdef class Http2Responder(Responder):
    @cython.locals(stream=Http2Stream)
    cdef _write_body(self, bytes body, bint more)


cdef class Http2Cycle(HttpCycle):
    @cython.locals(stream=Http2Stream)
    cdef _write_hint(self, ResponseHead hint)
    @cython.locals(stream=Http2Stream)
    cdef _ask_for_body(self)
    @cython.locals(stream=Http2Stream)
    cdef _write_body(self, bytes body, bint more)
    @cython.locals(stream=Http2Stream)
    cdef _write_trailers(self, fields)


@cython.locals(response=ResponseHead, block=bytes, size=Py_ssize_t)
cdef write_body(Responder responder, Http2Stream stream, bytes body, bint more, bint settles)


cdef class Http2Opening(Opening):
    cdef bytes _accepted(self, dict event, bytes extensions, shared)
    @cython.locals(stream=Http2Stream)
    cpdef answer(self, Channel connection, bytes response)
    @cython.locals(stream=Http2Stream)
    cpdef refuse(self, error, Channel connection, shared)


cdef object NO_BODY
