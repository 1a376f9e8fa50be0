import cython

# Types for http_head.py where it is compiled: heads without a dictionary or a Python-level __init__, in C slots.

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


cdef class ResponseHead:
    cdef public object status
    cdef public bytes lines
    cdef public object content_length
    cdef public bint close
    cdef public bint has_date
    cdef public bint has_server


@cython.locals(head=RequestHead, fields=dict, lowered=list, host=bytes, value=bytes, rest=bytes, raw_path=bytes,
               chunked=bint, expect_continue=bint, keep_alive=bint)
cpdef read_request(bytes method, bytes target, str http_version, list headers, limits=*)
