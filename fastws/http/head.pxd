import cython

# Types for head.py where it is compiled: heads without a dictionary or a Python-level __init__, in C slots.

cdef class RequestHead:
    cdef public str method
    cdef public bytes target
    cdef public str path
    cdef public bytes raw_path
    cdef public bytes query_string
    cdef public str http_version
    cdef public list headers
    cdef dict _fields
    cdef public object content_length
    cdef public bint chunked
    cdef public bint expect_continue
    cdef public bint keep_alive
    cdef public bint upgrades
    cdef public bint forwarded
    cdef public bint te_trailers
    cdef public bint repeated


@cython.locals(known=dict, fields=dict, lowered=list, field=bytes, content=bytes)
cpdef RequestHead read_request(bytes method, bytes target, str http_version, list headers, limits=*)


@cython.locals(head=RequestHead, host=bytes, value=bytes, rest=bytes, raw_path=bytes, query_string=bytes, decoded=bytes,
               chunked=bint, expect_continue=bint, keep_alive=bint)
cpdef RequestHead make_head(bytes method, bytes target, str http_version, list lowered, dict fields, limits)
