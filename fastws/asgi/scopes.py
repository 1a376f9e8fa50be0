"""The scope that an application is called with: what a request asked for, from whom, over what.

From the ASGI specification, HTTP and WebSocket 2.5. This module is compiled by Cython where the extension was built
(scopes.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from fastws.asgi.tls_extension import tls_extension
from fastws.http.forwarded import TrustedPeers, apply_forwarded
from fastws.http.forwarded_fields import USUAL, ForwardedFields, apply_host
from fastws.http.head import Header, RequestHead
from fastws.net.http_handler import HttpHandler

if TYPE_CHECKING:
    from fastws.config import Config
    from fastws.net.loop_state import LoopState
    from fastws.websocket.handshake import UpgradeRequest

    Scope = dict[str, Any]
    Address: TypeAlias = "tuple[str, int | None] | None"

SCOPE_KEYS = (
    "type",
    "asgi",
    "http_version",
    "server",
    "client",
    "scheme",
    "root_path",
    "path",
    "raw_path",
    "query_string",
    "headers",
    "extensions",
)

HTTP11 = "1.1"
SECURE = {"http": "https", "ws": "wss", "https": "https", "wss": "wss"}

STREAM_EXTENSION = "fastws.http2"
"""The ASGI extension that has the number of the `stream` (RFC 9113 section 5.1.1) which a call came by."""

ROOM_FOR_ATTRIBUTES = 40
"""More objects than CPython makes of a class before it knows how much room their attributes need."""

SHARED_FIELD_BYTES = 256
"""Header fields of WebSockets with a value up to this size are kept once for all of them that have the same."""

UNSHARED_FIELDS = frozenset({b"sec-websocket-key", b"cookie", b"authorization"})
"""What no two clients should have in common, or what should be forgotten with the connection."""


class Scopes:
    """Makes the scopes of one server, as `config` and what its lifespan left in `state` have it."""

    def __init__(self, config: Config, state: dict[str, Any] | None) -> None:
        self._root_path: str = config.root_path
        self._state = state
        self._trusted: TrustedPeers | None = None
        self._forwarded: ForwardedFields | None = None
        if config.proxy_headers:
            trusted = TrustedPeers(config.forwarded_allow_ips)
            secure = config.secure_scheme_headers
            if frozenset(config.forwarded_headers) == frozenset(USUAL) and not secure:
                self._trusted = trusted
            else:
                self._forwarded = ForwardedFields(config.forwarded_headers, trusted, secure)
        # Every call gets copies: what an application can write to is its own.
        self._asgi: dict[str, str] = sharing_keys({"version": "3.0", "spec_version": "2.5"})
        self._http_extensions: dict[str, dict[str, Any]] = {
            "http.response.trailers": {},
            "http.response.early_hint": {},
        }
        self._websocket_extensions: dict[str, dict[str, Any]] = {}
        self.offer_websockets("websocket.http.response", {})
        self._stream: dict[str, int] = sharing_keys({"stream": 0})
        # What every scope is a copy of, with what most of them have: to set less, and never a key that is new.
        self._blank_http: Scope = {}
        self._blank_websocket: Scope = {}
        self._last_server: Address = None
        self._shared: LoopState

    def bind(self, state: LoopState) -> None:
        """Learn the state that is shared."""
        self._shared = state
        secure = state.secure
        self._blank_http = self._blank("http", "https" if secure else "http", "method")
        self._blank_websocket = sharing_keys(self._blank("websocket", "wss" if secure else "ws", "subprotocols"))

    def offer_websockets(self, extension: str, value: dict[str, Any]) -> None:
        """Let `scope["extensions"]` of WebSockets have `extension` with a copy of this value."""
        offered = {**self._websocket_extensions, extension: sharing_keys(value)}
        self._websocket_extensions = sharing_keys(offered, ("tls", STREAM_EXTENSION))

    def http(self, http: HttpHandler, head: RequestHead) -> Scope:
        """The scope of the request `head`."""
        scope = self._scope(self._blank_http, head, http)
        scope["method"] = head.method
        scope["extensions"] = self._extensions(self._http_extensions, http)
        if head.repeated and scope["headers"] is head.headers:
            scope["headers"] = head.headers.copy()
        return scope

    def websocket(self, http: HttpHandler, head: RequestHead, upgrade: UpgradeRequest) -> Scope:
        """The scope of the WebSocket that `head` asks for."""
        head.headers = self._share_fields(head.headers)  # as long as the WebSocket lives
        scope = self._scope(self._blank_websocket, head, http)
        scope["subprotocols"] = upgrade.subprotocols.copy()
        scope["extensions"] = self._extensions(self._websocket_extensions, http)
        return scope

    def _blank(self, kind: str, scheme: str, own_key: str) -> Scope:
        blank: Scope = dict.fromkeys((*SCOPE_KEYS, own_key, *(() if self._state is None else ("state",))))
        blank["type"] = kind
        blank["scheme"] = scheme
        blank["http_version"] = HTTP11
        blank["root_path"] = self._root_path
        return blank

    def _scope(self, blank: Scope, head: RequestHead, http: HttpHandler) -> Scope:
        client, server = self._addresses(http)
        root_path = self._root_path
        scope = blank.copy()
        if http.tls_at_proxy:
            scope["scheme"] = SECURE[scope["scheme"]]
        if head.forwarded and self._trusted is not None:
            client, scope["scheme"] = apply_forwarded(head.fields, client, scope["scheme"], self._trusted)
        if head.http_version is not HTTP11:
            scope["http_version"] = head.http_version
        scope["asgi"] = self._asgi.copy()
        scope["server"] = server
        scope["client"] = client
        scope["path"] = root_path + head.path if root_path else head.path
        scope["raw_path"] = root_path.encode("ascii", "replace") + head.raw_path if root_path else head.raw_path
        scope["query_string"] = head.query_string
        scope["headers"] = head.headers
        if self._state is not None:
            scope["state"] = self._state.copy()
        if self._forwarded is not None:
            self._apply_forwarded(scope, head)
        return scope

    def _share_fields(self, headers: list[Header]) -> list[Header]:
        """A list as `headers`, no longer than it must be, of the pairs that other WebSockets have."""
        fields = self._shared.fields
        shared = headers.copy()
        for i, field in enumerate(headers):
            known: Header | None = fields.found.get(field)
            if known is not None:
                shared[i] = known
            elif len(field[1]) <= SHARED_FIELD_BYTES and field[0] not in UNSHARED_FIELDS:
                fields.keep(field, field)
        return shared

    def _apply_forwarded(self, scope: Scope, head: RequestHead) -> None:
        """Let `scope` be what the client asked for, as far as proxies told."""
        assert self._forwarded is not None
        seen = self._forwarded.read(head.fields, scope["client"], scope["scheme"])
        if seen is None:
            return
        scope["client"], scope["scheme"] = seen.client, seen.scheme
        if seen.host is not None or seen.port is not None:
            scope["headers"], scope["server"] = apply_host(seen, scope["headers"], scope["server"])
        if seen.prefix:
            scope["root_path"] = seen.prefix + scope["root_path"]
            scope["path"] = seen.prefix + scope["path"]
            scope["raw_path"] = seen.prefix.encode("ascii") + scope["raw_path"]

    def _extensions(self, offered: dict[str, dict[str, Any]], http: HttpHandler) -> dict[str, Any]:
        """What is `offered`, as one application's own, and what is known of the connection's TLS."""
        extensions: dict[str, Any] = offered.copy()
        for name, value in offered.items():
            extensions[name] = value.copy() if value else {}
        if self._shared.secure:
            tls = http.connection.tls()
            if tls is not None:
                extensions["tls"] = tls_extension(tls)
        if http.stream_id:
            stream = self._stream.copy()
            stream["stream"] = http.stream_id
            extensions[STREAM_EXTENSION] = stream
        return extensions

    def _addresses(self, http: HttpHandler) -> tuple[Address, Address]:
        """The ASGI `client` and `server` of a connection."""
        addresses = http.addresses
        if addresses is None:
            channel = http.connection
            server = _address(channel.local_address())
            if server != self._last_server:
                self._last_server = server
            addresses = http.addresses = (_address(channel.peer_address()), self._last_server)
        return addresses


def sharing_keys(values: dict[str, Any], later: tuple[str, ...] = ()) -> dict[str, Any]:
    """`values` as a dict whose copies share its keys, as those of attributes do, and keys that are set `later`.

    A copy of a scope is 290 bytes smaller on CPython 3.11, one with a single key 104, until another key is set. It
    takes a little longer to make, which is worth it for what lives as long as a WebSocket.
    """
    kind = type("Attributes", (), {})
    for _ in range(ROOM_FOR_ATTRIBUTES):  # CPython 3.11 gives each object of a class room for one attribute less
        attributes = kind()
        for key in (*values, *later):
            setattr(attributes, key, None)
    attributes = kind()
    for key, value in values.items():
        setattr(attributes, key, value)
    shared: dict[str, Any] = vars(attributes)
    return shared


def _address(address: Any) -> Address:
    """An ASGI `client` or `server` from what a transport says of an address: host and port, or a Unix path."""
    if isinstance(address, tuple):
        return address[:2]
    if address:
        return (address if isinstance(address, str) else address.decode("utf-8", "replace"), None)
    return None
