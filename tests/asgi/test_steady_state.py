"""What a connection holds does not grow with what it has seen: waiters that were cancelled, messages taken."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from engine_cases import frame
from fake_loop import DrivenApp, FakeServer, on_fake_clock, settle
from wire import handshake, text

pytestmark = pytest.mark.slow

ROUNDS = 5_000
SLACK = 40 * ROUNDS
"""Bytes that may be more after ROUNDS, for what grows in steps: a future is several times that."""
PLACES = 4 * ROUNDS
"""A place in a list is 8."""


async def grown(once: Callable[[], Awaitable[None]]) -> int:
    """By how many bytes the memory has grown with ROUNDS calls, when some were made before."""
    for _ in range(300):
        await once()
    tracemalloc.start()
    try:
        for _ in range(200):
            await once()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(ROUNDS):
            await once()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


async def cancelled(coroutine: Any) -> None:
    """Begin to wait, and be cancelled."""
    task = asyncio.ensure_future(coroutine)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Callbacks:
    """How many callbacks the loop is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        loop = asyncio.get_running_loop()
        call_soon = loop.call_soon

        def counting(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return call_soon(*args, **kwargs)

        monkeypatch.setattr(loop, "call_soon", counting)


@on_fake_clock
async def test_a_request_that_looks_for_a_disconnect_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    (call,) = app.calls
    await call.receive()
    listening = asyncio.ensure_future(call.receive())
    await settle()
    assert await grown(lambda: cancelled(call.receive())) < SLACK
    callbacks = Callbacks(monkeypatch)
    peer.transport.reset()
    await settle()
    assert (await listening)["type"] == "http.disconnect"
    assert callbacks.count < 200
    call.end.set_result(None)
    await settle()


@on_fake_clock
async def test_a_websocket_whose_receive_is_cancelled_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(handshake())
    (call,) = app.calls
    await call.receive()
    await call.send({"type": "websocket.accept"})
    listening = asyncio.ensure_future(call.receive())
    await settle()
    assert await grown(lambda: cancelled(call.receive())) < SLACK
    callbacks = Callbacks(monkeypatch)
    await peer.send(text("a"))
    assert (await listening)["text"] == "a"
    assert callbacks.count < 200
    peer.transport.reset()
    call.end.set_result(None)
    await settle()


@on_fake_clock
async def test_sends_that_are_cancelled_while_one_waits() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(handshake())
    (call,) = app.calls
    await call.receive()
    await call.send({"type": "websocket.accept"})
    peer.transport.stalled = True
    first = asyncio.ensure_future(call.send({"type": "websocket.send", "bytes": b"x" * 100_000}))
    await settle()
    connection = peer.connection

    async def waits() -> None:
        await connection.drained()

    last = asyncio.ensure_future(waits())
    await settle()

    async def once() -> None:
        await cancelled(waits())
        asyncio.ensure_future(waits())  # noqa: RUF006
        await asyncio.sleep(0)

    for _ in range(3):
        await once()
    assert await grown(lambda: cancelled(waits())) < SLACK
    peer.transport.drain()
    await asyncio.gather(first, last)
    peer.transport.reset()
    call.end.set_result(None)
    await settle()


@on_fake_clock
async def test_a_peer_that_is_always_one_message_ahead() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(handshake())
    (call,) = app.calls
    await call.receive()
    await call.send({"type": "websocket.accept"})
    for _ in range(3):
        peer.transport.feed(text("x"))
    data = frame(1, b"x")

    async def once() -> None:
        peer.transport.feed(data)
        assert (await call.receive())["text"] == "x"

    assert await grown(once) < PLACES
    peer.transport.reset()
    call.end.set_result(None)
    await settle()
