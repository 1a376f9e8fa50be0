# cython: language_level=3, nonecheck=False, boundscheck=False, wraparound=False, cdivision=True
# cython: auto_pickle=False, autotestdict=False
"""The compiled engine: RFC 6455 frames on pointers (headers in _frame.h, masks in _mask.h, UTF-8 in _utf8.h).

Here is how they are received; what is sent is in websocket/_sending.pyx.

Rules: one call a read, which returns finished messages as the `str` and `bytes` the application gets; a small message is
unmasked straight into its final object; memory grows with the bytes received, never with those promised; every length is
compared with the limit as an unsigned 64-bit number before it becomes a size; an idle engine holds no buffer.

Nothing is sent on the engine's own account: pongs, the answer to a Close and what a failure leads to are the session's.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_Append
from cpython.ref cimport Py_DECREF, Py_XDECREF, PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cimport cython

from fastws.websocket._sending cimport FrameSender
from fastws.websocket.deflate_messages cimport Inflater

from fastws.websocket import failures as _failures
from fastws.websocket.engine import INFLATE_BUDGET as _INFLATE_BUDGET
from fastws.websocket.events import Close as _Close, Ping as _Ping, Pong as _Pong


# By the faults of _frame.h.
cdef tuple FAILURES = (
    None,
    _failures.RESERVED_BITS,
    _failures.RESERVED_OPCODE,
    _failures.FRAGMENTED_CONTROL,
    _failures.LONG_CONTROL,
    _failures.NO_MESSAGE_TO_CONTINUE,
    _failures.MESSAGE_INSIDE_MESSAGE,
    _failures.UNMASKED,
    _failures.LENGTH_NOT_MINIMAL,
    _failures.LENGTH_HIGH_BIT,
    _failures.CLOSE_TOO_SHORT,
    _failures.CLOSE_CODE,
    _failures.INVALID_UTF8,
    _failures.TOO_MANY_FRAGMENTS,
    _failures.TOO_BIG,
)

cdef enum Phase:
    IN_HEADER
    IN_PAYLOAD
    ENDED

cdef enum:
    FIRST_ROOM = 1024  # bytes: the least room made for a message that does not come in one read
    INFLATE_UNIT = 64  # bytes
    LARGE = 65536  # bytes of a frame still to come, from which on they are read where they stay
    MOST_PLACED = 262144  # bytes that are read there at once
    MANY = 65536  # bytes of a message, from which on it grows by more

cdef uint16_t INFLATE_BUDGET = _INFLATE_BUDGET // INFLATE_UNIT
cdef uint64_t MAX_LIMIT = <uint64_t>1 << 61  # so that sums of sizes cannot overflow

cdef fastws_named_kernel kernels[4]
cdef int kernel_count = fastws_kernels(kernels)
cdef fastws_kernel unmask = kernels[kernel_count - 1].kernel

cdef tuple names = tuple([kernels[i].name.decode() for i in range(kernel_count)])
KERNELS = names
BUILD = {
    "compiler": FASTWS_COMPILER.decode("ascii", "replace"),
    "flags": FASTWS_FLAGS.decode("ascii", "replace"),
    "cython": ".".join([str(CYTHON_HEX_VERSION >> shift & 255) for shift in (24, 16, 8)]),
}
cdef str BEST_KERNEL = kernels[kernel_count - 1].name.decode()


@cython.final
cdef class CythonEngine(FrameSender):
    """One open WebSocket, server side, as `fastws.websocket.engines.Engine` describes it."""

    name = "cython"

    def __init__(self, max_message_size, inflater=None, deflater=None):
        if max_message_size < 0:
            raise ValueError("max_message_size must not be negative")
        self.reader.limit = min(max_message_size, MAX_LIMIT)
        self.reader.compressed_limit = _failures.compressed_limit(self.reader.limit)
        self.reader.max_empty_frames = _failures.MAX_EMPTY_FRAGMENTS
        self.reader.may_compress = inflater is not None
        self.inflater = inflater
        FrameSender.__init__(self, deflater)

    def __dealloc__(self):
        Py_XDECREF(self.body)

    cpdef list receive_data(self, data):
        cdef list events = []
        cdef Py_buffer view
        if self.phase == ENDED:
            return events
        if self.rest is not None:
            data = self.rest + bytes(data)
            self.rest = None
        self.inflated = 0
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            receive(self, <const uint8_t *>view.buf, view.len, events)
        except:
            end(self)  # out of memory, most likely: what was under construction may be lost
            raise
        finally:
            PyBuffer_Release(&view)
        return events

    cpdef list receive_from(self, buffer, Py_ssize_t size):
        cdef list events
        cdef Py_buffer view
        cdef int status
        if self.phase == ENDED or self.rest is not None:
            return self.receive_data(buffer[:size])
        events = []
        self.inflated = 0
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
        if not 0 <= size <= view.len:
            PyBuffer_Release(&view)
            raise ValueError("the buffer is not so large")
        status = (<quiet>receive)(self, <const uint8_t *>view.buf, size, events)
        PyBuffer_Release(&view)
        if status:
            end(self)  # out of memory, most likely: what was under construction may be lost
            go_on_raising()
        return events

    cdef Py_ssize_t wanted(self) except -1:
        cdef uint64_t size = self.reader.frame_left
        # What came with the header has made a message; text that is not ASCII is judged as it comes all the same.
        if self.phase != IN_PAYLOAD or size < LARGE or self.reader.compressed or self.reader.opcode & CONTROL:
            return 0
        if self.body_used == 0 or self.rest is not None:
            return 0
        size = min(size, <uint64_t>MOST_PLACED)
        if self.body_used + <Py_ssize_t>size > self.body_room:
            make_room(self, self.body_used + LARGE)
            size = min(size, <uint64_t>(self.body_room - self.body_used))
        return <Py_ssize_t>size

    cdef size_t place(self) except 0:
        return <size_t>raw_bytes(self.body) + self.body_used

    cdef list receive_placed(self, Py_ssize_t size):
        cdef list events = []
        try:
            receive(self, <const uint8_t *>self.place(), size, events)
        except:
            end(self)
            raise
        return events

    def receive_eof(self):
        end(self)


# ---------------------------------------------------------------------------------------------------------------- reading


# `receive` for who looks at its result without a `try`, which would save the exception that is handled in each call.
ctypedef int (*quiet)(CythonEngine, const uint8_t *, Py_ssize_t, list) noexcept


cdef int go_on_raising() except -1:
    """Raise the exception that is set."""
    return -1


cdef int receive(CythonEngine self, const uint8_t *data, Py_ssize_t length, list events) except -1:
    """Read all of `data`; append what it completes to `events`."""
    cdef const uint8_t *stop = data + length
    cdef Py_ssize_t size
    cdef int fault
    while self.phase != ENDED:
        if self.phase == IN_HEADER:
            if data == stop:
                return 0
            if self.inflated > INFLATE_BUDGET:
                self.rest = PyBytes_FromStringAndSize(<const char *>data, stop - data)
                return 0
            if self.header_used == 0:
                size = fastws_read_header(&self.reader, data, stop - data)
            else:
                size = min(MAX_HEADER - self.header_used, stop - data)
                memcpy(&self.header[self.header_used], data, size)
                size = fastws_read_header(&self.reader, self.header, self.header_used + size)
            if size < 0:
                return fail(self, FAILURES[-size], events)
            if size == 0:  # fewer bytes than a header has, so there is room for them
                size = stop - data
                if self.header_used == 0:
                    memcpy(self.header, data, size)
                self.header_used += <uint8_t>size
                return 0
            data += size - self.header_used
            self.header_used = 0
            self.phase = IN_PAYLOAD
        size = stop - data
        if <uint64_t>size > self.reader.frame_left:
            size = <Py_ssize_t>self.reader.frame_left
        elif size == 0 and self.reader.frame_left:
            return 0
        if self.reader.opcode & CONTROL:
            fault = read_control(self, data, size, events)
        else:
            fault = read_payload(self, data, size, events)
        if fault:
            return fail(self, FAILURES[fault], events)
        data += size
    return 0


cdef int read_control(CythonEngine self, const uint8_t *data, Py_ssize_t length, list events) except -1:
    """Take `length` bytes of a control frame's payload; a fault or 0."""
    cdef bytes payload
    cdef uint8_t *place
    cdef uint16_t code
    cdef uint64_t size = self.reader.frame_left
    if self.control is None:
        payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        place = <uint8_t *>PyBytes_AS_STRING(payload)
    else:
        payload = self.control
        place = <uint8_t *>PyBytes_AS_STRING(payload) + PyBytes_GET_SIZE(payload) - size
    if length:
        unmask(place, data, length, self.reader.key)
    self.reader.frame_left -= length
    if self.reader.frame_left:
        self.reader.key = fastws_rotate_key(self.reader.key, length)
        self.control = payload
        return 0
    self.control = None
    self.phase = IN_HEADER
    if self.reader.opcode == PING:
        events.append(_Ping(payload))
    elif self.reader.opcode == PONG:
        events.append(_Pong(payload))
    elif not payload:
        events.append(_Close(1005, ""))
        end(self)
    else:
        if PyBytes_GET_SIZE(payload) == 1:
            return CLOSE_TOO_SHORT
        place = <uint8_t *>PyBytes_AS_STRING(payload)
        code = (<uint16_t>place[0] << 8) | place[1]
        if not _failures.is_close_code(code):
            return CLOSE_CODE
        try:
            events.append(_Close(code, payload[2:].decode()))
        except UnicodeDecodeError:
            return INVALID_UTF8
        end(self)
    return 0


