"""The end of a server, and of a WebSocket by its age: what is spread, what waits for whom, what an application sees."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import wire
from driving import ACCEPT, connect, errors, open_websocket
from fake_loop import DrivenApp, FakeServer, Peer, on_fake_clock, settle

import fastws
from fastws.errors import ConfigError
from fastws.observe.health import Health

RESTART = wire.closing(1012, "Service Restart")
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
READY = GET.replace(b"/", b"/readyz", 1)
ANSWER: dict[str, Any] = {"type": "websocket.send", "text": "answer"}


def frames(peer: Peer) -> list[wire.Frame]:
    """What the peer got since it was last asked, without the handshake."""
    data = peer.take()
    return wire.read_frames(data.partition(b"\r\n\r\n")[2] if data.startswith(b"HTTP") else data)


def status(peer: Peer) -> tuple[int, bytes]:
    found = wire.read_response(peer.take())
    assert found is not None
    return found[0].status, found[0].body


# ----------------------------------------------------------------------------------------------------------- WebSockets


@on_fake_clock
async def test_closes_are_spread_over_the_window() -> None:
    app = DrivenApp()
    server = FakeServer(app, ws_close_timeout=100)
    peers = [await connect(server) for _ in range(200)]
    for call in app.calls:
        await call.send(ACCEPT)
    for peer in peers:
        peer.take()
    server.state.shut_down(10.0)
    open_, closed = set(peers), []
    for _ in range(11):
        told = {peer for peer in open_ if peer.take()}
        open_ -= told
        closed.append(len(told))
        await asyncio.sleep(1.0)
    assert closed[0] < 5
    assert not open_
    assert max(closed) < 60
    assert min(closed[1:]) > 2


@on_fake_clock
async def test_a_websocket_serves_until_its_time_in_the_window(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server)
    [call] = app.calls
    await call.send(ACCEPT)
    assert (await call.receive())["type"] == "websocket.connect"
    peer.take()
    server.state.shut_down(1000.0)
    await peer.send(wire.text("question"))
    assert (await call.receive())["text"] == "question"
    await call.send(ANSWER)
    assert frames(peer) == wire.messages("answer")


@on_fake_clock
async def test_the_close_waits_for_the_answers_and_reading_for_the_close(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server)
    [call] = app.calls
    await call.send(ACCEPT)
    await call.receive()
    await peer.send(wire.text("1") + wire.text("2"))
    assert (await call.receive())["text"] == "1"
    peer.take()
    server.state.shut_down()
    await peer.send(wire.text("3"))
    assert peer.transport.unread
    await call.send(ANSWER)
    assert (await call.receive())["text"] == "2"
    await call.send(ANSWER)
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    assert frames(peer) == [*wire.messages("answer", "answer"), RESTART]
    assert (await receiving)["text"] == "3"
    await peer.send(wire.text("4") + wire.close(1012))
    assert [(await call.receive()).get("text"), (await call.receive()).get("code")] == ["4", 1012]


@on_fake_clock
async def test_an_application_that_does_not_come_back_does_not_hold_the_close_up(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine, ws_close_timeout=10)
    peer = await connect(server)
    [call] = app.calls
    await call.send(ACCEPT)
    await call.receive()
    await peer.send(wire.text("1") + wire.text("2"))
    await call.receive()
    peer.take()
    server.state.shut_down()
    await asyncio.sleep(4)
    assert not peer.take()
    await asyncio.sleep(3)
    assert frames(peer) == [RESTART]
    await peer.send(wire.text("3") + wire.close(1012))
    assert [(await call.receive()).get("text") for _ in range(3)] == ["2", "3", None]


@on_fake_clock
async def test_an_application_that_closes_while_its_close_waits(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server)
    [call] = app.calls
    await call.send(ACCEPT)
    await call.receive()
    await peer.send(wire.text("1"))
    await call.receive()
    peer.take()
    server.state.shut_down()
    await call.send({"type": "websocket.close", "code": 4000})
    assert frames(peer) == [wire.closing(4000)]
    await peer.send(wire.close(4000))
    assert peer.transport.closing


@on_fake_clock
async def test_an_application_that_closes_behind_the_servers_close(
    engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server)
    [call] = app.calls
    await call.send(ACCEPT)
    await call.receive()
    peer.take()
    server.state.shut_down()
    assert frames(peer) == [RESTART]
    await call.send({"type": "websocket.close", "code": 4000})
    call.end.set_result(None)
    await peer.send(wire.close(1012))
    await server.state.wait_closed()
    assert not peer.take()
    assert not errors(caplog)


@on_fake_clock
async def test_sending_without_end_behind_the_close_lets_others_run_and_ends() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = await connect(server)
    [call] = app.calls
    await call.send(ACCEPT)
    await call.receive()
    server.state.shut_down()

    async def send() -> None:
        while True:
            await call.send(ANSWER)

    sending = asyncio.ensure_future(send())
    await settle()
    assert not sending.done()
    await peer.send(wire.close(1012))
    with pytest.raises(OSError, match="closed"):
        await sending


@pytest.mark.parametrize("end", [wire.close(1012), b""], ids=["closed", "lost"])
@on_fake_clock
async def test_what_is_queued_at_the_end_is_taken_by_an_application_that_answers_each_message(
    engine: str, end: bytes
) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine, ws_close_timeout=10)
    peer = await connect(server)
    [call] = app.calls
    await call.send(ACCEPT)
    await call.receive()
    server.state.shut_down()
    await peer.send(wire.text("1") + wire.text("2") + wire.text("3") + end)
    if not end:
        peer.transport.reset()
    await settle()
    assert peer.transport.lost
    for number in "123":
        assert (await call.receive())["text"] == number
        if number != "3":
            await call.send(ANSWER)
    with pytest.raises(OSError, match="closed"):  # there is nothing more to take
        await call.send(ANSWER)
    assert (await call.receive())["code"] == 1012


@on_fake_clock
async def test_an_application_that_only_sends_learns_of_the_end_although_messages_wait_for_it(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_close_timeout=10)
    await peer.send(wire.text("1"))
    peer.transport.reset()

    async def send() -> None:
        while True:
            await call.send(ANSWER)
            await asyncio.sleep(1)

    began = asyncio.get_running_loop().time()
    with pytest.raises(OSError, match="closed"):
        await send()
    assert asyncio.get_running_loop().time() - began < 13


@on_fake_clock
async def test_a_peer_that_has_closed_by_itself_gets_its_own_code(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server)
    [call] = app.calls
    await call.send(ACCEPT)
    await call.receive()
    await peer.send(wire.text("1") + wire.close(4001))
    peer.take()
    server.state.shut_down()
    assert (await call.receive())["text"] == "1"
    await call.send(ANSWER)
    assert (await call.receive())["code"] == 4001
    assert frames(peer) == [*wire.messages("answer"), wire.closing(4001)]


@on_fake_clock
async def test_an_old_websocket_is_closed_with_1012_within_the_last_tenth_of_its_time(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_max_age=100.0, ws_ping_interval=None)
    await asyncio.sleep(89.9)
    assert not peer.take()
    await peer.send(wire.text("young"))
    assert (await call.receive())["text"] == "young"
    receiving = asyncio.ensure_future(call.receive())
    await asyncio.sleep(11.2)
    assert frames(peer) == [wire.closing(1012, "Maximum Age")]
    await peer.send(wire.close(1012))
    assert (await receiving)["code"] == 1012


@on_fake_clock
async def test_ages_differ() -> None:
    app = DrivenApp()
    server = FakeServer(app, ws_max_age=1000.0, ws_ping_interval=None)
    peers = [await connect(server) for _ in range(100)]
    for call in app.calls:
        await call.send(ACCEPT)
    for peer in peers:
        peer.take()
    await asyncio.sleep(950.0)
    assert 20 < sum(bool(peer.take()) for peer in peers) < 80


@on_fake_clock
async def test_pings_go_on_where_an_age_is_set() -> None:
    _, peer = await open_websocket("auto", ws_max_age=1000.0, ws_ping_interval=10.0, ws_ping_timeout=None)
    await asyncio.sleep(35.0)
    assert [frame.opcode for frame in frames(peer)] == [wire.PING] * 3


# ----------------------------------------------------------------------------------------------------------------- HTTP


@on_fake_clock
async def test_idle_connections_end_within_the_window_and_answer_what_comes_before() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    Health(server.state)
    peers = [server.connect() for _ in range(50)]
    for peer in peers:
        await peer.send(READY)
        assert status(peer)[0] == 200
    server.state.shut_down(10.0)
    await asyncio.sleep(5.0)
    closed = sum(peer.transport.closing for peer in peers)
    assert 5 < closed < 45
    idle = next(peer for peer in peers if not peer.transport.closing)
    await idle.send(GET)
    await app.calls[0].send({"type": "http.response.start", "status": 200, "headers": []})
    await app.calls[0].send({"type": "http.response.body"})
    app.calls[0].end.set_result(None)
    assert b"connection: close\r\n" in idle.take()
    began = server.loop.time()
    await server.state.wait_closed()
    assert server.loop.time() - began < 6.0


@on_fake_clock
async def test_while_draining_responses_end_their_connections_and_new_ones_are_served() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    server.state.draining = True
    peer = server.connect()
    await peer.send(GET)
    await app.calls[0].send({"type": "http.response.start", "status": 200, "headers": []})
    await app.calls[0].send({"type": "http.response.body"})
    assert b"connection: close\r\n" in peer.take()
    assert peer.transport.closing
    other = await connect(server)
    await app.calls[1].send(ACCEPT)
    await app.calls[1].receive()
    await other.send(wire.text("x"))
    assert (await app.calls[1].receive())["text"] == "x"


# --------------------------------------------------------------------------------------------------------------- health


@on_fake_clock
async def test_readiness_follows_the_drain_and_liveness_does_not() -> None:
    server = FakeServer(DrivenApp())
    Health(server.state)
    peer = server.connect()
    live = READY.replace(b"readyz", b"livez")
    await peer.send(READY)
    assert status(peer) == (200, b"ready\n")
    await peer.send(live)
    assert status(peer) == (200, b"alive\n")
    server.state.draining = True
    await peer.send(READY)
    assert status(peer) == (503, b"draining\n")
    assert peer.transport.closing
    other = server.connect()
    await other.send(live)
    assert status(other) == (200, b"alive\n")


@on_fake_clock
async def test_readiness_knows_a_late_loop_and_forgets_it() -> None:
    server = FakeServer(DrivenApp(), readyz_max_lag=2.0)
    Health(server.state)
    peer = server.connect()
    await asyncio.sleep(5)
    await peer.send(READY)
    assert status(peer)[0] == 200
    assert isinstance(server.loop, asyncio.AbstractEventLoop)
    server.loop.call_soon(server.loop.stall, 9.0)  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    peer.transport.feed(READY)  # before the sweep has come: the loop is late all the same
    assert status(peer)[0] == 503
    await asyncio.sleep(1)
    await peer.send(READY)
    found = status(peer)
    assert found[0] == 503
    assert b"s late" in found[1]
    await asyncio.sleep(5)
    await peer.send(READY)
    assert status(peer)[0] == 200


@on_fake_clock
async def test_pages_of_health_move_and_go() -> None:
    server = FakeServer(DrivenApp(), livez_path="", readyz_path="/-/ready")
    Health(server.state)
    assert list(server.state.pages) == ["/-/ready"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"livez_path": "livez"}, "--livez-path: must begin with a slash"),
        ({"livez_path": "/x", "readyz_path": "/x"}, "--readyz-path: must differ"),
        ({"drain_delay": -1}, "--drain-delay: must be"),
    ],
)
def test_wrong_options(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        fastws.Config("app:app", **options)
