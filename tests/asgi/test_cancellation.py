"""An application that goes on without its task is cancelled as a plain task of this asyncio's is.

The same coroutine runs as a plain task and as the application of a WebSocket, and what it sees is compared: on whatever
CPython runs these tests.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import wire
from driving import ACCEPT, connect
from fake_loop import FakeServer, on_fake_clock, settle

Receive = Callable[[], Awaitable[str]]
Operations = Callable[[Any], None]


def uncancel(task: Any) -> None:
    if sys.version_info >= (3, 11):
        task.uncancel()


def cancelling(task: Any) -> int:
    found: int = task.cancelling() if sys.version_info >= (3, 11) else 0
    return found


OPERATIONS: dict[str, Operations] = {
    "nothing": lambda task: None,
    "cancel": lambda task: task.cancel(),
    "cancel with a message": lambda task: task.cancel("why"),
    "cancel twice": lambda task: (task.cancel("a"), task.cancel("b")),  # type: ignore[func-returns-value]
    "cancel twice, the last without a message": lambda task: (task.cancel("a"), task.cancel()),
    "cancel and uncancel": lambda task: (task.cancel("a"), uncancel(task)),
    "cancel twice and uncancel once": lambda task: (task.cancel("a"), task.cancel("b"), uncancel(task)),
    "cancel, uncancel, cancel": lambda task: (task.cancel("a"), uncancel(task), task.cancel("b")),
}


async def sleeps(receive: Receive) -> str:
    await asyncio.sleep(0)
    return "slept"


async def waits(receive: Receive) -> str:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(1, lambda: None if future.done() else future.set_result(None))
    await future
    return "waited"


async def receives(receive: Receive) -> str:
    return await receive()


WAITS = {"sleeps": sleeps, "waits": waits, "receives": receives}


async def course(receive: Receive, do: Operations, wait: Callable[[Receive], Awaitable[str]], seen: list[Any]) -> None:
    """What an application does, and what it sees of it."""
    task = asyncio.current_task()
    assert await receive() == "1"
    assert await receive() == "2"
    do(task)
    for _ in range(3):
        try:
            seen.append(await wait(receive))
        except asyncio.CancelledError as error:
            seen.append(("cancelled", [each for each in error.args if each is not None]))
        seen.append(cancelling(task))
    seen.append("end")


async def plain(do: Operations, wait: Any) -> list[Any]:
    """As a plain task."""
    messages: list[str] = []
    waiters: list[asyncio.Future[None]] = []
    seen: list[Any] = []

    async def receive() -> str:
        while not messages:
            waiter = asyncio.get_running_loop().create_future()
            waiters.append(waiter)
            await waiter
        return messages.pop(0)

    task = asyncio.ensure_future(course(receive, do, wait, seen))
    for number in range(1, 7):
        await settle()
        messages.append(str(number))
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        await asyncio.sleep(2)
    await asyncio.wait([task])
    return seen


async def served(engine: str, do: Operations, wait: Any) -> list[Any]:
    """As the application of a WebSocket."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def text() -> str:
            event = await receive()
            assert event["type"] == "websocket.receive"
            found: str = event["text"]
            return found

        await receive()
        await send(ACCEPT)
        await course(text, do, wait, seen)

    peer = await connect(FakeServer(app, engine=engine, ws_ping_interval=None))
    for number in range(1, 7):
        await settle()
        peer.transport.feed(wire.text(str(number)))
        await asyncio.sleep(2)
    peer.transport.reset()
    await settle()
    return seen


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("do", OPERATIONS)
def test_as_a_plain_task(do: str, wait: str) -> None:
    found: dict[str, list[Any]] = {}

    @on_fake_clock
    async def check() -> None:
        found["plain"] = await plain(OPERATIONS[do], WAITS[wait])
        found["served"] = await served("auto", OPERATIONS[do], WAITS[wait])

    check()
    assert found["plain"][-1] == "end"
    assert found["served"] == found["plain"]
