"""Topics on one process: what the events of the extension `fastws.topics` do, on every engine."""

from __future__ import annotations

from typing import Any

import wire
from driving import ACCEPT, connect
from fake_loop import Call, DrivenApp, FakeServer, Peer, on_fake_clock, settle


def subscribe(topic: str, **more: Any) -> dict[str, Any]:
    return {"type": "websocket.subscribe", "topic": topic, **more}


def publish(topic: str, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "websocket.publish", "topic": topic, "text": text, **more}


class Sockets:
    """A server whose WebSockets a test drives on both sides."""

    def __init__(self, engine: str, **options: Any) -> None:
        self.app = DrivenApp()
        self.server = FakeServer(self.app, engine=engine, **options)
        self.hub = self.server.hub

    async def open(self, *topics: str, fields: tuple[bytes, ...] = (), **more: Any) -> tuple[Call, Peer]:
        """The application's side and the peer of a WebSocket that has subscribed to these topics."""
        peer = await connect(self.server, *fields)
        call = self.app.calls[-1]
        await call.send(ACCEPT)
        peer.take()
        for topic in topics:
            await call.send(subscribe(topic, **more))
        return call, peer


def texts(peer: Peer) -> list[str]:
    """The text messages that the peer has got since the last call."""
    frames = wire.read_frames(peer.take())
    assert all(frame.opcode == wire.TEXT for frame in frames)
    return [frame.payload.decode() for frame in frames]


@on_fake_clock
async def test_subscribers_get_what_is_published(engine: str) -> None:
    sockets = Sockets(engine)
    _, one = await sockets.open("room")
    _, two = await sockets.open("other", "room")
    publisher, three = await sockets.open("other")
    await publisher.send(publish("room", "hello"))
    await settle()
    assert [texts(one), texts(two), texts(three)] == [["hello"], ["hello"], []]
