from fastws.http.head cimport RequestHead


cdef class Opening:
    cdef RequestHead _head
    cdef object _scope
    cdef object _upgrade
    cdef public bytes early
    cdef public object responder
