"""Heads of HTTP/2 requests: from a list of fields to a `RequestHead` (RFC 9113 section 8).

Sans-IO. What HTTP/1.1 and HTTP/2 have in common is checked by `read_request`; here is what only HTTP/2 has: the pseudo
fields, names in small letters, no fields of a connection. A request that breaks these rules is malformed: it gets no
answer but a RST_STREAM, since whoever made it may have mixed up two messages.
"""

from __future__ import annotations

import re
from typing import Final

from fastws.errors import RequestError
from fastws.http.head import Header, RequestHead, is_host, read_request
from fastws.http.head_scan import Limits

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch  # RFC 9110 section 5.6.2, in small letters
_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_TARGET: Final = re.compile(rb"[!-~]+").fullmatch
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]\Z").search
_PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_OF_CONNECTIONS: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)
FIELD_BYTES: Final = 32
"""What each field counts for in the size of a list, besides its name and its value (section 6.5.2)."""


HTTP2: Final = "2"
"""`RequestHead.http_version` of these requests, and of no other: this very object."""


class Malformed(Exception):
    """A request that is answered with RST_STREAM PROTOCOL_ERROR (section 8.1.1). The message is for the log."""


class Http2Head:
    """What a block of a request says: `head`, and `protocol` where it is an extended CONNECT (RFC 8441)."""

    __slots__ = ("head", "protocol")

    def __init__(self, head: RequestHead, protocol: bytes | None) -> None:
        self.head = head
        self.protocol = protocol


def read_head(fields: list[Header], ended: bool, limits: Limits) -> Http2Head:
    """Check the fields of a request, which has no body where it has `ended`.

    Raises Malformed, and RequestError for a request that is well-formed and refused: 414, 417, 431, 501.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: list[Header] = []
    cookies: list[bytes] = []
    size = 0
    for name, value in fields:
        size += len(name) + len(value) + FIELD_BYTES
        if name[:1] == b":":
            if headers or cookies or name not in _PSEUDO or name in pseudo:
                raise Malformed("a pseudo field is unknown, late or there twice")
            pseudo[name] = bytes(value)
            continue
        name, value = _checked(name, value)
        if name == b"cookie":
            cookies.append(value)
        else:
            headers.append((name, value))
    if size > limits.head:
        raise RequestError(431, "The request head is too large.")
    if any(len(name) + len(value) + 2 > limits.field_size for name, value in headers):
        raise RequestError(431, "A header field is too large.")
    return _make(pseudo, headers, cookies, ended, limits)


def check_trailers(fields: list[Header]) -> None:
    """Check the trailers of a request. Raises Malformed."""
    for name, value in fields:
        if name[:1] == b":":
            raise Malformed("a pseudo field is in the trailers")
        _checked(name, value)


def _checked(name: bytes, value: bytes) -> Header:
    if not _NAME(name):
        raise Malformed("the name of a field is malformed")
    if _BAD_VALUE(value):
        raise Malformed("the value of a field is malformed")
    if name in _OF_CONNECTIONS or (name == b"te" and value.lower() != b"trailers"):
        raise Malformed("a field belongs to a connection of HTTP/1.1")
    return bytes(name), bytes(value)


def _make(
    pseudo: dict[bytes, bytes], headers: list[Header], cookies: list[bytes], ended: bool, limits: Limits
) -> Http2Head:
    method, scheme, path = pseudo.get(b":method"), pseudo.get(b":scheme"), pseudo.get(b":path")
    authority, protocol = pseudo.get(b":authority"), pseudo.get(b":protocol")
    if method is None or not _METHOD(method):
        raise Malformed(":method is missing or malformed")
    connect = method == b"CONNECT"
    if connect and protocol is None:
        if scheme is not None or path is not None or not authority:
            raise Malformed("a CONNECT has no :scheme and no :path")  # section 8.5
        raise RequestError(501, "CONNECT is not served.")
    if protocol is not None and not connect:
        raise Malformed(":protocol is for CONNECT")  # RFC 8441 section 4
    if not scheme or not path or not _TARGET(path) or scheme.lower() not in (b"http", b"https"):
        raise Malformed(":scheme or :path is missing or malformed")
    if path[:1] != b"/" and not (path == b"*" and method == b"OPTIONS"):
        raise Malformed(":path is malformed")
    hosts = [value for name, value in headers if name == b"host"]
    if authority is None:
        authority = hosts[0] if hosts else None
    if not authority or not is_host(authority) or any(host.lower() != authority.lower() for host in hosts):
        raise Malformed(":authority is missing or malformed, or Host differs")
    if hosts:
        headers = [each for each in headers if each[0] != b"host"]
    headers.insert(0, (b"host", authority))
    if cookies:
        headers.append((b"cookie", b"; ".join(cookies)))  # section 8.2.3
    try:
        head = read_request(b"GET" if connect else method, path, "1.1", headers, limits)
    except RequestError as error:
        if error.status == 400:
            raise Malformed(error.detail) from None
        raise
    length = head.content_length
    if ended and length and not connect:
        raise Malformed("a body is promised that does not come")
    head.method = "CONNECT" if connect else head.method
    head.http_version = HTTP2
    head.keep_alive = True
    head.chunked = not ended and length is None and not connect
    head.expect_continue = not ended and b"expect" in head.fields
    return Http2Head(head, protocol)
