"""Header blocks of HTTP/2 (HPACK, RFC 7541): what reads them, and what writes ours.

Reading is the library hpack's, which the extra `http2` installs; where the extension was built, `_hpack` reads twenty
times as fast, with the library's tables. The dynamic table is the peer's and is bounded by 4 KiB.

Writing is done here, without a table: names come from the static one where they are in it, values are sent as they
are. Such a block depends on no connection, so that what an application answers again and again is written once; what
of it a connection sends is `block_writer`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Final

from fastws.http.http2_frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Http2Error

Header = tuple[bytes, bytes]

STATIC_NAMES: Final = {
    name: index
    for index, name in (
        *((1, b":authority"), (8, b":status"), (15, b"accept-charset"), (16, b"accept-encoding")),
        *((17, b"accept-language"), (18, b"accept-ranges"), (19, b"accept"), (20, b"access-control-allow-origin")),
        *((21, b"age"), (22, b"allow"), (23, b"authorization"), (24, b"cache-control"), (25, b"content-disposition")),
        *((26, b"content-encoding"), (27, b"content-language"), (28, b"content-length"), (29, b"content-location")),
        *((30, b"content-range"), (31, b"content-type"), (32, b"cookie"), (33, b"date"), (34, b"etag")),
        *((35, b"expect"), (36, b"expires"), (37, b"from"), (38, b"host"), (39, b"if-match")),
        *((40, b"if-modified-since"), (41, b"if-none-match"), (42, b"if-range"), (43, b"if-unmodified-since")),
        *((44, b"last-modified"), (45, b"link"), (46, b"location"), (47, b"max-forwards")),
        *((48, b"proxy-authenticate"), (49, b"proxy-authorization"), (50, b"range"), (51, b"referer")),
        *((52, b"refresh"), (53, b"retry-after"), (54, b"server"), (55, b"set-cookie")),
        *((56, b"strict-transport-security"), (57, b"transfer-encoding"), (58, b"user-agent"), (59, b"vary")),
        *((60, b"via"), (61, b"www-authenticate")),
    )
}
"""Names of the static table and an index that they have (RFC 7541 appendix A)."""

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]\Z").search
_STATUSES: Final = {200: b"\x88", 204: b"\x89", 206: b"\x8a", 304: b"\x8b", 400: b"\x8c", 404: b"\x8d", 500: b"\x8e"}
_SECRET: Final = frozenset((b"set-cookie", b"authorization", b"proxy-authorization"))
_NOT_SENT: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
"""Fields of a connection of HTTP/1.1, which no message of HTTP/2 has (RFC 9113 section 8.2.2)."""


def is_available() -> bool:
    """Whether the library that reads blocks is installed."""
    return find_spec("hpack") is not None


class Block:
    """The fields of a block; `head` is for whoever makes something of them that holds for the same block again."""

    __slots__ = ("fields", "head")

    def __init__(self, fields: list[Header]) -> None:
        self.fields = fields
        self.head: Any = None


class BlockReader:
    """Reads the blocks of one connection, in order; a list of more than `limit` bytes is an error.

    Bytes of a list are counted as RFC 9113 section 6.5.2 does: 32 for each field besides its name and its value.
    """

    __slots__ = ("_decoder", "_decoding_error", "_oversized")

    def __init__(self, limit: int) -> None:
        import hpack
        import hpack.exceptions

        self._decoder: Any = hpack.Decoder(max_header_list_size=limit)
        self._oversized = hpack.exceptions.OversizedHeaderListError
        self._decoding_error = hpack.exceptions.HPACKError

    def read(self, block: bytes) -> Block:
        """The fields of `block`. Raises Http2Error: nobody knows then what the table has become."""
        try:
            fields = self._decoder.decode(block, raw=True)
        except self._oversized:
            raise Http2Error(ENHANCE_YOUR_CALM, "the header list is too large") from None
        except (self._decoding_error, ValueError, IndexError):
            raise Http2Error(COMPRESSION_ERROR, "the header block is malformed") from None
        return Block([(bytes(name), bytes(value)) for name, value in fields])


def is_field(name: bytes, value: bytes) -> bool:
    """Whether name and value may be those of a field: a token in small letters; no control character, no blank around.

    RFC 9113 section 8.2.1, RFC 9110 section 5.6.2.
    """
    return _NAME(name) is not None and _BAD_VALUE(value) is None


with suppress(ImportError):  # the same, compiled
    from fastws.http._hpack import Block, BlockReader, is_field  # type: ignore[assignment]  # noqa: F401


def status_field(status: int) -> bytes:
    """`:status`, which a response begins with."""
    known = _STATUSES.get(status)
    return b"\x08\x03%d" % status if known is None else known


def field(name: bytes, value: bytes) -> bytes:
    """A field, whose name is in lower case, as a literal that enters no table (RFC 7541 section 6.2.2)."""
    mark = 0x10 if name in _SECRET else 0  # section 7.1.3: no proxy puts it in a table either
    index = STATIC_NAMES.get(name)
    if index is None:
        return bytes((mark,)) + _string(name) + _string(value)
    head = bytes((mark | index,)) if index < 15 else bytes((mark | 15, index - 15))
    return head + _string(value)


def fields_block(fields: Iterable[Header]) -> bytes:
    """Fields as the application gave them, without those of a connection."""
    lowered = ((name.lower(), value) for name, value in fields)
    return b"".join([field(name, value.strip(b" \t")) for name, value in lowered if name not in _NOT_SENT])


def lines_block(lines: bytes) -> bytes:
    """What `response_head` made lines of HTTP/1.1 of: ``name: value``, each with its CRLF."""
    return fields_block(pair_of(line) for line in lines.split(b"\r\n") if line)


def pair_of(line: bytes) -> Header:
    """Name and value of a line."""
    name, _, value = line.partition(b": ")
    return name, value


def _string(text: bytes) -> bytes:
    """A string literal, not Huffman-coded (RFC 7541 section 5.2)."""
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    digits = bytearray((127,))
    size -= 127
    while size >= 128:
        digits.append(size & 127 | 128)
        size >>= 7
    digits.append(size)
    return bytes(digits) + text
