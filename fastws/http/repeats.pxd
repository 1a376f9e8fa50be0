import cython


cdef class Repeats:
    cdef readonly dict found
    cdef Py_ssize_t _entries
    cdef list _once

    cpdef bint keep(self, key, value) except? -1
    @cython.locals(slot=Py_ssize_t)
    cpdef bint came_before(self, key) except? -1
