"""What a peer may cost: each limit refuses, says so, and leaves everybody else served.

The sizes of heads are in test_head_scan.py and test_http_head.py, those of messages and queues in
test_websocket_flow.py, deadlines of handshakes and closes in test_websocket_close.py.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import tracemalloc
import zlib
from typing import Any

import pytest
import wire
from driving import connect, open_websocket
from fake_loop import DrivenApp, FakeServer, Peer, on_fake_clock, settle
from serving import serve

from fastws.errors import ConfigError, RequestError
from fastws.http.origin import normalise_origin
from fastws.net.log_limit import LogLimit
from fastws.websocket.deflate import Inflater
from fastws.websocket.engine import INFLATE_BUDGET
from fastws.websocket.engines import load_engine
from fastws.websocket.events import Close, Ping
from fastws.websocket.handshake import check_origin

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
BODY: dict[str, Any] = {"type": "http.response.body", "body": b"done"}


def response(peer: Peer) -> wire.Response:
    """The one response that the peer got since the last call."""
    found = wire.read_response(peer.take())
    assert found is not None
    assert found[1] == b""
    return found[0]


# ------------------------------------------------------------------------------------------------------------- origins


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.COM:443", "https://example.com"),
        ("http://example.com:80", "http://example.com"),
        ("http://example.com:", "http://example.com"),
        ("http://example.com:443", "http://example.com:443"),
        ("https://example.com:08443", "https://example.com:8443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("null", "null"),
        ("example.com", None),
        ("https://", None),
        ("https://example.com/", None),
        ("https://example.com/path", None),
        ("https://user@example.com", None),
        ("https://example.com:99999", None),
        ("https://a.com, https://b.com", None),
        ("https://exämple.com", None),
        ("", None),
    ],
)
def test_the_one_form_of_an_origin(text: str, form: str | None) -> None:
    assert normalise_origin(text) == form


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ([], True),
        ([b"Origin: https://good.example"], True),
        ([b"Origin: HTTPS://GOOD.example:443"], True),
        ([b"Origin: http://good.example"], False),
        ([b"Origin: https://good.example:444"], False),
        ([b"Origin: https://good.example.evil.example"], False),
        ([b"Origin: https://evil.example/https://good.example"], False),
        ([b"Origin: null"], False),
        ([b"Origin:"], False),
        ([b"Origin: https://good.example", b"Origin: https://evil.example"], False),
    ],
)
@on_fake_clock
async def test_allowed_origins(fields: list[bytes], allowed: bool) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, ws_allowed_origins="https://Good.example:443"), *fields)
    assert len(app.calls) == allowed
    if not allowed:
        assert response(peer).status == 403
        assert peer.transport.half_closed
        await peer.send(GET)  # never a request behind a refused upgrade
        assert app.calls == []


@on_fake_clock
async def test_any_origin_is_allowed_by_a_star_and_by_default() -> None:
    for options in ({}, {"ws_allowed_origins": "*"}, {"ws_allowed_origins": ("https://a.example", "*")}):
        app = DrivenApp()
        await connect(FakeServer(app, **options), b"Origin: https://evil.example")
        assert len(app.calls) == 1


@on_fake_clock
async def test_origins_are_for_websockets_only() -> None:
    app = DrivenApp()
    peer = FakeServer(app, ws_allowed_origins="https://good.example").connect()
    await peer.send(b"GET / HTTP/1.1\r\nHost: t\r\nOrigin: https://evil.example\r\n\r\n")
    assert len(app.calls) == 1


@on_fake_clock
async def test_the_log_names_a_refused_origin_escaped(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer(DrivenApp(), ws_allowed_origins="https://good.example")
    await connect(server, b'Origin: https://evil"\\\xe9')
    assert any('"https://evil\\"\\\\\\xe9"' in message for message in caplog.messages)
    assert all(message.isascii() for message in caplog.messages)


def test_a_wrong_origin_is_refused_at_the_start() -> None:
    import fastws

    with pytest.raises(ConfigError, match=r"--ws-allowed-origins: must be origins such as https://example\.com"):
        fastws.Config("a:b", ws_allowed_origins="example.com")
    assert fastws.Config("a:b", ws_allowed_origins="http://A:80,*").ws_allowed_origins == ("http://a", "*")


def test_check_origin_needs_no_server() -> None:
    from reading import receive_head

    head, _ = receive_head(wire.handshake(b"Origin: https://evil.example"))
    check_origin(head, {"https://evil.example"})
    with pytest.raises(RequestError) as caught:
        check_origin(head, set())
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("options", "hint"),
    [({}, True), ({"ws_allowed_origins": "*"}, False), ({"ws": "none"}, False)],
    ids=["by default", "given", "without WebSockets"],
)
def test_a_hint_at_startup_where_any_site_may_connect(
    options: dict[str, Any], hint: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastws.error")
    with serve(DrivenApp(), lifespan="off", **options):
        pass
    assert sum("--ws-allowed-origins" in message for message in caplog.messages) == hint


# --------------------------------------------------------------------------------------------------------- concurrency


@on_fake_clock
async def test_requests_and_websockets_count_apart() -> None:
    app = DrivenApp()
    server = FakeServer(app, limit_concurrency=2)
    sockets = [await connect(server) for _ in range(3)]
    refused = response(sockets[2])
    assert refused.status == 503
    assert refused.headers[b"retry-after"].isdigit()
    assert refused.headers[b"connection"] == b"close"
    # A health check is served when no further WebSocket is.
    peers = [server.connect() for _ in range(3)]
    for peer in peers:
        await peer.send(GET)
    assert [call.scope["type"] for call in app.calls] == ["websocket"] * 2 + ["http"] * 2
    assert response(peers[2]).status == 503
    # One that has ended makes room; whether its connection stays open does not matter.
    await app.calls[2].send(START)
    await app.calls[2].send(BODY)
    assert response(peers[0]).body == b"done"
    await peers[1].send(GET)
    other = server.connect()
    await other.send(GET)
    assert len(app.calls) == 5
    app.calls[0].end.set_result(None)
    await settle()
    await connect(server)
    assert app.calls[-1].scope["type"] == "websocket"


@on_fake_clock
async def test_websockets_have_a_limit_of_their_own() -> None:
    app = DrivenApp()
    server = FakeServer(app, limit_concurrency=1, limit_websockets=3)
    for _ in range(4):
        await connect(server)
    assert len(app.calls) == 3
    server = FakeServer(app, limit_websockets=1)
    for _ in range(5):
        await server.connect().send(GET)
    assert len(app.calls) == 8


@on_fake_clock
async def test_pipelined_requests_count_one_at_a_time() -> None:
    app = DrivenApp()
    peer = FakeServer(app, limit_concurrency=1).connect()
    await peer.send(GET * 3)
    for i in range(3):
        await app.calls[i].send(START)
        await app.calls[i].send(BODY)
        app.calls[i].end.set_result(None)
        await settle()
        assert response(peer).status == 200


@on_fake_clock
async def test_an_application_that_goes_on_without_its_peer_counts() -> None:
    app = DrivenApp()
    server = FakeServer(app, limit_concurrency=1)
    gone, other = server.connect(), server.connect()
    await gone.send(GET)
    gone.transport.reset()
    await other.send(GET)
    assert response(other).status == 503
    app.calls[0].end.set_result(None)
    await settle()
    await server.connect().send(GET)
    assert len(app.calls) == 2


@on_fake_clock
async def test_every_end_of_a_request_makes_room() -> None:
    app = DrivenApp()
    server = FakeServer(app, limit_concurrency=1)
    ends: list[Any] = ["returns", ValueError("x"), "whole", "half", asyncio.CancelledError()]
    for i, end in enumerate(ends):
        await server.connect().send(GET)
        assert len(app.calls) == i + 1, f"after {ends[i - 1]!r}"
        call = app.calls[i]
        if end in ("whole", "half"):
            await call.send(START)
            await call.send({**BODY, "more_body": end == "half"})
        if isinstance(end, BaseException):
            call.end.set_exception(end)
        else:
            call.end.set_result(None)
        await settle()
    assert server.state.requests == 0


# ------------------------------------------------------------------------------------------------ connections a client


@on_fake_clock
async def test_connections_of_a_client(caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app, limit_connections_per_client=2)
    peers = [server.connect(("198.51.100.1", 1000 + i)) for i in range(5)]
    await settle()
    for peer in peers[2:]:
        refused = response(peer)
        assert refused.status == 503
        assert refused.headers[b"retry-after"].isdigit()
        assert peer.transport.closing
    await asyncio.sleep(5)
    assert len(server.state.connections) == 2
    # A line for all of them, which says what to do where it is a proxy.
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("198.51.100.1 ")
    assert "--forwarded-allow-ips" in caplog.messages[0]
    assert caplog.messages[1].endswith("(2 like it)")
    other = server.connect(("198.51.100.2", 1000))
    await other.send(GET)
    assert len(app.calls) == 1
    # One that ends makes room.
    peers[0].transport.reset()
    again = server.connect(("198.51.100.1", 2000))
    await again.send(GET)
    assert len(app.calls) == 2


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (("2001:db8::1", 1, 0, 0), ("2001:db8::ffff:1", 1, 0, 0), True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8:0:1::1", 1, 0, 0), False),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::2%eth0", 1, 0, 2), True),
        (("::ffff:192.0.2.9", 1, 0, 0), ("192.0.2.9", 1), True),
        (("::ffff:192.0.2.9", 1, 0, 0), ("::ffff:192.0.2.8", 1, 0, 0), False),
        (("127.0.0.1", 1), ("127.0.0.1", 2), False),  # trusted by default
        (("::ffff:127.0.0.1", 1, 0, 0), ("::ffff:127.0.0.1", 2, 0, 0), False),
        (("10.9.9.9", 1), ("10.9.9.9", 2), False),  # trusted below
        ("", "", False),  # Unix sockets
        (None, None, False),
    ],
)
@on_fake_clock
async def test_which_addresses_are_one_client(first: Any, second: Any, same: bool) -> None:
    server = FakeServer(DrivenApp(), limit_connections_per_client=1, forwarded_allow_ips="127.0.0.1,10.0.0.0/8")
    server.connect(first)
    assert (server.connect(second).take() != b"") is same


@on_fake_clock
async def test_no_proxy_is_trusted_without_proxy_headers() -> None:
    server = FakeServer(DrivenApp(), limit_connections_per_client=1, proxy_headers=False)
    server.connect(("127.0.0.1", 1))
    assert server.connect(("127.0.0.1", 2)).take().startswith(b"HTTP/1.1 503 ")


@on_fake_clock
async def test_clients_that_are_gone_are_forgotten() -> None:
    server = FakeServer(DrivenApp(), limit_connections_per_client=1)
    for i in range(100):
        server.connect((f"198.51.100.{i}", 1)).transport.reset()
    assert server.state.clients._counts == {}


def test_connections_of_a_client_over_real_sockets() -> None:
    with serve(DrivenApp(), lifespan="off", limit_connections_per_client=2, proxy_headers=False) as serving:
        clients = [wire.Client(serving) for _ in range(3)]
        assert clients[2].response().status == 503
        assert clients[2].rest() == b""
        for client in clients:
            client.__exit__()


# --------------------------------------------------------------------------------------------------- request bodies


@on_fake_clock
async def test_a_body_over_the_limit_by_its_length() -> None:
    app = DrivenApp()
    server = FakeServer(app, limit_request_body=1000)
    peer = server.connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
    assert response(peer).status == 413
    assert app.calls == []
    peer = server.connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
    assert len((await app.calls[0].receive())["body"]) == 1000


@pytest.mark.parametrize("step", [1, 50, 5000])
@on_fake_clock
async def test_a_body_over_the_limit_while_it_arrives(step: int) -> None:
    app = DrivenApp()
    peer = FakeServer(app, limit_request_body=100).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
    data = b"a\r\n0123456789\r\n" * 10
    for i in range(0, len(data), step):
        await peer.send(data[i : i + step])
    assert peer.take() == b""
    data = b"5\r\nabcde\r\n0\r\n\r\n"
    for i in range(0, len(data), step):
        await peer.send(data[i : i + step])
    assert response(peer).status == 413
    while (event := await app.calls[0].receive())["type"] == "http.request":
        assert event["more_body"], "a body that was cut short must not look whole"
    with pytest.raises(OSError, match="gone"):
        await app.calls[0].send(START)


@on_fake_clock
async def test_a_body_that_stops_is_a_408() -> None:
    app = DrivenApp()
    server = FakeServer(app, timeout_request_body=10.0)
    peer = server.connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(5):
        await asyncio.sleep(8)
        await peer.send(b"x")
    assert peer.take() == b""
    await asyncio.sleep(15)
    assert response(peer).status == 408
    assert (await app.calls[0].receive())["type"] == "http.disconnect"


@on_fake_clock
async def test_a_body_is_not_late_while_the_application_is() -> None:
    app = DrivenApp()
    server = FakeServer(app, timeout_request_body=10.0)
    waiting, sending, whole = (server.connect() for _ in range(3))
    await waiting.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    await sending.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000)
    await whole.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nxyz")
    assert not sending.transport.reading
    await asyncio.sleep(100)
    assert [peer.take() for peer in (waiting, sending, whole)] == [b""] * 3
    first = asyncio.ensure_future(app.calls[0].receive())
    await app.calls[1].receive()
    await settle()
    assert waiting.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await asyncio.sleep(5)
    assert sending.take() == b""
    await waiting.send(b"123456789")
    assert (await first)["body"] == b"123456789"
    await asyncio.sleep(10)
    assert response(sending).status == 408


# ------------------------------------------------------------------------------------------------- readers that stall


@pytest.mark.parametrize("trickle", [0, 100])
@on_fake_clock
async def test_a_response_that_is_not_read_is_cut_off(trickle: int) -> None:
    app = DrivenApp()
    server = FakeServer(app, timeout_stalled_write=30.0)
    peer = server.connect()
    peer.transport.stalled = True
    await peer.send(GET)
    await app.calls[0].send(START)
    sending = asyncio.ensure_future(app.calls[0].send({**BODY, "body": b"x" * 200_000}))
    for _ in range(28):
        await asyncio.sleep(1)
        peer.transport.drain(trickle)
    assert not peer.transport.aborted
    await asyncio.sleep(4)
    assert peer.transport.aborted
    with pytest.raises(OSError, match="gone"):
        await sending
    assert not server.state.stalled


@on_fake_clock
async def test_a_slow_reader_is_served() -> None:
    app = DrivenApp()
    peer = FakeServer(app, timeout_stalled_write=30.0).connect()
    peer.transport.stalled = True
    await peer.send(GET)
    await app.calls[0].send(START)
    sending = asyncio.ensure_future(app.calls[0].send({**BODY, "body": b"x" * 1_000_000}))
    for _ in range(300):
        await asyncio.sleep(1)
        peer.transport.drain(4000)
    assert not peer.transport.aborted
    await sending


@on_fake_clock
async def test_a_websocket_that_is_not_read_is_cut_off(engine: str) -> None:
    call, peer = await open_websocket(engine, timeout_stalled_write=30.0, ws_ping_interval=None)
    peer.transport.stalled = True
    sending = asyncio.ensure_future(call.send({"type": "websocket.send", "bytes": b"x" * 200_000}))
    for _ in range(28):
        await asyncio.sleep(1)
        await peer.send(wire.text("I am here"))  # what it sends does not help
        await call.receive()
    assert not peer.transport.aborted
    await asyncio.sleep(4)
    assert peer.transport.aborted
    with pytest.raises(OSError, match="gone"):
        await sending


@on_fake_clock
async def test_write_buffer_bytes() -> None:
    app = DrivenApp()
    peer = FakeServer(app, write_buffer_bytes=5000).connect()
    peer.transport.stalled = True
    await peer.send(GET)
    await app.calls[0].send(START)
    sending = asyncio.ensure_future(app.calls[0].send({**BODY, "body": b"x" * 6000, "more_body": True}))
    await settle()
    assert not sending.done()
    peer.transport.drain()
    await sending


def test_a_stalled_reader_over_a_real_socket() -> None:
    ended: list[BaseException] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        try:
            while True:
                await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        except OSError as error:
            ended.append(error)
            raise

    with serve(app, lifespan="off", timeout_stalled_write=0.2) as serving, wire.Client(serving) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(GET)
        with wire.Client(serving) as other:
            while not ended:  # others are served meanwhile
                other.send(b"POST / HTTP/1.0\r\nHost: t\r\n")
                other.send(b"nonsense\r\n\r\n")
                assert other.response().status == 400
                other.__exit__()
                other.__init__(serving)  # type: ignore[misc]  # the next connection


# ------------------------------------------------------------------------------------- rates and idleness of WebSockets


def closes(peer: Peer) -> list[wire.Frame]:
    return [frame for frame in wire.read_frames(peer.take()) if frame.opcode == wire.CLOSE]


@on_fake_clock
async def test_more_messages_a_second_than_allowed_are_1008(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_limit_message_rate=10, ws_max_queue=1000)
    for _ in range(20):  # the rate itself, for as long as one likes
        await peer.send(wire.text("x") * 10)
        await asyncio.sleep(1.01)
    await asyncio.sleep(5)
    await peer.send(wire.text("x") * 30 + wire.frame(wire.PING) * 20)  # pings count
    assert closes(peer) == []
    await peer.send(wire.text("last") + wire.text("too much"))
    await peer.send(wire.text("never seen"))
    messages = [await call.receive() for _ in range(20 * 10 + 30 + 2)]
    assert [each["text"] for each in messages[-2:]] == ["last", "too much"]
    event = await call.receive()
    assert (event["type"], event["code"]) == ("websocket.disconnect", 1008)
    assert closes(peer) == [wire.closing(1008, "too many messages a second")]


@on_fake_clock
async def test_more_bytes_a_second_than_allowed_are_1008(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_limit_byte_rate=1000)
    begin = wire.frame(wire.BINARY, b"x" * 900, fin=False)
    await peer.send(begin)  # five seconds' worth in parts of a message
    for _ in range(4):
        await peer.send(wire.frame(wire.CONTINUATION, b"x" * 900, fin=False))
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    assert closes(peer) == []
    await peer.send(wire.frame(wire.CONTINUATION, b"x" * 900, fin=False))
    assert closes(peer) == [wire.closing(1008, "too many bytes a second")]
    assert (await receiving)["code"] == 1008


@on_fake_clock
async def test_rates_are_not_limited_by_default(engine: str) -> None:
    call, peer = await open_websocket(engine)
    for _ in range(200):
        await peer.send(wire.text("x") * 30)
        for _ in range(30):
            await call.receive()
    assert closes(peer) == []


@on_fake_clock
async def test_an_idle_websocket_is_closed_with_1001(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_idle_timeout=30, ws_ping_interval=5, ws_ping_timeout=None)
    for _ in range(3):
        await asyncio.sleep(20)
        await peer.send(wire.text("in"))
        await call.receive()
        await asyncio.sleep(20)
        await call.send({"type": "websocket.send", "text": "out"})
    receiving = asyncio.ensure_future(call.receive())
    for _ in range(25):
        await asyncio.sleep(1)
        await peer.send(wire.frame(wire.PONG))
    assert closes(peer) == []
    for _ in range(10):  # pongs are no messages
        await asyncio.sleep(1)
        await peer.send(wire.frame(wire.PONG))
    assert closes(peer) == [wire.closing(1001, "idle timeout")]
    await peer.send(wire.close(1001))
    assert (await receiving)["code"] == 1001


@on_fake_clock
async def test_a_websocket_is_not_idle_while_its_application_has_messages(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_idle_timeout=30, ws_ping_interval=None)
    await peer.send(wire.text("waits"))
    await asyncio.sleep(100)
    assert closes(peer) == []
    await call.receive()
    await asyncio.sleep(40)
    assert closes(peer) == [wire.closing(1001, "idle timeout")]


# ------------------------------------------------------------------------------ what one read of a WebSocket may become


def bomb(size: int) -> bytes:
    """A frame with a compressed message of `size` equal bytes."""
    stream = zlib.compressobj(9, wbits=-15)
    payload = (stream.compress(b"x" * size) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return wire.frame(wire.BINARY, payload, rsv1=True)


@pytest.mark.parametrize("step", [0, 1, 700])
def test_an_engine_stops_at_the_budget_and_goes_on(engine: str, step: int) -> None:
    data = (bomb(100_000) * 5 + wire.frame(wire.PING, b"p")) * 4 + wire.close(1000)
    reader = load_engine(engine)(1 << 20, Inflater())
    events: list[Any] = []
    for start in range(0, len(data), step or len(data)):
        piece = reader.receive_data(memoryview(data)[start : start + (step or len(data))])
        assert sum(len(event) for event in piece if isinstance(event, bytes)) <= INFLATE_BUDGET + 200_000
        events += piece
        while reader.rest is not None:
            piece = reader.receive_data(b"")
            assert sum(len(event) for event in piece if isinstance(event, bytes)) <= INFLATE_BUDGET + 200_000
            events += piece
    assert events == ([b"x" * 100_000] * 5 + [Ping(b"p")]) * 4 + [Close(1000, "")]


def test_data_behind_a_rest_is_read_after_it(engine: str) -> None:
    reader = load_engine(engine)(1 << 20, Inflater())
    events = reader.receive_data(bomb(300_000) + wire.text("first") + wire.text("second")[:3])
    assert events == [b"x" * 300_000]
    assert reader.rest
    assert reader.receive_data(wire.text("second")[3:]) == ["first", "second"]
    assert reader.rest is None
    assert reader.receive_data(bomb(300_000) + wire.text("lost")) == [b"x" * 300_000]
    reader.receive_eof()
    assert reader.rest is None


@on_fake_clock
async def test_a_read_of_compressed_messages_does_not_outgrow_the_queue(engine: str) -> None:
    call, peer = await open_websocket(
        engine, b"Sec-WebSocket-Extensions: permessage-deflate", ws_max_queue=100_000, ws_max_queue_bytes=1_000_000
    )
    count = 60_000 // len(bomb(200_000))
    tracemalloc.start()
    try:
        await peer.send(bomb(200_000) * count + wire.text("end") + wire.close(1000))  # some fifty megabytes
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000 + (1 << 20)
    assert not peer.transport.reading
    for _ in range(count):
        assert (await call.receive())["bytes"] == b"x" * 200_000
    assert (await call.receive())["text"] == "end"
    await call.send({"type": "websocket.send", "text": "answer"})
    event = await call.receive()
    assert (event["type"], event["code"]) == ("websocket.disconnect", 1000)
    frames = wire.read_frames(peer.take())
    assert [frame.opcode for frame in frames] == [wire.TEXT, wire.CLOSE]


@pytest.mark.parametrize("ends", ["closes", "returns"])
@on_fake_clock
async def test_the_close_behind_a_rest_is_seen_when_the_application_ends(engine: str, ends: str) -> None:
    call, peer = await open_websocket(
        engine, b"Sec-WebSocket-Extensions: permessage-deflate", ws_max_queue_bytes=100_000
    )
    await peer.send(bomb(300_000) * 3 + wire.close(1000))
    assert not peer.transport.reading
    if ends == "closes":
        await call.send({"type": "websocket.close"})
    else:
        call.end.set_result(None)
    await settle()
    assert peer.transport.closing
    assert not peer.transport.aborted


# ------------------------------------------------------------------------------------------------------------- the log


class Lines(logging.Handler):
    """Remembers what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def limited() -> tuple[LogLimit, list[str]]:
    logger = logging.Logger("limited")
    handler = Lines()
    logger.addHandler(handler)
    return LogLimit(logger), handler.lines


