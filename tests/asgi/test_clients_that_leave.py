"""A client that leaves is nobody's error: no line at ERROR, no 500 in the access log, no mistake in `on_error`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fake_loop import FakeServer, on_fake_clock, settle
from wire import handshake

from fastws.errors import ClientDisconnected

REQUEST = b"GET /path HTTP/1.1\r\nHost: a\r\n\r\n"


class ClientDisconnect(Exception):
    """As Starlette's."""


class Group(Exception):
    """As an ExceptionGroup, which there is from Python 3.11 on."""

    def __init__(self, *exceptions: BaseException) -> None:
        self.exceptions = exceptions


def raising(error: Callable[[], BaseException]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise error()

    return app


async def returning(scope: Any, receive: Any, send: Any) -> None:
    """As Django, and as any framework whose handler was cancelled for a disconnect."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def racing(scope: Any, receive: Any, send: Any) -> None:
    """As Starlette's and sse-starlette's groups of tasks: one listens, and its end cancels the other."""

    async def answer() -> None:
        await asyncio.get_running_loop().create_future()

    await receive()
    answering = asyncio.ensure_future(answer())
    assert (await receive())["type"] == "http.disconnect"
    answering.cancel()
    await answering


APPS: dict[str, Any] = {
    "returns": returning,
    "races": racing,
    "raises a framework's": raising(lambda: ClientDisconnect()),
    "raises ours": raising(lambda: ClientDisconnected("gone")),
    "raises a group": raising(lambda: Group(ClientDisconnect(), ClientDisconnected("gone"))),
    "is cancelled": raising(lambda: asyncio.CancelledError()),
}
ENDS = ("half-closes", "resets")


async def leave(peer: Any, how: str) -> None:
    if how == "resets":
        peer.transport.reset()
    else:
        peer.transport.feed_eof()
    await settle()


def lines(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == logger]


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("name", APPS)
def test_before_a_response(name: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    @on_fake_clock
    async def check() -> None:
        server = FakeServer(APPS[name], access_log=True)
        peer = server.connect()
        await peer.send(REQUEST)
        await leave(peer, how)
        assert peer.take() == b""
        assert peer.transport.lost
        assert server.state.requests == 0
        await server.state.wait_closed()

    check()
    assert lines(caplog, "fastws.error") == []
    assert lines(caplog, "fastws.access") == ['192.0.2.1:50000 - "GET /path HTTP/1.1" 499']


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("name", APPS)
def test_within_a_response(name: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await APPS[name](scope, receive, send)

    @on_fake_clock
    async def check() -> None:
        server = FakeServer(app, access_log=True)
        peer = server.connect()
        await peer.send(REQUEST)
        await leave(peer, how)
        assert peer.transport.lost
        await server.state.wait_closed()

    check()
    assert lines(caplog, "fastws.error") == []
    assert lines(caplog, "fastws.access") == ['192.0.2.1:50000 - "GET /path HTTP/1.1" 200']


@on_fake_clock
async def test_another_exception_is_an_error_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    peer = FakeServer(raising(lambda: KeyError("in the clean-up")), access_log=True).connect()
    caplog.set_level(logging.INFO)
    await peer.send(REQUEST)
    await leave(peer, "half-closes")
    assert peer.take().startswith(b"HTTP/1.1 500 ")
    assert "in the clean-up" in caplog.text
    assert lines(caplog, "fastws.access") == ['192.0.2.1:50000 - "GET /path HTTP/1.1" 500']


@on_fake_clock
async def test_who_has_not_been_told_owes_a_response(caplog: pytest.LogCaptureFixture) -> None:
    called = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await called.wait()

    peer = FakeServer(app).connect()
    await peer.send(REQUEST)
    peer.transport.feed_eof()
    called.set()
    await settle()
    assert peer.take().startswith(b"HTTP/1.1 500 ")
    assert "without completing its response" in caplog.text


@on_fake_clock
async def test_a_half_closed_client_still_gets_a_response() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x"})

    peer = FakeServer(app).connect()
    await peer.send(REQUEST)
    await leave(peer, "half-closes")
    assert peer.take().startswith(b"HTTP/1.1 200 ")


@on_fake_clock
async def test_what_the_server_has_refused_is_not_logged_as_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    peer = FakeServer(returning, access_log=True).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
    await leave(peer, "half-closes")
    assert peer.take().startswith(b"HTTP/1.1 400 ")
    assert not any("499" in line for line in lines(caplog, "fastws.access"))
    peer.transport.reset()
    await settle()


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("error", [None, ClientDisconnected("gone"), ClientDisconnect()])
def test_a_websocket(how: str, opened: bool, error: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if opened:
            await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"
        if error is not None:
            raise error

    @on_fake_clock
    async def check() -> None:
        server = FakeServer(app, access_log=True)
        peer = server.connect()
        await peer.send(handshake())
        peer.take()
        await leave(peer, how)
        await server.state.wait_closed()

    check()
    assert lines(caplog, "fastws.error") == []
    assert not any(" 500" in line for line in lines(caplog, "fastws.access"))
