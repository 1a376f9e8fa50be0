"""Applications that hang, that leave tasks behind, and that receive and send from many tasks: nothing of it stays.

The clock and the transport are fake. What raises and what sends garbage is in test_faults.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from typing import Any

import pytest
import wire
from driving import ACCEPT, connect, errors, open_websocket
from fake_loop import DrivenApp, FakeServer, Peer, on_fake_clock, settle

from fastws.errors import ApplicationError, ClientDisconnected

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n"
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
MESSAGE: dict[str, Any] = {"type": "websocket.send", "text": "x"}


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


def nothing_left(server: FakeServer) -> None:
    assert server.state.connections == set()
    assert server.state.tasks == set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def status(peer: Peer) -> int:
    found = wire.read_response(peer.take())
    assert found is not None
    return found[0].status


# ---------------------------------------------------------------------------------------------------------------- hangs


async def hang(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket" and scope["query_string"]:
        await send(ACCEPT)
    elif scope["type"] == "http" and scope["query_string"]:
        await send(START)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
    await forever()


async def hang_in_finally(scope: Any, receive: Any, send: Any) -> None:
    try:
        await hang(scope, receive, send)
    finally:
        await asyncio.sleep(3600)


async def swallow_once(scope: Any, receive: Any, send: Any) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await hang(scope, receive, send)
    await forever()


HANGING = {"hangs": hang, "hangs in finally": hang_in_finally, "swallows the cancellation": swallow_once}
REQUESTS = {
    "request": GET,
    "response": GET.replace(b"/", b"/?begun", 1),
    "upload": POST,
    "handshake": wire.handshake().replace(b"?room=1", b""),
    "websocket": wire.handshake(),
}


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("fault", HANGING)
@on_fake_clock
async def test_a_hanging_application_is_cancelled_twice(
    engine: str, fault: str, request_: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = FakeServer(HANGING[fault], engine=engine, ws_ping_interval=None)
    peer = server.connect()
    await peer.send(REQUESTS[request_])
    server.state.shut_down()
    await asyncio.sleep(30)
    assert len(server.state.tasks) == 1
    for _ in range(2):
        server.state.abort()
        await settle()
    await asyncio.wait_for(server.state.wait_closed(), 1)
    nothing_left(server)
    assert errors(caplog) == []


@pytest.mark.parametrize("request_", REQUESTS)
@on_fake_clock
async def test_a_task_that_is_cancelled_before_it_has_begun_is_not_waited_for(engine: str, request_: str) -> None:
    server = FakeServer(hang, engine=engine)
    peer = server.connect()
    peer.transport.feed(REQUESTS[request_])
    server.state.abort()
    await asyncio.wait_for(server.state.wait_closed(), 1)
    nothing_left(server)


@pytest.mark.parametrize("started", [False, True])
@on_fake_clock
async def test_an_application_that_hangs_before_the_response_of_its_denial_is_a_504(
    engine: str, started: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine, ws_handshake_timeout=10)
    peer = await connect(server)
    [call] = app.calls
    if started:
        await call.send({"type": "websocket.http.response.start", "status": 401})
    await asyncio.sleep(9)
    assert peer.take() == b""
    await asyncio.sleep(4)
    assert status(peer) == 504
    assert peer.transport.half_closed
    with pytest.raises(OSError, match="closed"):
        await call.send({"type": "websocket.http.response.body"})
    assert (await call.receive())["type"] == "websocket.connect"
    assert (await call.receive())["type"] == "websocket.disconnect"
    call.end.set_result(None)
    peer.transport.feed_eof()
    await server.state.wait_closed()
    nothing_left(server)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("path", [b"/", b"/?begun"])
@on_fake_clock
async def test_a_peer_may_leave_an_application_that_hangs(path: bytes, caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = server.connect()
    await peer.send(GET.replace(b"/", path, 1))
    [call] = app.calls
    peer.transport.reset()
    for _ in range(3):
        assert await call.receive() == {"type": "http.disconnect"}
    call.end.set_result(None)
    await server.state.wait_closed()
    nothing_left(server)
    assert errors(caplog) == []


# ------------------------------------------------------------------------------------------------- tasks left behind


@pytest.mark.parametrize("raises", [False, True])
@on_fake_clock
async def test_a_task_that_outlives_its_websocket_learns_of_the_end(
    engine: str, raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    call, peer = await open_websocket(engine)
    receiving = [asyncio.ensure_future(call.receive()) for _ in range(3)]
    await settle()
    if raises:
        call.end.set_exception(ValueError("mine"))
    else:
        call.end.set_result(None)
    await settle()
    [frame] = wire.read_frames(peer.take())
    code = 1011 if raises else 1000
    assert frame.payload[:2] == code.to_bytes(2, "big")
    assert not peer.transport.closing  # it is the application's end that wakes, not the connection's
    results = await asyncio.gather(*receiving, return_exceptions=True)
    assert [each["code"] for each in results if isinstance(each, dict)] == [code]
    assert sum(isinstance(each, ApplicationError) for each in results) == 2
    for event in (MESSAGE, ACCEPT, {"type": "websocket.close"}, {"type": "nonsense"}):
        with pytest.raises(ApplicationError):
            await call.send(event)
    await peer.send(wire.text("late") + wire.close(code))
    assert peer.transport.closing
    await settle()
    assert peer.take() == b""
    assert len(errors(caplog)) == raises


@on_fake_clock
async def test_a_task_that_outlives_its_request_sends_into_nothing(caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = server.connect()
    await peer.send(POST)
    [call] = app.calls
    receiving = [asyncio.ensure_future(call.receive()) for _ in range(3)]
    await settle()
    call.end.set_result(None)
    await settle()
    assert status(peer) == 500
    for event in await asyncio.gather(*receiving):
        assert event == {"type": "http.disconnect"}
    await call.send(START)
    await call.send({"type": "http.response.body", "body": b"late"})
    assert peer.take() == b""
    peer.transport.feed_eof()
    await server.state.wait_closed()
    nothing_left(server)
    assert len(errors(caplog)) == 1


@on_fake_clock
async def test_a_task_that_outlives_its_request_does_not_write_into_the_next_response() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(GET + GET)
    await app.calls[0].send(START)
    await app.calls[0].send({"type": "http.response.body", "body": b"one"})
    app.calls[0].end.set_result(None)
    await settle()
    peer.take()
    await app.calls[1].send(START)
    await app.calls[0].send({"type": "http.response.body", "body": b"late"})
    assert peer.take() == b""
    await app.calls[1].send({"type": "http.response.body", "body": b"two"})
    found = wire.read_response(peer.take())
    assert found is not None
    assert found[0].body == b"two"
    for call in app.calls[1:]:
        call.end.set_result(None)


@on_fake_clock
async def test_a_task_factory_of_the_application_changes_nothing(engine: str) -> None:
    """An eager one runs a coroutine before the task is known to whoever creates it."""

    def eager(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        raise AssertionError("it is the application's, for its own tasks")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body"})

    server = FakeServer(app, engine=engine)
    loop = asyncio.get_running_loop()
    loop.set_task_factory(eager)
    try:
        peer = server.connect()
        await peer.send(GET + GET)
    finally:
        loop.set_task_factory(None)
    assert peer.take().count(b"HTTP/1.1 200 OK\r\n") == 2


# ----------------------------------------------------------------------------------------------------- many at a time


@on_fake_clock
async def test_many_tasks_receive_and_are_cancelled(engine: str) -> None:
    call, peer = await open_websocket(engine)
    receiving = [asyncio.ensure_future(call.receive()) for _ in range(20)]
    await settle()
    for each in receiving[::2]:
        each.cancel()
    await peer.send(b"".join(wire.text(str(i)) for i in range(10)))
    events = await asyncio.gather(*receiving[1::2])
    assert sorted(int(event["text"]) for event in events) == list(range(10))
    assert all(each.cancelled() for each in receiving[::2])


@on_fake_clock
async def test_cancelled_sends_to_a_peer_that_does_not_read_leave_nothing() -> None:
    peer = FakeServer(hang).connect()
    waiting = peer.connection.drained()
    cancelled = []
    for _ in range(100):
        waiter = peer.connection.drained()
        waiter.cancel()
        cancelled.append(weakref.ref(waiter))
    del waiter
    assert sum(each() is not None for each in cancelled) <= 1
    peer.connection.resume_writing()
    await waiting
    peer.transport.reset()


@on_fake_clock
async def test_tasks_that_send_learn_that_the_peer_has_vanished(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    call, peer = await open_websocket(engine)
    peer.transport.stalled = True
    sends = [asyncio.ensure_future(call.send({"type": "websocket.send", "bytes": bytes(70_000)})) for _ in range(5)]
    await settle()
    peer.transport.reset()
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert all(isinstance(each, ClientDisconnected) for each in results)
    call.end.set_exception(ExceptionGroupLike(results))
    await peer.connection.state.wait_closed()
    assert errors(caplog) == []


class ExceptionGroupLike(Exception):
    """As Python 3.11's ExceptionGroup, and the backport's."""

    def __init__(self, exceptions: Any) -> None:
        self.exceptions = tuple(exceptions)


# -------------------------------------------------------------------------------------------- the end of the upload


@pytest.mark.parametrize("begun", [False, True])
@on_fake_clock
async def test_a_client_that_half_closes_in_its_upload_is_told(begun: bool, caplog: pytest.LogCaptureFixture) -> None:
    """It can still read, and only it knows whether the end was meant: 400, and no error of the application's."""

    class ClientDisconnect(Exception):  # what Starlette makes of http.disconnect
        pass

    app = DrivenApp()
    server = FakeServer(app)
    peer = server.connect()
    await peer.send(POST + b"half")
    [call] = app.calls
    assert await call.receive() == {"type": "http.request", "body": b"half", "more_body": True}
    if begun:
        await call.send(START)
        await call.send({"type": "http.response.body", "body": b"echo", "more_body": True})
        peer.take()
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    peer.transport.feed_eof()
    assert await receiving == {"type": "http.disconnect"}
    call.end.set_exception(ClientDisconnect())
    await settle()
    if begun:
        assert peer.take() == b""
    else:
        assert status(peer) == 400
    assert peer.transport.closing
    await server.state.wait_closed()
    nothing_left(server)
    assert errors(caplog) == []
