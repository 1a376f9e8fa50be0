import cython

from fastws.http.repeats cimport Repeats

cdef Py_ssize_t ENTRY_BYTES, REMEMBERED, REMEMBERED_BYTES


cdef class BlockWriter:
    cdef dict _places
    cdef object _entries
    cdef long long _added
    cdef Py_ssize_t _bytes
    cdef Py_ssize_t _limit
    cdef Py_ssize_t _allowed
    cdef Py_ssize_t _least
    cdef Repeats _known

    cpdef limit_table(self, long long size)
    cpdef bytes write(self, bytes block)
    cdef bytes _resize(self)
    @cython.locals(added=cython.longlong, pieces=list, position=Py_ssize_t, size=Py_ssize_t, first=int, end=Py_ssize_t)
    @cython.locals(literal=bytes, written=bytes)
    cdef bytes _write(self, bytes block)
    @cython.locals(size=Py_ssize_t)
    cdef bint _add(self, bytes literal) except -1
    @cython.locals(size=Py_ssize_t)
    cdef _evict(self, Py_ssize_t room)


@cython.locals(first=int, index=int)
cpdef Py_ssize_t literal_end(bytes block, Py_ssize_t position) except -1
@cython.locals(size=Py_ssize_t, shift=int, digit=Py_ssize_t)
cpdef Py_ssize_t string_end(bytes block, Py_ssize_t position) except -1
@cython.locals(index=int, position=Py_ssize_t, size=Py_ssize_t, end=Py_ssize_t)
cpdef Py_ssize_t entry_bytes(bytes literal) except -1
@cython.locals(size=int)
cpdef Py_ssize_t string_begin(bytes literal, Py_ssize_t position) except -1
cpdef bytes with_indexing(bytes literal)
cpdef bytes integer(int mark, int most, Py_ssize_t value)


cdef Py_ssize_t STATIC
