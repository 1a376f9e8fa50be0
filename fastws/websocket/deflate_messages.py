"""Messages in and out of their compressed form (RFC 7692 section 7.2): what engines do with what was negotiated.

By default neither side keeps its compression context between messages: a connection then holds no zlib stream while it
is idle, and one `Deflater` and one decompressor serve all connections of a loop. The frames and the RSV1 bit are the
engines'. Sans-IO; compiled by Cython where the extension was built (deflate_messages.pxd), else interpreted.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from fastws.websocket.deflate_backends import ZLIB, Backend, Compressor, Decompressor
from fastws.websocket.events import Failure
from fastws.websocket.failures import INVALID_DEFLATE, TOO_BIG

if TYPE_CHECKING:
    from collections.abc import Callable

TAIL: Final = b"\x00\x00\xff\xff"
"""What a sender cuts off the end of each message (RFC 7692 section 7.2.1): the rest of an empty stored block."""

FINAL_BLOCK: Final = b"\x01\x00\x00\xff\xff"
"""An empty stored block with BFINAL set: where it ends a stream, that stream was between two blocks."""

# zlib deflates no raw stream with a window of 256 bytes; it inflates them all.
MIN_DEFLATE_BITS: Final = 9
MAX_BITS: Final = 15

# A shared compressor keeps the last message up to this size, in bytes, with its compressed form.
_MAX_KEPT: Final = 65_536


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

    An exception in a compressor, out of memory say, throws it away, with what it has of the message: the next message
    begins with a new one. Where a context is kept, the peer's would be another one then: it is `lost`, and the
    connection has to end.
    """

    __slots__ = (
        "_last_payload",
        "_last_shorter",
        "_stream",
        "backend",
        "context_takeover",
        "counts",
        "level",
        "lost",
        "mem_level",
        "on_lost",
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
        if not MIN_DEFLATE_BITS <= window_bits <= MAX_BITS:
            raise ValueError(f"window_bits must be 9 to 15, not {window_bits}")
        self.window_bits = window_bits
        self.context_takeover = context_takeover
        self.threshold = threshold
        self.level = level
        self.mem_level = mem_level
        self.backend = backend
        self.counts = counts or DeflateCounts()
        self.lost: bool = False
        """A context that was to be kept is gone: `compress` raises RuntimeError, and no more can be sent compressed."""
        self.on_lost: Callable[[], None] | None = None
        """Called once when that has happened, inside `compress` or `lose`; again where it raises."""
        self._stream: Compressor | None = None
        # The last payload, and what became of it: a broadcast is compressed once.
        self._last_payload: bytes = b""
        self._last_shorter: bytes | None = None

    def compress(self, payload: bytes) -> bytes | None:
        """The compressed payload of one message, or None where it should be sent as it is."""
        shorter: bytes | None = self._compress(payload)
        if shorter is not None:
            counts = self.counts
            try:
                counts.plain_out += len(payload)
                counts.compressed_out += len(shorter)
            except BaseException:
                self.lose()
                raise
        return shorter

    def _compress(self, payload: bytes) -> bytes | None:
        if len(payload) < self.threshold:
            return None
        if payload == self._last_payload:
            return self._last_shorter
        stream = self._stream
        if stream is None:
            if self.lost:
                self._tell()
                raise RuntimeError("the compression context of this connection is lost")
            stream = self.backend.make(self.level, self.window_bits, self.mem_level)
        if self.context_takeover:
            # What went through the stream must be sent in that form: later messages refer to it.
            self._stream = stream
            try:
                return stream.message(payload, zlib.Z_SYNC_FLUSH)
            except BaseException:
                self.lose()
                raise
        self._stream = None  # behind an exception there is none: a part of this message may be in it
        compressed = stream.message(payload, zlib.Z_FULL_FLUSH)
        self._stream = stream
        shorter = compressed if len(compressed) < len(payload) or not self.threshold else None
        if len(payload) <= _MAX_KEPT:
            self._last_shorter = None  # of no two messages at any time
            self._last_payload = payload
            self._last_shorter = shorter
        return shorter

    def lose(self) -> None:
        """A message that may be in the compressor is not sent: a context that is kept is lost with it."""
        if self.context_takeover and self._stream is not None:
            self._stream = None
            self.lost = True
            self._tell()

    def _tell(self) -> None:
        if self.on_lost is not None:
            self.on_lost()
            self.on_lost = None


class Inflater:
    """Decompresses the messages of one connection (RFC 7692 section 7.2.2), piece by piece.

    Without context takeover it holds a zlib stream only inside a message. Deflate blocks with BFINAL set are decoded,
    and later messages too: the next one starts a new stream. After such a block a message may have the one byte 0x00
    (section 7.2.3.4) and nothing else.
    """

    __slots__ = (
        "_begun",
        "_context_takeover",
        "_counts",
        "_decompressor",
        "_ended",
        "_rest",
        "_stream",
        "_window_bits",
    )

    def __init__(
        self,
        window_bits: int = 15,
        *,
        context_takeover: bool = False,
        counts: DeflateCounts | None = None,
        decompressor: Decompressor | None = None,
    ) -> None:
        """Make a decompressor for a peer whose window has up to 2**`window_bits` bytes (8 to 15).

        It adds to `counts`, and leaves messages that are whole to `decompressor`, which may be shared, where no context
        is kept.
        """
        if not 8 <= window_bits <= MAX_BITS:
            raise ValueError(f"window_bits must be 8 to 15, not {window_bits}")
        self._window_bits = window_bits
        self._context_takeover = context_takeover
        self._counts = counts
        self._decompressor = None if context_takeover else decompressor
        self._stream: zlib._Decompress | None = None
        self._begun = False  # a message, of which a byte is here
        self._ended = False  # the stream, by a final block, in this message
        self._rest = b""  # what followed that block

    def decompress(self, data: bytes, last: bool, max_length: int) -> bytes | Failure:
        """What the next piece of a message inflates to, at most `max_length` bytes, or why it cannot be had.

        `last` says that the message ends with this piece. After a Failure the inflater is of no more use.
        """
        if not self._begun and last and data and self._decompressor is not None:
            plain = self._decompressor.message(data, max(self._window_bits, MIN_DEFLATE_BITS), max_length)
            if isinstance(plain, bytes):
                self._count(len(data), len(plain))
            return plain
        return self._decompress(data, last, max_length)

    def _decompress(self, data: bytes, last: bool, max_length: int) -> bytes | Failure:
        """`decompress`, with a stream of its own."""
        if not self._begun:
            if not data:
                return b""  # no byte at all for an empty message: wrong, but several compressors do it
            self._begun = True
        stream = self._stream
        if stream is None:
            # zlib takes a raw window of 8 bits when inflating, but zlib-ng and older ones do not: 9 reads it as well.
            stream = self._stream = zlib.decompressobj(-max(self._window_bits, MIN_DEFLATE_BITS))
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
        except BaseException:
            self._stream = None  # what it has inflated is lost
            raise
        self._count(len(data), len(plain))
        return plain

    def _count(self, size: int, plain_size: int) -> None:
        if self._counts is not None:
            self._counts.compressed_in += size
            self._counts.plain_in += plain_size

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
            plain = stream.decompress(TAIL + FINAL_BLOCK, 1)
            # Where the block that the tail belongs to has BFINAL set itself, the stream ends before ours.
            return plain == b"" and stream.eof and stream.unused_data in (b"", FINAL_BLOCK)
        if stream.decompress(TAIL, 1):
            return False
        if stream.eof:
            self._stream = None
            return not stream.unused_data
        probe = stream.copy()
        return probe.decompress(FINAL_BLOCK, 1) == b"" and probe.eof and not probe.unused_data
