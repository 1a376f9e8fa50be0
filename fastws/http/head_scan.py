"""The raw bytes of an HTTP/1.1 request head, before and beside httptools: sizes, and what httptools forgets.

Sans-IO. httptools has no limits, and it accepts two spaces in the request line, a bare CR or LF before it, and RTSP/1.0
or ICE/1.0 at its end, none of which can be seen any more in what it reports. `scan_head` sees them. What httptools
refuses by itself gets its status from `parse_failure`. The meaning of a head that passed is `head`'s.
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
_REQUEST_LINE: Final = re.compile(rb"(?:\r\n)*[!-~]+ [!-~]+ HTTP/1\.[01]\r\n").match
_OTHER_VERSION: Final = re.compile(rb"[!-~]+ [!-~]+ HTTP/[1-9]\.[0-9]\r\n").match
_METHOD: Final = re.compile(rb"(?:\r\n)*[!#$%&'*+.^_`|~0-9A-Za-z-]+ ").match  # RFC 9110 section 5.6.2
_METHOD_FAILURES: Final = {
    *("Invalid method encountered", "Expected space after method", "Invalid method for HTTP/x.x request"),
    "Expected HTTP/2 Connection Preface",
}
"""What httptools says of methods that it does not know, or knows in other protocols."""
_ASKED: Final = re.compile(rb"(?:\r\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}) ([!->@-~]{1,200})").match
_PROXY_2: Final = b"\r\n\r\n\0\r\nQUIT\n"
_AROUND_TARGET: Final = 32  # bytes: the longest method that httptools knows, two spaces and the version


def scan_head(buffer: bytes | bytearray, start: int = 0, limits: Limits = DEFAULT_LIMITS) -> int:
    """Look for the end of the head that begins at `start` in `buffer`, and check what only the raw bytes show.

    Returns the index after the head's empty line, or -1 where the head is not complete. Call it again with the same
    `start` when more bytes came. Raises RequestError: 400, 414, 431, 505. A head that passes still goes to httptools
    and to `read_request`, which measures the target exactly and counts the fields.
    """
    end = buffer.find(b"\r\n\r\n", start)
    # In a head that is shorter than one line may be, no line is too long.
    if 0 <= end < start + limits.field_size and _REQUEST_LINE(buffer, start, end + 2) is not None:
        return end + 4
    return _scan_slowly(buffer, start, limits)


def read_request_line(head: bytes) -> tuple[bytes, bytes, str]:
    """Method, target and version (such as "1.1") of a head that `scan_head` has passed, and httptools will."""
    if head[0] == 0x0D:
        head = head.lstrip(b"\r\n")
    method, target, version = head.partition(b"\r\n")[0].split(b" ")
    return method, target, "1.1" if version == b"HTTP/1.1" else "1.0"


def _scan_slowly(buffer: bytes | bytearray, start: int, limits: Limits) -> int:
    """`scan_head` for what is incomplete, long or wrong. Its cost a call is that of one search through the head."""
    begin = start
    while buffer.startswith(b"\r\n", begin):
        begin += 2
    end = buffer.find(b"\r\n\r\n", begin)
    line_end = buffer.find(b"\r\n", begin)
    stop = len(buffer)
    if (line_end if line_end >= 0 else stop) - begin > limits.target + _AROUND_TARGET:
        raise RequestError(414, "The request target is too long.")
    if line_end >= 0:
        if _REQUEST_LINE(buffer, begin, line_end + 2) is None:
            if _OTHER_VERSION(buffer, begin, line_end + 2) is not None:
                raise RequestError(505, "This server speaks HTTP/1.1.")
            raise _malformed(buffer, start, begin)
    elif begin < stop and not 0x21 <= buffer[begin] <= 0x7E and (buffer[begin] != 0x0D or stop - begin > 1):
        raise _malformed(buffer, start, begin)  # such as TLS on a plain port: no need to wait
    if (end + 4 if end >= 0 else stop) - start > limits.head:
        raise RequestError(431, "The request head is too large.")
    if end < 0:
        # Its finished lines are measured when the head is complete; only the last one can grow until then.
        last = max(buffer.rfind(b"\r\n", begin) + 2, begin)
        if stop - last > limits.field_size + 1 and line_end >= 0:  # the CR of its end may be there
            raise RequestError(431, "A header field is too large.")
        if buffer.find(b"\n", last) >= 0:
            raise RequestError(400, "A line ends in LF without CR.")  # the empty line may never come
        return -1
    while line_end < end:
        begin = line_end + 2
        line_end = buffer.find(b"\r\n", begin)
        if line_end - begin > limits.field_size:
            raise RequestError(431, "A header field is too large.")
    return end + 4


def _malformed(buffer: bytes | bytearray, start: int, begin: int) -> RequestError:
    """The answer to what is no request line, by what it is, where that can be told from its first bytes."""
    if buffer.startswith((b"PROXY ", _PROXY_2), start):
        return RequestError(400, "This port does not expect a PROXY header.")
    if buffer.startswith(b"\x16\x03", begin):
        return RequestError(400, "This port speaks HTTP, not TLS.")
    if buffer.startswith((b"\x04\x01", b"\x05"), begin):
        return RequestError(400, "This port speaks HTTP, not SOCKS.")
    return RequestError(400, "The request line is malformed.")


def asked_for(buffer: bytes | bytearray, start: int = 0) -> str:
    """Method and path of the head that begins at `start` of `buffer`, for the log; empty where they cannot be told.

    Printable ASCII of bounded length, without the query, which may have secrets.
    """
    match = _ASKED(buffer, start)
    return "" if match is None else f"{match[1].decode('ascii')} {match[2].decode('ascii')}"


def parse_failure(message: str, http_version: str = "1.1", head: bytes = b"") -> RequestError:
    """The answer to bytes that httptools refused: `message` is its error's text, `http_version` what it had read.

    `head` is what it was given: a method that it does not know may be one all the same (RFC 9110 section 9.1).
    """
    if message in _METHOD_FAILURES and _METHOD(head) is not None:
        return RequestError(501, "The method is not known here.")
    if message == "Pause on PRI/Upgrade" or (message == "Invalid HTTP version" and not http_version.startswith("0.")):
        return RequestError(505, "This server speaks HTTP/1.1.")
    if "Transfer-Encoding" in message and "present with" not in message:
        return RequestError(501, "The only transfer coding here is chunked.")
    return RequestError(400, "The request is malformed.")
