"""How the body of a response is delimited: RFC 9112 sections 6, 7 and 9.3; and the whole answer to a refused request.

Sans-IO. The heads themselves are `response_head`'s, the order of what an app may send is the HTTP cycle's.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from fastws.errors import RequestError
from fastws.http.head import Header
from fastws.http.response_head import ResponseHead, response_head


class Framing(enum.Enum):
    """How the body of a response is delimited (RFC 9112 section 6)."""

    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    CLOSE = "the end of the connection"


_NONE: Final = Framing.NONE
_LENGTH: Final = Framing.LENGTH
_CHUNKED: Final = Framing.CHUNKED
_CLOSE: Final = Framing.CLOSE


def frame_response(
    method: str, http_version: str, keep_alive: bool, response: ResponseHead, body_length: int | None = None
) -> tuple[Framing, bool, bytes]:
    """Decide how the body of a final `response` is delimited (RFC 9112 section 6.3).

    `method`, `http_version` and `keep_alive` are the request's; `keep_alive` may be False for the server's own reasons.
    `body_length` is the size of the whole body in bytes where the app gave it all at once, or None.
    Returns the framing, whether the connection stays open, and the header lines that say both.
    """
    keep_alive = keep_alive and not response.close
    status = response.status
    if status == 205:
        framing = _NONE
        lines = b"content-length: 0\r\n"  # RFC 9110 section 15.3.6
    elif method == "HEAD" or status == 204 or status == 304:
        framing = _NONE
        lines = b""
    elif response.content_length is not None:
        framing = _LENGTH
        lines = b""
    elif body_length is not None:
        framing = _LENGTH
        lines = b"content-length: %d\r\n" % body_length
    elif http_version == "1.1":
        framing = _CHUNKED
        lines = b"transfer-encoding: chunked\r\n"
    else:
        framing = _CLOSE
        lines = b""
        keep_alive = False
    if not keep_alive:
        lines += b"connection: close\r\n"
    elif http_version == "1.0":
        lines += b"connection: keep-alive\r\n"  # RFC 9112 section 9.3
    return framing, keep_alive, lines


def encode_chunk(data: bytes | bytearray | memoryview) -> bytes:
    """One chunk (RFC 9112 section 7.1); nothing for empty `data`, which would end the body."""
    size = len(data)
    return b"".join((b"%x\r\n" % size, data, b"\r\n")) if size else b""


LAST_CHUNK: Final = b"0\r\n\r\n"


def last_chunk(trailers: Iterable[Header]) -> bytes:
    """The last chunk with trailer fields (RFC 9112 section 7.1.2), checked as `response_head` checks headers.

    Fields that frame or route the message may not be trailers (RFC 9110 section 6.5.1): they are left out.
    """
    head = response_head(204, trailers)
    return b"0\r\n" + head.fields + b"\r\n"


def error_response(error: RequestError, extra: bytes = b"", *, head_only: bool = False) -> bytes:
    """The whole answer to a request that was refused; `extra` is prebuilt header lines such as Date and Server.

    `head_only` leaves the body out, for an answer to HEAD. The connection closes after it.
    """
    body = error.detail.encode("ascii", "replace") + b"\n"
    headers = (
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        *error.headers,
    )
    lines = response_head(error.status, headers).lines
    return lines + extra + b"connection: close\r\n\r\n" + (b"" if head_only else body)
