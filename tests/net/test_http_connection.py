"""HTTP/1.1 on a connection: requests in order, what is refused and how, upgrades that are not made, limits and ends.

RFC 9112. What heads mean is tested without a connection in test_http_head.py and test_head_scan.py.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
import wire
from driving import errors
from fake_loop import DrivenApp, FakeServer, Peer, on_fake_clock, settle
from serving import serve

from fastws.net.loop_core import RECEIVE_BUFFER_BYTES

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes = b"", **extra: Any) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, **extra}


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with method, path and request body."""
    assert scope["type"] == "http"
    data = scope["method"].encode() + b" " + scope["path"].encode() + b" "
    while True:
        event = await receive()
        data += event.get("body", b"")
        if not event.get("more_body"):
            break
    await send(START)
    await send(body(data))


def bodies(data: bytes) -> list[bytes]:
    return [each.body for each in wire.read_responses(data)]


async def exchange(data: bytes, app: Any = echo, **options: Any) -> tuple[list[wire.Response], Peer]:
    """The responses to `data`, sent in one segment, and the peer."""
    peer = FakeServer(app, **options).connect()
    await peer.send(data)
    return wire.read_responses(peer.take()), peer


# ---------------------------------------------------------------------------------------------------------- pipelining


@on_fake_clock
async def test_pipelined_responses_come_in_order() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % i for i in range(5)))
    for i in range(5):
        # The next is not begun before the response is complete, and meanwhile nothing is read.
        assert len(app.calls) == i + 1
        call = app.calls[i]
        assert call.scope["path"] == f"/{i}"
        await asyncio.sleep(1)
        await call.send(START)
        await call.send(body(b"%d" % i))
        await settle()
    assert bodies(peer.take()) == [b"0", b"1", b"2", b"3", b"4"]


@on_fake_clock
async def test_a_flood_of_pipelined_requests_is_not_read() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    peer.transport.feed(GET * 50_000)
    await settle()
    assert len(app.calls) == 1
    assert not peer.transport.reading
    assert peer.transport.unread >= len(GET) * 50_000 - RECEIVE_BUFFER_BYTES


def test_many_pipelined_requests_over_a_real_socket() -> None:
    with serve(echo, lifespan="off") as serving, wire.Client(serving) as client:
        client.send(b"".join(b"POST /%d HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc" % i for i in range(500)))
        for i in range(500):
            assert client.response().body == b"POST /%d abc" % i


@on_fake_clock
async def test_an_upgrade_behind_a_pipelined_request_waits_its_turn() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(GET + wire.handshake() + wire.text("early"))
    assert [call.scope["type"] for call in app.calls] == ["http"]
    await app.calls[0].send(START)
    await app.calls[0].send(body(b"first"))
    await settle()
    assert bodies(peer.take()) == [b"first"]
    websocket = app.calls[1]
    assert websocket.scope["type"] == "websocket"
    await websocket.send({"type": "websocket.accept"})
    await websocket.receive()
    assert (await websocket.receive())["text"] == "early"


@on_fake_clock
@pytest.mark.slow
async def test_random_streams_of_requests_in_random_segments() -> None:
    generator = random.Random(7)
    for _ in range(150):
        stream, expected = b"", []
        for i in range(generator.randrange(1, 6)):
            data = bytes(generator.choices(b"\r\n0123456789abcGET /:", k=generator.randrange(0, 40)))
            kind = generator.choice(["none", "length", "chunked", "h2c", "h2c chunked"])
            upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n" if "h2c" in kind else b""
            if kind == "none":
                data = framed = b""
                field = b""
            elif "chunked" in kind:
                field = b"Transfer-Encoding: chunked\r\n"
                framed = b""
                rest = data
                while rest:
                    size = generator.randrange(1, len(rest) + 1)
                    framed += b"%x%b\r\n%b\r\n" % (size, generator.choice([b"", b";a=b"]), rest[:size])
                    rest = rest[size:]
                framed += b"0\r\n" + generator.choice([b"", b"X-T: 1\r\n"]) + b"\r\n"
            else:
                field = b"Content-Length: %d\r\n" % len(data)
                framed = data
            stream += b"POST /%d HTTP/1.1\r\nHost: t\r\n" % i + upgrade + field + b"\r\n" + framed
            expected.append(b"POST /%d " % i + data)
        peer = FakeServer(echo).connect()
        position = 0
        while position < len(stream):
            size = generator.choice([1, 2, 3, 7, 50, 1000])
            peer.transport.feed(stream[position : position + size])
            position += size
            if generator.random() < 0.3:
                await settle()
        for _ in expected:
            await settle()
        assert bodies(peer.take()) == expected, stream


