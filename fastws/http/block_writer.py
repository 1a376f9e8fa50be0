"""Header blocks of one HTTP/2 connection as they are sent: what comes again is in the peer's table (HPACK, RFC 7541).

`header_blocks` writes blocks that depend on no connection, with names from the static table alone, so that what an
application answers again and again is written once for all of them. Here such a block becomes the one of a connection.
A field that has come twice lately enters the table, which the peer keeps as this module has it, and is then a byte or
two. What never comes again, as a request id, enters nothing and pushes nothing out; what is secret stays out of every
table (section 7.1.3). A block that comes again while the table is the same is not looked at again.

Compiled by Cython where the extension was built (block_writer.pxd), interpreted elsewhere.
"""

from __future__ import annotations

from collections import deque

from fastws.http.header_blocks import STATIC_NAMES
from fastws.http.repeats import Repeats

TABLE_BYTES = 4096
"""The table's size that nobody has to agree on (RFC 9113 section 6.5.2); ours is never larger."""

ENTRY_BYTES = 32
"""What an entry counts for beside its name and its value (RFC 7541 section 4.1)."""

STATIC = 61
SLOTS = 64  # hashes of what came once that are remembered
REMEMBERED = 32  # blocks
REMEMBERED_BYTES = 1024  # of such a block
LARGEST_ENTRY = TABLE_BYTES // 4

_names = {index: len(name) for name, index in STATIC_NAMES.items()}
NAME_BYTES = [_names.get(index, 0) for index in range(16 + 127)]
"""By an index of the static table, how long the name is."""


class BlockWriter:
    """The blocks of a connection, which are to be sent in the order in which they are asked for."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}  # of a field's literal: the number of its entry, counted from 1
        self._entries: deque[tuple[bytes, int]] = deque()  # the same in order, with what they count for
        self._added: int = 0
        self._bytes: int = 0
        self._limit: int = TABLE_BYTES
        # What the peer allows, and the least that it has since the last block: it is told of both (section 4.2).
        self._allowed: int = TABLE_BYTES
        self._least: int = TABLE_BYTES
        self._known = Repeats(REMEMBERED, SLOTS)  # blocks, and which fields came once

    def limit_table(self, size: int) -> None:
        """The peer keeps a table of `size` bytes at most (SETTINGS_HEADER_TABLE_SIZE)."""
        self._allowed = min(size, TABLE_BYTES)
        self._least = min(self._least, self._allowed)

    def write(self, block: bytes) -> bytes:
        """`block`, which `header_blocks` has written, as this connection's next one."""
        if self._allowed != self._limit or self._least < self._limit:
            return self._resize() + self._write(block)
        known: bytes | None = self._known.found.get(block)
        return self._write(block) if known is None else known

    def _resize(self) -> bytes:
        """Say of what size the table is from now on, and of what size it was in between."""
        self._known.found.clear()
        told = b""
        if self._least < self._allowed and self._least < self._limit:
            self._evict(self._least)
            told = integer(0x20, 31, self._least)
        self._limit = self._least = self._allowed
        self._evict(self._limit)
        return told + integer(0x20, 31, self._limit)

    def _write(self, block: bytes) -> bytes:
        added = self._added
        pieces = []
        position = 0
        size = len(block)
        while position < size:
            first = block[position]
            end = literal_end(block, position)
            literal = block[position:end]
            if first >= 0x10:  # an entry of the static table, or what no table may have
                pieces.append(literal)
            else:
                place = self._places.get(literal)
                if place is not None:
                    pieces.append(integer(0x80, 127, STATIC + 1 + self._added - place))
                elif self._known.came_before(literal) and self._add(literal):
                    pieces.append(with_indexing(literal))
                else:
                    pieces.append(literal)
            position = end
        written = b"".join(pieces)
        if added != self._added:
            self._known.found.clear()  # every index is another one now
        elif size <= REMEMBERED_BYTES:
            self._known.keep(block, written)
        return written

    def _add(self, literal: bytes) -> bool:
        """Add a field to the table; false where it would take too much of it."""
        size = entry_bytes(literal)
        if size > min(LARGEST_ENTRY, self._limit):
            return False
        self._evict(self._limit - size)
        self._added += 1
        self._bytes += size
        self._places[literal] = self._added
        self._entries.append((literal, size))
        return True

    def _evict(self, room: int) -> None:
        """Let the oldest entries go until the table has `room` bytes at most (section 4.4)."""
        while self._bytes > room:
            literal, size = self._entries.popleft()
            self._bytes -= size
            del self._places[literal]


def literal_end(block: bytes, position: int) -> int:
    """Where the field ends that begins at `position` of a block of `header_blocks`."""
    first = block[position]
    position += 1
    if first & 0x80:
        return position
    index = first & 0x0F
    if index == 15:
        position += 1  # of 61 names, the index has two bytes at most
    elif index == 0:
        position = string_end(block, position)
    return string_end(block, position)


def string_end(block: bytes, position: int) -> int:
    """Where the string literal ends that begins at `position`; none of ours is Huffman-coded."""
    size = block[position]
    position += 1
    if size == 127:
        shift = 0
        while True:
            digit = block[position]
            position += 1
            size += (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                break
    return position + size


def entry_bytes(literal: bytes) -> int:
    """What the field of `literal` counts for in a table: its strings without their sizes, and 32."""
    index = literal[0] & 0x0F
    position = 1
    size = ENTRY_BYTES
    if index == 15:
        index += literal[1]
        position = 2
    if index:
        size += NAME_BYTES[index]
    else:
        end = string_end(literal, position)
        size += end - string_begin(literal, position)
        position = end
    return size + len(literal) - string_begin(literal, position)


def string_begin(literal: bytes, position: int) -> int:
    """Where the text of the string literal begins."""
    size = literal[position]
    position += 1
    if size == 127:
        while literal[position] >= 0x80:
            position += 1
        position += 1
    return position


def with_indexing(literal: bytes) -> bytes:
    """`literal` as one that enters the table (section 6.2.1), in which an index of a name has six bits."""
    index = literal[0] & 0x0F
    if index < 15:
        return bytes((0x40 | index,)) + literal[1:]
    return bytes((0x40 | (index + literal[1]),)) + literal[2:]


def integer(mark: int, most: int, value: int) -> bytes:
    """`value` behind the bits of `mark`, where `most` is what does not fit beside them (section 5.1)."""
    if value < most:
        return bytes((mark | value,))
    digits = bytearray((mark | most,))
    value -= most
    while value >= 128:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)
