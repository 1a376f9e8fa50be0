"""What the compiled engine is in C: its headers, and its fields."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastws.websocket._sending cimport FrameSender
from fastws.websocket.deflate_messages cimport Inflater


cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t) except NULL
    int resize_bytes "_PyBytes_Resize"(PyObject **, Py_ssize_t) except -1
    char *raw_bytes "PyBytes_AS_STRING"(PyObject *)
    object new_str "PyUnicode_New"(Py_ssize_t, uint32_t)
    uint8_t *raw_str "PyUnicode_1BYTE_DATA"(object)

cdef extern from "_build.h":
    const char *FASTWS_COMPILER
    const char *FASTWS_FLAGS
    unsigned int CYTHON_HEX_VERSION

cdef extern from "_frame.h":
    enum:
        TEXT "FASTWS_TEXT"
        BINARY "FASTWS_BINARY"
        CONTROL "FASTWS_CONTROL"
        PING "FASTWS_PING"
        PONG "FASTWS_PONG"
        MAX_HEADER "FASTWS_MAX_HEADER"
        CLOSE_TOO_SHORT "FASTWS_CLOSE_TOO_SHORT"
        CLOSE_CODE "FASTWS_CLOSE_CODE"
        INVALID_UTF8 "FASTWS_INVALID_UTF8"
    ctypedef struct fastws_reader:
        uint64_t limit
        uint64_t compressed_limit
        uint32_t max_empty_frames
        uint32_t key
        uint64_t frame_left
        uint8_t opcode
        uint8_t fin
        uint8_t message
        uint8_t compressed
        uint8_t may_compress
        uint32_t empty_frames
        uint64_t received
    Py_ssize_t fastws_read_header(fastws_reader *, const uint8_t *, Py_ssize_t)

cdef extern from "_mask.h":
    ctypedef int (*fastws_kernel)(uint8_t *, const uint8_t *, size_t, uint32_t) noexcept
    ctypedef struct fastws_named_kernel:
        const char *name
        fastws_kernel kernel
    int fastws_kernels(fastws_named_kernel *)
    uint32_t fastws_rotate_key(uint32_t, uint64_t)

cdef extern from "_utf8.h":
    const uint32_t UTF8_START "FASTWS_UTF8_START"
    const uint32_t UTF8_INVALID "FASTWS_UTF8_INVALID"
    uint32_t fastws_utf8_feed(uint32_t, const uint8_t *, size_t)


cdef class CythonEngine(FrameSender):
    cdef Inflater inflater
    cdef fastws_reader reader
    cdef bytes control  # payload of a control frame that a read has split
    cdef PyObject *body  # bytes under construction; text lies here as UTF-8 until it is whole
    cdef Py_ssize_t body_used
    cdef Py_ssize_t body_room
    cdef uint32_t utf8
    cdef uint16_t inflated  # in this call, in INFLATE_UNITs
    cdef uint8_t not_ascii
    cdef uint8_t phase
    cdef uint8_t header_used
    cdef uint8_t header[MAX_HEADER]  # what came of a header that a read has split

    cpdef list receive_data(self, data)
    cpdef list receive_from(self, buffer, Py_ssize_t size)
    cdef Py_ssize_t wanted(self) except -1
    cdef size_t place(self) except 0
    cdef list receive_placed(self, Py_ssize_t size)
