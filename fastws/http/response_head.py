"""Heads of HTTP/1.1 responses: their bytes, from what the application gave.

Sans-IO: bytes and values, no loop, no socket, no clock. How the body is delimited, and whether the connection stays, is
decided in `framing`. The rules are RFC 9112's (HTTP/1.1) and RFC 9110's (HTTP semantics).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from fastws.errors import ApplicationError
from fastws.http.head import Header, tokens
from fastws.http.repeats import Repeats

_MAX_REPEATED: Final = 1024  # bytes of a response head that is remembered
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110 section 5.6.2
_CONTROLS: Final = bytes(set(range(0x20)) - {0x09} | {0x7F})  # RFC 9110 section 5.5
_STATUS_LINES: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}

MAX_LENGTH_DIGITS: Final = 18
"""Of a Content-Length: what they say fits into 64 bits."""

# What a response field is to us; 0 is "nothing".
_CONTENT_LENGTH: Final = 1
_TRANSFER_ENCODING: Final = 2
_CONNECTION: Final = 3
_DATE: Final = 4
_SERVER: Final = 5
_SPECIAL: Final = {
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"connection": _CONNECTION,
    b"date": _DATE,
    b"server": _SERVER,
}
_KNOWN_NAMES: Final = _SPECIAL | dict.fromkeys(
    (
        b"accept-ranges access-control-allow-credentials access-control-allow-origin allow cache-control "
        b"content-disposition content-encoding content-language content-range content-security-policy "
        b"content-type etag expires last-modified link location referrer-policy retry-after set-cookie "
        b"strict-transport-security vary www-authenticate x-content-type-options x-frame-options "
        b"x-process-time x-request-id "
    ).split(),
    0,
)


class ResponseHead:
    """A validated response head: `lines` is the status line and the fields, without the empty line at the end.

    The app's Transfer-Encoding is not in `lines`, nor `close` and `keep-alive` of its Connection: `frame_response` says
    how the body is delimited and whether the connection stays. `content_length` is what the app promised, in bytes.
    """

    __slots__ = (
        *("block", "block_with", "close", "content_length", "has_date", "has_server", "lines", "status"),
        *("whole", "whole_with"),
    )

    def __init__(
        self, status: int, lines: bytes, content_length: int | None, close: bool, has_date: bool, has_server: bool
    ) -> None:
        self.status = status
        self.lines = lines
        self.content_length = content_length
        self.close = close
        self.has_date = has_date
        self.has_server = has_server
        # The bytes of the head to the usual request, once written, and the server's own lines that are in it.
        self.whole: bytes = b""
        self.whole_with: bytes | None = None
        # The same as a block of HTTP/2.
        self.block: bytes = b""
        self.block_with: bytes | None = None

    @property
    def fields(self) -> bytes:
        """`lines` without the status line."""
        return self.lines[self.lines.index(b"\n") + 1 :]


def response_head(status: int, headers: Iterable[Header]) -> ResponseHead:
    """Check and write the head of a response: an interim (1xx) or a final one.

    Raises ApplicationError for a status outside 100 to 999, a name that is not a token, a value with a control
    character other than HTAB (RFC 9110 sections 5.1, 5.5), anything that is not bytes, a malformed Content-Length or
    two that differ.
    """
    try:
        pieces = [_STATUS_LINES[status]]
    except (KeyError, TypeError):
        pieces = [_unknown_status_line(status)]
    count = 1
    content_length = None
    close = has_date = has_server = False
    known = _KNOWN_NAMES
    try:
        for name, value in headers:
            kind = known.get(name)
            if kind is None:
                kind = _kind(name)
            if kind:
                if kind == _CONTENT_LENGTH:
                    length = _app_content_length(value)
                    if content_length is not None:
                        if content_length != length:
                            raise ApplicationError("Two Content-Length response headers differ.")
                        continue
                    content_length = length
                    if status < 200 or status == 204 or status == 205:
                        continue  # RFC 9110 section 8.6; of a 205 it is ours to say
                elif kind == _DATE:
                    has_date = True
                elif kind == _SERVER:
                    has_server = True
                elif kind == _TRANSFER_ENCODING:
                    continue
                else:
                    found = tokens(value)
                    close = close or b"close" in found
                    value = b", ".join(sorted(found - {b"close", b"keep-alive"}))
                    if not value:
                        continue
            pieces.append(name)
            pieces.append(b": ")
            pieces.append(value)
            pieces.append(b"\r\n")
            count += 1
        head = b"".join(pieces)
    except (TypeError, ValueError, AttributeError):
        raise _wrong_headers(headers) from None
    # Each line brought one CRLF: any other control character came from a value.
    if len(head) - len(head.translate(None, _CONTROLS)) != 2 * count:
        raise ApplicationError("A response header value has CR, LF or NUL, or another control character, in it.")
    return ResponseHead(status, head, content_length, close, has_date, has_server)


def repeated_response_head(repeats: Repeats, status: Any, headers: Any) -> ResponseHead:
    """`response_head`, from `repeats` where an application has given the same status and headers before."""
    if type(status) is not int or type(headers) is not list:
        return response_head(status, headers)
    try:
        key = tuple(headers)
        known: ResponseHead | None = repeats.found.get(key)
    except (TypeError, ValueError):  # lists for pairs, or values that are wrong
        return response_head(status, headers)
    if known is not None and known.status == status and _are_bytes(key):
        return known
    head = response_head(status, headers)
    if len(head.lines) <= _MAX_REPEATED:
        repeats.keep(key, head)
    return head


def _are_bytes(headers: tuple[Any, ...]) -> bool:
    """Whether `headers`, which are equal to good ones, are good: a memoryview, which is not, may be equal to bytes."""
    for pair in headers:
        name, value = pair
        if type(name) is not bytes or type(value) is not bytes:
            return False
    return True


def _unknown_status_line(status: object) -> bytes:
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 999:
        raise ApplicationError(f"The response status must be an int from 100 to 999, not {status!r}.")
    return b"HTTP/1.1 %d \r\n" % status  # RFC 9112 section 4: the phrase may be empty, the space may not


def _app_content_length(value: object) -> int:
    if not isinstance(value, bytes) or not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
        raise ApplicationError(
            f"The Content-Length response header must be a number in bytes, of up to {MAX_LENGTH_DIGITS} digits, "
            f"not {value!r}."
        )
    return int(value)


def _kind(name: object) -> int:
    if not isinstance(name, bytes):
        raise ApplicationError(f"A response header name must be bytes, not {type(name).__name__}: {name!r}.")
    return _checked_kind(name)


@lru_cache(maxsize=512)
def _checked_kind(name: bytes) -> int:
    if not _TOKEN(name):
        raise ApplicationError(f"A response header name must be a token (RFC 9110 section 5.6.2), not {name!r}.")
    return _SPECIAL.get(name.lower(), 0)


def _wrong_headers(headers: object) -> ApplicationError:
    """Say what is wrong with `headers`, which did not take the way of well-formed ones."""
    expected = "Response headers must be an iterable of (name, value) pairs of bytes"
    if not isinstance(headers, Iterable):
        return ApplicationError(f"{expected}, not {type(headers).__name__}.")
    for pair in headers if isinstance(headers, (list, tuple)) else ():  # an iterator is spent
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            return ApplicationError(f"{expected}; one is {pair!r}.")
        if not isinstance(pair[1], bytes):
            return ApplicationError(
                f"The value of the response header {pair[0]!r} must be bytes, not {type(pair[1]).__name__}."
            )
    return ApplicationError(f"{expected}.")
