"""HTTP/1.1 heads: a request's meaning from what httptools parsed, and a response's bytes from what the app gave.

Sans-IO: bytes and values, no loop, no socket, no clock. `head_scan` looked at the raw bytes before; how the body of a
response is delimited is decided in `http_framing`. The rules are RFC 9112's (HTTP/1.1) and RFC 9110's (HTTP semantics).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from fastws.errors import ApplicationError, RequestError
from fastws.http.head_scan import DEFAULT_LIMITS, Limits
from fastws.http.repeats import Repeats

Header = tuple[bytes, bytes]


# --- Requests ---------------------------------------------------------------------------------------------------------

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
_MAX_REPEATED: Final = 1024  # bytes of a response head that is remembered
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
    if len(target) > limits.target:
        raise RequestError(414, "The request target is too long.")
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
    if value is not None and value != b"keep-alive":
        found = tokens(value)
        keep_alive = b"close" not in found and (keep_alive or b"keep-alive" in found)
    elif value is not None:
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
        rest = rest[: rest.index(b"#")]  # fragments are never sent (RFC 9110 section 7.1); dropped where they are
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
    # Section 3.2.2 lets a server take the target's host and ignore Host. Whatever is in front may have used Host.
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

# --- Responses --------------------------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110 section 5.6.2
_STATUS_LINES: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}

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

    __slots__ = ("close", "content_length", "has_date", "has_server", "lines", "status", "whole", "whole_with")

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

    @property
    def fields(self) -> bytes:
        """`lines` without the status line."""
        return self.lines[self.lines.index(b"\n") + 1 :]


def response_head(status: int, headers: Iterable[Header]) -> ResponseHead:
    """Check and write the head of a response: an interim (1xx) or a final one.

    Raises ApplicationError for a status outside 100 to 999, a name that is not a token, a value with CR, LF or NUL
    (RFC 9110 sections 5.1, 5.5), anything that is not bytes, a malformed Content-Length or two that differ.
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
                    if status < 200 or status == 204:
                        continue  # RFC 9110 section 8.6
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
    # Each line brought one CRLF: any more came from a value.
    if head.count(b"\n") != count or head.count(b"\r") != count or head.find(b"\0") >= 0:
        raise ApplicationError("A response header value has CR, LF or NUL in it.")
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
    return all(type(name) is bytes and type(value) is bytes for name, value in headers)


def _unknown_status_line(status: object) -> bytes:
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 999:
        raise ApplicationError(f"The response status must be an int from 100 to 999, not {status!r}.")
    return b"HTTP/1.1 %d \r\n" % status  # RFC 9112 section 4: the phrase may be empty, the space may not


def _app_content_length(value: object) -> int:
    if not isinstance(value, bytes) or not value.isdigit() or len(value) > 20:
        raise ApplicationError(f"The Content-Length response header must be a number in bytes, not {value!r}.")
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
