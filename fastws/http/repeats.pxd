import cython


cdef class Repeats:
    cdef readonly dict found
    cdef Py_ssize_t _entries
    cdef list _once

    @cython.locals(slot=Py_ssize_t)
    cpdef bint keep(self, key, value) except? -1
