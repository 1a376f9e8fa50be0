"""A publication as bytes, as it travels to other processes. No event loop, no clock.

On a channel of Redis an envelope is one byte that no text begins with (0xF5 is not in UTF-8), one byte each for version
and flags, the origin and its sequence number, eight bytes each, the sender in eight bytes and the key, with its length
in two, where they are there, and the message. What does not begin so was published by another program, as by
``redis-cli PUBLISH``: it is text where it is UTF-8, else bytes.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

MAGIC: Final = 0xF5
VERSION: Final = 1
TEXT: Final = 1
"""Flag: the message is text, else bytes."""
FIRST: Final = 2
"""Flag: the first publication of a series: none was before it."""
KEYED: Final = 4
"""Flag: a key is before the message."""
CONTROL: Final = 8
"""Flag: no publication; processes tell each other something, in JSON."""
SENT_BY: Final = 16
"""Flag: the number of the connection that gets no copy is before the key."""
MAX_KEY: Final = 0xFFFF
"""Bytes of a key."""

_HEAD: Final = struct.Struct(">BBBQQ")
_SENDER: Final = struct.Struct(">Q")
_KEY: Final = struct.Struct(">H")


class EnvelopeError(ValueError):
    """Bytes that look like an envelope and are none that this version reads."""


class Envelope(NamedTuple):
    """A publication on its way. `origin` 0 is a publisher that does not count what it sends, `sequence` is then 0."""

    message: str | bytes
    key: str | None = None
    origin: int = 0
    sequence: int = 0
    first: bool = False
    control: bool = False
    sender: int = 0


def encode(envelope: Envelope) -> bytes:
    """The bytes for a channel. Raises ValueError for a key of more than 65,535 bytes."""
    message, key, origin, sequence, first, control, sender = envelope
    flags = (FIRST if first else 0) | (CONTROL if control else 0)
    if isinstance(message, str):
        flags |= TEXT
        message = message.encode()
    optional = b""
    if sender:
        flags |= SENT_BY
        optional = _SENDER.pack(sender)
    if key is not None:
        flags |= KEYED
        encoded = key.encode()
        if len(encoded) > MAX_KEY:
            raise ValueError(f"a key must have at most {MAX_KEY} bytes")
        optional += _KEY.pack(len(encoded)) + encoded
    return b"".join((_HEAD.pack(MAGIC, VERSION, flags, origin, sequence), optional, message))


def decode(data: bytes) -> Envelope:
    """The envelope of what came on a channel, whoever published it. Raises EnvelopeError."""
    if not data or data[0] != MAGIC:
        return Envelope(_text_or_bytes(data))
    try:
        _, version, flags, origin, sequence = _HEAD.unpack_from(data)
        if version != VERSION:
            raise EnvelopeError(f"version {version} of the envelope is not known")
        offset = _HEAD.size
        sender, key = 0, None
        if flags & SENT_BY:
            (sender,) = _SENDER.unpack_from(data, offset)
            offset += _SENDER.size
        if flags & KEYED:
            (length,) = _KEY.unpack_from(data, offset)
            offset += _KEY.size + length
            if offset > len(data):
                raise EnvelopeError("the key is cut short")
            key = data[offset - length : offset].decode()
        message: str | bytes = data[offset:].decode() if flags & TEXT else data[offset:]
    except struct.error:
        raise EnvelopeError("the envelope is cut short") from None
    except UnicodeDecodeError:
        raise EnvelopeError("a text is not UTF-8") from None
    return Envelope(message, key, origin, sequence, bool(flags & FIRST), bool(flags & CONTROL), sender)


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
