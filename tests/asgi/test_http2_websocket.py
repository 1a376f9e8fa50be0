"""WebSockets over HTTP/2 (RFC 8441): the session is the same, below it is a stream."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from typing import Any

import pytest
import wire
from fake_loop import Call, DrivenApp, FakeServer, on_fake_clock, settle
from http2_peer import REQUEST, Http2Peer, connect_fields, connected

from fastws.observe.access_format import FormattedAccessLog
from fastws.observe.control import describe
from fastws.observe.log_format import JsonFormatter
from fastws.observe.metrics import Metrics
from fastws.process.drain import Drain

pytestmark = pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])

ACCEPT = {"type": "websocket.accept"}


async def opened(
    server: FakeServer, app: DrivenApp, *fields: tuple[str, str], accept: Any = ACCEPT, **options: Any
) -> tuple[Call, Http2Peer, int]:
    peer = await connected(server, **options)
    stream = await peer.request(connect_fields("/chat?room=1", *fields), ends=False)
    call = app.calls[-1]
    assert await call.receive() == {"type": "websocket.connect"}
    await call.send(accept)
    await peer.flush()
    assert peer.response(stream)[":status"] == "200"
    return call, peer, stream


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    return [(frame.opcode, frame.payload) for frame in wire.read_frames(data)]


@on_fake_clock
async def test_messages_go_both_ways(cut: bool) -> None:
    app = DrivenApp()
    call, peer, stream = await opened(FakeServer(app), app, ("origin", "https://a.example"), cut=cut)
    assert call.scope["type"] == "websocket"
    assert call.scope["http_version"] == "2"
    assert call.scope["scheme"] == "ws"
    assert (call.scope["path"], call.scope["query_string"]) == ("/chat", b"room=1")
    assert call.scope["headers"][0] == (b"host", b"example.org")
    assert "websocket.http.response" in call.scope["extensions"]
    assert set(peer.response(stream)) == {":status", "date", "server"}
    await peer.send(stream, wire.frame(wire.TEXT, b"hello") + wire.frame(wire.BINARY, b"\0\1"))
    assert await call.receive() == {"type": "websocket.receive", "text": "hello"}
    assert (await call.receive())["bytes"] == b"\0\1"
    await call.send({"type": "websocket.send", "text": "well"})
    await peer.flush()
    assert frames_of(peer.body(stream)) == [(wire.TEXT, b"well")]
    await peer.send(stream, wire.frame(wire.PING, b"?"))
    assert frames_of(peer.body(stream))[1:] == [(wire.PONG, b"?")]


@on_fake_clock
async def test_the_client_closes(cut: bool, caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    call, peer, stream = await opened(server, app, cut=cut)
    await peer.send(stream, wire.frame(wire.CLOSE, b"\x0f\xa0bye"))
    assert await call.receive() == {"type": "websocket.disconnect", "code": 4000, "reason": "bye"}
    await peer.flush()
    assert frames_of(peer.body(stream)) == [(wire.CLOSE, b"\x0f\xa0bye")]
    assert peer.ended(stream)
    await peer.send(stream, b"", ends=True)
    call.end.set_result(None)
    await settle()
    assert not server.state.streams
    assert server.state.websockets == 0
    assert peer.reset(stream) is None
    assert peer.goaway() is None
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


@on_fake_clock
async def test_the_application_closes(cut: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    call, peer, stream = await opened(server, app, cut=cut)
    await call.send({"type": "websocket.close", "code": 4001, "reason": "over"})
    await peer.flush()
    assert frames_of(peer.body(stream)) == [(wire.CLOSE, b"\x0f\xa1over")]
    assert not peer.ended(stream)  # the peer's Close comes first
    await peer.send(stream, wire.frame(wire.CLOSE, b"\x0f\xa1over"), ends=True)
    assert peer.ended(stream)
    call.end.set_result(None)
    await settle()
    assert not server.state.streams


@on_fake_clock
async def test_a_client_that_does_not_answer_a_close_is_cut_alone(cut: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    call, peer, stream = await opened(server, app, cut=cut)
    other = await peer.request()
    await call.send({"type": "websocket.close"})
    await asyncio.sleep(30)
    await peer.read()
    assert peer.reset(stream) == 8
    assert peer.reset(other) is None
    assert [each.stream.stream_id for each in server.state.streams] == [other]


@pytest.mark.parametrize("how", ["end", "reset", "connection"])
@on_fake_clock
async def test_an_end_without_a_close_is_1006(cut: bool, how: str) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    call, peer, stream = await opened(server, app, cut=cut)
    if how == "end":
        await peer.send(stream, b"", ends=True)
    elif how == "reset":
        peer.h2.reset_stream(stream, 8)
        await peer.flush()
    else:
        peer.transport.reset()
        await settle()
    assert await call.receive() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    call.end.set_result(None)
    await settle()
    assert not server.state.streams
    if how == "end":
        await peer.read()
        assert peer.ended(stream)


@on_fake_clock
async def test_a_breach_of_websocket_costs_its_stream_only(cut: bool) -> None:
    app = DrivenApp()
    call, peer, stream = await opened(FakeServer(app), app, cut=cut)
    other = await peer.request()
    await peer.send(stream, b"\x81\x01x")  # not masked
    assert (await call.receive())["code"] == 1002
    await peer.flush()
    [(opcode, payload)] = frames_of(peer.body(stream))
    assert (opcode, payload[:2]) == (wire.CLOSE, b"\x03\xea")
    assert peer.ended(stream)
    assert peer.reset(other) is None
    assert peer.goaway() is None


@on_fake_clock
async def test_subprotocol_and_headers(cut: bool) -> None:
    app = DrivenApp()
    accept = {**ACCEPT, "subprotocol": "b", "headers": [(b"X-A", b"1")]}
    fields = (("sec-websocket-protocol", "a, b"),)
    call, peer, stream = await opened(FakeServer(app), app, *fields, accept=accept, cut=cut)
    assert call.scope["subprotocols"] == ["a", "b"]
    assert peer.response(stream)["sec-websocket-protocol"] == "b"
    assert peer.response(stream)["x-a"] == "1"
    assert "sec-websocket-accept" not in peer.response(stream)


@on_fake_clock
async def test_a_key_that_a_proxy_has_passed_on_is_answered(cut: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    _, peer, stream = await opened(server, app, key, cut=cut)
    assert peer.response(stream)["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    for fields in ((), (("sec-websocket-key", "no key"),)):
        _, peer, stream = await opened(server, app, *fields, cut=cut)
        assert "sec-websocket-accept" not in peer.response(stream)


@on_fake_clock
async def test_deflate(cut: bool, engine: str) -> None:
    app = DrivenApp()
    fields = (("sec-websocket-extensions", "permessage-deflate; client_no_context_takeover"),)
    call, peer, stream = await opened(FakeServer(app, engine=engine), app, *fields, cut=cut)
    assert peer.response(stream)["sec-websocket-extensions"].startswith("permessage-deflate")
    await call.send({"type": "websocket.send", "text": "abcd" * 1000})
    await peer.flush()
    data = peer.body(stream)
    assert data[0] == 0xC1
    assert len(data) < 200
    packer = zlib.compressobj(wbits=-12)
    packed = (packer.compress(b"xyz" * 1000) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    await peer.send(stream, wire.frame(wire.TEXT, packed, rsv1=True))
    assert (await call.receive())["text"] == "xyz" * 1000


@on_fake_clock
async def test_denied_is_403_and_the_stream_ends(cut: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = await connected(server, cut=cut)
    stream = await peer.request(connect_fields(), ends=False)
    await app.calls[0].receive()
    await app.calls[0].send({"type": "websocket.close"})
    await peer.flush()
    assert peer.response(stream)[":status"] == "403"
    assert peer.ended(stream)
    assert peer.reset(stream) == 0
    app.calls[0].end.set_result(None)
    await settle()
    assert not server.state.streams
    assert server.state.websockets == 0


@on_fake_clock
async def test_a_response_of_the_application_denies(cut: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = await connected(server, cut=cut)
    stream = await peer.request(connect_fields(), ends=False)
    [call] = app.calls
    await call.receive()
    await call.send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-a", b"1")]})
    await call.send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
    await call.send({"type": "websocket.http.response.body", "body": b"are you"})
    await peer.flush()
    assert peer.response(stream)[":status"] == "401"
    assert peer.response(stream)["x-a"] == "1"
    assert peer.body(stream) == b"who are you"
    assert peer.ended(stream)
    call.end.set_result(None)
    await settle()
    assert not server.state.streams


@on_fake_clock
async def test_a_client_that_ends_its_stream_before_it_is_answered_gets_a_reset(cut: bool) -> None:
    """END_STREAM of ours without a head would be malformed (RFC 9113 section 8.1)."""
    app = DrivenApp()
    peer = await connected(FakeServer(app), cut=cut)
    stream = await peer.request(connect_fields(), ends=False)
    await peer.send(stream, b"", ends=True)
    assert peer.reset(stream) == 8
    assert (await app.calls[0].receive())["type"] == "websocket.connect"
    assert (await app.calls[0].receive())["code"] == 1006


@on_fake_clock
async def test_a_denial_must_not_look_like_an_acceptance(cut: bool, caplog: pytest.LogCaptureFixture) -> None:
    """2xx accepts an extended CONNECT: a client would take the body for frames (RFC 8441 section 5)."""
    app = DrivenApp()
    peer = await connected(FakeServer(app), cut=cut)
    stream = await peer.request(connect_fields(), ends=False)
    [call] = app.calls
    await call.receive()
    with pytest.raises(RuntimeError, match="cannot be denied with the status 200") as caught:
        await call.send({"type": "websocket.http.response.start", "status": 200, "headers": []})
    call.end.set_exception(caught.value)
    await peer.flush()
    assert peer.response(stream)[":status"] == "500"
    assert peer.ended(stream)


@on_fake_clock
async def test_who_came_by_http_2_can_be_told(cut: bool, caplog: pytest.LogCaptureFixture) -> None:
    """In the access log, in each of its formats, and by the application."""
    app = DrivenApp()
    with caplog.at_level(logging.INFO, "fastws.access"):
        call, peer, stream = await opened(FakeServer(app, access_log=True), app, cut=cut)
        assert call.scope["extensions"]["fastws.http2"] == {"stream": stream}
        await peer.send(stream, wire.frame(wire.CLOSE, b"\x03\xe8"), ends=True)
        call.end.set_result(None)
        await settle()
    accepted, closed = caplog.records
    assert accepted.getMessage() == '192.0.2.1:50000 - "WebSocket /chat?room=1 HTTP/2" [accepted]'
    assert closed.getMessage().startswith('192.0.2.1:50000 - "WebSocket /chat?room=1 HTTP/2" [closed 1000')
    for record in (accepted, closed):
        found = json.loads(JsonFormatter().format(record))
        assert (found["http_version"], found["stream"], found["status"]) == ("2", stream, 200)
        assert (found["path"], found["reason"]) == ("/chat?room=1", "OK")


@on_fake_clock
async def test_the_line_of_an_operators_format_says_200(cut: bool, caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    log = FormattedAccessLog("%(r)s %(s)s %(H)s %(m)s")
    with caplog.at_level(logging.INFO, "fastws.access"):
        call, peer, stream = await opened(FakeServer(app, observer=log), app, cut=cut)
        await peer.send(stream, wire.frame(wire.CLOSE, b"\x03\xe8"), ends=True)
        call.end.set_result(None)
        await settle()
    assert caplog.messages == ["CONNECT /chat?room=1 HTTP/2 200 HTTP/2 CONNECT"]


@on_fake_clock
async def test_metrics_and_status_count_what_came_by_http_2(cut: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    metrics = Metrics("0", "cython", "asyncio", 0.0)
    _, peer, stream = await opened(server, app, cut=cut)
    request = await peer.request(REQUEST)
    found = metrics.snapshot(server.state)
    assert found["fastws_http2_connections"] == {"": 1}
    assert found["fastws_http2_streams"] == {"": 2}
    assert found["fastws_http2_websockets"] == {"": 1}
    assert found["fastws_http2_requests_total"] == {"request": 1, "websocket": 1}
    described = [describe(each, server.loop.time()) for each in server.state.channels()]
    assert {each["http"] for each in described} == {"2"}
    assert sorted((each["kind"], each["id"].rpartition("-")[2]) for each in described) == [
        ("http", "1"),
        ("http", f"1.{request}"),
        ("websocket", f"1.{stream}"),
    ]


@on_fake_clock
async def test_an_application_that_raises_before_it_accepts(cut: bool) -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app), cut=cut)
    stream = await peer.request(connect_fields(), ends=False)
    app.calls[0].end.set_exception(ValueError("broken"))
    await peer.flush()
    assert peer.response(stream)[":status"] == "500"
    assert peer.ended(stream)


@on_fake_clock
async def test_an_application_that_raises_later(cut: bool) -> None:
    app = DrivenApp()
    call, peer, stream = await opened(FakeServer(app), app, cut=cut)
    call.end.set_exception(ValueError("broken"))
    await peer.flush()
    [(opcode, payload)] = frames_of(peer.body(stream))
    assert (opcode, payload[:2]) == (wire.CLOSE, b"\x03\xf3")


@on_fake_clock
async def test_what_comes_before_the_accept_is_delivered_behind_it(cut: bool) -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app), cut=cut)
    stream = peer.h2.get_next_available_stream_id()
    peer.h2.send_headers(stream, connect_fields())
    peer.h2.send_data(stream, wire.frame(wire.TEXT, b"early"))
    await peer.flush()
    [call] = app.calls
    await call.receive()
    await call.send(ACCEPT)
    assert (await call.receive())["text"] == "early"


REFUSED = {
    "another protocol": ([(k, "connect-udp" if k == ":protocol" else v) for k, v in connect_fields()], "501"),
    "another version": ([(k, "8" if k == "sec-websocket-version" else v) for k, v in connect_fields()], "400"),
    "no version": (connect_fields()[:-1], "400"),
    "a subprotocol that is none": ([*connect_fields(), ("sec-websocket-protocol", "a b")], "400"),
    "an origin": ([*connect_fields(), ("origin", "https://evil.example")], "403"),
}


@pytest.mark.parametrize("fault", REFUSED)
@on_fake_clock
async def test_refusals(cut: bool, fault: str) -> None:
    fields, status = REFUSED[fault]
    app = DrivenApp()
    peer = await connected(FakeServer(app, ws_allowed_origins=["https://a.example"]), cut=cut)
    stream = await peer.request(fields, ends=False)
    assert peer.response(stream)[":status"] == status
    assert peer.ended(stream)
    assert app.calls == []


@on_fake_clock
async def test_the_limit_of_websockets_counts_streams(cut: bool) -> None:
    app = DrivenApp()
    _, peer, _ = await opened(FakeServer(app, limit_websockets=1), app, cut=cut)
    refused = await peer.request(connect_fields(), ends=False)
    assert peer.response(refused)[":status"] == "503"
    assert len(app.calls) == 1


@on_fake_clock
async def test_large_messages_pass_small_windows(cut: bool) -> None:
    app = DrivenApp()
    call, peer, stream = await opened(FakeServer(app), app, cut=cut)
    message = bytes(range(256)) * 1200
    data = wire.frame(wire.BINARY, message)
    receiving = asyncio.ensure_future(call.receive())
    while data:
        size = min(len(data), peer.h2.local_flow_control_window(stream), 16384)
        assert size > 0, "no window comes back"
        await peer.send(stream, data[:size])
        data = data[size:]
    assert (await receiving)["bytes"] == message
    sending = asyncio.ensure_future(call.send({"type": "websocket.send", "bytes": message}))
    while not sending.done():
        await peer.flush()
    await peer.flush()
    assert frames_of(peer.body(stream)) == [(wire.BINARY, message)]


@on_fake_clock
async def test_an_application_that_takes_no_messages_stalls_its_stream_alone(cut: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app, ws_max_queue_bytes=10_000)
    call, peer, stream = await opened(server, app, cut=cut)
    other = await peer.request(connect_fields(), ends=False)
    await app.calls[1].receive()
    await app.calls[1].send(ACCEPT)
    message = wire.frame(wire.BINARY, bytes(4000))
    sent = 0
    while peer.h2.local_flow_control_window(stream) >= len(message):
        await peer.send(stream, message)
        sent += 1
        assert sent < 100, "there is no bound"
    await peer.send(other, wire.frame(wire.TEXT, b"well"))
    assert (await app.calls[1].receive())["text"] == "well"
    for _ in range(sent):
        assert len((await call.receive())["bytes"]) == 4000
        await settle()
    await peer.flush()
    assert peer.h2.local_flow_control_window(stream) > 60_000


@on_fake_clock
async def test_keepalive_is_the_session_s(cut: bool) -> None:
    app = DrivenApp()
    call, peer, stream = await opened(FakeServer(app, ws_ping_interval=5.0, ws_ping_timeout=5.0), app, cut=cut)
    await asyncio.sleep(7)
    await peer.read()
    assert frames_of(peer.body(stream)) == [(wire.PING, b"")]
    await asyncio.sleep(15)
    await peer.read()
    assert frames_of(peer.body(stream))[1][0] == wire.CLOSE
    assert peer.reset(stream) == 8
    assert (await call.receive())["code"] == 1006


@on_fake_clock
async def test_a_drain_closes_with_1012_and_the_connection_goes_last(cut: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    call, peer, stream = await opened(server, app, cut=cut)
    request = await peer.request(REQUEST)
    server.state.shut_down()
    await peer.flush()
    assert peer.goaway() is not None
    assert frames_of(peer.body(stream))[0][1][:2] == b"\x03\xf4"
    await peer.send(stream, wire.frame(wire.CLOSE, b"\x03\xf4"), ends=True)
    assert (await call.receive())["code"] == 1012
    call.end.set_result(None)
    assert not peer.transport.closing
    await app.calls[1].send({"type": "http.response.start", "status": 200, "headers": []})
    await app.calls[1].send({"type": "http.response.body", "body": b"last"})
    app.calls[1].end.set_result(None)
    await peer.flush()
    assert peer.body(request) == b"last"
    assert peer.transport.lost
    await asyncio.wait_for(server.state.wait_closed(), 5)


@on_fake_clock
async def test_the_closes_of_streams_are_spread_as_those_of_connections(cut: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app, ws_close_timeout=100)
    peer = await connected(server)
    streams = [await peer.request(connect_fields(), ends=False) for _ in range(100)]
    for call in app.calls:
        await call.send(ACCEPT)
    drain = Drain(server.state.config, asyncio.Event(), lambda: None)
    ending = asyncio.create_task(drain.end_connections(server.state, lambda state: state.cut()))
    told = []
    for _ in range(4):
        await asyncio.sleep(0.3)
        await peer.read()
        told.append(sum(bool(peer.body(stream)) for stream in streams))
    assert 0 < told[0] < 80
    assert told[-1] == 100
    for stream in streams:
        await peer.send(stream, wire.frame(wire.CLOSE, b"\x03\xf4"), ends=True)
    for call in app.calls:
        call.end.set_result(None)
    await asyncio.wait_for(ending, 5)
