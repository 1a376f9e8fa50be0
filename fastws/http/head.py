"""Heads of HTTP/1.1 requests: what they mean, from what httptools parsed.

Sans-IO: bytes and values, no loop, no socket, no clock. `head_scan` looked at the raw bytes before. The rules are
RFC 9112's (HTTP/1.1) and RFC 9110's (HTTP semantics). Heads of responses are `response_head`'s.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from fastws.errors import RequestError
from fastws.http.head_scan import DEFAULT_LIMITS, Limits

Header = tuple[bytes, bytes]

# RFC 3986 section 3.2.2, RFC 9110 section 7.2. The grammar allows a comma in a name, but two Hosts that something on
# the way joined would look like that: refused. An empty value is allowed (section 7.2), a port without a host is not.
_HOST: Final = re.compile(
    rb"(?:(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+|\[(?:[0-9A-Fa-f:.]+|[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+;=:-]+)\])"
    rb"(?::[0-9]{0,5})?|"
).fullmatch
_ABSOLUTE: Final = re.compile(rb"(https?)://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL).fullmatch
_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}
# Field names that most requests have, as they are sent, to the one lower-case object that all requests share.
_FIELD_NAMES: Final = {
    spelling: name
    for name in (
        b"accept accept-encoding accept-language authorization cache-control connection content-length content-type "
        b"cookie host if-modified-since if-none-match origin pragma range referer sec-ch-ua sec-ch-ua-mobile "
        b"sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-websocket-extensions sec-websocket-key "
        b"sec-websocket-protocol sec-websocket-version transfer-encoding upgrade user-agent x-forwarded-for "
        b"x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip x-request-id"
    ).split()
    for spelling in (name, name.title(), name.title().replace(b"Websocket", b"WebSocket"))
}
_NO_TOKENS: Final[frozenset[bytes]] = frozenset()
_MAX_CACHED_VALUE: Final = 64  # bytes; what a peer sends stays in a cache only when it is short


class RequestHead:
    """A request head that passed every check. Header names are lower case; order and duplicates are kept in `headers`.

    `fields` has one value for each name; where a field came in several lines they are joined by a comma, which is right
    for list fields only (RFC 9110 section 5.3): use it for those, and for fields that may come once.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "expect_continue",
        "fields",
        "headers",
        "http_version",
        "keep_alive",
        "method",
        "path",
        "query_string",
        "raw_path",
        "repeated",
        "scope",
        "target",
    )

    method: str
    target: bytes
    path: str
    raw_path: bytes
    query_string: bytes
    http_version: str
    headers: list[Header]
    fields: dict[bytes, bytes]
    content_length: int | None
    chunked: bool
    expect_continue: bool
    keep_alive: bool
    repeated: bool
    """Other requests, with the same bytes, use this object too: nothing of it may be changed or given away."""
    scope: dict[str, Any] | None
    """What the ASGI layer has made of it for all of these requests."""

    @property
    def has_body(self) -> bool:
        """Whether bytes of a body follow the head."""
        return self.chunked or bool(self.content_length)

    @property
    def connection_tokens(self) -> frozenset[bytes]:
        """The tokens of Connection, lower case (RFC 9110 section 7.6.1)."""
        value = self.fields.get(b"connection")
        return _NO_TOKENS if value is None else tokens(value)

    @property
    def te_trailers(self) -> bool:
        """Whether the peer takes trailers (RFC 9110 section 10.1.4)."""
        value = self.fields.get(b"te")
        return value is not None and b"trailers" in tokens(value)

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.target!r} HTTP/{self.http_version}>"


def read_request(
    method: bytes, target: bytes, http_version: str, headers: list[Header], limits: Limits = DEFAULT_LIMITS
) -> RequestHead:
    """Check a head that httptools parsed, and say what it means.

    `method`, `target` and `headers` are as the peer sent them and stay as they are; `http_version` is such as "1.1".
    Raises RequestError: 400, 414, 417, 431, 501, 505 (RFC 9112 sections 2 to 6, RFC 9110 sections 7.2 and 10.1.1).
    """
    known = _FIELD_NAMES
    lowered = []
    fields = {}
    for field, content in headers:
        lower = known.get(field)
        if lower is None:
            lower = field.lower()
        if content and (content[-1] == 0x20 or content[-1] == 0x09):
            # httptools leaves blanks at the end; RFC 9112 section 5.1 excludes them. Other white space it refused.
            content = content.rstrip()
        lowered.append((lower, content))
        fields[lower] = content
    return make_head(method, target, http_version, lowered, fields, limits)


