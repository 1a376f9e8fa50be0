import cython

from fastws.http.repeats cimport Repeats

# Types for head.py where it is compiled: heads without a dictionary or a Python-level __init__, in C slots.

cdef class RequestHead:
    cdef public str method
    cdef public bytes target
    cdef public str path
    cdef public bytes raw_path
    cdef public bytes query_string
    cdef public str http_version
    cdef public list headers
    cdef public dict fields
    cdef public object content_length
    cdef public bint chunked
    cdef public bint expect_continue
    cdef public bint keep_alive
    cdef public bint repeated
    cdef public dict scope


cdef class ResponseHead:
    cdef public int status
    cdef public bytes lines
    cdef public object content_length
    cdef public bint close
    cdef public bint has_date
    cdef public bint has_server
    cdef public bytes whole
    cdef public bytes whole_with


@cython.locals(head=RequestHead, known=dict, fields=dict, lowered=list, field=bytes, content=bytes, host=bytes, value=bytes,
               rest=bytes, raw_path=bytes, query_string=bytes, decoded=bytes, chunked=bint, expect_continue=bint, keep_alive=bint)
cpdef RequestHead read_request(bytes method, bytes target, str http_version, list headers, limits=*)


@cython.locals(pieces=list, known=dict, count=Py_ssize_t, head=bytes, close=bint, has_date=bint, has_server=bint)
cpdef ResponseHead response_head(status, headers)


@cython.locals(key=tuple, known=ResponseHead, head=ResponseHead)
cpdef ResponseHead repeated_response_head(Repeats repeats, status, headers)


cdef bint _are_bytes(tuple headers) except -1
