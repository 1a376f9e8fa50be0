import cython

from fastws.http.head cimport RequestHead
from fastws.http.repeats cimport Repeats
from fastws.net.http_handler cimport HttpHandler
from fastws.net.loop_core cimport LoopCore


cdef class Scopes:
    cdef str _root_path
    cdef dict _state
    cdef object _trusted
    cdef object _forwarded
    cdef dict _asgi
    cdef dict _http_extensions
    cdef dict _websocket_extensions
    cdef dict _stream
    cdef dict _blank_http
    cdef dict _blank_websocket
    cdef object _last_server
    cdef LoopCore _shared

    cdef dict http(self, HttpHandler http, RequestHead head)
    cdef dict websocket(self, HttpHandler http, RequestHead head, upgrade)
    @cython.locals(fields=Repeats, shared=list, i=Py_ssize_t, field=tuple)
    cdef list _share_fields(self, list headers)
    cdef dict _scope(self, dict blank, RequestHead head, HttpHandler http)
    @cython.locals(name=str, value=dict, extensions=dict, stream=dict)
    cdef dict _extensions(self, dict offered, HttpHandler http)
    cdef _addresses(self, HttpHandler http)


cdef str HTTP11
