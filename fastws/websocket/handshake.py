"""The server's side of the opening handshake: RFC 6455 section 4.2, for every engine.

Sans-IO: it reads a `RequestHead` and writes the bytes of a 101. Which extension is agreed on is `deflate`'s business;
what the app answers, and when, is the session's; a refusal is a `HandshakeError`, which the connection sends before it
closes.

`read_upgrade` knows the protocol only: a check that needs configuration, such as `check_origin`, comes between it and
the call of the app.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from fastws.errors import ApplicationError, HandshakeError
from fastws.http.head import Header, RequestHead, tokens
from fastws.http.origin import normalise_origin
from fastws.http.response_head import ResponseHead, response_head

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_BLANK: Final = sha1(usedforsecurity=False)
_VERSION: Final = b"13"
# 16 bytes in base64 are 22 digits and "=="; the last digit carries two bits, the rest is zero (RFC 4648 section 3.5).
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==").fullmatch
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110 section 5.6.2
_UPGRADE_HEADERS: Final = ((b"upgrade", b"websocket"), (b"connection", b"Upgrade"))
_VERSION_HEADERS: Final = ((b"sec-websocket-version", _VERSION), *_UPGRADE_HEADERS[:1])
_HEAD: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
)
MAX_SUBPROTOCOLS: Final = 100
"""What a peer may offer: the application keeps the list as long as the WebSocket lives."""
# Headers of a 101 that are not the app's to write: the handshake's own, and those that would frame a body.
_RESERVED: Final = frozenset((b"upgrade", b"connection", b"transfer-encoding", b"content-length"))


@dataclass(slots=True)
class UpgradeRequest:
    """A valid request for a WebSocket: what the answer to it depends on."""

    key: bytes
    """Sec-WebSocket-Key as sent; over HTTP/2 there mostly is none."""
    subprotocols: list[str]
    """What the peer offers, in its order of preference, without duplicates."""
    extensions: list[bytes]
    """The values of Sec-WebSocket-Extensions, a line each, not parsed."""


def read_upgrade(request: RequestHead) -> UpgradeRequest | None:
    """Say whether `request` asks for a WebSocket; None: it does not, serve it as plain HTTP.

    Raises HandshakeError for one that asks wrongly: 426 for the version, or where a proxy removed Upgrade (with a hint
    for the operator), 405 for the method, 400 for the rest (RFC 6455 section 4.2.1, RFC 9110 section 7.8).
    """
    fields = request.fields
    upgrade = fields.get(b"upgrade")
    key = fields.get(b"sec-websocket-key")
    if upgrade is None or (upgrade != b"websocket" and b"websocket" not in tokens(upgrade)):
        if key is None or upgrade is not None:
            return None
        raise HandshakeError(
            426,
            "This is a WebSocket handshake without an Upgrade header.",
            _VERSION_HEADERS,
            log_hint="A WebSocket handshake came without its Upgrade header: the proxy in front must pass it on "
            "(nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
            'proxy_set_header Connection "upgrade";)',
        )
    if fields.get(b"connection") != b"Upgrade" and b"upgrade" not in request.connection_tokens:
        if key is None:
            return None  # RFC 9110 section 7.8: Upgrade counts only where Connection names it
        raise HandshakeError(
            400,
            "The Connection header does not have the upgrade option.",
            log_hint="A WebSocket handshake came without the upgrade option in its Connection header: the proxy in "
            'front must send it (nginx: proxy_http_version 1.1; proxy_set_header Connection "upgrade";)',
        )
    if request.method != "GET":
        raise HandshakeError(405, "A WebSocket handshake is a GET.", ((b"allow", b"GET"),))
    if request.http_version != "1.1":
        raise HandshakeError(400, "A WebSocket handshake needs HTTP/1.1.")
    if request.chunked or request.content_length:
        raise HandshakeError(400, "A WebSocket handshake has no body.")
    if fields.get(b"sec-websocket-version") != _VERSION:
        raise HandshakeError(426, "The WebSocket version here is 13.", _VERSION_HEADERS)
    if key is None or not _KEY(key):  # two of them are joined by a comma in `fields`
        raise HandshakeError(400, "Sec-WebSocket-Key must be 16 bytes in base64, once.")
    return _read_offers(request, key)


def read_connect(request: RequestHead) -> UpgradeRequest:
    """The WebSocket that an extended CONNECT with :protocol `websocket` asks for (RFC 8441 section 5).

    It needs no key: nothing in between could take it for something else. But Envoy, which makes such a request of an
    upgrade of HTTP/1.1, passes the client's key on and leaves the answer to it to us. Raises HandshakeError: 400.
    """
    if request.fields.get(b"sec-websocket-version") != _VERSION:
        raise HandshakeError(400, "The WebSocket version here is 13.", _VERSION_HEADERS[:1])
    key = request.fields.get(b"sec-websocket-key")
    return _read_offers(request, key if key is not None and _KEY(key) else b"")


def _read_offers(request: RequestHead, key: bytes) -> UpgradeRequest:
    fields = request.fields
    subprotocols: list[str] = []
    value = fields.get(b"sec-websocket-protocol")
    if value is not None:
        subprotocols = _read_subprotocols(value)
    extensions: list[bytes] = []
    if b"sec-websocket-extensions" in fields:
        extensions = [value for name, value in request.headers if name == b"sec-websocket-extensions"]
    return UpgradeRequest(key, subprotocols, extensions)


def check_origin(request: RequestHead, allowed: Container[str]) -> None:
    """Refuse a handshake by a page of an origin that is not in `allowed`, in its one form (RFC 6455 section 10.2).

    Only browsers send Origin, and always do: without it there is no page that could abuse somebody's cookies.
    Raises HandshakeError: 403, with the origin in the hint for the operator.
    """
    value = request.fields.get(b"origin")
    if value is None:
        return
    text = value.decode("latin-1")
    if normalise_origin(text) not in allowed:
        shown = text[:200].encode("unicode_escape").decode("ascii").replace('"', '\\"')
        raise HandshakeError(
            403,
            "The origin is not allowed.",
            log_hint=f'A WebSocket from a page of "{shown}" was refused: it is not in --ws-allowed-origins.',
        )


def _read_subprotocols(value: bytes) -> list[str]:
    """RFC 6455 section 4.1, item 10: tokens, case kept. Empty list elements are ignored (RFC 9110 section 5.6.1)."""
    offered: dict[str, None] = {}
    for element in value.split(b","):
        token = element.strip(b" \t")
        if token:
            if not _TOKEN(token):
                raise HandshakeError(400, "Sec-WebSocket-Protocol is malformed.")
            offered[token.decode("ascii")] = None
            if len(offered) > MAX_SUBPROTOCOLS:
                raise HandshakeError(400, "Sec-WebSocket-Protocol offers too many subprotocols.")
    return list(offered)


def accept_key(key: bytes) -> bytes:
    """The value of Sec-WebSocket-Accept for `key` (RFC 6455 section 4.2.2, item 5.4)."""
    hashed = _BLANK.copy()  # making one anew takes longer than hashing
    hashed.update(key + _GUID)
    return b2a_base64(hashed.digest(), newline=False)


def accept_response(
    upgrade: UpgradeRequest,
    *,
    subprotocol: str | None = None,
    headers: Iterable[Header] = (),
    extensions: bytes | None = None,
    default_headers: Sequence[Header] | bytes = b"",
) -> bytes:
    """The whole head of the 101 that accepts `upgrade` (RFC 6455 section 4.2.2).

    `headers` and `subprotocol` are the app's. `extensions` is the value of Sec-WebSocket-Extensions, or None.
    `default_headers` are the server's (Date, Server, configured ones), as pairs or as prebuilt lines.
    Raises ApplicationError for a subprotocol that was not offered and for headers that are malformed, that belong to
    the handshake (Sec-WebSocket-*, Upgrade, Connection) or that frame a body.
    """
    lines = accept_fields(upgrade, subprotocol, headers, extensions, default_headers)
    return _HEAD + accept_key(upgrade.key) + b"\r\n" + lines + b"\r\n"


def accept_fields(
    upgrade: UpgradeRequest,
    subprotocol: str | None,
    headers: Iterable[Header],
    extensions: bytes | None,
    default_headers: Sequence[Header] | bytes,
) -> bytes:
    """The header lines of an answer that accepts, whatever carries it; arguments and errors as `accept_response`."""
    head = b""
    if subprotocol is not None:
        if subprotocol not in upgrade.subprotocols:
            raise ApplicationError(
                f"The subprotocol {subprotocol!r} was not offered; the client offered {upgrade.subprotocols!r}."
            )
        head = b"sec-websocket-protocol: " + subprotocol.encode("ascii") + b"\r\n"
    if extensions is not None:
        head += b"sec-websocket-extensions: " + extensions + b"\r\n"
    if not isinstance(default_headers, bytes):
        default_headers = response_head(101, default_headers).fields
    if headers:
        app = _app_head(headers)
        head += app.fields
        if app.has_date:
            default_headers = _without(b"date:", default_headers)
        if app.has_server:
            default_headers = _without(b"server:", default_headers)
    return head + default_headers


def _app_head(headers: Iterable[Header]) -> ResponseHead:
    if isinstance(headers, Iterable):
        headers = list(headers)
    head = response_head(101, headers)  # it checks what they are, for what follows
    for name, _ in headers:
        lowered = name.lower()
        if lowered.startswith(b"sec-websocket-") or lowered in _RESERVED:
            raise ApplicationError(f"The header {name!r} of a WebSocket accept is the server's to write.")
    return head


def _without(prefix: bytes, lines: bytes) -> bytes:
    return b"".join(line for line in lines.splitlines(keepends=True) if not line.lower().startswith(prefix))