cdef int read_payload(CythonEngine self, const uint8_t *data, Py_ssize_t length, list events) except -1:
    """Take `length` bytes of a data frame's payload; a fault or 0."""
    cdef bint frame_done = <uint64_t>length == self.reader.frame_left
    cdef bint last = frame_done and self.reader.fin
    cdef int fault
    if last and self.reader.received == 0 and not self.reader.compressed:
        fault = read_whole(self, data, length, events)
    elif self.reader.compressed:
        fault = inflate(self, data, length, last, events)
    else:
        fault = append(self, data, length, self.reader.key)
        if last and not fault:
            fault = finish(self, events)
    if fault or self.phase == ENDED:
        return fault
    if last:
        self.reader.message = 0
        self.reader.received = 0
        self.reader.empty_frames = 0
    else:
        self.reader.received += length
    if frame_done:
        self.phase = IN_HEADER
    else:
        self.reader.frame_left -= length
        self.reader.key = fastws_rotate_key(self.reader.key, length)
    return 0


cdef int read_whole(CythonEngine self, const uint8_t *data, Py_ssize_t length, list events) except -1:
    """A message that lies whole in this read: unmask it into its final object."""
    cdef object message
    if self.reader.message == TEXT:
        # Most text is ASCII, and what is not gets another str: to copy each would be 2 to 4 % of a message's way.
        message = new_str(length, 127)
        if length and unmask(raw_str(message), data, length, self.reader.key):
            return add_text(events, raw_str(message), length, True)
    else:
        message = PyBytes_FromStringAndSize(NULL, length)
        if length:
            unmask(<uint8_t *>PyBytes_AS_STRING(message), data, length, self.reader.key)
    PyList_Append(events, message)
    return 0


