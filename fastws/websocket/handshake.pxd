import cython

from fastws.http.head cimport RequestHead
from fastws.http.response_head cimport ResponseHead


@cython.locals(fields=dict)
cpdef read_upgrade(RequestHead request)


cpdef read_connect(RequestHead request)


@cython.locals(fields=dict, subprotocols=list, extensions=list)
cdef _read_offers(RequestHead request, bytes key)


cpdef bytes accept_fields(upgrade, subprotocol, headers, bytes extensions, default_headers)


cdef list _read_subprotocols(bytes value)


cpdef bytes accept_key(bytes key)


cdef ResponseHead _app_head(headers)


cdef bytes _without(bytes prefix, bytes lines)