def test_a_line_a_second_of_each_kind() -> None:
    limit, lines = limited()
    for i in range(300):
        now = 100 + i / 100
        limit.log(now, logging.WARNING, "bad %s", i)
        limit.tick(now)
    limit.tick(110.0)
    assert lines == ["bad 0", "bad 100 (100 like it)", "bad 200 (100 like it)", "bad 299 (99 like it)"]
    limit.log(120.0, logging.WARNING, "bad %s", "again")
    assert lines[-1] == "bad again"


def test_many_kinds_of_lines_give_one_a_second_too() -> None:
    limit, lines = limited()
    for i in range(1000):
        now = 100 + i / 100
        for kind in ("bad", "worse", "worst"):
            limit.log(now, logging.WARNING, kind)
        limit.tick(now)
    assert lines[:3] == ["bad", "worse", "worst"]
    assert len(lines) <= 3 + 10
    for second in range(3):
        limit.tick(120.0 + second)
    counted = [int(line.partition("(")[2].split()[0]) for line in lines[3:]]
    assert 3 + sum(counted) == 3000


def test_kinds_of_lines_are_bounded() -> None:
    limit, lines = limited()
    for i in range(5000):
        limit.log(1.0, logging.WARNING, "line", kind=f"kind {i}")
    assert len(limit._kinds) <= 257
    assert len(lines) <= 257


