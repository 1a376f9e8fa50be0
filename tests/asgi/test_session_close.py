"""How a WebSocket ends, on every engine: by either side, by an error, by silence and by the server's shutdown.

RFC 6455 section 7. The clock is fake, so that every timeout is waited for in full.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import wire
from driving import ACCEPT, AHEAD, connect, errors, open_websocket
from fake_loop import Call, DrivenApp, FakeServer, Peer, on_fake_clock, settle
from serving import serve

from fastws.errors import ApplicationError

pytestmark = pytest.mark.usefixtures("channels")

SENT = {"type": "websocket.send", "text": "x"}
BAD = wire.frame(wire.TEXT, b"unmasked", mask=None)


def ended(call: Call) -> None:
    call.end.set_result(None)


# --------------------------------------------------------------------------------------------------- the peer closes


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (wire.close(1000), 1000, ""),
        (wire.close(1001, "going"), 1001, "going"),
        (wire.close(4999, "é" * 61), 4999, "é" * 61),
        (wire.close(), 1005, ""),
    ],
)
@on_fake_clock
async def test_a_close_is_echoed_and_told(engine: str, sent: bytes, code: int, reason: str) -> None:
    call, peer = await open_websocket(engine)
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    await peer.send(sent)
    assert wire.read_frames(peer.take()) == [wire.closing(None if code == 1005 else code, reason)]
    assert peer.transport.closing
    assert not peer.transport.aborted
    assert await receiving == {"type": "websocket.disconnect", "code": code, "reason": reason}


@on_fake_clock
async def test_messages_before_a_close_in_one_segment_are_all_answered_before_it(engine: str) -> None:
    call, peer = await open_websocket(engine)
    await peer.send(b"".join(map(wire.text, "abcde")) + wire.close(1000, "done"))
    for expected in "abcde":
        event = await call.receive()
        assert event["text"] == expected
        await settle()
        await call.send({"type": "websocket.send", "text": expected.upper()})
    assert await call.receive() == {"type": "websocket.disconnect", "code": 1000, "reason": "done"}
    assert wire.read_frames(peer.take()) == [*wire.messages(*"ABCDE"), wire.closing(1000, "done")]
    assert peer.transport.closing


@on_fake_clock
async def test_messages_before_a_bad_frame_in_one_segment_are_all_answered_before_it(engine: str) -> None:
    call, peer = await open_websocket(engine)
    await peer.send(wire.text("a") + wire.text("b") + BAD)
    for expected in "ab":
        assert (await call.receive())["text"] == expected
        await call.send({"type": "websocket.send", "text": expected.upper()})
    event = await call.receive()
    assert event["code"] == 1002
    *answers, last = wire.read_frames(peer.take())
    assert answers == wire.messages("A", "B")
    assert last.payload[:2] == (1002).to_bytes(2, "big")
    assert peer.transport.half_closed  # and what the peer still sends is read and dropped
    await peer.send(wire.text("dropped"))
    peer.transport.feed_eof()
    assert peer.transport.closing


def test_messages_and_a_close_in_one_segment_over_a_real_socket(engine: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while (event := await receive())["type"] == "websocket.receive":
            await asyncio.sleep(0)
            await send({**event, "type": "websocket.send"})

    sent = [str(i) for i in range(300)]
    with serve(app, ws=engine, lifespan="off") as serving:
        for ends in (False, True):
            with wire.Client(serving) as client:
                client.open(early=b"".join(map(wire.text, sent)) + wire.close(1000))
                if ends:
                    client.send_eof()
                assert [client.frame() for _ in sent] == wire.messages(*sent)
                assert client.frame() == wire.closing(1000)
                assert client.rest() == b""


@on_fake_clock
async def test_messages_that_a_lost_connection_leaves_behind_are_delivered(engine: str) -> None:
    call, peer = await open_websocket(engine)
    await peer.send(wire.text("a") + wire.text("b"))
    peer.transport.reset()
    assert (await call.receive())["text"] == "a"
    assert (await call.receive())["text"] == "b"
    assert await call.receive() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


@on_fake_clock
async def test_the_code_of_a_close_survives_the_loss_of_the_connection(engine: str) -> None:
    call, peer = await open_websocket(engine)
    await peer.send(wire.text("a") + wire.close(4001, "mine"))
    peer.transport.reset()
    assert (await call.receive())["text"] == "a"
    assert await call.receive() == {"type": "websocket.disconnect", "code": 4001, "reason": "mine"}


@on_fake_clock
async def test_the_end_of_the_stream_without_a_close_is_1006(engine: str) -> None:
    call, peer = await open_websocket(engine)
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    await peer.send(wire.text("half")[:5])
    peer.transport.feed_eof()
    assert await receiving == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


@on_fake_clock
async def test_the_end_of_the_stream_of_a_peer_that_does_not_read_is_not_waited_for(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_ping_interval=None, ws_close_timeout=4.0)
    receiving = asyncio.ensure_future(call.receive())
    peer.transport.stalled = True
    await call.send({"type": "websocket.send", "text": "never read"})
    peer.transport.feed_eof()
    await asyncio.sleep(3)
    assert not peer.transport.aborted
    await asyncio.sleep(8)
    assert peer.transport.aborted
    assert await receiving == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


@on_fake_clock
async def test_no_ping_follows_the_end_of_the_stream(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_ping_interval=1.0, ws_close_timeout=10.0)
    peer.transport.stalled = True
    await call.send({"type": "websocket.send", "text": "slowly read"})
    peer.transport.feed_eof()
    await asyncio.sleep(5)
    peer.transport.drain()
    await settle()
    assert peer.transport.lost
    assert wire.read_frames(peer.take()) == wire.messages("slowly read")


@on_fake_clock
async def test_an_application_that_never_receives_gets_its_close_answered(engine: str) -> None:
    call, peer = await open_websocket(engine)
    await call.send(SENT)
    await peer.send(wire.close(1000))
    assert wire.read_frames(peer.take()) == [*wire.messages("x"), wire.closing(1000)]
    assert peer.transport.closing
    with pytest.raises(OSError, match="closed"):
        await call.send(SENT)


@on_fake_clock
async def test_a_publisher_that_ignores_messages_gets_a_close_answered_in_time(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_close_timeout=10)
    await peer.send(wire.text("never received") + wire.close(1000))
    await call.send(SENT)
    await settle()
    assert wire.read_frames(peer.take()) == wire.messages("x")
    await asyncio.sleep(9)
    assert wire.read_frames(peer.take()) == [wire.closing(1000)]
    assert peer.transport.closing
    assert (await call.receive())["text"] == "never received"
    assert (await call.receive())["code"] == 1000


@on_fake_clock
async def test_a_peer_that_closes_and_half_closes_gets_its_answers(engine: str) -> None:
    call, peer = await open_websocket(engine)
    await peer.send(wire.text("a") + wire.close(1000))
    peer.transport.feed_eof()
    await settle()
    assert (await call.receive())["text"] == "a"
    await call.send(SENT)
    await call.receive()
    assert wire.read_frames(peer.take()) == [*wire.messages("x"), wire.closing(1000)]
    assert peer.transport.closing


@on_fake_clock
async def test_receiving_after_the_disconnect_is_an_error(engine: str) -> None:
    call, peer = await open_websocket(engine)
    await peer.send(wire.close())
    assert (await call.receive())["type"] == "websocket.disconnect"
    with pytest.raises(ApplicationError, match=r"receive\(\) was called again"):
        await call.receive()


# ------------------------------------------------------------------------------------------- sending to who is gone


@pytest.mark.parametrize("how", ["close", "reset", "eof"])
@pytest.mark.parametrize("event", [SENT, {"type": "websocket.close"}, {"type": "no such event"}])
@on_fake_clock
async def test_sending_after_the_peer_is_gone_is_an_os_error_that_is_not_logged(
    engine: str, how: str, event: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    call, peer = await open_websocket(engine)
    if how == "close":
        await peer.send(wire.close(1000))
    elif how == "reset":
        peer.transport.reset()
    else:
        peer.transport.feed_eof()
    await settle()
    with pytest.raises(OSError, match="closed") as raised:
        await call.send(event)
    assert type(raised.value) is not OSError
    call.end.set_exception(raised.value)
    await peer.connection.state.wait_closed()
    assert errors(caplog) == []


@on_fake_clock
async def test_the_error_of_another_websocket_is_logged(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    """An application that lets through that somebody else is gone is broken: its own peer must learn of it."""
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    gone, left = await connect(server), await connect(server)
    for call in app.calls:
        await call.send(ACCEPT)
    left.take()
    gone.transport.reset()
    with pytest.raises(OSError, match="closed") as raised:
        await app.calls[0].send(SENT)
    ended(app.calls[0])
    app.calls[1].end.set_exception(raised.value)
    await settle()
    [frame] = wire.read_frames(left.take())
    assert frame.payload[:2] == (1011).to_bytes(2, "big")
    assert len(errors(caplog)) == 1


# ---------------------------------------------------------------------------------------------- the application closes


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({}, wire.closing(1000)),
        ({"code": None, "reason": None}, wire.closing(1000)),
        ({"code": 1000, "reason": ""}, wire.closing(1000)),
        ({"code": 4000, "reason": "höflich"}, wire.closing(4000, "höflich")),
        ({"code": 1005}, wire.closing()),
    ],
)
@on_fake_clock
async def test_the_application_closes(engine: str, event: dict[str, Any], expected: wire.Frame) -> None:
    call, peer = await open_websocket(engine)
    await call.send(SENT)
    await call.send({"type": "websocket.close", **event})
    assert wire.read_frames(peer.take()) == [*wire.messages("x"), expected]
    assert not peer.transport.closing
    disconnect = await call.receive()
    assert disconnect["code"] == (event.get("code") or 1000)
    for sent in (SENT, {"type": "websocket.close"}, ACCEPT):
        with pytest.raises(ApplicationError, match=r"after .*clos.* allowed is nothing"):
            await call.send(sent)
    await peer.send(wire.text("late") + wire.close(1000))
    assert peer.take() == b""
    assert peer.transport.closing
    assert not peer.transport.aborted


@on_fake_clock
async def test_a_receive_that_waits_learns_of_the_applications_own_close(engine: str) -> None:
    call, peer = await open_websocket(engine)
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    await call.send({"type": "websocket.close", "code": 4000})
    await settle()
    assert receiving.done()
    assert (await receiving)["code"] == 4000
    assert not peer.transport.closing


@on_fake_clock
async def test_an_own_close_that_the_peer_does_not_answer_is_cut(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_close_timeout=10, ws_ping_interval=None)
    await call.send({"type": "websocket.close"})
    ended(call)
    await asyncio.sleep(9)
    assert not peer.transport.closing
    await peer.send(wire.text("not a close") + wire.frame(wire.PING, b"p"))
    await asyncio.sleep(3)
    assert peer.transport.aborted
    assert wire.read_frames(peer.take()) == [wire.closing(1000)]


@on_fake_clock
async def test_closing_while_the_peers_close_waits_ends_at_once(engine: str) -> None:
    call, peer = await open_websocket(engine)
    await peer.send(wire.text("a") + wire.close(4001))
    assert (await call.receive())["text"] == "a"
    await call.send({"type": "websocket.close", "code": 4002})
    assert wire.read_frames(peer.take()) == [wire.closing(4002)]
    assert peer.transport.closing


@on_fake_clock
async def test_a_peer_that_does_not_read_the_end_is_cut(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_ping_interval=None)
    peer.transport.stalled = True
    sending = asyncio.ensure_future(call.send({"type": "websocket.send", "bytes": bytes(200_000)}))
    await settle()
    await peer.send(wire.close())
    assert peer.transport.closing
    await asyncio.sleep(60)
    assert peer.transport.aborted
    with pytest.raises(OSError, match="gone"):
        await sending


# ---------------------------------------------------------------------------------------------------------- keepalive


@on_fake_clock
async def test_a_peer_that_answers_pings_stays(engine: str) -> None:
    _, peer = await open_websocket(engine, ws_ping_interval=20, ws_ping_timeout=20)
    pings = 0
    for _ in range(600):
        await asyncio.sleep(1)
        for frame in wire.read_frames(peer.take()):
            assert frame.opcode == wire.PING
            pings += 1
            await peer.send(wire.frame(wire.PONG, frame.payload))
    assert not peer.transport.closing
    assert 20 <= pings <= 30


@pytest.mark.parametrize("delay", [0, 0.01, 1, 4.9, 19])
@on_fake_clock
@pytest.mark.slow
async def test_a_pong_counts_whenever_it_comes(engine: str, delay: float) -> None:
    _, peer = await open_websocket(engine, ws_ping_interval=20, ws_ping_timeout=20)
    for _ in range(3):
        while not peer.take():
            await asyncio.sleep(0.001 if delay < 1 else 0.5)
        await asyncio.sleep(delay)
        await peer.send(wire.frame(wire.PONG))
        await asyncio.sleep(21 - delay)
        assert not peer.transport.closing


@on_fake_clock
async def test_pings_keep_their_interval_when_the_timeout_is_longer(engine: str) -> None:
    _, peer = await open_websocket(engine, ws_ping_interval=5, ws_ping_timeout=60)
    pings = 0
    for _ in range(100):
        await asyncio.sleep(1)
        for frame in wire.read_frames(peer.take()):
            pings += 1
            await peer.send(wire.frame(wire.PONG, frame.payload))
    assert pings >= 15
    await asyncio.sleep(55)
    assert [frame.opcode for frame in wire.read_frames(peer.take())] == [wire.PING]
    await asyncio.sleep(15)
    assert peer.transport.aborted


@on_fake_clock
async def test_any_byte_answers_a_ping(engine: str) -> None:
    _, peer = await open_websocket(engine, ws_ping_interval=5, ws_ping_timeout=5)
    data = wire.frame(wire.BINARY, bytes(100))
    for i in range(100):
        await asyncio.sleep(3)
        await peer.send(data[i : i + 1])
    assert not peer.transport.closing


@on_fake_clock
async def test_no_ping_is_sent_while_the_peer_talks(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_ping_interval=20)
    for _ in range(60):
        await asyncio.sleep(2)
        await peer.send(wire.text("x"))
        await call.receive()
    assert peer.take() == b""


@on_fake_clock
async def test_a_silent_peer_gets_1011_and_is_cut(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_ping_interval=20, ws_ping_timeout=20)
    receiving = asyncio.ensure_future(call.receive())
    await asyncio.sleep(38)
    assert [frame.opcode for frame in wire.read_frames(peer.take())] == [wire.PING]
    assert not receiving.done()
    await asyncio.sleep(5)
    assert wire.read_frames(peer.take()) == [wire.closing(1011, "keepalive ping timeout")]
    assert peer.transport.aborted
    assert await receiving == {"type": "websocket.disconnect", "code": 1006, "reason": "keepalive ping timeout"}


@on_fake_clock
async def test_without_a_ping_timeout_a_silent_peer_stays(engine: str) -> None:
    _, peer = await open_websocket(engine, ws_ping_interval=20, ws_ping_timeout=None)
    await asyncio.sleep(200)
    assert [frame.opcode for frame in wire.read_frames(peer.take())] in ([wire.PING] * 9, [wire.PING] * 10)
    assert not peer.transport.closing


@on_fake_clock
async def test_without_a_ping_interval_a_silent_peer_is_left_alone(engine: str) -> None:
    _, peer = await open_websocket(engine, ws_ping_interval=None)
    await asyncio.sleep(10_000)
    assert peer.take() == b""
    assert not peer.transport.closing


@on_fake_clock
async def test_a_peer_that_we_do_not_read_is_not_cut(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_max_queue=2, ws_ping_interval=20, ws_ping_timeout=20)
    await peer.send(wire.text("x") * 4)
    await peer.send(AHEAD)
    assert not peer.transport.reading
    await asyncio.sleep(300)
    assert not peer.transport.closing
    for _ in range(4):
        await call.receive()
    assert peer.transport.reading
    await asyncio.sleep(21)
    assert not peer.transport.closing
    await asyncio.sleep(30)
    assert peer.transport.aborted


@pytest.mark.parametrize("talks", [False, True], ids=["silent", "sends until we do not read it"])
@on_fake_clock
async def test_a_peer_that_reads_nothing_is_cut(engine: str, talks: bool) -> None:
    call, peer = await open_websocket(engine, ws_max_queue=2, ws_ping_interval=20, ws_ping_timeout=20)
    peer.transport.stalled = True
    sending = asyncio.ensure_future(call.send({"type": "websocket.send", "bytes": bytes(200_000)}))
    await settle()
    if talks:
        await peer.send(wire.text("x") * 100)
        await peer.send(AHEAD)
        assert not peer.transport.reading
    await asyncio.sleep(60)
    assert peer.transport.aborted
    with pytest.raises(OSError, match="gone"):
        await sending


@pytest.mark.parametrize("talks", [False, True], ids=["silent", "sends until we do not read it"])
@on_fake_clock
async def test_a_peer_that_reads_slowly_stays(engine: str, talks: bool) -> None:
    call, peer = await open_websocket(engine, ws_max_queue=2, ws_ping_interval=20, ws_ping_timeout=20)
    peer.transport.stalled = True
    sending = asyncio.ensure_future(call.send({"type": "websocket.send", "bytes": bytes(3_000_000)}))
    await settle()
    if talks:
        await peer.send(wire.text("x") * 100)
    while peer.transport.unsent > 20_000:
        await asyncio.sleep(5)
        peer.transport.drain(50_000)
        assert not peer.transport.closing
    await sending


# ----------------------------------------------------------------------------------------------------------- shutdown


@on_fake_clock
async def test_shutdown_closes_with_1012_and_delivers_what_was_received(
    engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server, early=wire.text("a") + wire.text("b"))
    [call] = app.calls
    await call.send(ACCEPT)
    await call.receive()
    peer.take()
    server.state.shut_down()
    server.state.shut_down()
    # Not before the application has answered what it was given.
    assert [(await call.receive())["text"] for _ in range(2)] == ["a", "b"]
    await call.send(SENT)
    assert wire.read_frames(peer.take()) == wire.messages(SENT["text"])
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    [frame] = wire.read_frames(peer.take())
    assert frame.payload[:2] == (1012).to_bytes(2, "big")
    await peer.send(wire.text("c") + wire.text("d"))
    assert (await receiving)["text"] == "c"
    await call.send(SENT)  # nobody will read it, and it is no error: "d" is still to come
    assert (await call.receive())["text"] == "d"
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    assert not receiving.done()
    assert not peer.take()
    await peer.send(wire.close(1012))
    assert (await receiving)["code"] == 1012
    with pytest.raises(OSError, match="closed") as raised:
        await call.send(SENT)
    call.end.set_exception(raised.value)
    await server.state.wait_closed()
    assert not peer.transport.aborted
    assert errors(caplog) == []


@on_fake_clock
async def test_a_websocket_that_is_accepted_during_shutdown_is_closed(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server)
    server.state.shut_down()
    [call] = app.calls
    await call.send(ACCEPT)
    [frame] = wire.read_frames(peer.take().partition(b"\r\n\r\n")[2])
    assert frame.payload[:2] == (1012).to_bytes(2, "big")


@on_fake_clock
async def test_shutdown_is_not_held_up_by_a_peer_that_does_not_answer(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine, ws_close_timeout=10)
    peer = await connect(server)
    [call] = app.calls
    await call.send(ACCEPT)
    server.state.shut_down()
    await call.receive()
    assert (await call.receive())["code"] == 1012
    ended(call)
    await server.state.wait_closed()
    assert peer.transport.aborted


def test_shutdown_over_a_real_socket(engine: str) -> None:
    events: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        events.append(await receive())

    with serve(app, ws=engine, lifespan="off") as serving, wire.Client(serving) as client:
        client.open()
        serving.server.should_exit = True
        frame = client.frame()
        assert frame.payload[:2] == (1012).to_bytes(2, "big")
        client.send(wire.frame(wire.CLOSE, frame.payload))
        assert client.rest() == b""
    assert [event["code"] for event in events] == [1012]


# ---------------------------------------------------------------------------------------------------------- access log


@on_fake_clock
async def test_a_line_when_it_opens_and_a_line_when_it_closes(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastws.access")
    call, peer = await open_websocket(engine, access_log=True)
    await peer.send(wire.text("é") + wire.frame(wire.BINARY, b"abc") + wire.frame(wire.PING))
    for _ in range(2):
        await call.receive()
    for _ in range(3):
        await call.send({"type": "websocket.send", "text": "üü"})
    await peer.send(wire.close(4001, 'b"ye'))
    await call.receive()
    peer.transport.reset()
    opened, closed = [record for record in caplog.records if record.name == "fastws.access"]
    assert opened.getMessage() == '192.0.2.1:50000 - "WebSocket /chat?room=1" [accepted]'
    assert "[closed 4001" in closed.getMessage()
    found = closed.__dict__
    counted = ("close_code", "close_reason", "messages_in", "bytes_in", "messages_out", "bytes_out")
    assert [found[name] for name in counted] == [4001, 'b\\"ye', 2, 5, 3, 12]


@on_fake_clock
async def test_a_denial_has_one_line(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastws.access")
    app = DrivenApp()
    peer: Peer = await connect(FakeServer(app, engine=engine, access_log=True))
    [call] = app.calls
    await call.send({"type": "websocket.close"})
    ended(call)
    peer.transport.reset()
    await settle()
    [record] = [record for record in caplog.records if record.name == "fastws.access"]
    assert record.getMessage() == '192.0.2.1:50000 - "WebSocket /chat?room=1" 403'
