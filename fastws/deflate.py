"""permessage-deflate (RFC 7692): the negotiation, and messages in and out of their compressed form.

Sans-IO, and the same for all engines. By default neither side keeps its compression context between messages: a
connection then holds no zlib stream while it is idle, and one `Deflater` serves all connections of a loop. The frames
and the RSV1 bit are the engines'.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fastws.deflate_backends import ZLIB, Backend, Compressor
from fastws.events import Failure
from fastws.failures import INVALID_DEFLATE, TOO_BIG

EXTENSION: Final = b"permessage-deflate"

_TAIL: Final = b"\x00\x00\xff\xff"
"""What a sender cuts off the end of each message (RFC 7692 section 7.2.1): the rest of an empty stored block."""

_FINAL_BLOCK: Final = b"\x01\x00\x00\xff\xff"
"""An empty stored block with BFINAL set: where it ends a stream, that stream was between two blocks."""

# zlib deflates no raw stream with a window of 256 bytes; it inflates them all.
_MIN_DEFLATE_BITS: Final = 9
_MAX_BITS: Final = 15

# A shared compressor keeps the last message up to this size, in bytes, with its compressed form.
_MAX_KEPT: Final = 65_536


# ---------------------------------------------------------------------------------------------------------- negotiation


@dataclass(frozen=True)
class DeflateParameters:
    """What both sides agreed on (RFC 7692 section 7.1). Window bits are 8 to 15, the server's 9 to 15."""

    server_no_context_takeover: bool = True
    client_no_context_takeover: bool = True
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15
    server_bits_offered: bool = False
    """Whether the client asked for a bound of the server's window, so that the answer names it."""

    def response(self) -> bytes:
        """The value of Sec-WebSocket-Extensions in the answer."""
        parts = [EXTENSION]
        if self.server_no_context_takeover:
            parts.append(b"server_no_context_takeover")
        if self.client_no_context_takeover:
            parts.append(b"client_no_context_takeover")
        if self.server_bits_offered:
            parts.append(b"server_max_window_bits=%d" % self.server_max_window_bits)
        if self.client_max_window_bits < _MAX_BITS:
            parts.append(b"client_max_window_bits=%d" % self.client_max_window_bits)
        return b"; ".join(parts)

    def inflater(self, counts: DeflateCounts | None = None) -> Inflater:
        """A new decompressor for a connection with these parameters, which adds to `counts`."""
        takeover = not self.client_no_context_takeover
        return Inflater(self.client_max_window_bits, context_takeover=takeover, counts=counts)


def negotiate(
    header_values: Sequence[bytes],
    *,
    server_no_context_takeover: bool = True,
    client_no_context_takeover: bool = True,
    server_max_window_bits: int = 12,
    client_max_window_bits: int = 15,
) -> DeflateParameters | None:
    """The parameters for the first acceptable offer in the client's Sec-WebSocket-Extensions values, or None.

    The keywords are what the server would like: whether each side forgets its context after a message (the server does
    it too if the client demands it), and the largest windows, in bits: 9 to 15 for the server's, 8 to 15 for the
    client's. An offer with an unknown, repeated or invalid parameter is declined alone; a value that is no list of
    extensions is ignored (RFC 7692 section 5.1, RFC 6455 section 9.1). `server_max_window_bits=8` is declined: zlib
    cannot honour it. Raises ValueError for window bits out of these bounds.
    """
    if not _MIN_DEFLATE_BITS <= server_max_window_bits <= _MAX_BITS:
        raise ValueError(f"server_max_window_bits must be 9 to 15, not {server_max_window_bits}")
    if not 8 <= client_max_window_bits <= _MAX_BITS:
        raise ValueError(f"client_max_window_bits must be 8 to 15, not {client_max_window_bits}")
    for header_value in header_values:
        for name, parameters in _parse_extensions(header_value):
            if name != EXTENSION:
                continue
            offer = _read_offer(parameters)
            if offer is None or offer.get("server_max_window_bits", _MAX_BITS) < _MIN_DEFLATE_BITS:
                continue
            # Without the client's word that it knows the parameter, its window may not be bounded (section 7.1.2.2).
            client_bits = min(offer["client_max_window_bits"], client_max_window_bits) if _CLIENT_BITS in offer else 15
            return DeflateParameters(
                server_no_context_takeover or "server_no_context_takeover" in offer,
                client_no_context_takeover or "client_no_context_takeover" in offer,
                min(offer.get("server_max_window_bits", _MAX_BITS), server_max_window_bits),
                client_bits,
                "server_max_window_bits" in offer,
            )
    return None


