"""Of many that are dealt with together, one that raises costs itself only: the others get what is theirs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from fake_loop import DrivenApp, FakeServer, on_fake_clock, settle
from http2_peer import connect_fields, connected
from wire import handshake, text

from fastws.asgi.observer import Observer, Observers
from fastws.asgi.waiting import REUSED

MESSAGE = b"\x81\x01a"


async def opened(server: FakeServer, app: DrivenApp, count: int) -> list[Any]:
    """So many open WebSockets, with their calls."""
    peers = []
    for number in range(count):
        peer = server.connect(("192.0.2.1", 50000 + number))
        await peer.send(handshake())
        call = app.calls[-1]
        await call.receive()
        await call.send({"type": "websocket.accept"})
        await settle()
        peer.take()
        peers.append(peer)
    return peers


def break_writes(peer: Any) -> None:
    def broken(data: Any) -> None:
        raise RuntimeError("this one is broken")

    peer.transport.write = broken


def end(app: DrivenApp) -> None:
    for call in app.calls:
        if not call.end.done():
            call.end.set_result(None)


@on_fake_clock
async def test_corked_sessions_write_behind_one_that_cannot(caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peers = await opened(server, app, 3)
    for call in app.calls:
        await call.send({"type": "websocket.send", "text": "a"})
    break_writes(peers[1])
    for call in app.calls:
        await call.send({"type": "websocket.send", "text": "a"})
    await settle()
    assert [peer.take() for peer in (peers[0], peers[2])] == [MESSAGE * 2] * 2
    assert peers[1].transport.aborted
    assert "192.0.2.1:50001" in caplog.text
    assert "this one is broken" in caplog.text
    end(app)
    for peer in peers:
        peer.transport.reset()
    await settle()


@on_fake_clock
async def test_deadlines_of_others_are_kept_behind_one_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app, ws_ping_interval=20)
    peers = await opened(server, app, 5)
    break_writes(peers[2])
    await asyncio.sleep(25)
    assert [peer.take() for peer in peers] == [b"\x89\x00", b"\x89\x00", b"", b"\x89\x00", b"\x89\x00"]
    assert peers[2].transport.aborted
    assert "192.0.2.1:50002" in caplog.text
    end(app)
    for peer in peers:
        peer.transport.reset()
    await settle()


@on_fake_clock
async def test_all_are_told_of_a_shutdown_behind_one_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peers = await opened(server, app, 3)
    for peer in peers:
        break_writes(peer)
    sound = server.connect(("192.0.2.1", 60000))
    await sound.send(handshake())
    await app.calls[-1].receive()
    await app.calls[-1].send({"type": "websocket.accept"})
    sound.take()
    server.state.shut_down()
    await settle()
    assert sound.take()[:1] == b"\x88"
    assert all(peer.transport.aborted for peer in peers)
    end(app)
    for peer in (*peers, sound):
        peer.transport.reset()
    await settle()


@on_fake_clock
async def test_publications_reach_others_behind_one_that_cannot_be_written() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peers = await opened(server, app, 3)
    for call in app.calls:
        await call.send({"type": "websocket.subscribe", "topic": "t"})
    break_writes(peers[0])
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(str(context["exception"])))
    server.hub.publish("t", "a")
    await settle()
    assert [peer.take() for peer in peers[1:]] == [MESSAGE] * 2
    assert peers[0].transport.aborted
    assert told == ["this one is broken"]
    end(app)
    for peer in peers:
        peer.transport.reset()
    await settle()


class Failing(Observer):
    def request(self, *args: Any) -> None:
        raise RuntimeError("of the log")

    def websocket_opened(self, *args: Any) -> None:
        raise RuntimeError("of the log")

    def websocket_closed(self, *args: Any) -> None:
        raise RuntimeError("of the log")


class Hearing(Observer):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def request(self, *args: Any) -> None:
        self.heard.append("request")

    def websocket_opened(self, *args: Any) -> None:
        self.heard.append("opened")

    def websocket_closed(self, *args: Any) -> None:
        self.heard.append("closed")


@on_fake_clock
async def test_a_log_that_fails_costs_no_client_its_answer(caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    hearing = Hearing()
    server = FakeServer(app, observer=Observers(Failing(), hearing))
    peer = server.connect()
    for _ in range(2):
        await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await app.calls[-1].send({"type": "http.response.start", "status": 200})
        await app.calls[-1].send({"type": "http.response.body", "body": b"x"})
        assert peer.take().startswith(b"HTTP/1.1 200")
    peers = await opened(server, app, 1)
    await peers[0].send(text("a"))
    assert (await app.calls[-1].receive())["text"] == "a"
    peers[0].transport.reset()
    await settle()
    assert (await app.calls[-1].receive())["type"] == "websocket.disconnect"
    assert hearing.heard == ["request", "request", "opened", "closed"]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    end(app)
    peer.transport.reset()
    await settle()


@pytest.mark.skipif(not REUSED, reason="the task is woken for each message")
@on_fake_clock
async def test_streams_that_went_on_are_written_before_the_loop_polls_again() -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})

    peer = await connected(FakeServer(echo))
    stream = await peer.request(connect_fields("/"), ends=False)
    await peer.send(stream, text("a"))
    before = len(peer.body(stream))
    peer.h2.send_data(stream, text("b") * 5)
    peer.transport.feed(peer.h2.data_to_send())
    await asyncio.sleep(0)  # the application goes on, and a second message asks for the end of the turn
    await peer.read()
    assert peer.body(stream)[before:] == b"\x81\x01b" * 5
