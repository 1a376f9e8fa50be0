# cython: language_level=3, nonecheck=False, boundscheck=False, wraparound=False, cdivision=True
# cython: auto_pickle=False, autotestdict=False
"""What the compiled engine sends: frames of RFC 6455 (headers in _frame.h), built once and copied at most once.

Small frames are gathered in one object, payloads from 64 KiB on go as they are behind their header, and a message is
compressed where that makes it shorter. Nothing is sent on the engine's own account. What is received is _codec.pyx's.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_Append
from cpython.ref cimport Py_DECREF, Py_XDECREF, PyObject
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport UINT64_MAX, uint8_t
from libc.string cimport memcpy

from fastws.websocket.deflate_messages cimport Deflater
from fastws.websocket.engine cimport Engine

from fastws.websocket.failures import is_close_code as _is_close_code

cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t) except NULL
    int resize_bytes "_PyBytes_Resize"(PyObject **, Py_ssize_t) except -1
    char *raw_bytes "PyBytes_AS_STRING"(PyObject *)
    Py_ssize_t raw_bytes_size "PyBytes_GET_SIZE"(PyObject *)
    bint is_compact_ascii "PyUnicode_IS_COMPACT_ASCII"(object)
    const char *PyUnicode_AsUTF8AndSize(object, Py_ssize_t *) except NULL

cdef extern from "_frame.h":
    enum:
        TEXT "FASTWS_TEXT"
        BINARY "FASTWS_BINARY"
        CLOSE "FASTWS_CLOSE"
        PING "FASTWS_PING"
        PONG "FASTWS_PONG"
        FIN "FASTWS_FIN"
        RSV1 "FASTWS_RSV1"
    Py_ssize_t fastws_header_size(Py_ssize_t)
    uint8_t *fastws_write_header(uint8_t *, uint8_t, Py_ssize_t)

cdef enum:
    FIRST_ROOM = 2048  # bytes: the least room made for a second frame behind one that waits
    CORK = 65536  # bytes: small frames are gathered up to this size, larger payloads are not copied


cdef class FrameSender(Engine):
    """The sending half of an engine, as `fastws.websocket.engine.Engine` describes it."""

    def __init__(self, deflater=None):
        self.deflater = deflater
        self.deflate_threshold = UINT64_MAX if deflater is None else deflater.threshold

    def __dealloc__(self):
        Py_XDECREF(self.tail)

    cpdef Py_ssize_t send_text(self, text) except -1:
        cdef Py_ssize_t length
        cdef const char *data
        if not PyUnicode_Check(text):
            raise TypeError(f"text must be str, not {type(text).__name__}")
        data = PyUnicode_AsUTF8AndSize(text, &length)
        if <uint64_t>length >= self.deflate_threshold:
            return put_compressed(self, FIN | TEXT, PyBytes_FromStringAndSize(data, length))
        if length >= CORK and not is_compact_ascii(text):
            return put_large(self, FIN | TEXT, PyBytes_FromStringAndSize(data, length))
        return put(self, FIN | TEXT, data, length)

    cpdef Py_ssize_t send_bytes(self, data) except -1:
        cdef Py_buffer view
        cdef Py_ssize_t length
        if PyBytes_CheckExact(data):
            length = PyBytes_GET_SIZE(data)
            if <uint64_t>length >= self.deflate_threshold:
                return put_compressed(self, FIN | BINARY, data)
            if length >= CORK:
                return put_large(self, FIN | BINARY, data)
            return put(self, FIN | BINARY, PyBytes_AS_STRING(data), length)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if <uint64_t>view.len >= self.deflate_threshold:
                return put_compressed(self, FIN | BINARY, PyBytes_FromStringAndSize(<char *>view.buf, view.len))
            return put(self, FIN | BINARY, <const char *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cpdef Py_ssize_t append_frame(self, bytes frame) except -1:
        if frame is None:
            raise TypeError("frame must be bytes, not NoneType")
        if self.tail != NULL:
            close_tail(self)
        if self.output is None:
            self.output = []
        self.output.append(frame)
        self.waiting += PyBytes_GET_SIZE(frame)
        return self.waiting

    def send_ping(self, bytes payload not None=b""):
        return put_control(self, PING, payload)

    def send_pong(self, bytes payload not None=b""):
        return put_control(self, PONG, payload)

    def send_close(self, code=1000, str reason not None=""):
        cdef bytes payload = reason.encode()
        if code == 1005 and not payload:
            return put_control(self, CLOSE, b"")
        if not _is_close_code(code):
            raise ValueError(f"close code {code} may not be sent")
        if len(payload) > 123:
            raise ValueError(f"close reason has {len(payload)} bytes, of 123 at most")
        return put_control(self, CLOSE, bytes((code >> 8, code & 0xFF)) + payload)

    cpdef list data_to_send(self):
        cdef list output
        if self.tail != NULL:
            close_tail(self)
        output = self.output
        if output is None:
            return []
        self.output = None
        self.waiting = 0
        return output


cdef Py_ssize_t put(FrameSender self, uint8_t first, const char *payload, Py_ssize_t length) except -1:
    """Append one frame, copied behind what waits already."""
    cdef uint8_t *place = reserve(self, fastws_header_size(length) + length)
    place = fastws_write_header(place, first, length)
    memcpy(place, payload, length)
    return self.waiting


cdef Py_ssize_t put_large(FrameSender self, uint8_t first, bytes payload) except -1:
    """Append one frame whose payload is not copied."""
    cdef Py_ssize_t length = PyBytes_GET_SIZE(payload)
    cdef Py_ssize_t size = fastws_header_size(length)
    cdef list parts
    fastws_write_header(reserve(self, size), first, length)
    try:
        if self.tail_used != raw_bytes_size(self.tail):
            shrink_tail(self)
        parts = [<object>self.tail, payload]  # both or, where memory ends, none
        self.output = parts if self.output is None else self.output + parts
    except:
        if self.tail != NULL:
            self.tail_used -= size
            self.waiting -= size
        raise
    drop_tail(self)
    self.waiting += length
    return self.waiting


cdef Py_ssize_t put_compressed(FrameSender self, uint8_t first, bytes payload) except -1:
    """Append one message, compressed if that makes it shorter (RFC 7692 section 7.2.1)."""
    cdef Deflater deflater = self.deflater  # None, or of another type, where somebody has set another one
    cdef bytes shorter = None if deflater is None else deflater.compress(payload)
    if shorter is None:
        return put_bytes(self, first, payload)
    try:
        return put_bytes(self, first | RSV1, shorter)
    except:
        deflater.lose()
        raise


cdef Py_ssize_t put_bytes(FrameSender self, uint8_t first, bytes payload) except -1:
    if PyBytes_GET_SIZE(payload) >= CORK:
        return put_large(self, first, payload)
    return put(self, first, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))


cdef Py_ssize_t put_control(FrameSender self, uint8_t opcode, bytes payload) except -1:
    if PyBytes_GET_SIZE(payload) > 125:
        raise ValueError(f"payload of a control frame has {len(payload)} bytes, of 125 at most")
    return put(self, FIN | opcode, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))


cdef inline uint8_t *reserve(FrameSender self, Py_ssize_t size) except NULL:
    """Room for `size` bytes behind what waits: a lone frame gets an object of its size, the next ones share one."""
    cdef Py_ssize_t needed
    if self.tail != NULL and self.tail_used + size > CORK:
        close_tail(self)
    if self.tail == NULL:
        self.tail = new_bytes(NULL, size)
        self.tail_used = 0
    needed = self.tail_used + size
    if needed > raw_bytes_size(self.tail):
        grow_tail(self, min(max(4 * needed, FIRST_ROOM), CORK))
    self.waiting += size
    self.tail_used = needed
    return <uint8_t *>raw_bytes(self.tail) + needed - size


cdef int grow_tail(FrameSender self, Py_ssize_t size) except -1:
    """Give the tail `size` bytes of room, or, where there is no memory, leave it as it is: a resize would lose it."""
    cdef PyObject *larger = new_bytes(NULL, size)
    memcpy(raw_bytes(larger), raw_bytes(self.tail), self.tail_used)
    drop_tail(self)
    self.tail = larger
    return 0


cdef int shrink_tail(FrameSender self) except -1:
    """Take the tail's unused room from it. An allocator that cannot even do that costs the frames that are there."""
    try:
        resize_bytes(&self.tail, self.tail_used)
    except:
        self.waiting -= self.tail_used
        self.tail_used = 0
        if self.deflater is not None:
            self.deflater.lose()
        raise
    return 0


cdef int close_tail(FrameSender self) except -1:
    if self.tail_used != raw_bytes_size(self.tail):
        shrink_tail(self)
    if self.output is None:
        self.output = []
    PyList_Append(self.output, <object>self.tail)
    drop_tail(self)
    return 0


cdef inline void drop_tail(FrameSender self) noexcept:
    cdef PyObject *tail = self.tail
    self.tail = NULL
    Py_DECREF(<object>tail)