_CLIENT_BITS: Final = "client_max_window_bits"

# RFC 6455 section 9.1; a quoted value must be a token once unquoted, so it needs no escapes, but may have them.
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\.)*)"'
_PARAMETER: Final = re.compile(
    rb"[ \t]*;[ \t]*(%(token)b)(?:[ \t]*=[ \t]*(?:(%(token)b)|%(quoted)b))?" % {b"token": _TOKEN, b"quoted": _QUOTED}
)
_NAME: Final = re.compile(rb"[ \t]*(" + _TOKEN + rb")")
_SEPARATOR: Final = re.compile(rb"[ \t]*(?:,|$)")
_EMPTY_ELEMENTS: Final = re.compile(rb"[ \t,]*")
_WINDOW_BITS: Final = re.compile(r"8|9|1[0-5]")

_Parameters = list[tuple[str, str | None]]


def _parse_extensions(header_value: bytes) -> list[tuple[bytes, _Parameters]]:
    """The extensions in one header value, with their parameters; none at all where it is malformed."""
    try:
        return list(_extensions(header_value))
    except ValueError:
        return []


def _extensions(header_value: bytes) -> Iterator[tuple[bytes, _Parameters]]:
    end = len(_EMPTY_ELEMENTS.match(header_value)[0])  # type: ignore[index]  # it matches nothing, too
    while end < len(header_value):
        name = _NAME.match(header_value, end)
        if name is None:
            raise ValueError("no extension name")
        end = name.end()
        parameters: _Parameters = []
        while found := _PARAMETER.match(header_value, end):
            parameters.append((found[1].decode(), _value(found)))
            end = found.end()
        separator = _SEPARATOR.match(header_value, end)
        if separator is None:
            raise ValueError("no end of the extension")
        yield name[1], parameters
        end = _EMPTY_ELEMENTS.match(header_value, separator.end()).end()  # type: ignore[union-attr]


def _value(parameter: re.Match[bytes]) -> str | None:
    if parameter[3] is None:
        return None if parameter[2] is None else parameter[2].decode()
    unquoted = re.sub(rb"\\(.)", rb"\1", parameter[3])
    if not re.fullmatch(_TOKEN, unquoted):
        raise ValueError("a quoted value is no token")
    return unquoted.decode()


def _read_offer(parameters: _Parameters) -> dict[str, int] | None:
    """The parameters of one offer by name, with their window bits, or None where one of them makes it invalid."""
    offer: dict[str, int] = {}
    for name, value in parameters:
        if name in offer:
            return None
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
            offer[name] = 1
        elif name == _CLIENT_BITS and value is None:
            offer[name] = _MAX_BITS
        elif name in (_CLIENT_BITS, "server_max_window_bits") and value and _WINDOW_BITS.fullmatch(value):
            offer[name] = int(value)
        else:
            return None
    return offer


# ------------------------------------------------------------------------------------------------------------- messages


class DeflateCounts:
    """Bytes of messages that went compressed, before and after, each way."""

    __slots__ = ("compressed_in", "compressed_out", "plain_in", "plain_out")

    def __init__(self) -> None:
        self.compressed_in = 0
        self.plain_in = 0
        self.compressed_out = 0
        self.plain_out = 0


