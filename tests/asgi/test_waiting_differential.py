"""An application that goes on without its task sees what it would see with it: the same programs, both ways.

A program is what a random application does with each message: waits for something, starts tasks, cancels itself, sends,
gives up waiting, waits twice. What it sees goes into a trace, and what the peer gets is compared as well.
"""

from __future__ import annotations

import asyncio
import random
from contextvars import ContextVar
from typing import Any

import pytest
import wire
from driving import ACCEPT, connect
from fake_loop import FakeServer, on_fake_clock, settle

MESSAGES = 12
WHERE: ContextVar[int] = ContextVar("WHERE", default=-1)
STEPS = (
    "echo",
    "turn",
    "sleep",
    "receive",
    "task",
    "cancel",
    "wait_for",
    "two",
    "shield",
    "context",
    "raise_inside",
    "many",
)


class Program:
    """An application that does what `seed` says, and writes down what it sees."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.trace: list[Any] = []
        self.beside: list[Any] = []  # what tasks of their own saw, whose order is nobody's promise
        self.task: asyncio.Task[None] | None = None
        self.side: list[asyncio.Task[Any]] = []

    def note(self, *what: Any) -> None:
        self.trace.append((*what, WHERE.get(), asyncio.current_task() is self.task))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.task = asyncio.current_task()
        await receive()
        await send(ACCEPT)
        number = 0
        try:
            while True:
                try:
                    event = await receive()
                except asyncio.CancelledError:
                    self.note("cancelled")
                    continue
                self.note("received", event.get("text"), event["type"], event.get("code"))
                if event["type"] == "websocket.disconnect":
                    return
                number += 1
                WHERE.set(number)
                for _ in range(self.choose.randrange(3)):
                    await self.step(self.choose.choice(STEPS), number, receive, send)
        except RuntimeError as error:
            self.note("ends", str(error))
            raise
        finally:
            self.note("over")

    async def step(self, what: str, number: int, receive: Any, send: Any) -> None:
        self.note(what)
        if what == "echo":
            await send({"type": "websocket.send", "text": f"echo {number}"})
        elif what == "turn":
            await asyncio.sleep(0)
        elif what == "sleep":
            await asyncio.sleep(0.01)
        elif what == "receive":
            self.note("inner", (await receive()).get("text"))
        elif what == "task":
            self.side.append(asyncio.create_task(self.aside(number, send)))
        elif what == "cancel":
            assert self.task is not None
            self.task.cancel()
        elif what == "wait_for":
            try:
                event = await asyncio.wait_for(receive(), self.choose.choice([0.005, 5.0]))
                self.note("in time", event.get("text"))
            except asyncio.TimeoutError:
                self.note("too late")
        elif what == "two":
            first, second = asyncio.ensure_future(receive()), asyncio.ensure_future(asyncio.sleep(0.02))
            await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                first.cancel()
            found = (await asyncio.gather(first, return_exceptions=True))[0]
            self.note("two", found.get("text") if isinstance(found, dict) else type(found).__name__)
            second.cancel()
        elif what == "shield":
            await asyncio.shield(asyncio.sleep(0.001))
        elif what == "context":
            WHERE.set(1000 + number)
        elif what == "raise_inside":
            try:
                raise ValueError(number)
            except ValueError:
                await send({"type": "websocket.send", "text": f"in handler {number}"})
                self.note("still", number)
        else:
            for each in range(30):
                await send({"type": "websocket.send", "text": f"{number}.{each}"})

    async def aside(self, number: int, send: Any) -> None:
        await asyncio.sleep(0.003)
        self.beside.append((number, WHERE.get()))
        await send({"type": "websocket.send", "text": f"aside {number}"})


async def run(seed: int, engine: str, wakeup: str) -> tuple[Any, ...]:
    """What the application saw and what the peer got, and how its task ended."""
    program = Program(seed)
    server = FakeServer(program, engine=engine, ws_ping_interval=None, app_wakeup=wakeup)
    peer = await connect(server)
    peer.take()
    got = b""
    timing = random.Random(seed + 1)
    for number in range(MESSAGES):
        burst = b"".join(wire.text(f"{number}.{each}") for each in range(timing.choice([1, 1, 1, 2, 5])))
        await peer.send(burst)
        got += peer.take()
        if timing.random() < 0.5:
            await asyncio.sleep(timing.choice([0.001, 0.004, 0.03]))
            got += peer.take()
    await peer.send(wire.close(1000))
    for _ in range(20):
        await asyncio.sleep(0.05)
        got += peer.take()
    await settle()
    for task in program.side:
        task.cancel()
    await asyncio.gather(*program.side, return_exceptions=True)
    assert program.task is not None
    ended = {"done": program.task.done(), "cancelled": program.task.done() and program.task.cancelled()}
    frames = wire.read_frames(got)
    aside = sorted(each for each in frames if each.payload.startswith(b"aside"))
    return program.trace, sorted(program.beside), [each for each in frames if each not in aside], aside, ended


@pytest.mark.parametrize("seed", range(60))
@on_fake_clock
async def test_the_same_program_sees_the_same(engine: str, seed: int) -> None:
    without = await run(seed, engine, "auto")
    assert without == await run(seed, engine, "task")
    assert len(without[0]) > 1
