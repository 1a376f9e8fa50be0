from fastws.http.head cimport RequestHead
from fastws.net.channel cimport Channel, Handler
from fastws.net.loop_core cimport LoopCore


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
    cdef response_completed(self, exchange, bint keep_alive)
    cdef update_reading(self)
