# cython: language_level=3, boundscheck=False, wraparound=False, auto_pickle=False, autotestdict=False
"""HTTP/2 frames as bytes, written in C: `frame_head` and `frame` of http2_frames.py."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memcpy


cdef inline void write_head(uint8_t *out, int kind, int flags, long long stream_id, Py_ssize_t size) noexcept:
    out[0] = (size >> 16) & 0xFF
    out[1] = (size >> 8) & 0xFF
    out[2] = size & 0xFF
    out[3] = kind & 0xFF
    out[4] = flags & 0xFF
    out[5] = (stream_id >> 24) & 0x7F
    out[6] = (stream_id >> 16) & 0xFF
    out[7] = (stream_id >> 8) & 0xFF
    out[8] = stream_id & 0xFF


cpdef bytes frame_head(int kind, int flags, long long stream_id, Py_ssize_t size):
    """As http2_frames.frame_head."""
    cdef bytes made = PyBytes_FromStringAndSize(NULL, 9)
    write_head(<uint8_t *>PyBytes_AS_STRING(made), kind, flags, stream_id, size)
    return made


cpdef bytes frame(int kind, int flags, long long stream_id, bytes payload):
    """As http2_frames.frame."""
    if payload is None:
        raise TypeError("a payload is bytes")
    cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, 9 + size)
    cdef uint8_t *out = <uint8_t *>PyBytes_AS_STRING(made)
    write_head(out, kind, flags, stream_id, size)
    memcpy(out + 9, PyBytes_AS_STRING(payload), size)
    return made
