import cython

from fastws.http.head cimport RequestHead
from fastws.http.response_head cimport ResponseHead


@cython.locals(fields=dict, subprotocols=list, extensions=list)
cpdef read_upgrade(RequestHead request)


cdef list _read_subprotocols(bytes value)


cpdef bytes accept_key(bytes key)


cdef ResponseHead _app_head(headers)


cdef bytes _without(bytes prefix, bytes lines)
