"""What went over one WebSocket, counted for the access log; where there is no access log, nothing is counted."""

from __future__ import annotations

import asyncio
from typing import Any

from fastws.asgi_http import AccessLog
from fastws.events import Close


class Traffic:
    """The messages of one WebSocket and its lines in the access log."""

    __slots__ = ("_began", "_bytes_in", "_bytes_out", "_log", "_loop", "_messages_in", "_messages_out", "_scope")

    def __init__(self, log: AccessLog, scope: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        self._log = log
        self._scope = scope
        self._loop = loop
        self._began = 0.0
        self._messages_in = 0
        self._bytes_in = 0
        self._messages_out = 0
        self._bytes_out = 0

    def opened(self, status: int) -> None:
        """The handshake was answered with `status`: 101, or the one that denied it."""
        self._log.websocket_opened(self._scope, status)
        self._began = self._loop.time()

    def received(self, events: list[Any]) -> None:
        """The peer sent the messages in `events`."""
        for item in events:
            if not isinstance(item, Close):
                self._messages_in += 1
                self._bytes_in += _size(item)

    def sent(self, message: Any) -> None:
        """The application sent `message`."""
        self._messages_out += 1
        self._bytes_out += _size(message)

    def closed(self, code: int, reason: str) -> None:
        """The WebSocket, which was open, has ended; the log gets its second line."""
        self._log.websocket_closed(
            self._scope,
            code,
            reason,
            self._loop.time() - self._began,
            self._messages_in,
            self._bytes_in,
            self._messages_out,
            self._bytes_out,
        )


def _size(message: Any) -> int:
    """Bytes of a message on the wire, before compression."""
    if isinstance(message, str):
        return len(message) if message.isascii() else len(message.encode("utf-8", "surrogatepass"))
    return memoryview(message).nbytes