# ------------------------------------------------------------------------------------- upgrades that are not made

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"
H2C = (
    b"POST /h2c HTTP/1.1\r\nHost: t\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
)


@pytest.mark.parametrize("cut", [0, 1, 5, 40])
@on_fake_clock
async def test_the_body_of_a_refused_upgrade_is_a_body(cut: int) -> None:
    data = H2C + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED + GET
    peer = FakeServer(echo).connect()
    await peer.send(data[:-cut] if cut else data)
    if cut:
        await peer.send(data[-cut:])
    assert bodies(peer.take()) == [b"POST /h2c " + SMUGGLED, b"GET / "]


@on_fake_clock
async def test_the_chunked_body_of_a_refused_upgrade_is_a_body() -> None:
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    data = H2C + b"Transfer-Encoding: chunked\r\n\r\n" + chunked + GET
    for cut in range(1, len(data)):
        peer = FakeServer(echo).connect()
        await peer.send(data[:cut])
        await peer.send(data[cut:])
        assert bodies(peer.take()) == [b"POST /h2c " + SMUGGLED, b"GET / "], cut


@on_fake_clock
async def test_the_head_that_brings_the_parser_on_is_not_seen() -> None:
    """A refused upgrade replaces the parser; nothing of that may reach a scope."""
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(H2C + b"Content-Length: 1\r\n\r\nx" + b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n")
    await app.calls[0].send(START)
    await app.calls[0].send(body())
    await settle()
    assert app.calls[1].scope["path"] == "/next"
    assert app.calls[1].scope["headers"] == [(b"host", b"next")]


@pytest.mark.parametrize("field", [b"Upgrade: websocket", b"Connection: upgrade", b"Upgrade: h2c, foo"])
@on_fake_clock
async def test_what_is_no_upgrade_is_plain_http(field: bytes) -> None:
    found, peer = await exchange(b"GET /a HTTP/1.1\r\nHost: t\r\n" + field + b"\r\n\r\n" + GET)
    assert [each.body for each in found] == [b"GET /a ", b"GET / "]
    assert not peer.transport.closing


@on_fake_clock
async def test_without_an_engine_a_handshake_is_plain_http() -> None:
    with serve(echo, lifespan="off", ws="none") as serving, wire.Client(serving) as client:
        client.send(wire.handshake() + GET)
        assert client.response().body == b"GET /chat "
        assert client.response().body == b"GET / "


# ------------------------------------------------------------------------------------------------------------- refusals

REFUSED: dict[str, tuple[bytes, int]] = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "bad host": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "other host": (b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
    "length and chunked": (
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
    "list of lengths": (b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1, 1\r\n\r\n", 400),
    "signed length": (b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: +1\r\n\r\n", 400),
    "gzip": (b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "chunked in 1.0": (b"POST / HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "folded": (b"GET / HTTP/1.1\r\nHost: t\r\nA: b\r\n c\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: t\n\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: t\r\nA: b\rc\r\n\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\nHost: t\r\nA: b\0c\r\n\r\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nHost: t\r\nA : b\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    "0.9": (b"GET /\r\n\r\n", 400),
    "GET *": (b"GET * HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: t\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: t\r\n\r\n", 505),
    "HTTP/2 by prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
    "expectation": (b"POST / HTTP/1.1\r\nHost: t\r\nExpect: more\r\nContent-Length: 1\r\n\r\n", 417),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "long target": (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: t\r\n\r\n", 414),
    "endless target": (b"GET /" + b"a" * 9000, 414),
    "long line": (b"GET / HTTP/1.1\r\nHost: t\r\nA: " + b"b" * 8190 + b"\r\n\r\n", 431),
    "endless line": (b"GET / HTTP/1.1\r\nHost: t\r\nA: " + b"b" * 9000, 431),
    "many lines": (b"GET / HTTP/1.1\r\nHost: t\r\n" + b"A: b\r\n" * 100 + b"\r\n", 431),
    "long head": (b"GET / HTTP/1.1\r\nHost: t\r\n" + (b"A: " + b"b" * 8000 + b"\r\n") * 9 + b"\r\n", 431),
    "WebSocket of another version": (wire.handshake().replace(b"Version: 13", b"Version: 8"), 426),
    "WebSocket by POST": (wire.handshake().replace(b"GET", b"POST"), 405),
    "WebSocket with a bad key": (wire.handshake().replace(b"dGhl", b"????"), 400),
    "WebSocket with a body": (wire.handshake(b"Content-Length: 3") + b"abc", 400),
    "WebSocket in 1.0": (wire.handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "WebSocket without Upgrade": (wire.handshake().replace(b"Upgrade: websocket\r\n", b""), 426),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("pipelined", [False, True])
@on_fake_clock
async def test_refused_requests(data: bytes, status: int, pipelined: bool, caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope)
        await echo(scope, receive, send)

    found, peer = await exchange(GET * pipelined + data + SMUGGLED, app, http="1")
    await settle()
    assert [each.status for each in found] == [200] * pipelined + [status]
    assert len(calls) == pipelined
    last = found[-1]
    assert last.headers[b"connection"] == b"close"
    assert {b"date", b"server"} <= last.headers.keys()
    if status == 426:
        assert last.headers[b"sec-websocket-version"] == b"13"
    if status == 405:
        assert last.headers[b"allow"] == b"GET"
    assert peer.transport.half_closed
    peer.transport.feed_eof()
    assert peer.transport.closing
    assert errors(caplog) == []
    assert "smuggled" not in caplog.text


def test_a_proxy_that_removes_upgrade_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with serve(echo, lifespan="off") as serving, wire.Client(serving) as client:
        client.send(REFUSED["WebSocket without Upgrade"][0])
        assert client.response().status == 426
    assert "proxy_set_header" in caplog.text


@on_fake_clock
async def test_the_refusal_of_a_head_request_has_no_body() -> None:
    peer = FakeServer(echo).connect()
    await peer.send(b"HEAD / HTTP/1.1\r\nHost: t\r\nExpect: more\r\n\r\n")
    found = wire.read_response(peer.take(), "HEAD")
    assert found is not None
    assert found[0].status == 417
    assert found[1] == b""


@on_fake_clock
async def test_a_malformed_body_before_the_response() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    receiving = asyncio.ensure_future(app.calls[0].receive())
    assert (await receiving)["body"] == b"hello"
    await peer.send(b"zz\r\n" + SMUGGLED)
    [found] = wire.read_responses(peer.take())
    assert found.status == 400
    assert await app.calls[0].receive() == {"type": "http.disconnect"}
    with pytest.raises(OSError, match="gone"):
        await app.calls[0].send(START)


@on_fake_clock
async def test_a_malformed_body_in_the_response() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await app.calls[0].send(START)
    await app.calls[0].send(body(b"begun", more_body=True))
    await peer.send(b"zz\r\n")
    data = peer.take()
    assert data.endswith(b"\r\n\r\n5\r\nbegun\r\n")  # no second head in the midst of the first response
    assert peer.transport.closing or peer.transport.half_closed


@on_fake_clock
async def test_a_malformed_body_after_the_response_gets_no_second_one() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await app.calls[0].send(START)
    await app.calls[0].send(body(b"done"))
    await peer.send(b"zz\r\n" + SMUGGLED)
    assert bodies(peer.take()) == [b"done"]
    assert peer.transport.closing or peer.transport.half_closed


@pytest.mark.parametrize("name", ["extensions", "trailers"])
@on_fake_clock
async def test_the_framing_of_a_body_is_limited(name: str) -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
    if name == "extensions":
        for _ in range(100):
            await peer.send(b"1;" + b"x" * 1000 + b"\r\na\r\n")
    else:
        await peer.send(b"0\r\n")
        for _ in range(100):
            await peer.send(b"X: " + b"x" * 1000 + b"\r\n")
    [found] = wire.read_responses(peer.take())
    assert found.status == 431


@on_fake_clock
async def test_small_chunks_are_not_held_against_their_sender() -> None:
    chunks = b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n"
    peer = FakeServer(echo).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
    peer.transport.feed(chunks)
    for _ in range(20):
        await settle()
    assert bodies(peer.take()) == [b"POST / " + b"a" * 100_000]


@on_fake_clock
async def test_requests_over_the_limit_get_a_503(caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app, limit_concurrency=1)
    peers = [server.connect() for _ in range(3)]  # idle ones do not count
    await peers[0].send(GET)
    await peers[1].send(GET)
    found = wire.read_response(peers[1].take())
    assert found is not None
    assert found[0].status == 503
    assert int(found[0].headers[b"retry-after"]) > 0
    await peers[2].send(wire.handshake())
    assert [call.scope["type"] for call in app.calls] == ["http", "websocket"]
    assert "Invalid HTTP request" not in caplog.text


# ---------------------------------------------------------------------------------------------------- half-closed peers


def test_a_half_closed_client_gets_its_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        while (await receive()).get("more_body"):
            pass
        while (await receive())["type"] != "http.disconnect":  # that the peer may be gone is told, and is no end
            pass
        await send(START)
        await send(body(b"a" * 100_000, more_body=True))
        await send(body(b"b"))

    with serve(app, lifespan="off") as serving, wire.Client(serving) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab")
        client.send_eof()
        assert client.response().body == b"a" * 100_000 + b"b"
        assert client.rest() == b""


def test_a_half_closed_client_gets_all_of_its_answers() -> None:
    with serve(echo, lifespan="off") as serving, wire.Client(serving) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % i for i in range(3)))
        client.send_eof()
        assert [client.response().body for _ in range(3)] == [b"GET /%d " % i for i in range(3)]
        assert client.rest() == b""


@on_fake_clock
async def test_a_body_that_ends_too_early_is_a_disconnect() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab")
    peer.transport.feed_eof()
    assert await app.calls[0].receive() == {"type": "http.disconnect"}
    assert peer.transport.closing


# -------------------------------------------------------------------------------------------------------- unread bodies


@on_fake_clock
async def test_a_body_that_the_application_did_not_read_is_dropped() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n" + SMUGGLED)
    await app.calls[0].send(START)
    await app.calls[0].send(body(b"enough"))
    await peer.send(SMUGGLED.ljust(200_000 - len(SMUGGLED)) + GET)
    assert len(app.calls) == 2
    assert app.calls[1].scope["path"] == "/"
    assert bodies(peer.take()) == [b"enough"]


@on_fake_clock
async def test_a_large_body_that_the_application_did_not_read_ends_the_connection() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2000000\r\n\r\n")
    await app.calls[0].send(START)
    await app.calls[0].send(body(b"enough"))
    await peer.send(bytes(1_000_000))
    assert bodies(peer.take()) == [b"enough"]
    assert peer.transport.half_closed
    await asyncio.sleep(10)
    assert peer.transport.aborted


def test_a_client_that_still_sends_its_body_gets_the_answer() -> None:
    """Not a reset, which would make its kernel throw the answer away."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({**START, "status": 413, "headers": [(b"connection", b"close")]})
        await send(body(b"too much"))

    with serve(app, lifespan="off") as serving, wire.Client(serving) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000000\r\n\r\n")
        client.send(bytes(200_000))
        assert client.response().body == b"too much"


@on_fake_clock
async def test_a_flood_of_refused_requests_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer(echo)
    for _ in range(500):
        await server.connect().send(b"nonsense\r\n\r\n")
    await asyncio.sleep(1.5)
    line = "Invalid HTTP request received: The request line is malformed. (400, 192.0.2.1:50000)"
    assert caplog.messages == [line, f"{line} (499 like it)"]
    await asyncio.sleep(5)
    await server.connect().send(b"nonsense\r\n\r\n")
    assert caplog.messages[2:] == [line]


# ---------------------------------------------------------------------------------------------------------------- time


@on_fake_clock
async def test_a_connection_that_sends_nothing_is_closed() -> None:
    peer = FakeServer(echo, timeout_request_head=10).connect()
    await asyncio.sleep(9)
    assert not peer.transport.closing
    await asyncio.sleep(3)
    assert peer.transport.closing
    assert peer.take() == b""


@on_fake_clock
async def test_a_head_that_trickles_is_a_408() -> None:
    peer = FakeServer(echo, timeout_request_head=10).connect()
    for i in range(9):
        await asyncio.sleep(1)
        await peer.send(GET[i : i + 1])
    assert not peer.transport.half_closed
    await asyncio.sleep(3)
    [found] = wire.read_responses(peer.take())
    assert found.status == 408
    assert peer.transport.half_closed


@pytest.mark.parametrize("pipelined", [False, True])
@on_fake_clock
async def test_a_later_head_that_trickles_is_a_408_too(pipelined: bool) -> None:
    peer = FakeServer(echo, timeout_request_head=10, timeout_keep_alive=75).connect()
    if pipelined:
        await peer.send(GET + b"GET /")
    else:
        await peer.send(GET)
        await asyncio.sleep(60)
        await peer.send(b"GET /")
    assert bodies(peer.take()) == [b"GET / "]
    await asyncio.sleep(9)
    assert peer.take() == b""
    await asyncio.sleep(3)
    [found] = wire.read_responses(peer.take())
    assert found.status == 408


@on_fake_clock
async def test_keep_alive_has_its_time() -> None:
    peer = FakeServer(echo, timeout_keep_alive=75).connect()
    for _ in range(3):
        await peer.send(GET)
        assert bodies(peer.take()) == [b"GET / "]
        await asyncio.sleep(74)
        assert not peer.transport.closing
    await asyncio.sleep(3)
    assert peer.transport.closing
    assert peer.take() == b""


@on_fake_clock
async def test_a_response_has_as_long_as_the_application_takes() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(GET)
    await asyncio.sleep(10_000)
    await app.calls[0].send(START)
    await app.calls[0].send(body(b"at last"))
    assert bodies(peer.take()) == [b"at last"]


@pytest.mark.parametrize("unread_body", [False, True])
@on_fake_clock
async def test_the_end_of_a_response_is_not_cut_off_a_slow_reader(unread_body: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = server.connect()
    peer.transport.stalled = True
    length = b"Content-Length: 100\r\n" * unread_body
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n" + length + b"\r\n")
    await app.calls[0].send(START)
    sending = asyncio.ensure_future(app.calls[0].send(body(bytes(1_000_000))))
    await settle()
    while peer.transport.unsent > 10_000:
        await asyncio.sleep(1)
        assert not peer.transport.aborted
        peer.transport.drain(10_000)
    peer.transport.drain()
    await sending
    await settle()
    assert bodies(peer.take()) == [bytes(1_000_000)]


@on_fake_clock
async def test_a_peer_that_does_not_read_the_end_of_the_response_is_cut() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = server.connect()
    peer.transport.stalled = True
    await peer.send(GET[:-2] + b"Connection: close\r\n\r\n")
    await app.calls[0].send(START)
    await app.calls[0].send(body(bytes(1000)))
    app.calls[0].end.set_result(None)
    await server.state.wait_closed()
    assert peer.transport.aborted


# ------------------------------------------------------------------------------------------------------------- shutdown


@on_fake_clock
async def test_shutdown_closes_idle_connections_and_lets_the_others_finish() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    new, idle, busy, trickling = (server.connect() for _ in range(4))
    await idle.send(GET)
    await app.calls[0].send(START)
    await app.calls[0].send(body(b"0"))
    app.calls[0].end.set_result(None)
    await busy.send(GET + GET)
    await trickling.send(GET[:5])
    server.state.shut_down()
    await settle()
    assert not idle.transport.closing  # a request may be on its way
    await asyncio.sleep(0.5)
    assert idle.transport.closing
    assert not busy.transport.closing
    await app.calls[1].send(START)
    await app.calls[1].send(body(b"1"))
    app.calls[1].end.set_result(None)
    [found] = wire.read_responses(busy.take())
    assert found.headers[b"connection"] == b"close"
    assert busy.transport.half_closed  # its pipelined request gets no answer
    # What had begun to arrive is answered; what has not begun, if it comes in a moment.
    await trickling.send(GET[5:])
    assert not new.transport.closing
    await new.send(GET)
    for peer, call in ((trickling, app.calls[2]), (new, app.calls[3])):
        await call.send(START)
        await call.send(body(b"last"))
        call.end.set_result(None)
        [found] = wire.read_responses(peer.take())
        assert found.headers[b"connection"] == b"close"
    await server.state.wait_closed()
    assert len(app.calls) == 4


@on_fake_clock
async def test_a_new_connection_without_a_request_does_not_hold_up_a_shutdown() -> None:
    server = FakeServer(DrivenApp())
    peer = server.connect()
    server.state.shut_down()
    late = server.connect()  # accepted in the turn in which listening ended
    began = server.loop.time()
    await server.state.wait_closed()
    assert peer.transport.closing
    assert late.transport.closing
    assert server.loop.time() - began < 3


@on_fake_clock
@pytest.mark.parametrize(("unsent", "seconds"), [(0, 2), (100, 6)])
async def test_a_tls_peer_that_does_not_end_holds_up_a_shutdown_for_a_moment(
    unsent: int, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeServer(DrivenApp())
    server.state.secure = True
    peer = server.connect()
    monkeypatch.setattr(peer.transport, "close", lambda: None)  # waits for the peer
    peer.transport.unsent = unsent
    server.state.shut_down()
    began = server.loop.time()
    await server.state.wait_closed()
    assert peer.transport.aborted
    assert seconds - 1 < server.loop.time() - began - 1.0 < seconds  # a second for a first request


@on_fake_clock
async def test_a_cancelled_application_at_the_end_of_the_servers_patience() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = server.connect()
    await peer.send(GET)
    server.state.shut_down()
    server.state.abort()
    await server.state.wait_closed()
    assert peer.transport.aborted
