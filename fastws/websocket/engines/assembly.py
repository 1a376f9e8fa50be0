"""What the engines on other packages share: the judgement of headers, and frames' payloads put together to events.

Those packages parse and write frames; they answer, buffer and forgive in ways of their own, which this replaces by the
rules that all engines keep (`fastws.websocket.failures`). The compiled engine, which it mirrors, does not use it.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final

from fastws.websocket import failures
from fastws.websocket.events import Close, Event, Failure, Ping, Pong

if TYPE_CHECKING:
    from fastws.websocket.deflate_messages import Inflater

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

MAX_HEADER: Final = 14
"""Bytes of the longest header of a masked frame (RFC 6455 section 5.2)."""

_SMALL: Final = 4096
"""Bytes of a piece up to which it is copied to those before it, so that objects cost little beside what is in them."""


class Body:
    """A message that comes in pieces: large ones are kept as they are until it is whole."""

    __slots__ = ("_pieces", "_tail", "size")

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes | bytearray] = []
        self._tail: bytearray | None = None  # the last of the pieces, where that still grows

    def append(self, piece: bytes) -> None:
        """Add `piece`."""
        self.size += len(piece)
        if len(piece) > _SMALL:
            self._pieces.append(piece)
            self._tail = None
        elif self._tail is not None:
            self._tail += piece
        else:
            self._tail = bytearray(piece)
            self._pieces.append(self._tail)

    def join(self) -> bytes:
        """All of it."""
        return b"".join(self._pieces)


class Assembly:
    """The frames of one peer, judged and put together.

    For each frame: `judge` its header as far as it came, `begin` it when the header is whole, `feed` its payload,
    unmasked, in pieces.
    """

    __slots__ = (
        "_body",
        "_compressed",
        "_control",
        "_decoder",
        "_empty_frames",
        "_fin",
        "_inflater",
        "_limit",
        "_opcode",
        "_received",
        "inflated",
        "message",
    )

    def __init__(self, max_message_size: int, inflater: Inflater | None) -> None:
        if max_message_size < 0:
            raise ValueError("max_message_size must not be negative")
        self._limit = max_message_size
        self._inflater = inflater
        self.inflated = 0  # bytes; the engine sets it back
        # -- the frame
        self._opcode = 0
        self._fin = True
        self._control = b""
        # -- the message
        self.message = 0  # TEXT or BINARY of what was begun, 0 between messages
        self._compressed = False
        self._received = 0  # bytes, as they came over the wire
        self._empty_frames = 0
        self._body: Body | None = None  # text lies here as UTF-8
        self._decoder: codecs.IncrementalDecoder | None = None  # only judges the text

    @property
    def compressed(self) -> bool:
        """Whether the message that was begun is a compressed one."""
        return self._compressed

    def judge(self, head: bytes | bytearray) -> Failure | None:
        """What is wrong with a frame whose header begins with `head`, each byte judged as soon as it is there."""
        if not head:
            return None
        opcode = head[0] & 0x0F
        control = opcode >= CLOSE
        rsv1 = bool(head[0] & 0x40)
        if head[0] & 0x30 or (rsv1 and (self._inflater is None or opcode not in (TEXT, BINARY))):
            return failures.RESERVED_BITS
        if opcode not in (0, TEXT, BINARY, CLOSE, PING, PONG):
            return failures.RESERVED_OPCODE
        if control and not head[0] & 0x80:
            return failures.FRAGMENTED_CONTROL
        if opcode == 0 and not self.message:
            return failures.NO_MESSAGE_TO_CONTINUE
        if opcode in (TEXT, BINARY) and self.message:
            return failures.MESSAGE_INSIDE_MESSAGE
        if len(head) < 2:
            return None
        if not head[1] & 0x80:
            return failures.UNMASKED
        length = head[1] & 0x7F
        if control and length > 125:
            return failures.LONG_CONTROL
        if length == 127 and len(head) > 2 and head[2] & 0x80:
            return failures.LENGTH_HIGH_BIT
        size = 2 + {126: 2, 127: 8}.get(length, 0)
        if len(head) < size:
            return None
        if size > 2:
            length = int.from_bytes(head[2:size], "big")
            if length < (126 if size == 4 else 65_536):
                return failures.LENGTH_NOT_MINIMAL
        if not control:
            compressed = self._compressed if opcode == 0 else rsv1
            limit = failures.compressed_limit(self._limit) if compressed else self._limit
            if self._received + length > limit:
                return failures.TOO_BIG
            if length == 0 and self._empty_frames == failures.MAX_EMPTY_FRAGMENTS:
                return failures.TOO_MANY_FRAGMENTS
        return None

    def begin(self, opcode: int, fin: bool, rsv1: bool, length: int) -> None:
        """Begin a frame that `judge` found nothing wrong with."""
        self._opcode = opcode
        if opcode >= CLOSE:
            return
        self._fin = fin
        if length == 0:
            self._empty_frames += 1
        if opcode:
            self.message = opcode
            self._compressed = rsv1

    def feed(self, piece: bytes, frame_done: bool) -> Event | None:
        """Add a piece of the frame's payload; the event that it completes, or the Failure that it is."""
        if self._opcode >= CLOSE:
            self._control += piece
            return self._control_event() if frame_done else None
        last = frame_done and self._fin
        self._received += len(piece)
        if self._compressed and (piece or last):
            assert self._inflater is not None
            room = self._limit - (0 if self._body is None else self._body.size)
            plain = self._inflater.decompress(piece, last=last, max_length=room)
            if isinstance(plain, Failure):
                return plain
            piece = plain
            self.inflated += len(plain)
        if last and self._body is None:
            return self._finish(piece)
        if piece:
            if self.message == TEXT:
                if self._decoder is None:
                    self._decoder = codecs.getincrementaldecoder("utf-8")()
                try:
                    self._decoder.decode(piece)
                except UnicodeDecodeError:
                    return failures.INVALID_UTF8
                unfinished = self._decoder.getstate()[0]
                if unfinished[:1] == b"\xed" and unfinished[1:2] > b"\x9f":
                    return failures.INVALID_UTF8  # a surrogate, for which the decoder would wait to see all of
            if self._body is None:
                self._body = Body()
            self._body.append(piece)
        if not last:
            return None
        return self._finish(b"" if self._body is None else self._body.join())

    def drop(self) -> None:
        """Let go of what was begun."""
        self._control = b""
        self._body = None
        self._decoder = None

    def _finish(self, body: bytes) -> Event:
        event: Event
        if self.message == TEXT:
            try:
                event = body.decode()
            except UnicodeDecodeError:
                return failures.INVALID_UTF8
        else:
            event = body
        self.message = 0
        self._received = 0
        self._empty_frames = 0
        self._body = None
        self._decoder = None
        return event

    def _control_event(self) -> Event:
        payload, self._control = self._control, b""
        if self._opcode == PING:
            return Ping(payload)
        if self._opcode == PONG:
            return Pong(payload)
        if not payload:
            return Close(1005, "")
        if len(payload) == 1:
            return failures.CLOSE_TOO_SHORT
        code = int.from_bytes(payload[:2], "big")
        if not failures.is_close_code(code):
            return failures.CLOSE_CODE
        try:
            return Close(code, payload[2:].decode())
        except UnicodeDecodeError:
            return failures.INVALID_UTF8


def close_payload(code: int, reason: str) -> bytes:
    """The payload of the Close to send. Raises ValueError as `Engine.send_close` says."""
    encoded = reason.encode()
    if code == 1005 and not encoded:
        return b""
    if not failures.is_close_code(code):
        raise ValueError(f"close code {code} may not be sent")
    if len(encoded) > 123:
        raise ValueError(f"close reason has {len(encoded)} bytes, of 123 at most")
    return code.to_bytes(2, "big") + encoded


def check_control(payload: bytes) -> bytes:
    """`payload`, if it fits in a control frame. Raises ValueError, or TypeError for anything but bytes."""
    if not isinstance(payload, bytes):
        raise TypeError(f"payload must be bytes, not {type(payload).__name__}")
    if len(payload) > 125:
        raise ValueError(f"payload of a control frame has {len(payload)} bytes, of 125 at most")
    return payload


def to_bytes(data: bytes | bytearray | memoryview) -> bytes:
    """`data` as bytes of its own. Raises TypeError for what has no buffer: bytes(3) would be three zeros."""
    return data if isinstance(data, bytes) else bytes(memoryview(data))
