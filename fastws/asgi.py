"""What an ASGI application is called with, and the `Application` that a server calls.

This module is always interpreted, for two reasons. The `receive` and `send` that an application gets are native
coroutine functions, since some libraries accept no others; and a traceback through them can be read. Both are thin:
what they do is in asgi_http.py and asgi_websocket.py, and how the application is called is in asgi_calls.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastws.asgi_calls import Calls
from fastws.asgi_http import HttpCycle
from fastws.asgi_websocket import Session
from fastws.observer import Observer

if TYPE_CHECKING:
    from fastws.asgi_calls import ASGIApp, Event
    from fastws.config import Config


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
        super().__init__(app, config, HttpCall, WebSocketCall, state, observer)
