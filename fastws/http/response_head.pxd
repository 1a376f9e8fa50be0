import cython

from fastws.http.repeats cimport Repeats

# Types for response_head.py where it is compiled, as in head.pxd.

cdef class ResponseHead:
    cdef public int status
    cdef public bytes lines
    cdef public object content_length
    cdef public bint close
    cdef public bint has_date
    cdef public bint has_server
    cdef public bytes whole
    cdef public bytes whole_with
    cdef public bytes block
    cdef public bytes block_with


@cython.locals(pieces=list, known=dict, count=Py_ssize_t, head=bytes, close=bint, has_date=bint, has_server=bint)
cpdef ResponseHead response_head(status, headers)


@cython.locals(key=tuple, known=ResponseHead, head=ResponseHead)
cpdef ResponseHead repeated_response_head(Repeats repeats, status, headers)


cdef bint _are_bytes(tuple headers) except -1
