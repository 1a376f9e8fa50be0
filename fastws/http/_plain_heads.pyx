# cython: language_level=3, boundscheck=False, wraparound=False, auto_pickle=False, autotestdict=False
"""Plain request heads of HTTP/1.1, read in C in one pass: from raw bytes to a `RequestHead`.

Plain is what nearly every client sends: a usual method, a path, single spaces, fields of one line each, a Host, and at
most one field that says how a body is delimited. All of such a head is checked here, byte by byte, by RFC 9112's own
grammar and no more of it than that. Whatever is not plain is left to httptools, which refuses it or knows better
(`head_reader`): nothing is accepted here that httptools would refuse or read otherwise, which is fuzzed.

Lines that come again, as a browser's do in each of its requests, are known by their bytes, and their pair of name and
value is used again; never one with a secret in it. Names are the same objects in all requests.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

cimport cython

from fastws.http.head cimport RequestHead

from urllib.parse import unquote_to_bytes as _unquote

from fastws.http.head import FIELD_NAMES as _FIELD_NAMES, is_host as _is_host, tokens as _tokens

cdef enum:
    # What a field means, as bits.
    HOST = 1
    LENGTH = 2  # Content-Length
    CODING = 4  # Transfer-Encoding
    KEEP = 8  # Connection: keep-alive
    CLOSE = 16  # Connection: close
    UPGRADES = 32  # Upgrade, Sec-WebSocket-Key
    FORWARDED = 64  # X-Forwarded-For, X-Forwarded-Proto
    TRAILERS = 128  # TE: trailers
    CONNECTION = 256  # a Connection to be looked at
    TRANSFER = 512  # a TE to be looked at
    FORGOTTEN = 1024  # a value that is never kept
    NOT_PLAIN = 2048

    MAX_FIELDS = 128
    MAX_NAME = 64  # bytes of a name that may be a known one
    NAMES = 512  # slots, a power of two
    LINES = 256  # slots, a power of two
    MIN_LINE = 8
    MAX_LINE = 256  # bytes of a line that is kept

cdef struct Name:
    PyObject *text
    uint32_t hash
    uint32_t meaning

cdef struct Line:
    PyObject *pair
    const uint8_t *text
    uint32_t size
    uint32_t meaning
    uint32_t mark  # the hash of what came last and is not kept

cdef uint8_t name_bytes[256]  # what may be in a name, in small letters; 0: nothing
cdef uint8_t host_bytes[256]
cdef Name names[NAMES]
cdef list _all_names = sorted(set(_FIELD_NAMES.values()))  # they own what `names` points at

_MEANINGS = {
    b"host": HOST,
    b"content-length": LENGTH | FORGOTTEN,
    b"transfer-encoding": CODING | FORGOTTEN,
    b"connection": CONNECTION,
    b"upgrade": UPGRADES,
    b"sec-websocket-key": UPGRADES | FORGOTTEN,
    b"x-forwarded-for": FORWARDED | FORGOTTEN,
    b"x-forwarded-proto": FORWARDED,
    b"te": TRANSFER,
    b"expect": NOT_PLAIN,
    b"cookie": FORGOTTEN,
    b"authorization": FORGOTTEN,
    b"proxy-authorization": FORGOTTEN,
}

cdef str _GET = "GET", _POST = "POST", _HEAD = "HEAD", _PUT = "PUT", _DELETE = "DELETE", _OPTIONS = "OPTIONS"
cdef str _PATCH = "PATCH", _V11 = "1.1", _V10 = "1.0"
cdef bytes _NOTHING = b"", _SLASH = b"/"


cdef void _fill():
    cdef int byte
    cdef uint32_t slot, found
    for byte in range(256):
        letter = bytes((byte,))
        if letter.isalnum() or letter in b"!#$%&'*+-.^_`|~":
            name_bytes[byte] = ord(letter.lower()) if byte < 128 else 0
        host_bytes[byte] = byte < 128 and (letter.isalnum() or letter in b"._-")
    for name in _all_names:
        found = 2166136261u
        for letter in name:
            found = (found ^ <uint8_t>letter) * 16777619u
        slot = found & (NAMES - 1)
        while names[slot].text:
            slot = (slot + 1) & (NAMES - 1)
        names[slot].text = <PyObject *>name
        names[slot].hash = found
        names[slot].meaning = _MEANINGS.get(name, 0)


if len(_all_names) > NAMES // 2 or not _MEANINGS.keys() <= set(_all_names):
    raise ImportError("there are other names of fields")
_fill()


cdef inline uint64_t _eight(const uint8_t *text) noexcept:
    cdef uint64_t value
    memcpy(&value, text, 8)
    return value


cdef inline uint32_t _mark(const uint8_t *line, Py_ssize_t size) noexcept:
    """A number by which a line is looked for: of its size, its ends and its middle."""
    cdef uint64_t mixed = _eight(line) * 0x9E3779B97F4A7C15u + <uint64_t>size
    mixed = (mixed ^ _eight(line + size - 8)) * 0xC2B2AE3D27D4EB4Fu
    mixed = (mixed ^ _eight(line + (size >> 1) - 4)) * 0x165667B19E3779F9u
    return <uint32_t>(mixed >> 32)


cdef bint _is_usual_host(const uint8_t *text, Py_ssize_t size) noexcept:
    """Whether this is a name or an IPv4 address, with or without a port; another may be a Host as well."""
    cdef Py_ssize_t index = 0, digits
    while index < size and host_bytes[text[index]]:
        index += 1
    if index == size or index == 0:
        return index == size
    digits = size - index - 1
    if text[index] != c":" or digits > 5:
        return False
    for index in range(index + 1, size):
        if not c"0" <= text[index] <= c"9":
            return False
    return True


@cython.final
cdef class PlainHeads:
    """Reads the plain heads of all connections of a loop."""

    def __cinit__(self, limits):
        self._target_size = limits.target
        self._fields = min(limits.fields, MAX_FIELDS)
        self._field_size = limits.field_size
        self._head_size = limits.head
        self._kept = [None] * LINES
        self._lines = <Line *>PyMem_Calloc(LINES, sizeof(Line))
        if self._lines is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self._lines)

    cpdef RequestHead read(self, bytes data, Py_ssize_t start):
        """The head that begins at `start` of `data`, and `end` is where it ends; None where it is not whole or not plain."""
        cdef const uint8_t *begin = <const uint8_t *>PyBytes_AS_STRING(data) + start
        cdef const uint8_t *stop = <const uint8_t *>PyBytes_AS_STRING(data) + PyBytes_GET_SIZE(data)
        cdef const uint8_t *at = begin
        cdef const uint8_t *eol
        cdef PyObject *pairs[MAX_FIELDS]
        cdef Py_ssize_t count = 0, index, size
        cdef uint32_t seen = 0, meaning
        cdef RequestHead head
        cdef list headers
        if stop - begin < 18:
            return None
        head = RequestHead.__new__(RequestHead)
        at = self._read_line(head, begin, stop)
        if at is NULL:
            return None
        self._length = -1
        try:
            while True:
                eol = <const uint8_t *>memchr(at, c"\n", stop - at)
                if eol is NULL or eol == at or (eol - 1)[0] != c"\r":
                    return None
                size = eol - 1 - at
                if size == 0:
                    break
                if size > self._field_size or count == self._fields:
                    return None
                pairs[count] = self._read_field(at, size, &meaning)
                if pairs[count] is NULL:
                    return None
                count += 1
                if meaning & (NOT_PLAIN | (seen & (HOST | LENGTH | CODING))):
                    return None
                seen |= meaning
                at = eol + 1
            if eol + 1 - begin > self._head_size:
                return None
            if head.http_version is _V11:
                if not seen & HOST:
                    return None
                head.keep_alive = not seen & CLOSE
            else:
                if seen & CODING:
                    return None
                head.keep_alive = seen & KEEP and not seen & CLOSE
            if seen & LENGTH and seen & CODING:
                return None
            headers = PyList_New(count)
            for index in range(count):
                PyList_SET_ITEM(headers, index, <object>pairs[index])  # which takes the reference
            count = 0
        finally:
            for index in range(count):
                Py_DECREF(<object>pairs[index])
        head.headers = headers
        head.content_length = self._length if seen & LENGTH else None
        head.chunked = seen & CODING != 0
        head.upgrades = seen & UPGRADES != 0
        head.forwarded = seen & FORWARDED != 0
        head.te_trailers = seen & TRAILERS != 0
        self.end = start + (eol + 1 - begin)
        return head

    cdef const uint8_t *_read_line(self, RequestHead head, const uint8_t *at, const uint8_t *stop) except? NULL:
        """Read the request line at `at`; returns where the fields begin, or NULL."""
        cdef const uint8_t *target
        cdef const uint8_t *query = NULL
        cdef const uint8_t *end
        cdef bint escaped = False
        cdef bytes raw
        # There are 18 bytes: more than the longest method has.
        if memcmp(at, b"GET ", 4) == 0:
            head.method, target = _GET, at + 4
        elif memcmp(at, b"POST ", 5) == 0:
            head.method, target = _POST, at + 5
        elif memcmp(at, b"HEAD ", 5) == 0:
            head.method, target = _HEAD, at + 5
        elif memcmp(at, b"PUT ", 4) == 0:
            head.method, target = _PUT, at + 4
        elif memcmp(at, b"PATCH ", 6) == 0:
            head.method, target = _PATCH, at + 6
        elif memcmp(at, b"DELETE ", 7) == 0:
            head.method, target = _DELETE, at + 7
        elif memcmp(at, b"OPTIONS ", 8) == 0:
            head.method, target = _OPTIONS, at + 8
        else:
            return NULL
        if target[0] != c"/":
            return NULL
        end = target + 1
        while end < stop and c"!" <= end[0] <= c"~":
            if end[0] == c"?" and query is NULL:
                query = end
            elif end[0] == c"%" and query is NULL:
                escaped = True
            elif end[0] == c"#":
                return NULL
            end += 1
        if end - target > self._target_size or stop - end < 11:
            return NULL
        if memcmp(end, b" HTTP/1.1\r\n", 11) == 0:
            head.http_version = _V11
        elif memcmp(end, b" HTTP/1.0\r\n", 11) == 0:
            head.http_version = _V10
        else:
            return NULL
        if end - target == 1:
            raw = _SLASH
        else:
            raw = PyBytes_FromStringAndSize(<const char *>target, end - target)
        head.target = raw
        if query is NULL:
            head.query_string = _NOTHING
        else:
            head.query_string = PyBytes_FromStringAndSize(<const char *>query + 1, end - query - 1)
            raw = PyBytes_FromStringAndSize(<const char *>target, query - target)
        head.raw_path = raw
        if escaped:
            head.path = (<bytes>_unquote(raw)).decode("utf-8", "replace")
        else:
            head.path = PyUnicode_DecodeLatin1(PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw), NULL)
        return end + 11

    cdef PyObject *_read_field(self, const uint8_t *line, Py_ssize_t size, uint32_t *meaning) except? NULL:
        """The pair of a field line, as a new reference, and what it means; NULL where it is not plain."""
        cdef Line *slot = NULL
        cdef uint32_t mark = 0
        cdef tuple pair
        cdef bytes text
        if MIN_LINE <= size <= MAX_LINE:
            mark = _mark(line, size)
            slot = &self._lines[mark & (LINES - 1)]
            if slot.size == size and memcmp(slot.text, line, size) == 0:
                meaning[0] = slot.meaning
                pair = <tuple>slot.pair
                Py_INCREF(pair)
                return <PyObject *>pair
        pair = self._parse_field(line, size, meaning)
        if pair is None:
            return NULL
        if slot is not NULL and not meaning[0] & FORGOTTEN:
            if slot.mark != mark:
                slot.mark = mark
            else:
                text = PyBytes_FromStringAndSize(<const char *>line, size)
                slot.size = 0
                self._kept[mark & (LINES - 1)] = (pair, text)
                slot.pair = <PyObject *>pair
                slot.text = <const uint8_t *>PyBytes_AS_STRING(text)
                slot.meaning = meaning[0]
                slot.size = <uint32_t>size
        Py_INCREF(pair)
        return <PyObject *>pair

    cdef tuple _parse_field(self, const uint8_t *line, Py_ssize_t size, uint32_t *meaning):
        """A field line (RFC 9112 section 5) as name and value; None where it is not plain."""
        cdef uint8_t lower[MAX_NAME]
        cdef Py_ssize_t length = 0, index, begin, end = size
        cdef uint32_t found = 2166136261u, slot
        cdef uint8_t byte, bad = 0
        cdef bytes name = None, value
        cdef uint8_t *text
        while length < size:
            byte = name_bytes[line[length]]
            if byte == 0:
                break
            if length < MAX_NAME:
                lower[length] = byte
                found = (found ^ byte) * 16777619u
            length += 1
        if length == 0 or length == size or line[length] != c":":
            return None
        meaning[0] = 0
        if length <= MAX_NAME:
            slot = found & (NAMES - 1)
            while names[slot].text:
                if names[slot].hash == found:
                    name = <bytes>names[slot].text
                    if PyBytes_GET_SIZE(name) == length and memcmp(PyBytes_AS_STRING(name), lower, length) == 0:
                        meaning[0] = names[slot].meaning
                        break
                    name = None
                slot = (slot + 1) & (NAMES - 1)
        if name is None:
            name = PyBytes_FromStringAndSize(NULL, length)
            text = <uint8_t *>PyBytes_AS_STRING(name)
            for index in range(length):
                text[index] = name_bytes[line[index]]
        begin = length + 1
        while begin < size and (line[begin] == c" " or line[begin] == c"\t"):
            begin += 1
        while end > begin and (line[end - 1] == c" " or line[end - 1] == c"\t"):
            end -= 1
        for index in range(begin, end):
            byte = line[index]
            bad |= (byte < 32 and byte != 9) | (byte == 127)
        if bad:
            return None
        value = PyBytes_FromStringAndSize(<const char *>line + begin, end - begin)
        if meaning[0] and not self._understand(line + begin, end - begin, value, meaning):
            return None
        return (name, value)

    cdef bint _understand(self, const uint8_t *text, Py_ssize_t size, bytes value, uint32_t *meaning) except -1:
        """What the value of a field that matters means; false where it is not plain."""
        cdef uint32_t kind = meaning[0]
        cdef long long number = 0
        cdef Py_ssize_t index
        if kind & HOST:
            return _is_usual_host(text, size) or _is_host(value)
        if kind & LENGTH:
            if not 0 < size <= 18:
                return False
            for index in range(size):
                if not c"0" <= text[index] <= c"9":
                    return False
                number = number * 10 + (text[index] - c"0")
            self._length = number
        elif kind & CODING:
            return size == 7 and memcmp(text, b"chunked", 7) == 0
        elif kind & CONNECTION:
            if size == 10 and memcmp(text, b"keep-alive", 10) == 0:
                meaning[0] = KEEP
            else:
                found = _tokens(value)
                meaning[0] = (KEEP if b"keep-alive" in found else 0) | (CLOSE if b"close" in found else 0)
        elif kind & TRANSFER:
            meaning[0] = TRAILERS if b"trailers" in _tokens(value) else 0
        return True
