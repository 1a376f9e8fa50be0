"""Every way in which a peer's frames can fail, as the `Failure` that all engines report for it.

One table for all engines, so that the same bytes give the same code and reason whichever engine reads them. The reasons
fit in a Close frame (123 bytes) and never quote the peer. Values only: who detects what is in the engines.
"""

from __future__ import annotations

from typing import Final

from fastws.websocket.events import Failure

MAX_EMPTY_FRAGMENTS: Final = 16_384
"""Empty frames allowed in one message: they cost no bytes of the limit, so they need one of their own."""

RESERVED_BITS: Final = Failure(1002, "reserved bit set")
RESERVED_OPCODE: Final = Failure(1002, "reserved opcode")
FRAGMENTED_CONTROL: Final = Failure(1002, "fragmented control frame")
LONG_CONTROL: Final = Failure(1002, "control frame over 125 bytes")
NO_MESSAGE_TO_CONTINUE: Final = Failure(1002, "continuation of no message")
MESSAGE_INSIDE_MESSAGE: Final = Failure(1002, "new message inside a fragmented one")
UNMASKED: Final = Failure(1002, "unmasked frame")
LENGTH_NOT_MINIMAL: Final = Failure(1002, "length not minimal")
LENGTH_HIGH_BIT: Final = Failure(1002, "length with the high bit set")
CLOSE_TOO_SHORT: Final = Failure(1002, "close frame of one byte")
CLOSE_CODE: Final = Failure(1002, "invalid close code")
INVALID_UTF8: Final = Failure(1007, "invalid UTF-8")
INVALID_DEFLATE: Final = Failure(1007, "invalid compressed data")
TOO_MANY_FRAGMENTS: Final = Failure(1008, "too many empty fragments")
TOO_MANY_MESSAGES: Final = Failure(1008, "too many messages a second")
TOO_MANY_BYTES: Final = Failure(1008, "too many bytes a second")
TOO_BIG: Final = Failure(1009, "message too big")


def compressed_limit(max_message_size: int) -> int:
    """The most bytes that the compressed form of a message of `max_message_size` bytes may have.

    Deflate can lengthen what it cannot compress, by an eighth at worst (fixed codes); the inflated size is limited on
    its own while inflating.
    """
    return max_message_size + max_message_size // 8 + 64


def is_close_code(code: int) -> bool:
    """Whether `code` may appear in a Close frame (RFC 6455 section 7.4, and the registry for 1012 to 1014)."""
    return 3000 <= code <= 4999 or 1007 <= code <= 1014 or 1000 <= code <= 1003
