"""Deadlines of a loop that is late: once it is nobody's fault but ours, and never twice."""

from __future__ import annotations

import asyncio

import wire
from fake_loop import DrivenApp, FakeClockLoop, FakeServer, Peer, on_fake_clock

from fastws.net.channel import Handler

STUCK_SECONDS = 2.1
"""How long each turn takes: at the defaults the sweep comes once a second."""


class Noting(Handler):
    """Notes when its deadline came; `again` seconds behind is the next one."""

    def __init__(self, peer: Peer, again: float | None = None) -> None:
        self.peer = peer
        self.again = again
        self.deadlines: list[float] = []

    def on_deadline(self, now: float) -> None:
        self.deadlines.append(now)
        self.peer.connection.deadline = float("inf") if self.again is None else now + self.again

    def connection_lost(self) -> None:
        pass


def clock() -> FakeClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, FakeClockLoop)
    return loop


async def busy(seconds: float, turn: float = STUCK_SECONDS) -> None:
    """An application that blocks every turn of the loop for `turn` seconds."""
    end = clock().time() + seconds
    while clock().time() < end:
        clock().stall(turn)
        await asyncio.sleep(0)


def connect(server: FakeServer, due: float, again: float | None = None) -> Noting:
    peer = server.connect()
    handler = peer.connection.handler = Noting(peer, again)
    peer.connection.deadline = clock().time() + due
    return handler


@on_fake_clock
async def test_a_slow_request_head_ends_though_the_loop_is_always_late() -> None:
    peer = FakeServer(DrivenApp(), timeout_request_head=10.0).connect()
    await peer.send(b"GET / HTTP/1.1\r\nHost: t\r\n")
    for _ in range(20):
        await busy(STUCK_SECONDS)
        if not peer.transport.half_closed:
            peer.transport.feed(b"x: y\r\n")
    assert peer.take().startswith(b"HTTP/1.1 408 ")


@on_fake_clock
async def test_a_deadline_is_put_off_by_one_late_sweep_and_no_more() -> None:
    server = FakeServer(DrivenApp())
    handler = connect(server, 5.0)
    begin = clock().time()
    await busy(30.0)
    assert len(handler.deadlines) == 1
    assert handler.deadlines[0] <= begin + 5.0 + 3 * 2 * STUCK_SECONDS  # a timer comes every other turn


@on_fake_clock
async def test_each_deadline_of_a_connection_is_put_off_once() -> None:
    """A peer whose bytes have moved its deadline may be heard out again."""
    server = FakeServer(DrivenApp())
    handler = connect(server, 5.0, again=1.0)
    await busy(200.0, 10.0)  # ten sweeps
    assert 4 <= len(handler.deadlines) <= 5


@on_fake_clock
async def test_those_who_wait_for_their_slice_are_not_forgotten_by_a_late_sweep() -> None:
    server = FakeServer(DrivenApp())
    handlers = [connect(server, 0.5) for _ in range(1000)]
    await asyncio.sleep(1.2)
    await busy(30.0)
    assert all(handler.deadlines for handler in handlers)


@on_fake_clock
async def test_a_peer_that_takes_nothing_ends_though_the_loop_is_always_late() -> None:
    server = FakeServer(DrivenApp(), timeout_stalled_write=10.0)
    peer = server.connect()
    peer.connection.handler = Noting(peer)
    peer.transport.stalled = True
    peer.connection.deadline = float("inf")
    peer.connection.pause_writing()
    await busy(40.0)
    assert peer.transport.aborted


@on_fake_clock
async def test_a_silent_websocket_ends_though_the_loop_is_always_late() -> None:
    app = DrivenApp()
    peer = FakeServer(app, ws_ping_interval=10.0, ws_ping_timeout=10.0).connect()
    await peer.send(wire.handshake())
    await app.calls[0].send({"type": "websocket.accept"})
    await busy(80.0)
    assert peer.transport.aborted
