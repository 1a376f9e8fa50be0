"""The states of a WebSocket: what an application may send in each, and what it is told where it sends another thing."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a WebSocket is in its life (RFC 6455 sections 4 and 7). The value completes "cannot be sent ..."."""

    CONNECTING = "before the WebSocket is accepted"
    """The handshake has arrived and the application has not decided."""
    DENYING = "in the response that denies the WebSocket"
    """The application sends an HTTP response instead of accepting."""
    OPEN = "on an open WebSocket"
    CLOSING = "after 'websocket.close'"
    """We have sent a Close and wait for the peer's."""
    CLOSED = "after the WebSocket was closed"
    """Nothing can be sent any more."""


SENDABLE: dict[State, dict[str, str]] = {
    State.CONNECTING: {
        "websocket.accept": "_accept",
        "websocket.close": "_deny",
        "websocket.http.response.start": "_start_denial",
    },
    State.DENYING: {"websocket.http.response.body": "_continue_denial"},
    State.OPEN: {
        "websocket.send": "_send_message",
        "websocket.close": "_close",
        "websocket.subscribe": "_subscribe",
        "websocket.unsubscribe": "_unsubscribe",
        "websocket.publish": "_publish",
    },
    State.CLOSING: {},
    State.CLOSED: {},
}
"""What an application may send in which state, and the method of `Session` that does it."""


def describe_bad_message(text: object, data: object) -> str:
    """What is wrong with a `websocket.send` that has this `text` and these `bytes`."""
    if text is not None and data is not None:
        return "The event 'websocket.send' has both 'text' and 'bytes': exactly one must be given."
    if text is None and data is None:
        return "The event 'websocket.send' has neither 'text' nor 'bytes': exactly one must be given."
    if text is not None:
        return f"'text' of 'websocket.send' must be str, not {type(text).__name__}."
    return f"'bytes' of 'websocket.send' must be bytes, not {type(data).__name__}."
