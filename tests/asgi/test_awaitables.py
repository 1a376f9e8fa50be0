"""`receive` and `send` as libraries see them: coroutine functions, and coroutines that do nothing before their time.

They are native or compiled (fastws/asgi/_awaitables.pyx), and nobody should be able to tell.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import types
import warnings
from collections.abc import Awaitable, Coroutine
from functools import wraps
from typing import Any

import anyio
import pytest
import wire
from driving import ACCEPT, connect, open_websocket
from fake_loop import Call, DrivenApp, FakeServer, Peer, on_fake_clock, settle

from fastws.errors import ApplicationError, ClientDisconnected

MESSAGE: dict[str, Any] = {"type": "websocket.send", "text": "x"}
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]}
BODY: dict[str, Any] = {"type": "http.response.body", "body": b"x"}


async def open_request(engine: str) -> tuple[Call, Peer]:
    """The application's side and the peer of a request of whose body three bytes are to come."""
    app = DrivenApp()
    peer = FakeServer(app, engine=engine).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
    [call] = app.calls
    return call, peer


OPENED = pytest.mark.parametrize(
    ("opened", "event"), [(open_websocket, MESSAGE), (open_request, START)], ids=["websocket", "request"]
)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="native where that is as fast")
def test_they_are_compiled_where_everything_is(engine: str) -> None:
    from fastws.asgi.application import Http2Call, HttpCall, WebSocketCall
    from fastws.asgi.waiting import Waiting

    compiled = not isinstance(Waiting.__next__, types.FunctionType)
    for each in (WebSocketCall, HttpCall, Http2Call):
        assert isinstance(each.receive, types.FunctionType) is not compiled
        assert isinstance(each.send, types.FunctionType) is not compiled


@OPENED
@on_fake_clock
async def test_they_are_coroutine_functions(engine: str, opened: Any, event: dict[str, Any]) -> None:
    call, _ = await opened(engine)
    for function, parameters in ((call.receive, []), (call.send, ["event"])):
        assert inspect.iscoroutinefunction(function)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert asyncio.iscoroutinefunction(function)
        assert list(inspect.signature(function).parameters) == parameters
        assert inspect.ismethod(function)
        assert wraps(function)(lambda: None).__name__ == function.__name__
    assert call.receive == call.receive
    assert len({call.send, call.send}) == 1


@OPENED
@on_fake_clock
async def test_what_they_return_are_coroutines(engine: str, opened: Any, event: dict[str, Any]) -> None:
    call, _ = await opened(engine)
    for coroutine in (call.receive(), call.send(event)):
        assert inspect.iscoroutine(coroutine)
        assert asyncio.iscoroutine(coroutine)
        assert inspect.isawaitable(coroutine)
        assert isinstance(coroutine, Coroutine)
        assert isinstance(coroutine, Awaitable)
        assert not coroutine.cr_running
        assert coroutine.__name__ in ("receive", "send")
        assert coroutine.__qualname__.endswith(f".{coroutine.__name__}")
        assert coroutine.__name__ in repr(asyncio.ensure_future(coroutine))
    await settle()


@on_fake_clock
async def test_nothing_happens_before_they_are_awaited(engine: str) -> None:
    call, peer = await open_websocket(engine)
    sending = call.send(MESSAGE)
    receiving = call.receive()
    await peer.send(wire.text("a"))
    assert peer.take() == b""
    assert (await receiving)["text"] == "a"
    assert peer.take() == b""
    await sending
    assert wire.read_frames(peer.take()) == wire.messages("x")


@pytest.mark.filterwarnings("error::RuntimeWarning")
@on_fake_clock
async def test_they_are_awaited_once(engine: str) -> None:
    call, peer = await open_websocket(engine)
    sending = call.send(MESSAGE)
    await sending
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await sending
    assert len(wire.read_frames(peer.take())) == 1
    closed = call.receive()
    closed.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await closed


@OPENED
@pytest.mark.parametrize("name", ["receive", "send"])
@on_fake_clock
async def test_one_that_nobody_awaits_is_warned_of(engine: str, opened: Any, event: dict[str, Any], name: str) -> None:
    call, _ = await opened(engine)
    with pytest.warns(RuntimeWarning, match=rf"coroutine '.*\.{name}' was never awaited"):
        call.receive() if name == "receive" else call.send(event)


@on_fake_clock
async def test_they_are_called_as_their_signature_says(engine: str) -> None:
    call, peer = await open_websocket(engine)
    await call.send(event=MESSAGE)
    assert wire.read_frames(peer.take()) == wire.messages("x")
    for wrong in (lambda: call.send(), lambda: call.send(MESSAGE, 1), lambda: call.receive(1)):
        with pytest.raises(TypeError):
            wrong()


