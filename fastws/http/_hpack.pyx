# cython: language_level=3, boundscheck=False, wraparound=False, auto_pickle=False, autotestdict=False
"""Header blocks of HTTP/2 (HPACK, RFC 7541) read in C, and what the text of a field may be (RFC 9113 section 8.2.1).

The tables, the static one and Huffman's, are the library hpack's; without it this module cannot be imported.
header_blocks.py has the same reader for where nothing is compiled, on the library's own.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t

cimport cython

from hpack.huffman_table import HUFFMAN_TABLE as _HUFFMAN
from hpack.table import HeaderTable as _HeaderTable

from fastws.http.http2_frames import COMPRESSION_ERROR as _COMPRESSION_ERROR, ENHANCE_YOUR_CALM as _ENHANCE_YOUR_CALM
from fastws.http.http2_frames import Http2Error as _Http2Error

cdef enum:
    TABLE_BYTES = 4096  # SETTINGS_HEADER_TABLE_SIZE that we leave as it is
    ENTRY_BYTES = 32  # what an entry counts for beside its name and its value (section 4.1)
    STATIC = 61
    STATES = 256
    COMPLETE = 1  # what hpack's table says of a step
    EMIT = 2
    FAIL = 4
    MOST_DIGITS = 4  # of an integer behind its prefix: 2^28, beyond every size here
    REMEMBERED = 64  # blocks of a connection
    REMEMBERED_BYTES = 256  # of such a block

cdef struct Step:
    uint8_t state
    uint8_t flags
    uint8_t symbol

cdef Step steps[STATES * 16]
cdef uint8_t name_bytes[256]  # what a name may have: tokens in small letters, 1; and a value, 2
cdef tuple static_table = tuple((bytes(name), bytes(value)) for name, value in _HeaderTable.STATIC_TABLE)


def _fill():
    for number, (state, flags, symbol) in enumerate(_HUFFMAN):
        steps[number].state = state if not flags & FAIL else 0
        steps[number].flags = flags
        steps[number].symbol = symbol
    for byte in range(256):
        token = byte in b"!#$%&'*+.^_`|~-0123456789abcdefghijklmnopqrstuvwxyz"
        name_bytes[byte] = token | (2 if byte == 9 or (byte >= 32 and byte != 127) else 0)


if len(_HUFFMAN) != STATES * 16 or len(static_table) != STATIC:
    raise ImportError("hpack has other tables")
_fill()


def is_field(bytes name not None, bytes value not None):
    """Whether name and value may be those of a field: a token in small letters, and no control character or blank around."""
    cdef const uint8_t *text = <const uint8_t *>PyBytes_AS_STRING(name)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name), index
    if not size:
        return False
    for index in range(size):
        if not name_bytes[text[index]] & 1:
            return False
    text = <const uint8_t *>PyBytes_AS_STRING(value)
    size = PyBytes_GET_SIZE(value)
    if size and (text[0] == 32 or text[0] == 9 or text[size - 1] == 32 or text[size - 1] == 9):
        return False
    for index in range(size):
        if not name_bytes[text[index]] & 2:
            return False
    return True


@cython.final
cdef class Block:
    """The fields of a block; `head` is for whoever makes something of them that holds for the same block again."""

    cdef readonly list fields
    cdef public object head

    def __init__(self, list fields not None):
        self.fields = fields


@cython.final
cdef class BlockReader:
    """Reads the blocks of one connection, in order; a list of more than `limit` bytes is an error.

    Bytes of a list are counted as RFC 9113 section 6.5.2 does: 32 for each field besides its name and its value. What a
    client sends again, with nothing new for the table, is read once.
    """

    cdef list entries  # the dynamic table, the newest at the end
    cdef Py_ssize_t evicted  # entries at the beginning that are None
    cdef Py_ssize_t table_bytes
    cdef Py_ssize_t table_limit
    cdef Py_ssize_t limit
    cdef dict remembered
    # Where the reader is.
    cdef const uint8_t *text
    cdef Py_ssize_t position
    cdef Py_ssize_t size

    def __init__(self, Py_ssize_t limit):
        self.entries = []
        self.table_limit = TABLE_BYTES
        self.limit = limit
        self.remembered = {}

    def read(self, bytes block not None):
        """The `Block` with the fields. Raises Http2Error."""
        known = self.remembered.get(block)
        if known is not None:
            return known
        cdef list fields = []
        cdef Py_ssize_t listed = 0
        cdef bint changed = False
        cdef uint8_t first
        cdef tuple entry
        self.text = <const uint8_t *>PyBytes_AS_STRING(block)
        self.size = PyBytes_GET_SIZE(block)
        self.position = 0
        while self.position < self.size:
            first = self.text[self.position]
            if first & 0x80:
                entry = self.entry(self.integer(0x7F))
            elif first & 0xC0 == 0x40:
                entry = self.literal(0x3F)
                self.add(entry)
                changed = True
            elif first & 0xE0 == 0x20:
                if fields:
                    raise malformed()
                self.resize(self.integer(0x1F))
                changed = True
                continue
            else:
                entry = self.literal(0x0F)
            fields.append(entry)
            listed += entry_bytes(entry)
            if listed > self.limit:
                raise _Http2Error(_ENHANCE_YOUR_CALM, "the header list is too large")
        found = Block(fields)
        if changed:
            if self.remembered:
                self.remembered.clear()  # the same bytes may mean other fields now
        elif self.size <= REMEMBERED_BYTES:
            if len(self.remembered) >= REMEMBERED:
                self.remembered.clear()
            self.remembered[block] = found
        return found

    # Steps.

    cdef Py_ssize_t integer(self, uint8_t mask) except -1:
        """An integer whose prefix is under `mask` (section 5.1)."""
        cdef Py_ssize_t value = self.text[self.position] & mask
        cdef int shift = 0
        cdef uint8_t digit
        self.position += 1
        if value < mask:
            return value
        while self.position < self.size:
            digit = self.text[self.position]
            self.position += 1
            value += <Py_ssize_t>(digit & 0x7F) << shift
            if not digit & 0x80:
                return value
            shift += 7
            if shift >= 7 * MOST_DIGITS:
                raise malformed()
        raise malformed()

    cdef bytes string(self):
        """A string, Huffman-coded or not (section 5.2)."""
        if self.position >= self.size:
            raise malformed()
        cdef bint coded = self.text[self.position] & 0x80
        cdef Py_ssize_t size = self.integer(0x7F)
        cdef const uint8_t *begin = self.text + self.position
        if size > self.size - self.position:
            raise malformed()
        self.position += size
        if coded:
            return decoded(begin, size)
        return PyBytes_FromStringAndSize(<const char *>begin, size)

    cdef tuple literal(self, uint8_t mask):
        """A field whose name, or whose index of a name, stands under `mask` (section 6.2)."""
        cdef Py_ssize_t index = self.integer(mask)
        cdef bytes name = self.string() if not index else <bytes>self.entry(index)[0]
        return name, self.string()

    cdef tuple entry(self, Py_ssize_t index):
        """An entry of both tables, that are counted as one (section 2.3.3)."""
        cdef Py_ssize_t place
        if 0 < index <= STATIC:
            return <tuple>static_table[index - 1]
        place = len(self.entries) - (index - STATIC)
        if index == 0 or place < self.evicted:
            raise malformed()
        return <tuple>self.entries[place]

    cdef add(self, tuple entry):
        """Add to the dynamic table (section 4.4); what is larger than the table empties it."""
        cdef Py_ssize_t size = entry_bytes(entry)
        self.evict(self.table_limit - size)
        if size <= self.table_limit:
            self.entries.append(entry)
            self.table_bytes += size

    cdef resize(self, Py_ssize_t size):
        """The encoder's table has another size from now on (section 6.3)."""
        if size > TABLE_BYTES:
            raise malformed()
        self.table_limit = size
        self.evict(size)

    cdef evict(self, Py_ssize_t room):
        """Let the oldest entries go until the table has `room` bytes at most (section 4.3)."""
        while self.table_bytes > room and self.evicted < len(self.entries):
            self.table_bytes -= entry_bytes(<tuple>self.entries[self.evicted])
            self.entries[self.evicted] = None
            self.evicted += 1
        if self.evicted > 64:
            del self.entries[: self.evicted]
            self.evicted = 0


