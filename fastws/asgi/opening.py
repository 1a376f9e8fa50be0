"""The opening of a WebSocket: what its handshake asked for, and the answer as the application decides it.

A session has an `Opening` until the application has accepted, and drops it then: an open WebSocket needs none of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastws.asgi.request_text import attributes
from fastws.asgi.responder import Responder
from fastws.errors import RequestError
from fastws.http.framing import error_response
from fastws.http.head import RequestHead
from fastws.net.channel import Channel
from fastws.websocket.handshake import UpgradeRequest, accept_response

if TYPE_CHECKING:
    from fastws.net.loop_state import LoopState
    from fastws.websocket.engine import Engine

EARLY_BYTES = 65536
"""Bytes that a peer may send before the application has accepted; then reading stops."""


class Opening:
    """A handshake (RFC 6455 section 4.2) on its way to an answer: `early` is what the peer has sent behind it."""

    __slots__ = ("_head", "_scope", "_upgrade", "early", "responder")

    def __init__(self, scope: dict[str, Any], head: RequestHead, upgrade: UpgradeRequest, early: bytes) -> None:
        self._scope = scope
        self._head = head
        self._upgrade = upgrade
        self.early = early
        self.responder: Responder | None = None

    def accept(self, event: dict[str, Any], shared: LoopState) -> tuple[bytes, Engine]:
        """The 101 for an application's `websocket.accept`, and the engine for what was agreed on.

        Raises ApplicationError for a subprotocol that was not offered, and for headers that cannot be sent.
        """
        upgrade, deflaters, engine = self._upgrade, shared.deflaters, shared.engine
        assert engine is not None
        parameters = None
        if upgrade.extensions and deflaters is not None:
            parameters = deflaters.negotiate(upgrade.extensions)
        response = self._accepted(event, None if parameters is None else parameters.response(), shared)
        max_size = shared.config.ws_max_size
        if parameters is None or deflaters is None:
            return response, engine(max_size)
        inflater = parameters.inflater(deflaters.counts, deflaters.decompressor)
        return response, engine(max_size, inflater, deflaters.get(parameters))

    def _accepted(self, event: dict[str, Any], extensions: bytes | None, shared: LoopState) -> bytes:
        return accept_response(
            self._upgrade,
            subprotocol=event.get("subprotocol"),
            headers=event.get("headers") or (),
            extensions=extensions,
            default_headers=shared.head_lines,
        )

    def answer(self, connection: Channel, response: bytes) -> None:
        """Send what `accept` has returned."""
        connection.write(response)

    def refuse(self, error: RequestError, connection: Channel, shared: LoopState) -> None:
        """Send a response of the server's own instead."""
        connection.write(error_response(error, shared.head_lines))

    def shown(self, shared: LoopState) -> dict[str, object]:
        """Who asks, and for what, for the log."""
        return attributes(self._scope, shared.config.log_query_values)

    def start_denial(self, event: dict[str, Any], connection: Channel, shared: LoopState) -> None:
        """Begin the application's own response, as the ASGI extension `websocket.http.response` has it."""
        responder = self._responder(connection, shared)
        responder.send_event({**event, "type": "http.response.start"})
        self.responder = responder
        self.early = b""

    def _responder(self, connection: Channel, shared: LoopState) -> Responder:
        return Responder(connection, shared, self._head, False)

    def continue_denial(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        """Send more of that response; returns a future where the application must wait for the peer to read."""
        assert self.responder is not None
        return self.responder.send_event({**event, "type": "http.response.body"})
