from fastws.asgi.responder cimport Responder
from fastws.http.head cimport RequestHead
from fastws.net.http_handler cimport HttpHandler
from fastws.net.loop_core cimport LoopCore


cdef class HttpCycle(Responder):
    cdef public HttpHandler http
    cdef public dict scope
    cdef public object task
    cdef object _observer
    cdef double _began
    cdef object _body
    cdef long long _body_size
    cdef bint _body_complete
    cdef bint _body_taken
    cdef bint _continue
    cdef bint _half_closed
    cdef bint _told
    cdef bint _lost
    cdef object _waiter
    cdef object _crowd

    cdef _open(self, HttpHandler http, LoopCore state, RequestHead head, dict scope, observer)
    cdef body_received(self, bytes data)
    cdef body_completed(self)
    cdef Py_ssize_t body_waiting(self) except -1
    cdef bint left(self) except -1
    cdef _next_event(self)
    cdef _ask_for_body(self)
    cdef _wake(self)
    cdef _log(self)


cdef object DONE
