import cython

from fastws.http.head cimport RequestHead, make_head

cdef Py_ssize_t FIELD_BYTES


cdef class Http2Head:
    cdef readonly RequestHead head
    cdef readonly bytes protocol


@cython.locals(pair=tuple, name=bytes, value=bytes, method=bytes, scheme=bytes, path=bytes, authority=bytes, protocol=bytes,
               headers=list, by_name=dict, cookies=list, hosts=list, size=Py_ssize_t, longest=Py_ssize_t, length=Py_ssize_t,
               connect=bint, head=RequestHead, cookie=bytes)
cpdef Http2Head read_head(list fields, bint ended, limits)