def make_head(
    method: bytes,
    target: bytes,
    http_version: str,
    lowered: list[Header],
    fields: dict[bytes, bytes],
    limits: Limits,
) -> RequestHead:
    """`read_request` for fields whose names are in small letters; `fields` has the last value of each name."""
    if len(target) > limits.target:
        raise RequestError(414, "The request target is too long.")
    if len(fields) != len(lowered):
        fields = _combine(lowered)
    if len(lowered) > limits.fields:
        raise RequestError(431, "There are too many header fields.")

    if http_version == "1.1":
        keep_alive = True
    elif http_version == "1.0":
        keep_alive = False
    elif http_version.startswith("0."):
        raise RequestError(400, "HTTP/0.9 is not served.")
    else:
        raise RequestError(505, "This server speaks HTTP/1.1.")
    name = _METHODS.get(method)
    if name is None:
        if method == b"CONNECT":
            raise RequestError(501, "CONNECT is not served.")
        name = method.decode("ascii")

    # RFC 9112 section 3.2: exactly one Host in HTTP/1.1, and a valid one wherever there is one.
    host = fields.get(b"host")
    if host is None:
        if http_version == "1.1":
            raise RequestError(400, "The Host header is missing.")
    elif not (_is_host(host) if len(host) <= _MAX_CACHED_VALUE else _HOST(host)):
        raise RequestError(400, "The Host header is malformed.")

    content_length = None
    value = fields.get(b"content-length")
    if value is not None:
        # RFC 9110 section 8.6: digits only, and a number of 64 bits with a sign. Two of them have a comma here.
        if not value.isdigit() or len(value) > 18:
            raise RequestError(400, "The Content-Length header is malformed.")
        content_length = int(value)
    chunked = False
    value = fields.get(b"transfer-encoding")
    if value is not None:
        _check_transfer_encoding(value, http_version, content_length)
        chunked = True

    # RFC 9112 section 9.3.
    value = fields.get(b"connection")
    if value is None or value == b"Upgrade":
        pass
    elif value != b"keep-alive":
        found = tokens(value)
        keep_alive = b"close" not in found and (keep_alive or b"keep-alive" in found)
    else:
        keep_alive = True

    expect_continue = False
    value = fields.get(b"expect")
    if value is not None:
        # RFC 9110 section 10.1.1: 417 for any other; HTTP/1.0 cannot ask for it, and nobody waits without a body.
        if value.lower() != b"100-continue":
            raise RequestError(417, "The only expectation served is 100-continue.")
        expect_continue = http_version == "1.1" and (chunked or bool(content_length))

    # RFC 9112 section 3.2: the forms of the target. The commonest first.
    rest = target if target and target[0] == 0x2F else _other_form(name, target, host)
    if 0x23 in rest:
        raise RequestError(400, "The request target has a fragment.")  # never sent (RFC 9112 section 3.2)
    raw_path, query_string = rest, b""
    if 0x3F in rest:
        raw_path, _, query_string = rest.partition(b"?")
    decoded = unquote_to_bytes(raw_path) if 0x25 in raw_path else raw_path
    path = decoded.decode("utf-8", "replace")
    head = RequestHead()
    head.method = name
    head.target = target
    head.path = path
    head.raw_path = raw_path
    head.query_string = query_string
    head.http_version = http_version
    head.headers = lowered
    head.fields = fields
    head.content_length = content_length
    head.chunked = chunked
    head.expect_continue = expect_continue
    head.keep_alive = keep_alive
    head.repeated = False
    head.scope = None
    return head


def plain_head(request: RequestHead) -> bytes:
    """A head that makes a fresh httptools parser read the body of `request`, and what follows it, as plain HTTP.

    On any Upgrade, httptools takes the head for the whole message and stops. Where the upgrade is not made, the bytes
    after the head are the body, to be read with the framing that the head promised: feed this first, then them.
    """
    line = (
        b"transfer-encoding: chunked\r\n"
        if request.chunked
        else b"content-length: %d\r\n" % (request.content_length or 0)
    )
    return b"POST / HTTP/1.1\r\n" + line + (b"\r\n" if request.keep_alive else b"connection: close\r\n\r\n")


def _combine(headers: list[Header]) -> dict[bytes, bytes]:
    """One value for each name; RFC 9110 section 5.3. Fields that frame or route a message may come once."""
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in fields:
            if name == b"host":
                raise RequestError(400, "There are two Host headers.")
            if name == b"content-length":
                raise RequestError(400, "There are two Content-Length headers.")
            value = fields[name] + b", " + value
        fields[name] = value
    return fields


def _check_transfer_encoding(value: bytes, http_version: str, content_length: int | None) -> None:
    """RFC 9112 section 6.1: what a proxy in front may have read otherwise is refused, not repaired."""
    if http_version == "1.0":
        raise RequestError(400, "HTTP/1.0 has no Transfer-Encoding.")
    if content_length is not None:
        raise RequestError(400, "Content-Length and Transfer-Encoding exclude each other.")
    if value.lower() != b"chunked":
        raise RequestError(501, "The only transfer coding here is chunked.")


def _other_form(method: str, target: bytes, host: bytes | None) -> bytes:
    """The path and query of a target that is not in origin-form (RFC 9112 sections 3.2.2 to 3.2.4)."""
    if target == b"*" and method == "OPTIONS":
        return target
    match = _ABSOLUTE(target)
    if match is None:
        raise RequestError(400, "The request target is malformed.")
    scheme, authority, rest = match.groups()
    if not authority or not _HOST(authority):
        raise RequestError(400, "The request target is malformed.")
    # Section 3.2.2 has the target's host win over Host. Whatever is in front may have used Host, and two servers must
    # not take one request for different hosts': where they differ it is refused, on purpose.
    if host is not None and _without_default_port(scheme, authority) != _without_default_port(scheme, host):
        raise RequestError(400, "The request target and the Host header differ.")
    if not rest and method == "OPTIONS":
        return b"*"
    return rest if rest[:1] == b"/" else b"/" + rest


def _without_default_port(scheme: bytes, authority: bytes) -> bytes:
    port = b":80" if len(scheme) == 4 else b":443"
    return authority.lower().removesuffix(port).removesuffix(b":")


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    return _HOST(value) is not None


def is_host(value: bytes) -> bool:
    """Whether `value` may stand in a Host field (RFC 3986 section 3.2.2); empty is allowed."""
    return _HOST(value) is not None


def tokens(value: bytes) -> frozenset[bytes]:
    """The elements of a list field, lower case (RFC 9110 section 5.6.1)."""
    return _short_tokens(value) if len(value) <= _MAX_CACHED_VALUE else _tokens(value)


def _tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(element.strip(b" \t") for element in value.lower().split(b",")) - {b""}


_short_tokens: Final = lru_cache(maxsize=256)(_tokens)
