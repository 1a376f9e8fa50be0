from fastws.asgi.closing cimport Closing
from fastws.http.head cimport RequestHead
from fastws.net.channel cimport Channel
from fastws.net.loop_core cimport LoopCore


cdef class Session(Closing):
    cdef public object task
    cdef object _opening
    cdef bint _connect_received

    cdef _open(
        self, Channel connection, LoopCore state, dict scope, observer, RequestHead head, upgrade, bytes early_data
    )
    cdef _next_event(self)
    cdef _send_event(self, dict event)


cdef object CONNECTING
cdef object DENYING
cdef object OPEN
cdef object CLOSING
cdef object CLOSED
