from fastws.net.channel cimport Channel, Handler
from fastws.http.head cimport RequestHead
from fastws.net.loop_core cimport LoopCore


cdef class HttpConnection(Handler):
    cdef public Channel connection
    cdef public LoopCore state
    cdef public object addresses
    cdef public bint tls_at_proxy
    cdef object _parser
    cdef bytes _raw_head
    cdef list _headers
    cdef RequestHead _head
    cdef bytes _stash
    cdef bint _in_body
    cdef long long _body_left
    cdef long long _body_bytes
    cdef long long _framing_bytes
    cdef long long _discarded
    cdef bint _tail_open
    cdef bint _muted
    cdef object _current
    cdef object _upgrade
    cdef object _page
    cdef bint _eof
    cdef bint _closing

    cdef response_completed(self, exchange, bint keep_alive)
    cdef update_reading(self)
    cdef _parse(self, bytes data)
    cdef _repeat(self, RequestHead head)
    cdef _remember(self, bytes raw)
    cdef _feed_head(self, bytes data)
    cdef _feed_body(self, data)
    cdef _begin(self, RequestHead head)
    cdef _begin_body(self, RequestHead head)
