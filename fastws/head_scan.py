"""The raw bytes of an HTTP/1.1 request head, before and beside httptools: sizes, and what httptools forgets.

Sans-IO. httptools has no limits, and it accepts two spaces in the request line, a bare CR or LF before it, and RTSP/1.0
or ICE/1.0 at its end, none of which can be seen any more in what it reports. `scan_head` sees them. What httptools
refuses by itself gets its status from `parse_failure`. The meaning of a head that passed is `http_head`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fastws.errors import RequestError


@dataclass(frozen=True, slots=True)
class Limits:
    """The sizes that a request head may have; beyond them it gets 414 (the target) or 431 (the rest)."""

    target: int = 8192
    """Bytes of the request target (the URL as sent)."""
    fields: int = 100
    """Header fields."""
    field_size: int = 8192
    """Bytes of one header line, without its CRLF."""
    head: int = 65536
    """Bytes of the whole head, with its empty line."""


DEFAULT_LIMITS: Final = Limits()

# RFC 9112 section 2.2: empty lines before the request line are ignored. Section 3: single spaces, and nothing else.
_REQUEST_LINE: Final = re.compile(rb"(?:\r\n)*[!-~]+ [!-~]+ HTTP/[0-9]\.[0-9]\r\n").match
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)*").match


def scan_head(buffer: bytes | bytearray, start: int = 0, limits: Limits = DEFAULT_LIMITS) -> int:
    """Look for the end of the head that begins at `start` in `buffer`, and check what only the raw bytes show.

    Returns the index after the head's empty line, or -1 where the head is not complete. Call it again with the same
    `start` when more bytes came. Raises RequestError: 400, 414, 431. A head that passes still goes to httptools.
    """
    end = buffer.find(b"\r\n\r\n", start)
    if end - start < limits.field_size and end >= 0 and _REQUEST_LINE(buffer, start, end + 2) is not None:
        # Short: no line can be too long. Long enough a target would not be, unless its limit is the smaller one, and
        # `read_request` measures that again.
        return end + 4
    return _scan_slowly(buffer, start, limits)


def _scan_slowly(buffer: bytes | bytearray, start: int, limits: Limits) -> int:
    begin = _EMPTY_LINES(buffer, start).end()  # type: ignore[union-attr]  # it matches the empty string
    line_end = buffer.find(b"\r\n", begin)
    available = (line_end if line_end >= 0 else len(buffer)) - begin
    if available > limits.target + 32:  # the longest method, two spaces and the version
        raise RequestError(414, "The request target is too long.")
    if line_end < 0:
        if begin < len(buffer) and not 0x21 <= buffer[begin] <= 0x7E and buffer[begin:] != b"\r":
            raise RequestError(400, "The request line is malformed.")
        _check_head_size(len(buffer) - start, limits)
        return -1
    if _REQUEST_LINE(buffer, begin, line_end + 2) is None:
        raise RequestError(400, "The request line is malformed.")
    end = buffer.find(b"\r\n\r\n", line_end)
    _check_head_size((end + 4 if end >= 0 else len(buffer)) - start, limits)
    stop = end if end >= 0 else len(buffer)
    fields = 0
    while line_end < stop:
        line_start = line_end + 2
        line_end = buffer.find(b"\r\n", line_start, stop)
        if line_end < 0:
            line_end = stop
        fields += 1
        if line_end - line_start > limits.field_size:
            raise RequestError(431, "A header field is too large.")
    if fields > limits.fields + (end < 0):  # the last line of an incomplete head may be its empty line
        raise RequestError(431, "There are too many header fields.")
    return end + 4 if end >= 0 else -1


def _check_head_size(size: int, limits: Limits) -> None:
    if size > limits.head:
        raise RequestError(431, "The request head is too large.")


def parse_failure(message: str, http_version: str = "1.1") -> RequestError:
    """The answer to bytes that httptools refused: `message` is its error's text, `http_version` what it had read."""
    if message == "Invalid HTTP version" and not http_version.startswith("0."):
        return RequestError(505, "This server speaks HTTP/1.1.")
    if "Transfer-Encoding" in message and "present with" not in message:
        return RequestError(501, "The only transfer coding here is chunked.")
    return RequestError(400, "The request is malformed.")
