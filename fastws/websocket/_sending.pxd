from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t

from fastws.websocket.engine cimport Engine


cdef class FrameSender(Engine):
    cdef uint64_t deflate_threshold
    cdef list output  # whole frames or parts of frames, or None
    cdef PyObject *tail  # bytes under construction, that follow `output`
    cdef Py_ssize_t tail_used
    cdef Py_ssize_t waiting  # bytes in output and tail
