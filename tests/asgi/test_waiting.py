"""An application that waits for one message after the other: its task sleeps on, and nothing else tells it from others.

The messages go to the application without its task, which to the application is a step of its task all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
import wire
from driving import ACCEPT, connect, errors
from fake_loop import FakeServer, Peer, on_fake_clock, settle

from fastws.asgi.waiting import REUSED, Waiting

reused = pytest.mark.skipif(not REUSED, reason="the task is woken for each message")

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")
Step = Callable[[str], Awaitable[None]]


class Stepping:
    """An application that does `step` for each message."""

    def __init__(self, step: Step, swallows: int) -> None:
        self.step = step
        self.swallows = swallows  # cancellations
        self.task: asyncio.Task[None] | None = None
        self.cancelled = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.send = send
        self.receive = receive
        self.task = asyncio.current_task()
        WHO.set("the application")
        await receive()
        await send(ACCEPT)
        while True:
            try:
                event = await receive()
                if event["type"] != "websocket.receive":
                    return
                await self.step(event["text"])
            except asyncio.CancelledError:
                self.cancelled += 1
                if self.cancelled > self.swallows:
                    raise
                await send({"type": "websocket.send", "text": "cancelled"})

    @property
    def future(self) -> Any:
        """What its task waits in."""
        assert self.task is not None
        return self.task._fut_waiter  # type: ignore[attr-defined]

    async def echo(self, text: str) -> None:
        await self.send({"type": "websocket.send", "text": text})


async def serve(
    engine: str, step: Callable[[Stepping, str], Awaitable[None]], swallows: int = 0
) -> tuple[Stepping, Peer, FakeServer]:
    app = Stepping(lambda text: step(app, text), swallows)
    server = FakeServer(app, engine=engine, ws_ping_interval=None)
    peer = await connect(server)
    peer.take()
    return app, peer, server


def taken(peer: Peer) -> list[wire.Frame]:
    return wire.read_frames(peer.take())


@reused
@on_fake_clock
async def test_messages_do_not_wake_the_task(engine: str) -> None:
    app, peer, _ = await serve(engine, Stepping.echo)
    future = app.future
    for text in ("a", "b", "c"):
        await peer.send(wire.text(text))
        assert taken(peer) == wire.messages(text)
        assert app.future is future
    assert not future.done()


@on_fake_clock
async def test_to_the_application_it_is_a_step_of_its_task(engine: str) -> None:
    found = []

    async def step(app: Stepping, text: str) -> None:
        found.append((asyncio.current_task() is app.task, WHO.get()))
        WHO.set(text)

    _, peer, _ = await serve(engine, step)
    for text in ("a", "b", "c"):
        await peer.send(wire.text(text))
    assert found == [(True, "the application"), (True, "a"), (True, "b")]
    assert WHO.get() == "nobody"


@on_fake_clock
async def test_what_else_it_waits_for_comes_to_its_task(engine: str) -> None:
    gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def step(app: Stepping, text: str) -> None:
        if text == "wait":
            await app.echo(await gate)
        elif text == "sleep":
            await asyncio.sleep(0)
            await asyncio.sleep(1)
        await app.echo(text)

    app, peer, _ = await serve(engine, step)
    await peer.send(wire.text("a") + wire.text("wait") + wire.text("b"))
    assert taken(peer) == wire.messages("a")
    assert app.future is gate
    gate.set_result("opened")
    await settle()
    assert taken(peer) == wire.messages("opened", "wait", "b")
    await peer.send(wire.text("sleep"))
    await asyncio.sleep(2)
    await peer.send(wire.text("c"))
    assert taken(peer) == wire.messages("sleep", "c")


@reused
@on_fake_clock
async def test_one_that_waits_for_something_after_each_message_is_woken_by_its_task(engine: str) -> None:
    async def step(app: Stepping, text: str) -> None:
        if text == "wait":
            await asyncio.sleep(0)
        await app.echo(text)

    app, peer, _ = await serve(engine, step)
    for text in ("wait", "wait", "a"):
        future = app.future
        await peer.send(wire.text(text))
        assert taken(peer) == wire.messages(text)
        assert future.done(), text
    future = app.future
    await peer.send(wire.text("b"))
    assert app.future is future
    assert not future.done()


@on_fake_clock
async def test_its_cancellation_reaches_it_where_it_waits_for_a_message(engine: str) -> None:
    app, peer, _ = await serve(engine, Stepping.echo, 1)
    await peer.send(wire.text("a"))
    assert app.task is not None
    app.task.cancel()
    await peer.send(wire.text("b"))
    assert taken(peer) == wire.messages("a", "cancelled", "b")


@on_fake_clock
async def test_its_cancellation_overtakes_a_message_and_loses_none(engine: str) -> None:
    app, peer, _ = await serve(engine, Stepping.echo, 1)
    assert app.task is not None
    peer.transport.feed(wire.text("a"))
    app.task.cancel()
    await settle()
    assert taken(peer) == wire.messages("cancelled", "a")


@pytest.mark.parametrize("first", ["", "a"])
@on_fake_clock
async def test_one_that_cancels_itself_is_told_where_it_waits_next(engine: str, first: str) -> None:
    others: list[asyncio.Task[None]] = []

    async def other() -> None:
        await asyncio.sleep(3600)

    async def step(app: Stepping, text: str) -> None:
        assert app.task is not None
        if text == "cancel, wait":
            others.append(asyncio.create_task(other()))
            app.task.cancel()
            await others[0]
        elif text == "cancel":
            app.task.cancel()
        await app.echo(text)

    for text in ("cancel, wait", "cancel"):
        others.clear()
        app, peer, _ = await serve(engine, step, 1)
        if first:
            await peer.send(wire.text(first))
        await peer.send(wire.text(text) + wire.text("b"))
        await peer.send(wire.text("c"))
        assert app.cancelled == 1
        wanted = ["cancelled"] if text == "cancel, wait" else [text, "b", "cancelled"]
        assert taken(peer) == wire.messages(*([first] if first else []), *wanted, *(["b"] if others else []), "c")
        assert all(each.cancelled() for each in others)  # as by asyncio's own tasks


@on_fake_clock
async def test_it_is_cancelled_before_its_task_knows_what_it_waits_for(engine: str) -> None:
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def step(app: Stepping, text: str) -> None:
        assert app.task is not None
        asyncio.get_running_loop().call_soon(app.task.cancel)
        await gate

    app, peer, _ = await serve(engine, step, 1)
    await peer.send(wire.text("a"))
    assert app.cancelled == 1
    assert gate.cancelled()
    assert taken(peer) == wire.messages("cancelled")


@on_fake_clock
async def test_timeouts_end_its_waiting_and_lose_nothing(engine: str) -> None:
    found: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while True:
            try:
                event = await asyncio.wait_for(receive(), 1) if len(found) % 2 else await receive()
            except asyncio.TimeoutError:
                event = {"text": "timeout"}
            found.append(event["text"])

    server = FakeServer(app, engine=engine, ws_ping_interval=None)
    peer = await connect(server)
    for text in "abcdef":
        await peer.send(wire.text(text))
        await asyncio.sleep(1.5)
    assert found == ["a", "timeout", "b", "timeout", "c", "timeout", "d", "timeout", "e", "timeout", "f", "timeout"]


@on_fake_clock
async def test_another_task_may_wait_beside_it(engine: str) -> None:
    found: list[str] = []

    async def read(receive: Any, name: str) -> None:
        while True:
            event = await receive()
            found.append(f"{name} {event.get('text')}")
            if event["type"] != "websocket.receive":
                return

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        other = asyncio.create_task(read(receive, "other"))
        with contextlib.suppress(RuntimeError):
            await read(receive, "own")
        other.cancel()

    server = FakeServer(app, engine=engine, ws_ping_interval=None)
    peer = await connect(server)
    for text in "abc":
        await peer.send(wire.text(text))
    assert sorted(each[-1] for each in found) == ["a", "b", "c"]
    other = next(task for task in asyncio.all_tasks() if "read" in repr(task))
    other.cancel()
    await peer.send(wire.text("d") + wire.text("e"))
    assert found[-2:] == ["own d", "own e"]


@pytest.mark.parametrize(("says", "code"), [("return", 1000), ("raise", 1011), ("exit", 1011)])
@on_fake_clock
async def test_it_ends_behind_a_message(engine: str, says: str, code: int, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while True:
            text = (await receive())["text"]
            if text == "return":
                return
            if text == "raise":
                raise ValueError(text)
            if text == "exit":
                raise SystemExit

    server = FakeServer(app, engine=engine, ws_ping_interval=None)
    peer = await connect(server)
    peer.take()
    await peer.send(wire.text("a"))
    caplog.set_level(logging.ERROR)
    await peer.send(wire.text(says))
    assert [frame.opcode for frame in taken(peer)] == [8]
    logged = errors(caplog)
    assert len(logged) == (0 if says == "return" else 1)
    if says == "raise":
        assert logged[0].exc_info is not None
        trace = logged[0].exc_info[2]
        lines = []
        while trace is not None:
            lines.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert lines[-1] == "app"
    assert server.state.tasks == set()
    assert server.state.websockets == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@on_fake_clock
async def test_a_loop_in_a_step_of_another_task_leaves_it_to_its_task(engine: str) -> None:
    _, peer, server = await serve(engine, Stepping.echo)
    peer.transport.feed(wire.text("a"))
    server.state.resume_all()  # this test is a task, too
    await settle()
    assert taken(peer) == wire.messages("a")
    await peer.send(wire.text("b"))
    assert taken(peer) == wire.messages("b")


@on_fake_clock
async def test_a_loop_with_a_task_factory_gets_plain_tasks(engine: str) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **more: asyncio.Task(coro, loop=loop, **more))
    app, peer, _ = await serve(engine, Stepping.echo)
    future = app.future
    await peer.send(wire.text("a"))
    assert taken(peer) == wire.messages("a")
    assert future.done()


@on_fake_clock
async def test_a_waiting_yields_its_future_once() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = Waiting(future)
    for _ in range(2):
        assert next(waiting) is future
        assert waiting.busy
        with pytest.raises(StopIteration):
            next(waiting)
        assert not waiting.busy
