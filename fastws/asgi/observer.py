"""Who wants to know of requests and WebSockets: the access log, the metrics, both, or nobody.

An `Observer` hears of each request when its response ends, and of each WebSocket when it opens and when it closes; of
messages it is told the sums. A server without an observer counts nothing for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from fastws.http.response_head import ResponseHead

Scope = Mapping[str, Any]

CLIENT = "client"
APPLICATION = "application"
SERVER = "server"
NOBODY = "nobody"
"""Who closed a WebSocket; nobody did where the connection was lost without a Close."""


OBSERVER_FAILED = "Exception in the log or the metrics of requests"


class WebSocketEnd(NamedTuple):
    """How an accepted WebSocket ended, and what went over it; in and out as the server sees it."""

    code: int
    """The close code (RFC 6455 section 7.4), as the application gets it."""
    reason: str
    by: str
    """CLIENT, APPLICATION, SERVER or NOBODY."""
    seconds: float
    messages_in: int
    bytes_in: int
    """Bytes of messages before compression; text counts as UTF-8."""
    messages_out: int
    bytes_out: int


class Observer:
    """Hears what happens and does nothing about it; others override. What one raises is logged, no more."""

    __slots__ = ()

    hears_requests: ClassVar[bool] = True
    """Whether `request` is worth a call."""

    def request(
        self, scope: Scope, status: int, body_bytes: int, seconds: float, response: ResponseHead | None = None
    ) -> None:
        """A response is complete, or was cut short: `body_bytes` of body, `seconds` after the request's head was read.

        `response` is the head as the application gave it.
        """

    def websocket_opened(self, scope: Scope, status: int) -> None:
        """A handshake was answered: 101, or the status that denied it."""

    def websocket_closed(self, scope: Scope, end: WebSocketEnd) -> None:
        """An accepted WebSocket has ended."""


class Observers(Observer):
    """Tells several."""

    __slots__ = ("_all",)

    def __init__(self, *observers: Observer) -> None:
        self._all = observers

    def request(
        self, scope: Scope, status: int, body_bytes: int, seconds: float, response: ResponseHead | None = None
    ) -> None:
        """See `Observer.request`."""
        errors = []
        for each in self._all:
            try:
                each.request(scope, status, body_bytes, seconds, response)
            except Exception as error:
                errors.append(error)
        _raise_first(errors)

    def websocket_opened(self, scope: Scope, status: int) -> None:
        """See `Observer.websocket_opened`."""
        errors = []
        for each in self._all:
            try:
                each.websocket_opened(scope, status)
            except Exception as error:
                errors.append(error)
        _raise_first(errors)

    def websocket_closed(self, scope: Scope, end: WebSocketEnd) -> None:
        """See `Observer.websocket_closed`."""
        errors = []
        for each in self._all:
            try:
                each.websocket_closed(scope, end)
            except Exception as error:
                errors.append(error)
        _raise_first(errors)


def _raise_first(errors: list[Exception]) -> None:
    """What one of several has raised goes to who told them, which logs it; the others have heard."""
    if errors:
        raise errors[0]
