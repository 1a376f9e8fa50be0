"""The ASGI application at work: scopes, tasks, and what becomes of its errors.

This module is always interpreted, for two reasons. The `receive` and `send` that an application gets are native
coroutine functions, since some libraries accept no others; and a traceback through them can be read. Both are thin:
what they do is in asgi_http.py and asgi_websocket.py.

From the ASGI specification, HTTP and WebSocket 2.5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastws.asgi_http import HttpCycle, Stage
from fastws.asgi_states import State
from fastws.asgi_tls import tls_extension
from fastws.asgi_websocket import Session
from fastws.connection import Connection
from fastws.errors import ClientDisconnected
from fastws.forwarded import TrustedPeers, apply_forwarded
from fastws.observer import Observer

if TYPE_CHECKING:
    from fastws.config import Config
    from fastws.handshake import UpgradeRequest
    from fastws.http_connection import HttpConnection
    from fastws.http_head import RequestHead
    from fastws.loop_state import LoopState

Event = dict[str, Any]
Scope = dict[str, Any]
Address = tuple[str, int | None] | None
ASGIApp = Callable[[Scope, Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]], Awaitable[None]]

DISCONNECTS = frozenset({"ClientDisconnect", "WebSocketDisconnect", "WebSocketDisconnected"})
"""Names of the exceptions by which frameworks (Starlette, FastAPI, Litestar, Falcon) tell that the peer is gone."""


class Call:
    """The coroutines that the application calls, for what has their steps: an `HttpCycle` or a `Session`."""

    __slots__ = ()

    if TYPE_CHECKING:

        def next_event(self) -> Event | None: ...
        def wait_for_event(self) -> asyncio.Future[None]: ...
        def send_event(self, event: Any) -> asyncio.Future[None] | None: ...

    async def receive(self) -> Event:
        """ASGI: the next event for the application."""
        event = self.next_event()
        while event is None:
            await self.wait_for_event()
            event = self.next_event()
        return event

    async def send(self, event: Event) -> None:
        """ASGI: send `event`; returns when the peer reads fast enough for more."""
        waiter = self.send_event(event)
        if waiter is not None:
            await waiter


class HttpCall(HttpCycle, Call):
    """An `HttpCycle` as the application has it."""

    __slots__ = ()


class WebSocketCall(Session, Call):
    """A `Session` as the application has it."""

    __slots__ = ()


class Application:
    """Serves requests and WebSockets with an ASGI 3 application; the `Gateway` of a `LoopState`."""

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        *,
        state: dict[str, Any] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._app = app
        self._root_path = config.root_path
        self._state = state
        self._trusted = TrustedPeers(config.forwarded_allow_ips) if config.proxy_headers else None
        self._observer = observer
        # Shared by all scopes, which costs less memory than a copy for each connection.
        self._asgi = {"version": "3.0", "spec_version": "2.5"}
        self._http_extensions: dict[str, Any] = {"http.response.trailers": {}, "http.response.early_hint": {}}
        self._websocket_extensions: dict[str, Any] = {"websocket.http.response": {}}
        self._last_server: Address = None
        self._shared: LoopState

    def bind(self, state: LoopState) -> None:
        """Learn the state that is shared."""
        self._shared = state

    def exchange(self, http: HttpConnection, head: RequestHead) -> HttpCycle:
        """Call the application for the request `head`."""
        shared = self._shared
        scope = self._scope("http", head, http)
        scope["method"] = head.method
        scope["extensions"] = self._extensions(self._http_extensions, http) if shared.secure else self._http_extensions
        call = HttpCall(http, shared, head, scope, self._observer)
        shared.requests += 1
        call.task = self._start(self._run_http(call, scope))
        return call

    def websocket(self, http: HttpConnection, head: RequestHead, upgrade: UpgradeRequest, early_data: bytes) -> Session:
        """Call the application for the WebSocket that `head` asks for."""
        shared = self._shared
        scope = self._scope("websocket", head, http)
        scope["subprotocols"] = upgrade.subprotocols
        extensions = self._websocket_extensions
        scope["extensions"] = self._extensions(extensions, http) if shared.secure else extensions
        call = WebSocketCall(http.connection, shared, scope, self._observer, head, upgrade, early_data)
        shared.websockets += 1
        call.task = self._start(self._run_websocket(call, scope))
        return call

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `coroutine` from the loop's next turn on.

        Not by the loop's task factory: an application may have set an eager one, and would then be called before its
        request is known to the connection.
        """
        task = asyncio.Task(coroutine, loop=self._shared.loop)
        self._shared.start_task(task)
        return task

    def _scope(self, kind: str, head: RequestHead, http: HttpConnection) -> Scope:
        secure = self._shared.secure
        scheme = ("wss" if secure else "ws") if kind == "websocket" else ("https" if secure else "http")
        if http.addresses is None:
            http.addresses = self._addresses(http.connection)
        client, server = http.addresses
        if self._trusted is not None:
            client, scheme = apply_forwarded(head.fields, client, scheme, self._trusted)
        root_path = self._root_path
        scope: Scope = {
            "type": kind,
            "asgi": self._asgi,
            "http_version": head.http_version,
            "server": server,
            "client": client,
            "scheme": scheme,
            "root_path": root_path,
            "path": root_path + head.path if root_path else head.path,
            "raw_path": root_path.encode("ascii", "replace") + head.raw_path if root_path else head.raw_path,
            "query_string": head.query_string,
            "headers": head.headers,
        }
        if self._state is not None:
            scope["state"] = self._state.copy()
        return scope

    def _extensions(self, extensions: dict[str, Any], http: HttpConnection) -> dict[str, Any]:
        """`extensions`, and what is known of the connection's TLS."""
        transport = http.connection.transport
        connection = None if transport is None else transport.get_extra_info("ssl_object")
        return extensions if connection is None else {**extensions, "tls": tls_extension(connection)}

    def _addresses(self, connection: Connection) -> tuple[Address, Address]:
        """The ASGI `client` and `server` of a connection."""
        transport = connection.transport
        assert transport is not None
        server = _address(transport.get_extra_info("sockname"))
        if server != self._last_server:
            self._last_server = server
        return _address(transport.get_extra_info("peername")), self._last_server

    def _end(self, task: asyncio.Task[None] | None) -> None:
        assert task is not None
        self._shared.end_task(task)

    # Whatever the application raises ends here, SystemExit and KeyboardInterrupt included: beyond its task they would
    # end the loop, and with it everybody else's connections. CTRL+C is none of them, `Server` handles the signals.

    async def _run_http(self, call: HttpCall, scope: Scope) -> None:
        try:
            await self._app(scope, call.receive, call.send)
        except BaseException as error:
            if self._abandoned(error):
                raise
            if not call.finished() or not is_disconnect(error):
                self._log_error(error)
            self._end(call.task)
            call.fail()
            self._end_request(call)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._end(call.task)
            if not call.finished():
                self._shared.log_application_error("The application returned without completing its response.")
                call.fail()
            self._end_request(call)

    async def _run_websocket(self, call: WebSocketCall, scope: Scope) -> None:
        try:
            await self._app(scope, call.receive, call.send)
        except BaseException as error:
            if self._abandoned(error):
                raise
            if call.state not in (State.CLOSING, State.CLOSED) or not is_disconnect(error):
                self._log_error(error)
            self._end(call.task)
            self._shared.websockets -= 1
            call.end_by_application(True)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            if call.undecided():
                self._shared.log_application_error(
                    "The application returned without accepting or closing the WebSocket."
                )
            self._end(call.task)
            self._shared.websockets -= 1
            call.end_by_application(False)

    def _end_request(self, call: HttpCall) -> None:
        """Count the request no more, where its response has not come to an end and done so."""
        if call.stage is not Stage.DONE:
            self._shared.requests -= 1

    def _abandoned(self, error: BaseException) -> bool:
        """Whether `error` is not the application's but that of a loop that was closed under it."""
        return isinstance(error, GeneratorExit) and self._shared.loop.is_closed()

    def _log_error(self, error: BaseException) -> None:
        """Log what the application raised, with its traceback, once; nothing where it was we who cancelled it."""
        if not isinstance(error, asyncio.CancelledError):
            self._shared.log_application_error("Exception in ASGI application", error)
        elif not self._shared.shutting_down:
            self._shared.log_application_error("The application's task was cancelled.")


def is_disconnect(error: BaseException) -> bool:
    """Whether `error` only says that the peer is gone: ours, or what a framework has made of it or of a disconnect.

    By name, since the frameworks' classes have no base of their own and are not ours to import. The cause of an error
    is not asked: a mistake in an application's clean-up must be logged. A group is a disconnect if all in it are.
    """
    members = getattr(error, "exceptions", None)
    if isinstance(members, tuple) and members:
        return all(is_disconnect(member) for member in members)
    return isinstance(error, ClientDisconnected) or type(error).__name__ in DISCONNECTS


def _address(address: Any) -> Address:
    """An ASGI `client` or `server` from what a transport says of an address: host and port, or a Unix path."""
    if isinstance(address, tuple):
        return address[:2]
    if address:
        return (address if isinstance(address, str) else address.decode("utf-8", "replace"), None)
    return None
