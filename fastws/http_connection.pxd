from fastws.connection cimport Connection
from fastws.loop_core cimport LoopCore


cdef class HttpConnection:
    cdef public Connection connection
    cdef public LoopCore state
    cdef public object addresses
    cdef object _parser
    cdef bytes _target
    cdef list _headers
    cdef object _head
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