class Deflater:
    """Compresses messages (RFC 7692 section 7.2.1).

    Without context takeover one Deflater may be shared by all connections with the same window: a full flush after
    each message makes the compressor forget it, so that nothing of one connection's messages shows in another's. With
    it, each connection needs its own, which costs memory for as long as it is open.
    """

    __slots__ = (
        "_last",
        "_stream",
        "backend",
        "context_takeover",
        "counts",
        "level",
        "mem_level",
        "threshold",
        "window_bits",
    )

    def __init__(
        self,
        window_bits: int = 12,
        *,
        context_takeover: bool = False,
        threshold: int = 256,
        level: int = 1,
        mem_level: int = 5,
        backend: Backend = ZLIB,
        counts: DeflateCounts | None = None,
    ) -> None:
        """Make a compressor with a window of 2**`window_bits` bytes (9 to 15).

        Messages under `threshold` bytes are to be sent as they are, and those that do not shrink, unless it is 0.
        `level` (1 to 9) and `mem_level` (1 to 9) are zlib's: one stream takes 2**(window_bits + 2) + 2**(mem_level + 9)
        bytes and some 5 KiB. One of isal's takes 61 KiB, and 113 KiB with level 9.
        """
        if not _MIN_DEFLATE_BITS <= window_bits <= _MAX_BITS:
            raise ValueError(f"window_bits must be 9 to 15, not {window_bits}")
        self.window_bits = window_bits
        self.context_takeover = context_takeover
        self.threshold = threshold
        self.level = level
        self.mem_level = mem_level
        self.backend = backend
        self.counts = counts or DeflateCounts()
        self._stream: Compressor | None = None
        self._last: tuple[bytes, bytes | None] = (b"", None)  # a payload, and what became of it: a broadcast's

    def compress(self, payload: bytes) -> bytes | None:
        """The compressed payload of one message, or None where it should be sent as it is."""
        shorter = self._compress(payload)
        if shorter is not None:
            counts = self.counts
            counts.plain_out += len(payload)
            counts.compressed_out += len(shorter)
        return shorter

    def _compress(self, payload: bytes) -> bytes | None:
        if len(payload) < self.threshold:
            return None
        if payload == self._last[0]:
            return self._last[1]
        stream = self._stream
        if stream is None:
            stream = self._stream = self.backend.make(self.level, self.window_bits, self.mem_level)
        compressed = stream.compress(payload)
        if self.context_takeover:
            # What went through the stream must be sent in that form: later messages refer to it.
            return (compressed + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
        compressed = (compressed + stream.flush(zlib.Z_FULL_FLUSH))[:-4]
        shorter = compressed if len(compressed) < len(payload) or not self.threshold else None
        if len(payload) <= _MAX_KEPT:
            self._last = (payload, shorter)
        return shorter


class Deflaters:
    """The compression that a server wants, and the compressors that connections without context takeover share.

    The arguments are those of `Deflater`, as preferences: a client may demand a smaller window and no context takeover.
    """

    def __init__(
        self,
        window_bits: int = 12,
        *,
        context_takeover: bool = False,
        threshold: int = 256,
        level: int = 1,
        mem_level: int = 5,
        backend: Backend = ZLIB,
    ) -> None:
        self.window_bits = window_bits
        self.context_takeover = context_takeover
        self.threshold = threshold
        self.level = level
        self.mem_level = mem_level
        self.backend = backend
        self.counts = DeflateCounts()
        self._shared: dict[int, Deflater] = {}

    def negotiate(self, header_values: Sequence[bytes]) -> DeflateParameters | None:
        """What `negotiate` makes of the client's offers with these preferences."""
        return negotiate(
            header_values,
            server_no_context_takeover=not self.context_takeover,
            client_no_context_takeover=not self.context_takeover,
            server_max_window_bits=self.window_bits,
        )

    def get(self, parameters: DeflateParameters) -> Deflater:
        """The compressor for a connection with these parameters: its own only where the server keeps its context."""
        bits = parameters.server_max_window_bits
        if not parameters.server_no_context_takeover:
            return self._make(bits, context_takeover=True)
        if bits not in self._shared:
            self._shared[bits] = self._make(bits, context_takeover=False)
        return self._shared[bits]

    def _make(self, bits: int, context_takeover: bool) -> Deflater:
        return Deflater(
            bits,
            context_takeover=context_takeover,
            threshold=self.threshold,
            level=self.level,
            mem_level=self.mem_level,
            backend=self.backend,
            counts=self.counts,
        )


class Inflater:
    """Decompresses the messages of one connection (RFC 7692 section 7.2.2), piece by piece.

    Without context takeover it holds a zlib stream only inside a message. Deflate blocks with BFINAL set are decoded,
    and later messages too: the next one starts a new stream. After such a block a message may have the one byte 0x00
    (section 7.2.3.4) and nothing else.
    """

    __slots__ = ("_begun", "_context_takeover", "_counts", "_ended", "_rest", "_stream", "_window_bits")

    def __init__(
        self, window_bits: int = 15, *, context_takeover: bool = False, counts: DeflateCounts | None = None
    ) -> None:
        """Make a decompressor for a peer whose window has up to 2**`window_bits` bytes (8 to 15)."""
        if not 8 <= window_bits <= _MAX_BITS:
            raise ValueError(f"window_bits must be 8 to 15, not {window_bits}")
        self._window_bits = window_bits
        self._context_takeover = context_takeover
        self._counts = counts
        self._stream: zlib._Decompress | None = None
        self._begun = False  # a message, of which a byte is here
        self._ended = False  # the stream, by a final block, in this message
        self._rest = b""  # what followed that block

    def decompress(self, data: bytes, *, last: bool, max_length: int) -> bytes | Failure:
        """What the next piece of a message inflates to, at most `max_length` bytes, or why it cannot be had.

        `last` says that the message ends with this piece. After a Failure the inflater is of no more use.
        """
        if not self._begun:
            if not data:
                return b""  # no byte at all for an empty message: wrong, but several compressors do it
            self._begun = True
        stream = self._stream
        if stream is None:
            # zlib takes a raw window of 8 bits when inflating, but zlib-ng and older ones do not: 9 reads it as well.
            stream = self._stream = zlib.decompressobj(-max(self._window_bits, _MIN_DEFLATE_BITS))
        try:
            plain = b"" if self._ended else stream.decompress(data, max_length + 1)
            if len(plain) > max_length:
                return TOO_BIG
            if self._ended or stream.eof:
                self._rest += data if self._ended else stream.unused_data
                self._ended = True
                if self._rest not in (b"", b"\x00"):
                    return INVALID_DEFLATE
            if last and not self._end_message(stream):
                return INVALID_DEFLATE
        except zlib.error:
            return INVALID_DEFLATE
        if self._counts is not None:
            self._counts.compressed_in += len(data)
            self._counts.plain_in += len(plain)
        return plain

    def _end_message(self, stream: zlib._Decompress) -> bool:
        """Give the stream the tail that the sender cut off; whether the message really ended there."""
        self._begun = False
        if self._ended:
            self._stream = None
            self._ended = False
            self._rest = b""
            return True
        if not self._context_takeover:
            self._stream = None
            plain = stream.decompress(_TAIL + _FINAL_BLOCK, 1)
            # Where the block that the tail belongs to has BFINAL set itself, the stream ends before ours.
            return plain == b"" and stream.eof and stream.unused_data in (b"", _FINAL_BLOCK)
        if stream.decompress(_TAIL, 1):
            return False
        if stream.eof:
            self._stream = None
            return not stream.unused_data
        probe = stream.copy()
        return probe.decompress(_FINAL_BLOCK, 1) == b"" and probe.eof and not probe.unused_data
