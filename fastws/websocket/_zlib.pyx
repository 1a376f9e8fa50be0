# cython: language_level=3, boundscheck=False, wraparound=False, auto_pickle=False, autotestdict=False
"""zlib for whole messages, without the objects and the repeated calls of Python's own module.

A message of 1 KiB is one call of zlib's deflate, or two of its inflate, into a buffer on the stack, and one object for
what comes out. Python's module takes two calls and two objects to compress, and a new stream for each message that is
inflated. Streams are those of zlib's shared library; where there is none this module cannot be imported, and
deflate_backends.py uses Python's. The GIL is held meanwhile: messages are short, and a stream is its loop's alone.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_XDECREF, PyObject
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

cimport cython

from fastws.websocket.failures import INVALID_DEFLATE as _INVALID_DEFLATE, TOO_BIG as _TOO_BIG

cdef extern from "websocket/_zlib.h":
    ctypedef struct fastws_stream:
        const uint8_t *next_in
        unsigned int avail_in
        uint8_t *next_out
        unsigned int avail_out
        void *state
    ctypedef int (*fastws_step)(fastws_stream *, int)
    struct functions:
        fastws_step deflate
        int deflate_end(fastws_stream *)
        int inflate_reset(fastws_stream *, int)
        fastws_step inflate
        int inflate_end(fastws_stream *)
    functions fastws_zlib
    const char *fastws_load_zlib()
    int fastws_deflate_init(fastws_stream *, int, int, int)
    int fastws_inflate_init(fastws_stream *, int)

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t) except NULL
    int resize_bytes "_PyBytes_Resize"(PyObject **, Py_ssize_t) except -1
    uint8_t *raw_bytes "(uint8_t *)PyBytes_AS_STRING"(PyObject *)

cdef enum:
    OK = 0  # as zlib calls them
    STREAM_END = 1
    BUF_ERROR = -5
    SYNC_FLUSH = 2
    STACK = 16384  # bytes: what comes out of most messages
    MOST_ROOM = 1 << 30  # bytes that zlib is given at once
    MOST_INPUT = 0xFFFFFFFF
    TAIL = 4  # bytes of the flush that end a message, which is sent without them
    FINAL_BLOCK = 5

cdef const uint8_t *END = b"\x00\x00\xff\xff\x01\x00\x00\xff\xff"  # that tail, and an empty block with BFINAL set

cdef const char *missing = fastws_load_zlib()
if missing != NULL:
    raise ImportError(missing.decode("utf-8", "replace"))


@cython.final
cdef class Compressor:
    """A stream of raw deflate: level 1 to 9, window bits 9 to 15, memory level 1 to 9."""

    cdef fastws_stream stream

    def __init__(self, int level, int window_bits, int mem_level):
        fastws_zlib.deflate_end(&self.stream)  # of an earlier call
        if fastws_deflate_init(&self.stream, level, window_bits, mem_level) != OK:
            raise MemoryError("zlib makes no stream for these parameters")

    def __dealloc__(self):
        fastws_zlib.deflate_end(&self.stream)

    def message(self, bytes data not None, int mode):
        """As `deflate_backends.Compressor.message`."""
        cdef int status = OK
        cdef bytes made
        give_input(&self.stream, data)
        try:
            made = run(&self.stream, fastws_zlib.deflate, mode, PY_SSIZE_T_MAX, TAIL, &status)
            if status != OK and status != BUF_ERROR:
                raise RuntimeError(f"zlib's deflate says {status}")
        except:
            fastws_zlib.deflate_end(&self.stream)  # with what it has of this message: zlib refuses it from now on
            raise
        return made


@cython.final
cdef class Decompressor:
    """Inflates whole messages; the stream that it uses for them all is made with the first one."""

    cdef fastws_stream stream

    def __dealloc__(self):
        fastws_zlib.inflate_end(&self.stream)

    def message(self, bytes data not None, int window_bits, long long limit):
        """As `deflate_backends.Decompressor.message`."""
        cdef int status = OK
        cdef uint8_t nothing[1]
        cdef object plain
        if limit < 0:
            raise ValueError("limit must not be negative")
        if self.stream.state == NULL:
            if fastws_inflate_init(&self.stream, window_bits) != OK:
                raise MemoryError("zlib makes no stream")
        elif fastws_zlib.inflate_reset(&self.stream, -window_bits) != OK:
            raise MemoryError("zlib makes no stream")
        give_input(&self.stream, data)
        plain = run(&self.stream, fastws_zlib.inflate, SYNC_FLUSH, limit, 0, &status)
        if status != OK and status != STREAM_END and status != BUF_ERROR:
            return _INVALID_DEFLATE
        if PyBytes_GET_SIZE(plain) > limit:
            return _TOO_BIG
        if status == STREAM_END:
            # By a block with BFINAL set, behind which may be the one byte 0x00 (RFC 7692 section 7.2.3.4).
            if self.stream.avail_in == 0 or (self.stream.avail_in == 1 and self.stream.next_in[0] == 0):
                return plain
            return _INVALID_DEFLATE
        self.stream.next_in = END
        self.stream.avail_in = TAIL + FINAL_BLOCK
        self.stream.next_out = nothing
        self.stream.avail_out = 1
        status = fastws_zlib.inflate(&self.stream, SYNC_FLUSH)
        # Where the block that the tail belongs to has BFINAL set itself, the stream ends before our last block.
        if status == STREAM_END and self.stream.avail_out and self.stream.avail_in in (0, FINAL_BLOCK):
            return plain
        return _INVALID_DEFLATE


cdef int give_input(fastws_stream *stream, bytes data) except -1:
    if PyBytes_GET_SIZE(data) > MOST_INPUT:
        raise OverflowError("a message has 4 GiB at most")
    stream.next_in = <const uint8_t *>PyBytes_AS_STRING(data)
    stream.avail_in = <unsigned int>PyBytes_GET_SIZE(data)
    return 0


cdef bytes run(fastws_stream *stream, fastws_step step, int mode, long long limit, Py_ssize_t cut, int *status):
    """What `step` makes of the input, up to one byte over `limit`, without the last `cut` bytes; its last status."""
    cdef uint8_t first[STACK]
    cdef PyObject *made = NULL
    cdef Py_ssize_t used, room = min(STACK, limit + 1 if limit < PY_SSIZE_T_MAX else limit)
    stream.next_out = first
    stream.avail_out = <unsigned int>room
    status[0] = step(stream, mode)
    used = room - stream.avail_out
    if stream.avail_out or used > limit:
        return PyBytes_FromStringAndSize(<char *>first, max(used - cut, 0))
    try:
        made = new_bytes(NULL, 4 * room)
        memcpy(raw_bytes(made), first, used)
        room *= 4
        while True:
            stream.next_out = raw_bytes(made) + used
            stream.avail_out = <unsigned int>min(room - used, MOST_ROOM)
            if limit < PY_SSIZE_T_MAX and stream.avail_out > limit + 1 - used:
                stream.avail_out = <unsigned int>(limit + 1 - used)
            used += stream.avail_out
            status[0] = step(stream, mode)
            used -= stream.avail_out
            if stream.avail_out or used > limit or status[0] != OK:
                break
            if used == room:
                room *= 2
                resize_bytes(&made, room)
        resize_bytes(&made, max(used - cut, 0))
        return <bytes>made
    finally:
        Py_XDECREF(made)
