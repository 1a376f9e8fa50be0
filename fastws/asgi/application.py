"""What an ASGI application is called with, and the `Application` that a server calls.

This module is always interpreted, for two reasons. The `receive` and `send` that an application gets are native
coroutine functions, since some libraries accept no others; and a traceback through them can be read. Both are thin:
what they do is in http_cycle.py and session.py, and how the application is called is in calls.py. They have
compiled twins, _awaitables.pyx, for interpreters that are slow at native ones.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastws.asgi.calls import Calls
from fastws.asgi.http2_cycle import Http2Cycle
from fastws.asgi.http_cycle import HttpCycle
from fastws.asgi.observer import Observer
from fastws.asgi.request_id import REQUEST_ID, RequestIds
from fastws.asgi.session import Session
from fastws.errors import RequestError
from fastws.http.forwarded import TrustedPeers

if TYPE_CHECKING:
    from fastws.asgi.calls import ASGIApp, Event
    from fastws.config import Config
    from fastws.http.head import Header


class Call:
    """The coroutines that the application calls, for what has their steps: an `HttpCycle` or a `Session`."""

    __slots__ = ()

    if TYPE_CHECKING:

        def next_event(self) -> Event | None: ...
        def wait_for_event(self) -> Awaitable[None]: ...
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


class Http2Call(Http2Cycle, Call):
    """The same for a stream of HTTP/2."""

    __slots__ = ()


class WebSocketCall(Session, Call):
    """A `Session` as the application has it."""

    __slots__ = ()


if sys.version_info < (3, 12):
    with suppress(ImportError):
        from fastws.asgi import _awaitables

        Call.receive = _awaitables.receive  # type: ignore[method-assign,assignment]
        Call.send = _awaitables.send  # type: ignore[method-assign,assignment]


class IdentifiedWebSocketCall(WebSocketCall):
    """A `WebSocketCall` with a request id, which the answer to its handshake carries, whatever it is."""

    __slots__ = ("id_field",)

    id_field: Header

    def _accept(self, event: Event) -> None:
        super()._accept(self._with_id(event))

    def _start_denial(self, event: Event) -> asyncio.Future[None] | None:
        return super()._start_denial(self._with_id(event))

    def _refuse(self, error: RequestError) -> None:
        found = getattr(self, "id_field", None)
        if found is not None:  # the application has been called
            error = RequestError(error.status, error.detail, (*error.headers, found), error.log_hint)
        super()._refuse(error)

    def _with_id(self, event: Event) -> Event:
        headers = event.get("headers") or ()
        if not isinstance(headers, Iterable):
            return event  # an error, which is raised where it is read
        return {**event, "headers": [*headers, self.id_field]}


class Application(Calls):
    """Serves requests and WebSockets with an ASGI 3 application; the `Gateway` of a `LoopState`."""

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        *,
        state: dict[str, Any] | None = None,
        observer: Observer | None = None,
    ) -> None:
        if config.request_id_header is None:
            super().__init__(app, config, HttpCall, Http2Call, WebSocketCall, state, observer)
        else:
            trusted = TrustedPeers(config.forwarded_allow_ips) if config.proxy_headers else None
            identified = identify(app, RequestIds(config.request_id_header, trusted))
            super().__init__(identified, config, HttpCall, Http2Call, IdentifiedWebSocketCall, state, observer)


def identify(app: ASGIApp, ids: RequestIds) -> ASGIApp:
    """`app`, each call of which has its id before it begins: in its scope, its task's context and its answer."""

    def call(scope: dict[str, Any], receive: Any, send: Any) -> Awaitable[None]:
        about: HttpCall | Http2Call | IdentifiedWebSocketCall = receive.__self__
        peer = about.connection.peer_address()
        request_id = ids.choose(scope["headers"], peer[0] if isinstance(peer, tuple) else None)
        if isinstance(about, HttpCycle):
            about.own_lines = ids.line(request_id)
        else:
            about.id_field = ids.field(request_id)
        scope.setdefault("state", {})["request_id"] = request_id
        REQUEST_ID.set(request_id)
        return app(scope, receive, send)

    return call