cdef int add_text(list events, const uint8_t *data, Py_ssize_t length, bint not_ascii) except -1:
    """Append the text that the UTF-8 at `data` spells; a fault or 0."""
    cdef object text
    if not_ascii:
        try:
            PyList_Append(events, PyUnicode_DecodeUTF8(<char *>data, length, NULL))
        except UnicodeDecodeError:
            return INVALID_UTF8
        return 0
    text = new_str(length, 127)
    memcpy(raw_str(text), data, length)
    PyList_Append(events, text)
    return 0


cdef int append(CythonEngine self, const uint8_t *data, Py_ssize_t length, uint32_t key) except -1:
    """Add bytes to the message under construction, unmasked with `key`; a fault or 0."""
    cdef Py_ssize_t needed = self.body_used + length
    cdef uint8_t *place
    if length == 0:
        return 0
    if needed > self.body_room:
        make_room(self, needed)
    place = <uint8_t *>raw_bytes(self.body) + self.body_used
    if unmask(place, data, length, key):
        self.not_ascii = True
        if self.reader.message == TEXT:
            self.utf8 = fastws_utf8_feed(self.utf8, place, length)
            if self.utf8 == UTF8_INVALID:
                return INVALID_UTF8
    elif self.utf8 != UTF8_START:
        return INVALID_UTF8
    self.body_used = needed
    return 0


cdef int make_room(CythonEngine self, Py_ssize_t needed) except -1:
    """Room for `needed` bytes and as many again, but not more than the message can still have.

    Where they are many, for eight times as many: to grow is to copy, and pages that nothing was written to are none.
    """
    cdef uint64_t room = max((2 if needed < MANY else 8) * <uint64_t>needed, <uint64_t>FIRST_ROOM)
    if self.reader.fin and not self.reader.compressed:
        room = min(room, self.reader.received + self.reader.frame_left)
    room = max(min(room, self.reader.limit), <uint64_t>needed)
    if self.body == NULL:
        self.body = new_bytes(NULL, room)
    else:
        resize_bytes(&self.body, room)
    self.body_room = room
    return 0