@on_fake_clock
async def test_as_tasks(engine: str) -> None:
    call, peer = await open_websocket(engine)
    receiving = asyncio.create_task(call.receive())
    await settle()
    assert not receiving.done()
    await asyncio.create_task(call.send(MESSAGE))
    await peer.send(wire.text("a"))
    assert (await receiving)["text"] == "a"
    done, _ = await asyncio.wait({asyncio.ensure_future(call.receive())}, timeout=1)
    assert not done
    await peer.send(wire.text("b"))  # taken by the task that is left behind
    assert (await asyncio.gather(call.send(MESSAGE), asyncio.wait_for(call.send(MESSAGE), 1))) == [None, None]
    assert len(wire.read_frames(peer.take())) == 3


@on_fake_clock
async def test_in_a_task_group_of_anyio(engine: str) -> None:
    call, peer = await open_websocket(engine)
    async with anyio.create_task_group() as group:
        group.start_soon(call.send, MESSAGE)
        group.start_soon(call.receive)
        await settle()
        assert wire.read_frames(peer.take()) == wire.messages("x")
        with anyio.move_on_after(1):
            await call.receive()
        group.cancel_scope.cancel()
    await peer.send(wire.text("a"))
    assert (await call.receive())["text"] == "a"


@on_fake_clock
async def test_step_by_step(engine: str) -> None:
    """As a library does that drives coroutines by itself."""
    call, peer = await open_websocket(engine)
    receiving = call.receive()
    future = receiving.send(None)
    assert asyncio.isfuture(future)
    await peer.send(wire.text("a"))
    with pytest.raises(StopIteration) as ended:
        receiving.send(None)
    assert ended.value.value["text"] == "a"
    iterator = call.send(MESSAGE).__await__()
    with pytest.raises(StopIteration) as ended:
        next(iterator)
    assert ended.value.value is None
    thrown = call.receive()
    thrown.send(None)
    with pytest.raises(KeyError):
        thrown.throw(KeyError("x"))
    await peer.send(wire.text("b"))
    assert (await call.receive())["text"] == "b"


@on_fake_clock
async def test_a_send_waits_for_a_peer_that_does_not_read_and_hears_of_its_end(engine: str) -> None:
    call, peer = await open_websocket(engine)
    peer.transport.stalled = True
    large = {"type": "websocket.send", "bytes": bytes(100_000)}
    waiting = [asyncio.create_task(call.send(large)) for _ in range(2)]
    await settle()
    assert not any(task.done() for task in waiting)
    peer.transport.drain()
    await settle()
    assert all(task.done() for task in waiting)
    last = asyncio.create_task(call.send(large))
    await settle()
    peer.transport.reset()
    with pytest.raises(ClientDisconnected):
        await last


@on_fake_clock
async def test_an_error_shows_the_line_that_made_it(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    await connect(server)
    call = app.calls[0]
    await call.receive()
    await call.send(ACCEPT)
    with pytest.raises(ApplicationError) as raised:
        await call.send({"type": "websocket.nonsense"})
    assert raised.traceback[0].name == "test_an_error_shows_the_line_that_made_it"
    assert any("asgi" in str(entry.path) or "awaitables" in str(entry.path) for entry in raised.traceback)
    with pytest.raises(ApplicationError):
        await call.send(None)
    call.end.set_result(None)


@on_fake_clock
async def test_of_a_request(engine: str) -> None:
    call, peer = await open_request(engine)
    sending, receiving = call.send(START), call.receive()
    await peer.send(b"a")
    assert await receiving == {"type": "http.request", "body": b"a", "more_body": True}
    await sending
    assert peer.take() == b""  # the head waits for the body
    waiting = asyncio.create_task(call.receive())
    await settle()
    assert not waiting.done()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(call.receive(), 1)
    future = (stepped := call.receive()).send(None)
    assert asyncio.isfuture(future)
    await peer.send(b"bc")
    assert await waiting == {"type": "http.request", "body": b"bc", "more_body": False}
    stepped.close()
    for used in (sending, receiving):
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await used
    await call.send(event=BODY)
    assert peer.take().endswith(b"\r\n\r\nx")
    assert await call.receive() == {"type": "http.disconnect"}


@on_fake_clock
async def test_a_response_waits_for_a_peer_that_does_not_read_and_hears_of_its_end(engine: str) -> None:
    call, peer = await open_request(engine)
    await call.send({"type": "http.response.start", "status": 200})
    peer.transport.stalled = True
    large = {"type": "http.response.body", "body": bytes(100_000), "more_body": True}
    waiting = asyncio.create_task(call.send(large))
    await settle()
    assert not waiting.done()
    peer.transport.drain()
    await settle()
    assert waiting.done()
    last = asyncio.create_task(call.send(large))
    await settle()
    peer.transport.reset()
    with pytest.raises(ClientDisconnected):
        await last
    with pytest.raises(ApplicationError, match=r"http\.nonsense"):
        await (await open_request(engine))[0].send({"type": "http.nonsense"})
