"""Heads of HTTP requests: what they mean, from method, target and fields.

Sans-IO: bytes and values, no loop, no socket, no clock. `head_reader` has parsed the raw bytes before; plain heads of
HTTP/1.1 are made sense of in C where the extension was built (`_plain_heads`), with the same results. The rules are
RFC 9112's (HTTP/1.1) and RFC 9110's (HTTP semantics). Heads of responses are `response_head`'s.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
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
FIELD_NAMES: Final = {
    spelling: name
    for name in (
        b"accept accept-charset accept-encoding accept-language access-control-request-headers "
        b"access-control-request-method authorization baggage cache-control connection content-encoding "
        b"content-length content-type cookie date dnt expect forwarded from host if-match if-modified-since "
        b"if-none-match if-range if-unmodified-since keep-alive origin pragma priority proxy-authorization range "
        b"referer sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site "
        b"sec-fetch-user sec-gpc sec-websocket-extensions sec-websocket-key sec-websocket-protocol "
        b"sec-websocket-version te traceparent tracestate transfer-encoding upgrade upgrade-insecure-requests "
        b"user-agent via x-amzn-trace-id x-csrf-token x-forwarded-for x-forwarded-host x-forwarded-port "
        b"x-forwarded-proto x-real-ip x-request-id x-requested-with"
    ).split()
    for spelling in (name, name.title(), name.title().replace(b"Websocket", b"WebSocket"))
}
_NO_TOKENS: Final[frozenset[bytes]] = frozenset()
_MAX_CACHED_VALUE: Final = 64  # bytes; what a peer sends stays in a cache only when it is short


class RequestHead:
    """A request head that passed every check. Header names are lower case; order and duplicates are kept in `headers`.

    The application gets `headers` and may change them: what is asked of `fields` is asked before.
    """

    __slots__ = (
        "_fields",
        "chunked",
        "content_length",
        "expect_continue",
        "forwarded",
        "headers",
        "http_version",
        "keep_alive",
        "method",
        "path",
        "query_string",
        "raw_path",
        "repeated",
        "target",
        "te_trailers",
        "upgrades",
    )

    method: str
    target: bytes
    path: str
    raw_path: bytes
    query_string: bytes
    http_version: str
    headers: list[Header]
    _fields: dict[bytes, bytes] | None
    content_length: int | None
    chunked: bool
    expect_continue: bool
    keep_alive: bool
    upgrades: bool
    """There is an Upgrade or a Sec-WebSocket-Key: it may be a handshake."""
    forwarded: bool
    """There is an X-Forwarded-For or an X-Forwarded-Proto."""
    te_trailers: bool
    """The peer takes trailers (RFC 9110 section 10.1.4)."""
    repeated: bool
    """Other requests, with the same bytes, use this object too: nothing of it may be changed or given away."""

    @property
    def fields(self) -> dict[bytes, bytes]:
        """One value for each name.

        Where a field came in several lines they are joined by a comma, which is right for list fields only (RFC 9110
        section 5.3): use it for those, and for fields that may come once.
        """
        fields = self._fields
        if fields is None:
            fields = self._fields = _combine(self.headers)
        return fields

    @property
    def has_body(self) -> bool:
        """Whether bytes of a body follow the head."""
        return self.chunked or bool(self.content_length)

    @property
    def connection_tokens(self) -> frozenset[bytes]:
        """The tokens of Connection, lower case (RFC 9110 section 7.6.1)."""
        value = self.fields.get(b"connection")
        return _NO_TOKENS if value is None else tokens(value)

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.target!r} HTTP/{self.http_version}>"


def read_request(
    method: bytes, target: bytes, http_version: str, headers: list[Header], limits: Limits = DEFAULT_LIMITS
) -> RequestHead:
    """Check a head that httptools parsed, and say what it means.

    `method`, `target` and `headers` are as the peer sent them and stay as they are; `http_version` is such as "1.1".
    Raises RequestError: 400, 414, 417, 431, 501, 505 (RFC 9112 sections 2 to 6, RFC 9110 sections 7.2 and 10.1.1).
    """
    known = FIELD_NAMES
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
    elif not is_host(host):
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
    head._fields = fields
    head.content_length = content_length
    head.chunked = chunked
    head.expect_continue = expect_continue
    head.keep_alive = keep_alive
    head.upgrades = b"upgrade" in fields or b"sec-websocket-key" in fields
    head.forwarded = b"x-forwarded-for" in fields or b"x-forwarded-proto" in fields
    value = fields.get(b"te")
    head.te_trailers = value is not None and b"trailers" in tokens(value)
    head.repeated = False
    return head


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
    return _is_host(value) if len(value) <= _MAX_CACHED_VALUE else _HOST(value) is not None


def tokens(value: bytes) -> frozenset[bytes]:
    """The elements of a list field, lower case (RFC 9110 section 5.6.1)."""
    return _short_tokens(value) if len(value) <= _MAX_CACHED_VALUE else _tokens(value)


def _tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(element.strip(b" \t") for element in value.lower().split(b",")) - {b""}


_short_tokens: Final = lru_cache(maxsize=256)(_tokens)
