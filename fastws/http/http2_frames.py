"""HTTP/2 frames as bytes, the numbers that RFC 9113 has for things, and the error that ends a connection.

Sans-IO. What a frame means, and when it may come, is `http2_protocol`'s.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins a connection with (RFC 9113 section 3.4)."""

# Kinds of frames (section 6), and PRIORITY_UPDATE (RFC 9218), which is read like any unknown one.
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

# Flags.
ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

# Settings (section 6.5.2, RFC 8441 section 3).
HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
ENABLE_CONNECT_PROTOCOL: Final = 0x8

# Error codes (section 7).
NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

HEAD_BYTES: Final = 9
"""Bytes of a frame before its payload."""
FRAME_BYTES: Final = 16384
"""The largest payload that everybody takes; we send none that is larger, and offer to take no larger one."""
WINDOW_BYTES: Final = 65535
"""The size of a window where nobody has said anything."""
LARGEST_WINDOW: Final = 2**31 - 1
LAST_STREAM: Final = 2**31 - 1
"""The last stream of a GOAWAY that refuses none yet (section 6.8)."""


class Http2Error(Exception):
    """The peer has broken a rule of the connection, which ends with GOAWAY and `code`. The message is for the log."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def frame_head(kind: int, flags: int, stream_id: int, size: int) -> bytes:
    """The nine bytes before a payload of `size` bytes (section 4.1)."""
    return ((size << 48) | (kind << 40) | (flags << 32) | stream_id).to_bytes(9, "big")


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A whole frame."""
    return frame_head(kind, flags, stream_id, len(payload)) + payload


with suppress(ImportError):  # the same, compiled
    from fastws.http._frames import frame, frame_head


def settings(*pairs: tuple[int, int]) -> bytes:
    """A SETTINGS frame (section 6.5)."""
    payload = b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in pairs)
    return frame(SETTINGS, 0, 0, payload)


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame (section 6.9)."""
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))


def rst_stream(stream_id: int, code: int) -> bytes:
    """A RST_STREAM frame (section 6.4)."""
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def goaway(last_stream_id: int, code: int, detail: bytes = b"") -> bytes:
    """A GOAWAY frame (section 6.8); `detail` is for whoever debugs the peer."""
    return frame(GOAWAY, 0, 0, last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + detail)
