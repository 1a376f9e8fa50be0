"""What workers of one machine send each other: frames on a stream, as bytes. No event loop, no clock.

A frame is its length without these four bytes, its kind, and the lengths of a topic and a key, which follow before the
message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

HELLO: Final = 0
"""The first frame: the message is the sender's name."""
TEXT: Final = 1
BYTES: Final = 2
"""Publications."""
COUNT: Final = 3
"""How many subscribers has the topic? The message is the number of the question."""
ANSWER: Final = 4
"""As many: the message is the number of the question and of the subscribers."""
KEYED: Final = 0x80
"""Set in the kind: there is a key, even if it is empty."""

_HEAD: Final = struct.Struct(">IBHH")
_AFTER_LENGTH: Final = _HEAD.size - 4
COUNTS: Final = struct.Struct(">II")
"""The message of an ANSWER."""
MAX_NAME: Final = 0xFFFF
"""Bytes of a topic or of a key."""


class Frame(NamedTuple):
    kind: int
    topic: str
    key: str | None
    message: str | bytes


def encode(kind: int, topic: str, message: bytes, key: str | None = None) -> bytes:
    """A frame. Raises ValueError for a topic or a key of more than 65,535 bytes."""
    name = topic.encode()
    word = b"" if key is None else key.encode()
    if len(name) > MAX_NAME or len(word) > MAX_NAME:
        raise ValueError(f"a topic and a key must have at most {MAX_NAME} bytes")
    length = _AFTER_LENGTH + len(name) + len(word) + len(message)
    head = _HEAD.pack(length, kind if key is None else kind | KEYED, len(name), len(word))
    return b"".join((head, name, word, message))


class FrameReader:
    """Takes bytes as they come, and returns frames; of `most` bytes each."""

    def __init__(self, most: int = 1 << 30) -> None:
        self._most = most
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame | ValueError]:
        """The frames that are complete now, with an error in place of one whose text is none.

        Raises ValueError where it is not known where the next one begins, and for one that is too long.
        """
        buffer = self._buffer
        buffer += data
        offset, end = 0, len(buffer)
        try:
            while end - offset >= _HEAD.size:
                length, kind, topic_length, key_length = _HEAD.unpack_from(buffer, offset)
                topic_at = offset + _HEAD.size
                key_at = topic_at + topic_length
                message_at = key_at + key_length
                if length > self._most:
                    raise ValueError(f"a frame of {length} bytes is too long")
                if message_at > offset + 4 + length:
                    raise ValueError("a frame is shorter than what it has in it")
                if end - offset - 4 < length:
                    break
                offset += 4 + length
                try:
                    frame: Frame | ValueError = _read(
                        kind, buffer[topic_at:key_at], buffer[key_at:message_at], bytes(buffer[message_at:offset])
                    )
                except UnicodeDecodeError as error:
                    frame = error
                yield frame
        finally:
            del buffer[:offset]


def _read(kind: int, topic: bytearray, key: bytearray, message: bytes) -> Frame:
    keyed, kind = kind & KEYED, kind & ~KEYED
    return Frame(kind, topic.decode(), key.decode() if keyed else None, message.decode() if kind == TEXT else message)
