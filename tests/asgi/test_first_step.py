"""A call's first step, which a task takes at once where asyncio's can (from Python 3.12 on): nobody can tell.

Random applications see the same with `--app-wakeup task`, where each task begins in a turn of its own, and so do their
clients. What is known of the order of things, contexts and tasks is asked one by one below.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import random
import re
import sys
from contextvars import ContextVar
from typing import Any

import pytest
import wire
from driving import errors
from fake_loop import FakeServer, on_fake_clock, settle
from serving import serve

REQUESTS = 8
WHERE: ContextVar[str] = ContextVar("WHERE", default="the server's")
STEPS = (
    *("receive", "turn", "sleep", "cancel", "timeout", "task"),
    *("group", "context", "start", "piece", "raise", "return"),
)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

EAGER = sys.version_info >= (3, 12)
eager = pytest.mark.skipif(not EAGER, reason="a task cannot begin when it is made")


class Program:
    """An application whose calls do what `seed` says, each by its number, and write down what they see."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.traces: dict[str, list[Any]] = {}
        self.tasks: list[asyncio.Task[Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        name = scope["path"]
        choose = random.Random(f"{self.seed} {name}")
        trace = self.traces[name] = [WHERE.get()]
        task = asyncio.current_task()
        assert task is not None
        trace.append(task in self.tasks)  # one that another call had
        self.tasks.append(task)
        WHERE.set(name)
        begun = False
        try:
            for _ in range(choose.randrange(1, 7)):
                what = choose.choice(STEPS)
                trace.append((what, WHERE.get(), asyncio.current_task() is task))
                if what == "receive":
                    event = await receive()
                    trace.append((event["type"], event.get("body"), event.get("more_body")))
                elif what in ("turn", "sleep"):
                    await asyncio.sleep(0 if what == "turn" else 0.01)
                elif what == "cancel":
                    task.cancel("by itself")
                elif what == "timeout":
                    with contextlib.suppress(asyncio.TimeoutError):
                        trace.append(await asyncio.wait_for(receive(), 0.005))
                elif what == "task":
                    trace.append(await asyncio.create_task(self.aside(name)))
                elif what == "group":
                    trace.append(await asyncio.gather(self.aside(name), self.aside(name)))
                elif what == "context":
                    WHERE.set(name + "?")
                elif what == "start" and not begun:
                    begun = True
                    await send({"type": "http.response.start", "status": 200, "headers": []})
                elif what == "piece" and begun:
                    await send({"type": "http.response.body", "body": name.encode(), "more_body": True})
                elif what == "raise":
                    raise ValueError(name)
                elif what == "return":
                    return
            if not begun:
                await send({"type": "http.response.start", "status": 201, "headers": []})
            await send({"type": "http.response.body", "body": b"the end"})
            trace.append("answered")
        except BaseException as error:
            trace.append((type(error).__name__, str(error)))
            raise
        finally:
            trace.append(WHERE.get())

    async def aside(self, name: str) -> Any:
        await asyncio.sleep(0.001)
        return WHERE.get(), asyncio.current_task() in self.tasks


async def run(seed: int, wakeup: str) -> tuple[Any, ...]:
    """What each call saw, what the peers got, and how the calls' tasks ended."""
    program = Program(seed)
    server = FakeServer(program, app_wakeup=wakeup)
    timing = random.Random(seed)
    got = []
    for connection in range(3):
        peer = server.connect()
        sent = b""
        for number in range(REQUESTS):
            body = timing.randbytes(timing.choice([0, 0, 10, 5000]))
            head = f"POST /{connection}/{number} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
            sent += head.encode() + body
        if timing.random() < 0.3:
            sent += b"GET nonsense\r\n\r\n"
        while sent:
            size = timing.choice([1, 40, 100, 6000, 60000])
            peer.transport.feed(sent[:size])
            sent = sent[size:]
            if timing.random() < 0.5:
                await asyncio.sleep(timing.choice([0, 0.001, 0.02]))
        await asyncio.sleep(1)
        got.append(re.sub(rb"date: .*\r\n", b"", peer.take(), flags=re.IGNORECASE))
        peer.transport.reset()
        await settle()
    ended = [(task.done(), task.cancelled()) for task in program.tasks]
    assert not server.state.tasks
    assert server.state.requests == 0
    return program.traces, got, ended


@pytest.mark.parametrize("seed", range(60))
@on_fake_clock
async def test_random_applications_see_the_same(seed: int) -> None:
    at_once = await run(seed, "auto")
    assert at_once == await run(seed, "task")
    assert at_once[0]


async def answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@on_fake_clock
async def test_what_has_come_of_a_body_is_there_when_the_call_begins() -> None:
    waited = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        event = await receive()
        waited.append((turn.done(), event["body"], event["more_body"]))
        await answer(send)

    peer = FakeServer(app).connect()
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345"
    peer.transport.feed(request)
    assert waited == []  # whoever is called here is called by who reads
    await settle()
    assert waited == [(False, b"12345", False)]


@on_fake_clock
async def test_requests_behind_each_other_are_not_answered_inside_each_other() -> None:
    depths = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        depth = 0
        frame = sys._getframe()
        while frame.f_back is not None:
            frame, depth = frame.f_back, depth + 1
        depths.append(depth)
        await answer(send)

    server = FakeServer(app)
    peer = server.connect()
    peer.transport.feed(GET * 900)
    for _ in range(40):
        await settle()
    assert len(wire.read_responses(peer.take())) == len(depths) == 900
    assert max(depths) <= min(depths) + 1


@on_fake_clock
async def test_each_call_has_a_task_and_a_context_of_its_own() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        seen.append((task, WHERE.get(), task in asyncio.all_tasks()))
        WHERE.set(scope["path"])
        await answer(send)

    server = FakeServer(app)
    peer = server.connect()
    peer.transport.feed(GET + GET + GET)
    await settle()
    assert [each[1:] for each in seen] == [("the server's", True)] * 3
    assert len({id(task) for task, *_ in seen}) == 3
    assert all(task.done() and not task.cancelled() for task, *_ in seen)
    assert WHERE.get() == "the server's"
    assert not server.state.tasks


@on_fake_clock
async def test_a_call_that_has_not_begun_when_the_server_is_cut_off_never_begins() -> None:
    begun = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.append(scope["path"])
        await asyncio.sleep(3600)

    server = FakeServer(app)
    peer = server.connect()
    peer.transport.feed(GET)
    server.state.abort()
    await asyncio.wait_for(server.state.wait_closed(), 60)
    assert begun == []


@pytest.mark.parametrize("error", [ValueError("mine"), asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt()])
@on_fake_clock
async def test_an_error_in_the_first_step_is_that_request_s(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/bad":
            raise error
        await answer(send)

    server = FakeServer(app)
    peers = [server.connect() for _ in range(3)]
    for peer, path in zip(peers, (b"/", b"/bad", b"/"), strict=True):
        peer.transport.feed(GET.replace(b"/", path, 1))
    await settle()
    statuses = [response.status for peer in peers for response in wire.read_responses(peer.take())]
    assert statuses == [200, 500, 200]
    assert not server.state.tasks
    assert server.state.requests == 0
    assert [record.levelno for record in errors(caplog)] == [logging.ERROR]


@eager
@on_fake_clock
async def test_a_task_that_cannot_be_made_is_that_request_s(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)

    server = FakeServer(app)
    good, bad = server.connect(), server.connect()
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # asyncio complains of half a task
    monkeypatch.setattr(asyncio.get_running_loop(), "is_running", lambda: 1 / 0)  # which a task asks that begins
    bad.transport.feed(GET)
    await settle()
    monkeypatch.undo()
    good.transport.feed(GET)
    await settle()
    assert [wire.read_responses(peer.take())[0].status for peer in (bad, good)] == [500, 200]
    assert [record.exc_info and record.exc_info[0] for record in errors(caplog)] == [ZeroDivisionError]
    assert server.state.requests == 0


def test_an_eager_task_factory_of_the_application_changes_nothing() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            if EAGER:
                asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        event = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": event["body"]})

    with serve(app, loop="asyncio") as server:  # uvloop 0.22 and 3.13.0 do not agree about such factories
        client = http.client.HTTPConnection(server.host, server.port)
        for size in (1, 1000):
            client.request("POST", "/", b"x" * size)
            assert client.getresponse().read() == b"x" * size
        client.close()