cdef int finish(CythonEngine self, list events) except -1:
    """Append the message under construction to `events`; a fault or 0."""
    cdef PyObject *body
    cdef int fault = 0
    if self.utf8 != UTF8_START:
        return INVALID_UTF8
    if self.body == NULL:
        events.append("" if self.reader.message == TEXT else b"")
        return 0
    if self.reader.message == TEXT:
        fault = add_text(events, <uint8_t *>raw_bytes(self.body), self.body_used, self.not_ascii)
    else:
        if self.body_used != self.body_room:
            resize_bytes(&self.body, self.body_used)
        PyList_Append(events, <object>self.body)
    body = self.body
    self.body = NULL
    clear_body(self)
    Py_DECREF(<object>body)
    return fault


cdef int inflate(CythonEngine self, const uint8_t *data, Py_ssize_t length, bint last, list events) except -1:
    """Take `length` compressed bytes: what they inflate to joins the message at once; a fault or 0."""
    cdef bytes piece
    cdef object plain
    cdef int fault
    if length == 0 and not last:
        return 0
    if self.inflater is None:
        raise RuntimeError("a compressed message without an inflater")
    piece = PyBytes_FromStringAndSize(NULL, length)
    if length:
        unmask(<uint8_t *>PyBytes_AS_STRING(piece), data, length, self.reader.key)
    plain = self.inflater.decompress(piece, last, self.reader.limit - <uint64_t>self.body_used)
    if PyBytes_CheckExact(plain):
        self.inflated = <uint16_t>min(self.inflated + PyBytes_GET_SIZE(plain) // INFLATE_UNIT + 1, 65535)
    else:
        fail(self, plain, events)
        return 0
    if last and self.body == NULL:
        if self.reader.message == TEXT:
            return add_text(events, <const uint8_t *>PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain), True)
        events.append(plain)
        return 0
    fault = append(self, <const uint8_t *>PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain), 0)
    if last and not fault:
        fault = finish(self, events)
    return fault


cdef int fail(CythonEngine self, object failure, list events) except -1:
    events.append(failure)
    end(self)
    return 0


cdef void end(CythonEngine self) noexcept:
    """Read nothing more, and let go of what was begun."""
    self.phase = ENDED
    self.control = None
    self.rest = None
    Py_XDECREF(self.body)
    self.body = NULL
    clear_body(self)


cdef inline void clear_body(CythonEngine self) noexcept:
    self.body_used = 0
    self.body_room = 0
    self.not_ascii = False
    self.utf8 = UTF8_START


# ----------------------------------------------------------------------------------------------- the parts, for the tests


def mask(data, bytes key not None, uint64_t offset=0, str kernel not None=BEST_KERNEL):
    """`data` XOR the 4-byte `key` begun at byte `offset` of the payload, as new bytes, by the kernel of that name."""
    cdef const uint8_t[::1] source = data
    cdef bytes result = PyBytes_FromStringAndSize(NULL, source.shape[0])
    if source.shape[0]:
        run_kernel(kernel, <uint8_t *>PyBytes_AS_STRING(result), &source[0], source.shape[0], key, offset)
    return result


def mask_in_place(data, bytes key not None, uint64_t offset=0, str kernel not None=BEST_KERNEL):
    """Mask the writable buffer `data` in place; whether all bytes are ASCII then."""
    cdef uint8_t[::1] place = data
    if place.shape[0] == 0:
        return True
    return not run_kernel(kernel, &place[0], &place[0], place.shape[0], key, offset)


cdef bint run_kernel(str name, uint8_t *place, const uint8_t *data, Py_ssize_t length, bytes key, uint64_t offset) except? 1:
    cdef uint32_t word
    if len(key) != 4:
        raise ValueError("a masking key has 4 bytes")
    memcpy(&word, PyBytes_AS_STRING(key), 4)
    return kernels[names.index(name)].kernel(place, data, length, fastws_rotate_key(word, offset)) != 0


def utf8_feed(uint32_t state, bytes data not None):
    """The state after `data`: 0 between characters, None where no valid text goes on like this. Starts at 0."""
    state = fastws_utf8_feed(state, <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return None if state == UTF8_INVALID else state
