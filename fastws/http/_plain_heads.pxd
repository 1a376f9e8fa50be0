from libc.stdint cimport uint8_t, uint32_t
from cpython.object cimport PyObject

from fastws.http.head cimport RequestHead

cdef struct Line


cdef class PlainHeads:
    cdef readonly Py_ssize_t end
    cdef Py_ssize_t _target_size
    cdef Py_ssize_t _fields
    cdef Py_ssize_t _field_size
    cdef Py_ssize_t _head_size
    cdef long long _length
    cdef list _kept
    cdef Line *_lines

    cpdef RequestHead read(self, bytes data, Py_ssize_t start)
    cdef const uint8_t *_read_line(self, RequestHead head, const uint8_t *at, const uint8_t *stop) except? NULL
    cdef PyObject *_read_field(self, const uint8_t *line, Py_ssize_t size, uint32_t *meaning) except? NULL
    cdef tuple _parse_field(self, const uint8_t *line, Py_ssize_t size, uint32_t *meaning)
    cdef bint _understand(self, const uint8_t *text, Py_ssize_t size, bytes value, uint32_t *meaning) except -1