cdef Py_ssize_t entry_bytes(tuple entry) except -1:
    return PyBytes_GET_SIZE(<bytes>entry[0]) + PyBytes_GET_SIZE(<bytes>entry[1]) + ENTRY_BYTES


cdef object malformed():
    return _Http2Error(_COMPRESSION_ERROR, "the header block is malformed")


cdef bytes decoded(const uint8_t *text, Py_ssize_t size):
    """What is Huffman-coded (appendix B). A code has five bits at least."""
    cdef uint8_t small[512]
    cdef Py_ssize_t most = size * 8 // 5 + 1, count = 0, index
    cdef bytes large = None
    cdef uint8_t *out = small
    cdef uint32_t state = 0
    cdef uint8_t flags = COMPLETE
    cdef Step step
    cdef int half
    if most > <Py_ssize_t>sizeof(small):
        large = PyBytes_FromStringAndSize(NULL, most)
        out = <uint8_t *>PyBytes_AS_STRING(large)
    for index in range(size):
        for half in range(2):
            step = steps[state * 16 + (text[index] >> 4 if not half else text[index] & 0xF)]
            flags = step.flags
            if flags & FAIL:
                raise malformed()
            if flags & EMIT:
                out[count] = step.symbol
                count += 1
            state = step.state
    if not flags & COMPLETE:
        raise malformed()
    return PyBytes_FromStringAndSize(<const char *>out, count)
