"""Frames of publications: built once for each kind of peer, and joined once for all that get the same ones in a turn.

A kind is what peers have in common that get the same bytes: the plain one, and one for each compressor that connections
without context takeover share. A connection whose compressor keeps its context is of no kind, and frames by itself.

What several publications in one turn of the loop add up to for a subscriber is a path in a tree that all subscribers
of a kind share: each `Frames` is what came before it and one frame more. So a subscriber needs one reference for what
waits for it, and the bytes that ten thousand subscribers are written are one object.

Sans-IO; compiled by Cython where the extension was built (outgoing.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastws.websocket.deflate_messages import Deflater

JOINED_BYTES = 65536
"""Bytes of frames up to which they are joined for one write; more are written from where they are."""

MOST_FRAMES = 256
"""Frames that wait for the end of a turn."""

_TEXT = 0x81  # with FIN (RFC 6455 section 5.2)
_BINARY = 0x82
_RSV1 = 0x40


def frame_header(first: int, length: int) -> bytes:
    """The header of an unmasked frame that begins with the byte `first` (RFC 6455 section 5.2)."""
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


class Outgoing:
    """One publication on its way to the subscribers of one process."""

    def __init__(self, message: str | bytes, key: str | None = None) -> None:
        """Raises UnicodeEncodeError for text that cannot be sent (lone surrogates)."""
        self.message: str | bytes = message
        self.key: str | None = key
        self._payload: bytes = message.encode() if isinstance(message, str) else message
        self.size: int = len(self._payload)
        """Bytes of the payload before compression."""
        self._plain: bytes | None = None

    def build(self, deflater: Deflater | None) -> bytes:
        """The frame for peers whose compressor this is, without context takeover, or that have none."""
        first = _TEXT if isinstance(self.message, str) else _BINARY
        if deflater is not None:
            shorter = deflater.compress(self._payload)
            if shorter is not None:
                return frame_header(first | _RSV1, len(shorter)) + shorter
        if self._plain is None:
            self._plain = frame_header(first, self.size) + self._payload
        return self._plain


class Frames:
    """Some frames in order: those of `before` and one more. The frames of the root are none.

    A node knows those before it by pairs of its own, not by nodes: the tree is no cycle, and goes when it is cut.
    """

    def __init__(self, frame: bytes = b"") -> None:
        self.frame: bytes = frame
        self.count: int = 0
        self.size: int = 0
        """Bytes of them all."""
        self._pairs: tuple[Any, bytes] | None = None
        self._next: Frames | None = None
        self._chunks: list[bytes] | None = None

    def then(self, frame: bytes) -> Frames:
        """These frames and `frame`: the same object for everybody who asks in turn."""
        following = self._next
        if following is None or following.frame is not frame:
            following = Frames(frame)
            following.count = self.count + 1
            following.size = self.size + len(frame)
            following._pairs = (self._pairs, frame)
            self._next = following
        return following

    def is_full(self) -> bool:
        """Whether they should be written now, and not at the end of the turn."""
        return self.size >= JOINED_BYTES or self.count >= MOST_FRAMES

    def chunks(self) -> list[bytes]:
        """What is to be written, in one object if it is not much. The list is everybody's: not to be changed."""
        chunks = self._chunks
        if chunks is None:
            chunks = []
            pairs = self._pairs
            while pairs is not None:
                pairs, frame = pairs
                chunks.append(frame)
            if len(chunks) > 1:
                chunks.reverse()
                if self.size <= JOINED_BYTES:
                    chunks = [b"".join(chunks)]
            self._chunks = chunks
        return chunks

    def cut(self) -> None:
        """Forget what follows: nobody will ask for it again."""
        self._next = None


class Kind:
    """Peers that get the same bytes; `deflater` is theirs."""

    def __init__(self, deflater: Deflater | None) -> None:
        self._deflater = deflater
        self.root: Frames = Frames()
        self._last: Outgoing | None = None
        self._frame: bytes = b""

    def frame_of(self, message: Outgoing) -> bytes:
        """The frame of `message`, which is built where it is not the one that was asked for last."""
        if self._last is not message:
            self._last = None  # an exception leaves no frame with the message of another one
            self._frame = message.build(self._deflater)
            self._last = message
        return self._frame

    def forget(self) -> None:
        """The turn is over."""
        self.root.cut()
        self._last = None
        self._frame = b""
