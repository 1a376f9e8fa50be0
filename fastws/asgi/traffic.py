"""What goes over one WebSocket, counted for whoever observes it; where nobody does, there is no `Traffic`.

The sums of the connection and those of its loop (`fastws.net.loop_counts`) grow together, in one pass over messages.
This module is compiled by Cython where the extension was built (traffic.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import Any

from fastws.asgi.observer import NOBODY, OBSERVER_FAILED, Observer, WebSocketEnd
from fastws.net.loop_core import LoopCore
from fastws.websocket.text_size import text_size


class Traffic:
    """The messages of one WebSocket, and what its observer is told."""

    def __init__(self, observer: Observer, scope: dict[str, Any], shared: LoopCore) -> None:
        self._observer = observer
        self.scope = scope
        self._shared = shared
        self._counts = shared.counts
        self._began: float = 0.0
        self._pinged: float = 0.0  # when, while no answer has come
        self.by: str = NOBODY
        """Who closes the WebSocket, as `fastws.asgi.observer` has it."""
        self.messages_in: int = 0
        self.bytes_in: int = 0
        self.messages_out: int = 0
        self.bytes_out: int = 0

    def opened(self, status: int) -> None:
        """The handshake was answered with `status`: 101, or the one that denied it."""
        try:
            self._observer.websocket_opened(self.scope, status)
        except Exception as error:
            self._shared.log_application_error(OBSERVER_FAILED, error)
        self._began = self._shared.clock()

    def received(self, events: list[Any]) -> None:
        """The peer sent the messages in `events`."""
        for item in events:
            kind = type(item)
            if kind is bytes:
                size = len(item)
            elif kind is str:
                size = text_size(item)
            else:
                continue
            self.messages_in += 1
            self.bytes_in += size
            self._counts.received(size)

    def sent(self, message: Any) -> None:
        """The application sent `message`."""
        kind = type(message)
        if kind is bytes:
            size = len(message)
        elif kind is str:
            size = text_size(message)
        else:
            size = text_size(str(message)) if isinstance(message, str) else memoryview(message).nbytes
        self.sent_size(size)

    def sent_size(self, size: int) -> None:
        """A message of `size` bytes was sent."""
        self.messages_out += 1
        self.bytes_out += size
        self._counts.sent(size)

    def pinged(self) -> None:
        """A ping was sent."""
        self._counts.pings += 1
        self._pinged = self._shared.clock()

    def ponged(self) -> None:
        """A pong came; the first one after a ping is its answer."""
        if self._pinged:
            self._counts.round_trip(self._shared.clock() - self._pinged)
            self._pinged = 0.0

    def closed(self, code: int, reason: str) -> None:
        """The WebSocket, which was open, has ended."""
        end = WebSocketEnd(
            code,
            reason,
            self.by,
            self._shared.clock() - self._began,
            self.messages_in,
            self.bytes_in,
            self.messages_out,
            self.bytes_out,
        )
        try:
            self._observer.websocket_closed(self.scope, end)
        except Exception as error:
            self._shared.log_application_error(OBSERVER_FAILED, error)
