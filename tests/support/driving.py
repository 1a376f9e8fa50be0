"""WebSockets of a `FakeServer` whose two sides a test drives: the application's and the peer's."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import wire
from fake_loop import Call, DrivenApp, FakeServer, Peer

ACCEPT = {"type": "websocket.accept"}

AHEAD = wire.frame(wire.PONG, bytes(122)) * 128
"""What is still read from a peer whose messages fill the queue: 16 KiB, here of what is for nobody."""


async def connect(server: FakeServer, *fields: bytes, early: bytes = b"") -> Peer:
    """A peer whose handshake has arrived."""
    peer = server.connect()
    await peer.send(wire.handshake(*fields) + early)
    return peer


async def open_websocket(engine: str, *fields: bytes, early: bytes = b"", **options: Any) -> tuple[Call, Peer]:
    """The application's side and the peer of an accepted WebSocket."""
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine, **options), *fields, early=early)
    [call] = app.calls
    assert await call.receive() == {"type": "websocket.connect"}
    await call.send(ACCEPT)
    response, rest = wire.read_response(peer.take()) or (None, b"")
    assert response is not None
    assert response.status == 101
    assert rest == b""
    return call, peer


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]
