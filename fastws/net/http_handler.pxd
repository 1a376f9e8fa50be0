from fastws.http.head cimport RequestHead
from fastws.net.channel cimport Channel, Handler
from fastws.net.loop_core cimport LoopCore


cdef class Exchange:
    cdef body_received(self, bytes data)
    cdef body_completed(self)
    cdef Py_ssize_t body_waiting(self) except -1


cdef class HttpHandler(Handler):
    cdef public Channel connection
    cdef public LoopCore state
    cdef public object addresses
    cdef public bint tls_at_proxy
    cdef public long long stream_id

    cdef _attach(self, Channel connection, LoopCore state)
    cdef _admit(self, RequestHead head)
    cdef _admit_websocket(self, RequestHead head)
    cdef _count(self)
    cdef response_completed(self, Exchange exchange, bint keep_alive)
    cdef update_reading(self)


cdef class Gateway:
    cdef Exchange exchange(self, HttpHandler http, RequestHead head)
    cdef Handler websocket(self, HttpHandler http, RequestHead head, upgrade, bytes early_data)
