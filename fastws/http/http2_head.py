"""Heads of HTTP/2 requests: from a list of fields to a `RequestHead` (RFC 9113 section 8).

Sans-IO. What HTTP/1.1 and HTTP/2 have in common is checked by `make_head`; here is what only HTTP/2 has: the pseudo
fields, names in small letters, no fields of a connection. A request that breaks these rules is malformed: it gets no
answer but a RST_STREAM, since whoever made it may have mixed up two messages. Compiled by Cython where the extension
was built (http2_head.pxd), interpreted elsewhere.
"""

from __future__ import annotations

import re
from typing import Final

from fastws.errors import RequestError
from fastws.http.head import Header, RequestHead, is_host, make_head
from fastws.http.head_scan import Limits
from fastws.http.header_blocks import is_field

_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_TARGET: Final = re.compile(rb"[!-~]+").fullmatch
_SCHEMES: Final = frozenset((b"http", b"https"))
_OF_CONNECTIONS: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)
FIELD_BYTES: Final = 32
"""What each field counts for in the size of a list, besides its name and its value (section 6.5.2)."""

_NO_HOST: Final = (b"host", b"")
"""What stands first until it is known."""

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
    method = scheme = path = authority = protocol = None
    headers: list[Header] = [_NO_HOST]
    by_name: dict[bytes, bytes] = {}
    cookies: list[bytes] = []
    hosts: list[bytes] = []
    size, longest = 0, 0
    for pair in fields:
        name, value = pair
        length = len(name) + len(value)
        size += length + FIELD_BYTES
        if name[:1] == b":":
            if by_name or cookies or hosts:
                raise Malformed("a pseudo field is late")
            if name == b":method" and method is None:
                method = value
            elif name == b":path" and path is None:
                path = value
            elif name == b":scheme" and scheme is None:
                scheme = value
            elif name == b":authority" and authority is None:
                authority = value
            elif name == b":protocol" and protocol is None:
                protocol = value
            else:
                raise Malformed("a pseudo field is unknown or there twice")
            continue
        _check(name, value)
        if length > longest:
            longest = length
        if name == b"cookie":
            cookies.append(value)
        elif name == b"host":
            hosts.append(value)
        else:
            headers.append(pair)
            by_name[name] = value
    if size > limits.head:
        raise RequestError(431, "The request head is too large.")
    if longest + 2 > limits.field_size:
        raise RequestError(431, "A header field is too large.")
    if method is None or not _METHOD(method):
        raise Malformed(":method is missing or malformed")
    connect = method == b"CONNECT"
    if connect and protocol is None:
        if scheme is not None or path is not None or not authority:
            raise Malformed("a CONNECT has no :scheme and no :path")  # section 8.5
        raise RequestError(501, "CONNECT is not served.")
    if protocol is not None and not connect:
        raise Malformed(":protocol is for CONNECT")  # RFC 8441 section 4
    if not scheme or not path or not _TARGET(path) or scheme.lower() not in _SCHEMES:
        raise Malformed(":scheme or :path is missing or malformed")
    if path[:1] != b"/" and not (path == b"*" and method == b"OPTIONS"):
        raise Malformed(":path is malformed")
    if authority is None:
        authority = hosts[0] if hosts else None
    if not authority or not is_host(authority) or (hosts and _differ(hosts, authority)):
        raise Malformed(":authority is missing or malformed, or Host differs")
    headers[0] = (b"host", authority)
    by_name[b"host"] = authority
    if cookies:
        cookie = cookies[0] if len(cookies) == 1 else b"; ".join(cookies)  # section 8.2.3
        headers.append((b"cookie", cookie))
        by_name[b"cookie"] = cookie
    try:
        head = make_head(b"GET" if connect else method, path, "1.1", headers, by_name, limits)
    except RequestError as error:
        if error.status == 400:
            raise Malformed(error.detail) from None
        raise
    promised = head.content_length
    if ended and promised and not connect:
        raise Malformed("a body is promised that does not come")
    if connect:
        head.method = "CONNECT"
    head.http_version = HTTP2
    head.keep_alive = True
    head.chunked = not ended and promised is None and not connect
    head.expect_continue = not ended and b"expect" in by_name
    return Http2Head(head, protocol)


def _differ(hosts: list[bytes], authority: bytes) -> bool:
    return any(host.lower() != authority.lower() for host in hosts)


def check_trailers(fields: list[Header]) -> None:
    """Check the trailers of a request. Raises Malformed."""
    for name, value in fields:
        if name[:1] == b":":
            raise Malformed("a pseudo field is in the trailers")
        _check(name, value)


def _check(name: bytes, value: bytes) -> None:
    if not is_field(name, value):
        raise Malformed("the name or the value of a field is malformed")
    if name in _OF_CONNECTIONS or (name == b"te" and value.lower() != b"trailers"):
        raise Malformed("a field belongs to a connection of HTTP/1.1")
