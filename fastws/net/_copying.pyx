# cython: language_level=3, auto_pickle=False, autotestdict=False
"""Bytes out of a receive buffer without a slice of it: `copied` of copying.py."""

from cpython.buffer cimport Py_buffer
from cpython.bytes cimport PyBytes_FromStringAndSize

cdef extern from "Python.h":
    Py_buffer *PyMemoryView_GET_BUFFER(object)


cpdef bytes copied(buffer, Py_ssize_t size):
    """As copying.copied."""
    cdef Py_buffer *view
    if type(buffer) is memoryview:
        view = PyMemoryView_GET_BUFFER(buffer)
        if view.ndim == 1 and view.itemsize == 1 and view.strides[0] == 1 and 0 <= size <= view.len:
            return PyBytes_FromStringAndSize(<char *>view.buf, size)
    return bytes(buffer[:size])
