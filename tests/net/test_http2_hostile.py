"""What breaks the rules of HTTP/2, and what is only too much: whole and byte by byte (RFC 9113, docs/http2.md)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import hpack
import pytest
from fake_loop import DrivenApp, FakeServer, Peer, on_fake_clock, settle
from http2_peer import BEGIN, REQUEST, block, connect_fields, connected, frames_in, head

from fastws.http import http2_frames as h2
from fastws.http.http2_frames import frame

PROTOCOL, FLOW, CLOSED, SIZE, COMPRESSION, CALM = 0x1, 0x3, 0x5, 0x6, 0x9, 0xB

POST = ((":method", "POST"), *REQUEST[1:])
CONNECTION_FAULTS = {
    "no preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", PROTOCOL),
    "no settings first": (h2.PREFACE + frame(h2.PING, 0, 0, bytes(8)), PROTOCOL),
    "an acknowledgement first": (h2.PREFACE + frame(h2.SETTINGS, h2.ACK, 0, b""), PROTOCOL),
    "a frame that is too large": (BEGIN + h2.frame_head(h2.DATA, 0, 1, 16385), SIZE),
    "settings on a stream": (BEGIN + frame(h2.SETTINGS, 0, 1, b""), PROTOCOL),
    "settings of seven bytes": (BEGIN + frame(h2.SETTINGS, 0, 0, bytes(7)), SIZE),
    "an acknowledgement with settings": (BEGIN + frame(h2.SETTINGS, h2.ACK, 0, bytes(6)), SIZE),
    "push is two": (BEGIN + h2.settings((h2.ENABLE_PUSH, 2)), PROTOCOL),
    "connect protocol is two": (BEGIN + h2.settings((h2.ENABLE_CONNECT_PROTOCOL, 2)), PROTOCOL),
    "a window that is too large": (BEGIN + h2.settings((h2.INITIAL_WINDOW_SIZE, 2**31)), FLOW),
    "frames that are too small": (BEGIN + h2.settings((h2.MAX_FRAME_SIZE, 16383)), PROTOCOL),
    "frames that are too large": (BEGIN + h2.settings((h2.MAX_FRAME_SIZE, 2**24)), PROTOCOL),
    "a ping on a stream": (BEGIN + frame(h2.PING, 0, 1, bytes(8)), PROTOCOL),
    "a ping of seven bytes": (BEGIN + frame(h2.PING, 0, 0, bytes(7)), SIZE),
    "a push": (BEGIN + frame(h2.PUSH_PROMISE, 4, 1, bytes(8)), PROTOCOL),
    "goaway on a stream": (BEGIN + frame(h2.GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "a short goaway": (BEGIN + frame(h2.GOAWAY, 0, 0, bytes(7)), SIZE),
    "data on no stream": (BEGIN + frame(h2.DATA, 0, 0, b"x"), PROTOCOL),
    "data on a stream that has not begun": (BEGIN + frame(h2.DATA, 0, 1, b"x"), PROTOCOL),
    "data that is all padding": (BEGIN + head(1, POST, False) + frame(h2.DATA, h2.PADDED, 1, b"\x05abcd"), PROTOCOL),
    "headers on no stream": (BEGIN + head(0), PROTOCOL),
    "headers on an even stream": (BEGIN + head(2), PROTOCOL),
    "a stream that falls": (BEGIN + head(5) + head(3), CLOSED),
    "headers on a closed stream": (BEGIN + head(1) + frame(h2.RST_STREAM, 0, 1, bytes(4)) + head(1), CLOSED),
    "data on a closed stream": (
        BEGIN + head(1) + frame(h2.RST_STREAM, 0, 1, bytes(4)) + frame(h2.DATA, 0, 1, b"x"),
        CLOSED,
    ),
    "headers that are all padding": (BEGIN + frame(h2.HEADERS, h2.PADDED | 4, 1, b"\x05abcd"), PROTOCOL),
    "headers too short for a priority": (BEGIN + frame(h2.HEADERS, h2.PRIORITISED | 4, 1, bytes(4)), SIZE),
    "a reset on no stream": (BEGIN + frame(h2.RST_STREAM, 0, 0, bytes(4)), PROTOCOL),
    "a reset of a stream that has not begun": (BEGIN + frame(h2.RST_STREAM, 0, 1, bytes(4)), PROTOCOL),
    "a reset of three bytes": (BEGIN + head(1) + frame(h2.RST_STREAM, 0, 1, bytes(3)), SIZE),
    "a window update of nothing": (BEGIN + h2.window_update(0, 0), PROTOCOL),
    "a window update of three bytes": (BEGIN + frame(h2.WINDOW_UPDATE, 0, 0, bytes(3)), SIZE),
    "a window that grows too large": (BEGIN + h2.window_update(0, 2**31 - 1), FLOW),
    "a window of a stream that has not begun": (BEGIN + h2.window_update(1, 1), PROTOCOL),
    "a continuation of nothing": (BEGIN + frame(h2.CONTINUATION, 4, 1, b""), PROTOCOL),
    "a ping inside of a block": (BEGIN + frame(h2.HEADERS, 0, 1, b"") + frame(h2.PING, 0, 0, bytes(8)), PROTOCOL),
    "an unknown frame inside of a block": (BEGIN + frame(h2.HEADERS, 0, 1, b"") + frame(0x42, 0, 1, b""), PROTOCOL),
    "a continuation of another": (
        BEGIN + frame(h2.HEADERS, 0, 1, b"") + frame(h2.CONTINUATION, 4, 3, b""),
        PROTOCOL,
    ),
    "an index that is none": (BEGIN + frame(h2.HEADERS, 5, 1, b"\xff\xff\x03"), COMPRESSION),
    "an index of zero": (BEGIN + frame(h2.HEADERS, 5, 1, b"\x80"), COMPRESSION),
    "a block that is cut": (BEGIN + frame(h2.HEADERS, 5, 1, b"\x40\x05ab"), COMPRESSION),
    "Huffman code that is none": (BEGIN + frame(h2.HEADERS, 5, 1, b"\x00\x81\x00\x00"), COMPRESSION),
    "a table that is too large": (BEGIN + frame(h2.HEADERS, 5, 1, b"\x3f\xff\xff\x03"), COMPRESSION),
    "a priority on no stream": (BEGIN + frame(h2.PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    "more than the connection's window": (
        BEGIN + head(1, POST, False) + frame(h2.DATA, 0, 1, bytes(16384)) * 16,
        None,
    ),
}
CUT = pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])


async def raw(server: FakeServer, data: bytes, cut: bool) -> Peer:
    peer = server.connect()
    if cut:
        for byte in data:
            peer.transport.feed(bytes((byte,)))
            if peer.transport.closing:
                break
    else:
        peer.transport.feed(data)
    await settle()
    return peer


def goaway_code(data: bytes) -> int | None:
    codes = [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in frames_in(data) if kind == h2.GOAWAY]
    assert len(codes) <= 1
    return codes[0] if codes else None


def resets(data: bytes) -> dict[int, int]:
    return {stream: int.from_bytes(load, "big") for kind, _, stream, load in frames_in(data) if kind == h2.RST_STREAM}


@CUT
@pytest.mark.parametrize("fault", CONNECTION_FAULTS)
@on_fake_clock
async def test_a_connection_that_breaks_the_rules_ends(fault: str, cut: bool) -> None:
    data, code = CONNECTION_FAULTS[fault]
    app = DrivenApp()
    server = FakeServer(app)
    peer = await raw(server, data, cut)
    said = peer.take()
    if code is None:  # a fault of the stream
        assert goaway_code(said) is None
        assert resets(said) == {1: FLOW}
        return
    assert goaway_code(said) == code
    assert peer.transport.half_closed or peer.transport.closing
    for call in app.calls:
        assert (await call.receive())["type"] in ("http.request", "http.disconnect")
        assert (await call.receive())["type"] == "http.disconnect"
        call.end.set_result(None)
    await asyncio.sleep(20)
    assert peer.transport.lost
    assert not server.state.connections
    assert not server.state.streams


STREAM_FAULTS: dict[str, tuple[list[tuple[str, str]], int]] = {
    "a name in capitals": ([*REQUEST, ("X-A", "1")], PROTOCOL),
    "a name with a blank": ([*REQUEST, ("x a", "1")], PROTOCOL),
    "an empty name": ([*REQUEST, ("", "1")], PROTOCOL),
    "a value with LF": ([*REQUEST, ("x-a", "1\n2")], PROTOCOL),
    "a value with CR": ([*REQUEST, ("x-a", "1\r2")], PROTOCOL),
    "a value with NUL": ([*REQUEST, ("x-a", "1\x002")], PROTOCOL),
    "a value that begins with a blank": ([*REQUEST, ("x-a", " 1")], PROTOCOL),
    "a value that ends with a tab": ([*REQUEST, ("x-a", "1\t")], PROTOCOL),
    "a pseudo field twice": ([*REQUEST, (":path", "/")], PROTOCOL),
    "a pseudo field that is late": ([*REQUEST[:3], ("x-a", "1"), REQUEST[3]], PROTOCOL),
    "a pseudo field that is none": ([*REQUEST, (":x", "1")], PROTOCOL),
    "a pseudo field of responses": ([*REQUEST, (":status", "200")], PROTOCOL),
    "no method": ([*REQUEST[1:]], PROTOCOL),
    "a method that is none": ([(":method", "G T"), *REQUEST[1:]], PROTOCOL),
    "no scheme": ([REQUEST[0], *REQUEST[2:]], PROTOCOL),
    "no path": ([*REQUEST[:2], REQUEST[3]], PROTOCOL),
    "an empty path": ([*REQUEST[:2], (":path", ""), REQUEST[3]], PROTOCOL),
    "a path without a slash": ([*REQUEST[:2], (":path", "a"), REQUEST[3]], PROTOCOL),
    "a path with a blank": ([*REQUEST[:2], (":path", "/a b"), REQUEST[3]], PROTOCOL),
    "a path with a fragment": ([*REQUEST[:2], (":path", "/a#b"), REQUEST[3]], PROTOCOL),
    "an asterisk": ([*REQUEST[:2], (":path", "*"), REQUEST[3]], PROTOCOL),
    "no authority": ([*REQUEST[:3]], PROTOCOL),
    "an authority with a user": ([*REQUEST[:3], (":authority", "a@example.org")], PROTOCOL),
    "another host": ([*REQUEST, ("host", "evil.example")], PROTOCOL),
    "connection": ([*REQUEST, ("connection", "close")], PROTOCOL),
    "keep-alive": ([*REQUEST, ("keep-alive", "1")], PROTOCOL),
    "proxy-connection": ([*REQUEST, ("proxy-connection", "close")], PROTOCOL),
    "transfer-encoding": ([*REQUEST, ("transfer-encoding", "chunked")], PROTOCOL),
    "upgrade": ([*REQUEST, ("upgrade", "websocket")], PROTOCOL),
    "te": ([*REQUEST, ("te", "gzip")], PROTOCOL),
    "a body that is promised and does not come": ([*REQUEST, ("content-length", "3")], PROTOCOL),
    "a content-length that is none": ([*REQUEST, ("content-length", "x")], PROTOCOL),
    "two content-lengths": ([*REQUEST, ("content-length", "0"), ("content-length", "0")], PROTOCOL),
    "a protocol without CONNECT": ([*REQUEST, (":protocol", "websocket")], PROTOCOL),
    "a CONNECT with a path": ([(":method", "CONNECT"), *REQUEST[1:]], PROTOCOL),
    "an extended CONNECT without a path": ([each for each in connect_fields() if each[0] != ":path"], PROTOCOL),
}


@CUT
@pytest.mark.parametrize("fault", STREAM_FAULTS)
@on_fake_clock
async def test_a_request_that_is_malformed_is_reset_and_others_go_on(fault: str, cut: bool) -> None:
    fields, code = STREAM_FAULTS[fault]
    app = DrivenApp()
    server = FakeServer(app)
    peer = await raw(server, BEGIN + head(1, fields) + head(3), cut)
    said = peer.take()
    assert goaway_code(said) is None
    assert resets(said) == {1: code}
    assert [call.scope["path"] for call in app.calls] == ["/"]
    assert {each.stream.stream_id for each in server.state.streams} == {3}


BODIES: dict[str, tuple[bytes, int]] = {
    "more than was promised": (frame(h2.DATA, 0, 1, b"abcd"), PROTOCOL),
    "less than was promised": (frame(h2.DATA, 1, 1, b"ab"), PROTOCOL),
    "trailers behind less": (frame(h2.DATA, 0, 1, b"ab") + head(1, [("x-a", "1")]), PROTOCOL),
    "trailers that do not end": (frame(h2.DATA, 0, 1, b"abc") + head(1, [("x-a", "1")], False), PROTOCOL),
    "trailers with a pseudo field": (frame(h2.DATA, 0, 1, b"abc") + head(1, [(":path", "/")]), PROTOCOL),
    "trailers in capitals": (frame(h2.DATA, 0, 1, b"abc") + head(1, [("X", "/")]), PROTOCOL),
    "data behind the end": (frame(h2.DATA, 1, 1, b"abc") + frame(h2.DATA, 0, 1, b"x"), CLOSED),
    "headers behind the end": (frame(h2.DATA, 1, 1, b"abc") + head(1), CLOSED),
    "a window update of nothing": (h2.window_update(1, 0), PROTOCOL),
    "a window that grows too large": (h2.window_update(1, 2**31 - 1), FLOW),
    "a priority that depends on itself": (frame(h2.PRIORITY, 0, 1, b"\0\0\0\1\0"), PROTOCOL),
    "a priority of four bytes": (frame(h2.PRIORITY, 0, 1, bytes(4)), SIZE),
}


@CUT
@pytest.mark.parametrize("fault", BODIES)
@on_fake_clock
async def test_a_stream_that_goes_wrong_is_reset_and_others_go_on(fault: str, cut: bool) -> None:
    data, code = BODIES[fault]
    app = DrivenApp()
    begun = BEGIN + head(1, [*POST, ("content-length", "3")], False) + head(3)
    peer = await raw(FakeServer(app), begun, cut)
    peer.take()
    peer.transport.feed(data + head(5))
    await settle()
    said = peer.take()
    assert goaway_code(said) is None
    assert resets(said) == {1: code}
    assert len(app.calls) == 3
    assert (await app.calls[0].receive())["type"] == "http.disconnect"


@CUT
@on_fake_clock
async def test_what_is_unknown_or_of_no_use_is_ignored(cut: bool) -> None:
    app = DrivenApp()
    data = BEGIN + frame(0x42, 0xFF, 7, b"x") + h2.settings((0x99, 7), (h2.HEADER_TABLE_SIZE, 0))
    data += frame(0x10, 0, 0, b"\0\0\0\1u=1") + frame(h2.PRIORITY, 0, 9, b"\0\0\0\0\x10")
    data += frame(h2.HEADERS, h2.PRIORITISED | h2.PADDED | 0x80 | 5, 1, b"\2\0\0\0\0\x10" + block(REQUEST) + b"\0\0")
    data += frame(h2.PING, 0, 0, b"12345678") + frame(h2.GOAWAY, 0, 0, bytes(8))
    peer = await raw(FakeServer(app), data, cut)
    said = frames_in(peer.take())
    assert len(app.calls) == 1
    assert (h2.PING, h2.ACK, 0, b"12345678") in said
    assert [kind for kind, *_ in said if kind in (h2.GOAWAY, h2.RST_STREAM)] == []
    assert said[0][:3] == (h2.SETTINGS, 0, 0)
    assert said[0][3][-6:] == b"\0\x08\0\0\0\x01"


@on_fake_clock
async def test_resets_before_a_request_has_begun_cost_no_call() -> None:
    app = DrivenApp()
    peer = await raw(FakeServer(app), BEGIN, False)
    data = b"".join(head(stream) + h2.rst_stream(stream, 8) for stream in range(1, 201, 2))
    peer.transport.feed(data)
    await settle()
    assert app.calls == []
    assert goaway_code(peer.take()) is None


FLOODS = {
    "resets": lambda i: head(2 * i + 1) + h2.rst_stream(2 * i + 1, 8),
    "malformed requests": lambda i: head(2 * i + 1, REQUEST[1:]),
    "settings": lambda i: h2.settings(),
    "pings": lambda i: frame(h2.PING, 0, 0, bytes(8)),
    "empty data": lambda i: frame(h2.DATA, 0, 1, b"") if i else head(1, POST, False),
    "priorities": lambda i: frame(h2.PRIORITY, 0, 1, bytes(5)),
    "unknown frames": lambda i: frame(0x42, 0, 0, b""),
    "window updates": lambda i: h2.window_update(0, 1),
    "continuations": lambda i: frame(h2.CONTINUATION, 0, 1, b"") if i else frame(h2.HEADERS, 0, 1, b""),
    "long continuations": lambda i: frame(h2.CONTINUATION, 0, 1, bytes(9000)) if i else frame(h2.HEADERS, 0, 1, b""),
}


@pytest.mark.parametrize("flood", FLOODS)
@on_fake_clock
async def test_a_flood_ends_the_connection(flood: str, caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    peer = await raw(FakeServer(app), BEGIN, False)
    for i in range(12_000):
        peer.transport.feed(FLOODS[flood](i))
        if peer.transport.half_closed or peer.transport.closing:
            break
    await settle()
    assert goaway_code(peer.take()) == CALM
    assert len(app.calls) <= 128
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert any("too many" in each.getMessage() or "too large" in each.getMessage() for each in warnings)
    for call in app.calls:
        call.end.set_result(None)


@pytest.mark.parametrize(("rate", "allowed"), [(2.0, 20), (None, 3000)])
@pytest.mark.parametrize("flood", ["resets", "pings"])
@on_fake_clock
async def test_the_rates_are_the_operators(flood: str, rate: float | None, allowed: int) -> None:
    server = FakeServer(DrivenApp(), http2_limit_reset_rate=rate, http2_limit_control_rate=rate)
    peer = await raw(server, BEGIN, False)
    sent = 0
    while sent < 3000 and not (peer.transport.half_closed or peer.transport.closing):
        peer.transport.feed(FLOODS[flood](sent))
        sent += 1
    assert allowed - 3 <= sent <= allowed + 1  # SETTINGS count, too
    await settle()


@on_fake_clock
async def test_a_block_that_unpacks_to_too_much_ends_the_connection() -> None:
    encoder: Any = hpack.Encoder()
    first = encoder.encode([*REQUEST, ("x-bomb", "v" * 3000)])
    again = encoder.encode([("x-bomb", "v" * 3000)]) * 10_000
    data = BEGIN + frame(h2.HEADERS, 5, 1, first) + frame(h2.HEADERS, 5, 3, encoder.encode(REQUEST) + again)
    peer = await raw(FakeServer(DrivenApp()), data, False)
    assert goaway_code(peer.take()) == CALM


@on_fake_clock
async def test_frames_that_were_on_their_way_when_we_reset_are_nobody_s_fault() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    peer = await raw(FakeServer(app), BEGIN + head(1, POST, False), False)
    assert resets(peer.take()) == {1: 0}
    late = frame(h2.DATA, 0, 1, bytes(16384)) * 3 + h2.window_update(1, 5) + h2.rst_stream(1, 8) + head(1, [("a", "b")])
    peer.transport.feed(late + head(3))
    await settle()
    said = peer.take()
    assert goaway_code(said) is None
    assert [stream for kind, _, stream, _ in frames_in(said) if kind == h2.HEADERS] == [3]


@pytest.mark.parametrize("data", [b"PRI * HTTP/2.0\r\n", BEGIN[:-3], BEGIN + head(1)[:-2], BEGIN + head(1)[:3]])
@on_fake_clock
async def test_what_does_not_go_on_ends_in_time(data: bytes) -> None:
    server = FakeServer(DrivenApp(), timeout_request_head=5.0)
    peer = await raw(server, data, False)
    await asyncio.sleep(30)
    assert goaway_code(peer.take()) is not None
    assert peer.transport.lost


@on_fake_clock
async def test_http_1_and_2_are_on_one_port() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    old = await raw(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True)
    new = await raw(server, BEGIN + head(1), True)
    assert [call.scope["http_version"] for call in app.calls] == ["1.1", "2"]
    del old, new
    late = await raw(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False)
    app.calls[2].end.set_result(None)
    await settle()
    late.take()
    assert len(app.calls) == 3


@pytest.mark.parametrize("choice", ["1", "httptools"])
@on_fake_clock
async def test_http_1_alone_refuses_the_preface(choice: str) -> None:
    peer = await raw(FakeServer(DrivenApp(), http=choice), BEGIN, False)
    assert peer.take().startswith(b"HTTP/1.1 505 ")


@on_fake_clock
async def test_http_2_alone_refuses_http_1() -> None:
    peer = await raw(FakeServer(DrivenApp(), http="2"), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False)
    assert goaway_code(peer.take()) == PROTOCOL


@on_fake_clock
async def test_an_upgrade_to_h2c_is_ignored() -> None:
    app = DrivenApp()
    head_1 = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n"
    )
    peer = await raw(FakeServer(app), head_1, False)
    assert app.calls[0].scope["http_version"] == "1.1"
    assert peer.take() == b""


@on_fake_clock
async def test_a_preface_behind_a_request_is_no_http_2() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    peer = await raw(FakeServer(app), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + BEGIN, False)
    assert b"HTTP/1.1 505 " in peer.take()


@on_fake_clock
async def test_shutting_down_takes_two_goaways() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = await connected(server, automatic=False)
    stream = await peer.request()
    server.state.shut_down()
    await settle()
    first = frames_in(peer.peer.take())
    assert [kind for kind, *_ in first] == [h2.GOAWAY, h2.PING]
    assert first[0][3] == b"\x7f\xff\xff\xff" + bytes(4)
    await peer.raw(head(3) + frame(h2.PING, h2.ACK, 0, first[1][3]))  # it was on its way
    assert len(app.calls) == 2
    assert peer.goaways == [(3, 0)]
    await peer.raw(head(5))
    assert peer.goaways == [(3, 0)]
    assert len(app.calls) == 2
    assert not peer.transport.closing
    for call in app.calls:
        await call.send({"type": "http.response.start", "status": 200, "headers": []})
        await call.send({"type": "http.response.body", "body": b"last"})
        call.end.set_result(None)
    await settle()
    assert peer.transport.lost
    ended = {number for kind, flags, number, _ in frames_in(peer.peer.take()) if kind == h2.DATA and flags & 1}
    assert ended == {stream, 3}


@on_fake_clock
async def test_a_peer_that_answers_no_ping_does_not_hold_up_the_shutdown() -> None:
    server = FakeServer(DrivenApp())
    peer = await raw(server, BEGIN, False)
    server.state.shut_down()
    await asyncio.sleep(3)
    codes = [payload for kind, _, _, payload in frames_in(peer.take()) if kind == h2.GOAWAY]
    assert codes == [b"\x7f\xff\xff\xff" + bytes(4), bytes(8)]
    assert peer.transport.lost
