cdef class Repeats:
    cdef readonly dict found
    cdef Py_ssize_t _entries
    cdef Py_ssize_t _slots
    cdef set _once

    cpdef bint keep(self, key, value) except? -1
    cpdef bint came_before(self, key) except? -1