@on_fake_clock
async def test_an_application_that_always_fails_does_not_fill_the_disk(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError(scope["path"])

    server = FakeServer(app)
    for _ in range(1000):
        peer = server.connect()
        await peer.send(GET)
        assert response(peer).status == 500
    assert len(caplog.records) == 10
    assert all(record.exc_info for record in caplog.records)
    assert "ValueError: /" in caplog.text
    await asyncio.sleep(2)
    assert caplog.messages[-1] == "Exception in ASGI application (990 like it)"
    await asyncio.sleep(20)
    caplog.clear()
    await server.connect().send(GET)
    [record] = caplog.records
    assert record.exc_info


@on_fake_clock
async def test_another_error_is_shown_among_many(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/other":
            raise KeyError("the other")
        raise ValueError("the same")

    server = FakeServer(app)
    for _ in range(100):
        await server.connect().send(GET)
    await server.connect().send(GET.replace(b"/ ", b"/other "))
    assert "the other" in caplog.text


@on_fake_clock
async def test_handshakes_that_time_out_give_one_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer(DrivenApp(), ws_handshake_timeout=5.0)
    for _ in range(100):
        await connect(server)
    await asyncio.sleep(20)
    assert len(caplog.messages) == 2
    assert all("--ws-handshake-timeout" in message for message in caplog.messages)
