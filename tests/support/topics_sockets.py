"""WebSockets of one server for tests of topics: the application's sides and the peers, both driven by a test."""

from __future__ import annotations

from typing import Any

import wire
from driving import ACCEPT, connect
from fake_loop import Call, DrivenApp, FakeServer, Peer

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate"


def subscribe(topic: str, **more: Any) -> dict[str, Any]:
    return {"type": "websocket.subscribe", "topic": topic, **more}


def unsubscribe(topic: str) -> dict[str, Any]:
    return {"type": "websocket.unsubscribe", "topic": topic}


def publish(topic: str, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "websocket.publish", "topic": topic, "text": text, **more}


class Sockets:
    """A server whose WebSockets a test drives on both sides."""

    def __init__(self, engine: str, **options: Any) -> None:
        self.app = DrivenApp()
        self.server = FakeServer(self.app, engine=engine, **options)
        self.hub = self.server.hub
        self.counts = self.server.state.counts

    async def open(self, *topics: str, fields: tuple[bytes, ...] = (), **more: Any) -> tuple[Call, Peer]:
        """The application's side and the peer of a WebSocket that has subscribed to these topics."""
        peer = await connect(self.server, *fields)
        call = self.app.calls[-1]
        await call.receive()
        await call.send(ACCEPT)
        peer.take()
        for topic in topics:
            await call.send(subscribe(topic, **more))
        return call, peer

    async def open_stalled(self, *topics: str, **more: Any) -> tuple[Call, Peer]:
        """The same, of a peer that does not read, and for which as much as may waits already."""
        call, peer = await self.open(*topics, **more)
        peer.transport.stalled = True
        peer.transport.write(bytes(65537))
        peer.take()
        assert peer.connection.writing_paused
        return call, peer


def texts(peer: Peer) -> list[str]:
    """The text messages that the peer has got since the last call."""
    frames = wire.read_frames(peer.take())
    assert all(frame.opcode == wire.TEXT for frame in frames)
    return [frame.payload.decode() for frame in frames]
