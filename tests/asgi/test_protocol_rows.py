"""What docs/protocol.md promises for frames, on every engine with all above it; and what the other tests leave open.

The tables of bytes are those of the engines' tests: here they pass through the connection and the session to the
application and back. Requests that are wrong in rare ways are here too, and what logs show of a peer.
"""

from __future__ import annotations

import asyncio
import logging
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
import wire
from driving import ACCEPT, connect, open_websocket
from engine_cases import CASES, Case, deflated, deflated_final
from engine_cases import frame as masked_frame
from fake_loop import Call, DrivenApp, FakeServer, FakeTransport, Peer, on_fake_clock, settle
from serving import serve

from fastws.observe.access_log import AccessLog
from fastws.websocket.events import Close, Event, Failure, Ping, Pong

pytestmark = pytest.mark.usefixtures("channels")

OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
GET = b"GET /next HTTP/1.1\r\nHost: t\r\n\r\n"


async def open_on(server: FakeServer, *fields: bytes) -> tuple[Call, Peer]:
    """Another WebSocket of a server whose application is a `DrivenApp`, accepted."""
    app = server.state.application._app  # type: ignore[attr-defined]
    peer = await connect(server, *fields)
    call: Call = app.calls[-1]
    await call.receive()
    await call.send(ACCEPT)
    peer.take()
    return call, peer


async def read_all(call: Call) -> list[Any]:
    """What the application receives: messages, and at last the code and the reason of the disconnect."""
    received: list[Any] = []
    while (event := await call.receive())["type"] == "websocket.receive":
        received.append(event.get("text", event.get("bytes")))
    received.append((event["code"], event["reason"]))
    return received


def code_of(frame: wire.Frame) -> int:
    assert frame.opcode == wire.CLOSE
    return int.from_bytes(frame.payload[:2], "big")


# -------------------------------------------------------------------------------------------------------------- frames


def expected(events: tuple[Event, ...]) -> tuple[list[Any], list[wire.Frame]]:
    """What the application gets for these events, and what the peer gets of an application that sends nothing."""
    received: list[Any] = []
    answers: list[wire.Frame] = []
    for event in events:
        if type(event) is Ping:
            answers.append(wire.Frame(wire.PONG, event.payload))
        elif isinstance(event, Close):
            received.append((event.code, event.reason))
            answers.append(wire.closing(None if event.code == 1005 else event.code, event.reason))
        elif type(event) is not Pong:
            received.append(event)
    return received, answers


@pytest.mark.parametrize("step", [0, 1, 7], ids=["whole", "byte by byte", "in sevens"])
@on_fake_clock
@pytest.mark.slow
async def test_every_case_of_the_engines_reaches_application_and_peer(engine: str, step: int) -> None:
    servers: dict[tuple[int, bool], FakeServer] = {}
    for case in CASES:
        if step and len(case.data) > 3000:
            continue
        options = {"ws_max_size": max(case.limit, 1), "ws_max_queue": 1000}
        key = (case.limit, case.deflate)
        if key not in servers:
            servers[key] = FakeServer(DrivenApp(), engine=engine, **options)
        await check_case(servers[key], case, step)


async def check_case(server: FakeServer, case: Case, step: int) -> None:
    if case.limit == 0:
        return  # not to be configured
    call, peer = await open_on(server, *[OFFER] * case.deflate)
    reading = asyncio.ensure_future(read_all(call))
    await settle()
    for start in range(0, len(case.data), step or len(case.data)):
        peer.transport.feed(case.data[start : start + (step or len(case.data))])
    await settle()
    events = case.events
    if not isinstance(events[-1], Close):
        assert not reading.done(), case.name
        peer.transport.feed(wire.close(1000, "end"))
        await settle()
        events = (*events, Close(1000, "end"))
    received, answers = expected(events)
    assert await reading == received, case.name
    call.end.set_result(None)
    assert wire.read_frames(peer.take()) == answers, case.name
    assert not peer.transport.aborted, case.name
    assert peer.transport.half_closed if isinstance(events[-1], Failure) else peer.transport.closing, case.name


def close_codes() -> Iterator[int]:
    """0 to 5000: both sides of every edge, and some in between."""
    for edge in (0, 1000, 1004, 1005, 1006, 1007, 1015, 1016, 2000, 3000, 4000, 5000):
        yield from (code for code in (edge - 1, edge, edge + 1) if code >= 0)
    yield from range(1000, 1020)
    yield from range(2, 5000, 173)
    yield 65535


@on_fake_clock
async def test_the_code_of_a_close_is_echoed_where_a_peer_may_send_it_and_else_1002(engine: str) -> None:
    server = FakeServer(DrivenApp(), engine=engine)
    for code in sorted(set(close_codes())):
        valid = code in {1000, 1001, 1002, 1003, *range(1007, 1015)} or 3000 <= code <= 4999
        call, peer = await open_on(server)
        await peer.send(wire.frame(wire.CLOSE, code.to_bytes(2, "big") + b"why"))
        [answer] = wire.read_frames(peer.take())
        assert code_of(answer) == (code if valid else 1002), code
        disconnect = await call.receive()
        assert disconnect["code"] == (code if valid else 1002), code
        assert (disconnect["reason"] == "why") == valid, code


@pytest.mark.parametrize(("payload", "code"), [(b"\x03", 1002), (b"\x03\xe8\xff", 1007), (b"\x03\xe8ok\xc3", 1007)])
@on_fake_clock
async def test_a_close_that_is_malformed(engine: str, payload: bytes, code: int) -> None:
    call, peer = await open_websocket(engine)
    await peer.send(wire.frame(wire.CLOSE, payload))
    assert [code_of(each) for each in wire.read_frames(peer.take())] == [code]
    assert (await call.receive())["code"] == code


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0", b"\xe0\x80", b"\xed\xa0", b"\xf4\x90", b"\xe2\x82\x28"])
@pytest.mark.parametrize("compressed", [False, True])
@on_fake_clock
async def test_text_is_refused_at_its_first_impossible_byte(engine: str, bad: bytes, compressed: bool) -> None:
    """Though the frame that it is in has promised much more. What is still possible is not refused."""
    _, peer = await open_websocket_with(engine, compressed)
    for text, refused in ((b"good " + bad[:-1], False), (b"good " + bad, True)):
        payload = stored(text) if compressed else text
        whole = wire.frame(wire.TEXT, payload + bytes(900), rsv1=compressed)
        if not refused:
            _, other = await open_websocket_with(engine, compressed)
            await other.send(whole[: -900 or None])
            assert other.take() == b""
        else:
            await peer.send(whole[:-900])
            assert [code_of(each) for each in wire.read_frames(peer.take())] == [1007]


async def open_websocket_with(engine: str, compressed: bool) -> tuple[Call, Peer]:
    server = FakeServer(DrivenApp(), engine=engine)
    return await open_on(server, *[OFFER] * compressed)


def stored(data: bytes) -> bytes:
    """The beginning of a message, as a block that is not compressed: every byte of it is there at once."""
    size = len(data)
    return b"\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        (["permessage-deflate; no_such_parameter"], b""),
        (["permessage-deflate; server_max_window_bits=7"], b""),
        (["permessage-deflate; server_max_window_bits=16, x-unknown"], b""),
        (["permessage-deflate; server_no_context_takeover; server_no_context_takeover"], b""),
        (["permessage-deflate; client_max_window_bits=x, permessage-deflate"], b"permessage-deflate"),
        (["x-unknown", "permessage-deflate; wrong", "permessage-deflate"], b"permessage-deflate"),
        (["permessage-deflate;;", '"'], b""),
    ],
)
@on_fake_clock
async def test_an_offer_of_compression_that_is_invalid_is_declined_alone(
    engine: str, offers: list[str], answer: bytes
) -> None:
    app = DrivenApp()
    fields = [b"Sec-WebSocket-Extensions: " + offer.encode() for offer in offers]
    peer = await connect(FakeServer(app, engine=engine), *fields)
    await app.calls[0].send(ACCEPT)
    response, _ = wire.read_response(peer.take()) or (None, b"")
    assert response is not None
    assert response.status == 101
    assert response.headers.get(b"sec-websocket-extensions", b"").partition(b";")[0] == answer
    await peer.send(wire.text("still works") + wire.close(1000))
    await app.calls[0].receive()
    assert (await app.calls[0].receive())["text"] == "still works"


@on_fake_clock
async def test_messages_with_final_deflate_blocks_and_those_after_them_arrive(engine: str) -> None:
    server = FakeServer(DrivenApp(), engine=engine)
    call, peer = await open_on(server, OFFER)
    for _ in range(3):
        await peer.send(wire.frame(wire.TEXT, deflated_final(b"with BFINAL"), rsv1=True))
        await peer.send(wire.frame(wire.TEXT, deflated(b"without"), rsv1=True) + wire.text("plain"))
    await peer.send(wire.close(1000))
    assert await read_all(call) == [*["with BFINAL", "without", "plain"] * 3, (1000, "")]


@pytest.mark.parametrize("size", [1, 2, 5])
@on_fake_clock
async def test_control_frames_between_the_fragments_of_a_compressed_message(engine: str, size: int) -> None:
    server = FakeServer(DrivenApp(), engine=engine)
    call, peer = await open_on(server, OFFER)
    payload = deflated(b"a message in several parts, with pings between them")
    parts = [payload[i : i + size] for i in range(0, len(payload), size)]
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        await peer.send(wire.frame(0 if i else wire.TEXT, part, fin=last, rsv1=not i))
        await peer.send(wire.frame(wire.PING, b"%d" % i) + wire.frame(wire.PONG))
        assert wire.read_frames(peer.take()) == [wire.Frame(wire.PONG, b"%d" % i)]
    await peer.send(wire.close(1000))
    assert await read_all(call) == ["a message in several parts, with pings between them", (1000, "")]


# -------------------------------------------------------------------------------------------------------------- memory


class CountingTransport(FakeTransport):
    """Keeps nothing of what arrives: the memory that is measured is the server's."""

    def receive(self, data: bytes | memoryview) -> None:
        while data and self.reading:
            buffer = self.protocol.get_buffer(-1)
            size = min(len(data), len(buffer))
            buffer[:size] = data[:size]
            self.protocol.buffer_updated(size)
            data = data[size:]


SIZE = 4 << 20


def pieces_of(kind: str) -> Iterator[bytes]:
    """A binary message of SIZE bytes in reads of 64 KiB; the mask is one of zeros, so that parts are cheap to make."""
    mask = bytes(4)
    block = bytes(65000)
    if kind == "one frame":
        yield b"\x82\xff" + SIZE.to_bytes(8, "big") + mask
        for start in range(0, SIZE, len(block)):
            yield block[: SIZE - start]
    elif kind == "fragments":
        small = bytes(1000)
        for start in range(0, SIZE, 64000):
            frames = []
            for at in range(start, min(start + 64000, SIZE), 1000):
                part = small[: SIZE - at]
                fin = 0x80 if at + 1000 >= SIZE else 0
                opcode = 0 if at else wire.BINARY
                frames.append(bytes([fin | opcode, 0xFE]) + len(part).to_bytes(2, "big") + mask + part)
            yield b"".join(frames)
    else:
        yield masked_frame(wire.BINARY, deflated(bytes(SIZE)), rsv=4)


@pytest.mark.parametrize("channels", ["socket"], indirect=True)  # it counts what the receive buffer becomes
@pytest.mark.parametrize("kind", ["one frame", "fragments", "compressed"])
@on_fake_clock
@pytest.mark.slow
async def test_a_message_at_the_limit_takes_no_more_than_twice_the_limit(engine: str, kind: str) -> None:
    server = FakeServer(DrivenApp(), engine=engine, ws_max_size=SIZE, ws_ping_interval=None)
    call, peer = await open_on(server, *[OFFER] * (kind == "compressed"))
    peer.transport.__class__ = CountingTransport
    pieces = list(pieces_of(kind)) if kind == "compressed" else pieces_of(kind)
    tracemalloc.start()
    try:
        for piece in pieces:
            peer.transport.receive(piece)  # type: ignore[attr-defined]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len((await call.receive())["bytes"]) == SIZE
    assert peak < 2 * SIZE + (1 << 20)


@on_fake_clock
async def test_one_read_of_messages_that_inflate_does_not_fill_the_memory(engine: str) -> None:
    """A segment of 64 KiB can have 60 MiB of messages in it: most of it waits as it came."""
    size = 1 << 20
    message = wire.frame(wire.BINARY, deflated(bytes(size)), rsv1=True)
    count = 65000 // len(message)
    server = FakeServer(DrivenApp(), engine=engine, ws_ping_interval=None)
    call, peer = await open_on(server, OFFER)
    segment = message * count
    tracemalloc.start()
    try:
        peer.transport.feed(segment)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count > 40
    assert peak < 10 << 20
    assert not peer.transport.reading
    peer.transport.feed(wire.text("behind") + wire.close(1000))
    received = await read_all(call)
    assert [len(each) for each in received[:-2]] == [size] * count
    assert received[-2:] == ["behind", (1000, "")]


@on_fake_clock
async def test_a_close_in_what_was_not_inflated_yet_comes_behind_the_messages(engine: str) -> None:
    message = wire.frame(wire.BINARY, deflated(bytes(1 << 20)), rsv1=True)
    for ending in ("close", "return", "own close"):
        server = FakeServer(DrivenApp(), engine=engine)
        call, peer = await open_on(server, OFFER)
        await peer.send(message * 20 + wire.text("last") + wire.close(4000, "bye"))
        assert peer.transport.unread == 0
        assert not peer.transport.closing
        if ending == "close":
            for _ in range(20):
                assert "bytes" in await call.receive()
                await settle()
                assert peer.take() == b""
            assert (await call.receive())["text"] == "last"
            await call.send({"type": "websocket.send", "text": "answer"})
            assert (await call.receive())["code"] == 4000
            assert wire.read_frames(peer.take()) == [*wire.messages("answer"), wire.closing(4000, "bye")]
        elif ending == "return":
            call.end.set_result(None)
            await settle()
            assert wire.read_frames(peer.take()) == [wire.closing(1000)]
        else:
            await call.send({"type": "websocket.close", "code": 3000})
            await settle()
            assert wire.read_frames(peer.take()) == [wire.closing(3000)]
        assert peer.transport.closing
        assert not peer.transport.aborted


@on_fake_clock
async def test_a_close_waits_for_the_answer_to_the_message_before_it(engine: str) -> None:
    """Though they came in two reads, and the application has taken the message in between."""
    call, peer = await open_websocket(engine)
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    await peer.send(wire.text("question"))
    assert (await receiving)["text"] == "question"
    await peer.send(wire.close(1000))
    await call.send({"type": "websocket.send", "text": "answer"})
    assert (await call.receive())["code"] == 1000
    assert wire.read_frames(peer.take()) == [*wire.messages("answer"), wire.closing(1000)]


@on_fake_clock
async def test_a_close_that_follows_on_a_long_message_waits_for_its_answer(engine: str) -> None:
    call, peer = await open_on(FakeServer(DrivenApp(), engine=engine), OFFER)
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    await peer.send(wire.frame(wire.BINARY, deflated(bytes(2 << 20)), rsv1=True) + wire.close(4000, "bye"))
    assert len((await receiving)["bytes"]) == 2 << 20
    await settle()
    await call.send({"type": "websocket.send", "text": "answer"})
    assert (await call.receive())["code"] == 4000
    assert wire.read_frames(peer.take()) == [*wire.messages("answer"), wire.closing(4000, "bye")]


@on_fake_clock
async def test_pings_are_answered_while_the_application_is_slow(engine: str) -> None:
    """A client's keepalive must not end a connection whose messages wait in the queue."""
    call, peer = await open_websocket(engine, ws_max_queue=4)
    await peer.send(wire.text("x") * 10)
    for i in range(100):
        await asyncio.sleep(20)
        await peer.send(wire.text("more") + wire.frame(wire.PING, b"%d" % i))
        answers = [each for each in wire.read_frames(peer.take()) if each.opcode == wire.PONG]
        assert answers == [wire.Frame(wire.PONG, b"%d" % i)]
    await peer.send(wire.close(1000))
    assert await read_all(call) == ["x"] * 10 + ["more"] * 100 + [(1000, "")]


@on_fake_clock
async def test_what_comes_before_the_accept_is_kept_up_to_64_kib(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    stream = b"".join(wire.text(f"{i:05}") for i in range(10_000))
    peer = await connect(server, early=stream[:1001])
    for start in range(1001, len(stream), 20_000):
        await peer.send(stream[start : start + 20_000])
    assert peer.transport.unread == len(stream) - 65536
    assert not peer.transport.reading
    [call] = app.calls
    await call.receive()
    await call.send(ACCEPT)
    assert [(await call.receive())["text"] for _ in range(10_000)] == [f"{i:05}" for i in range(10_000)]
    assert peer.transport.unread == 0


@on_fake_clock
async def test_what_came_before_a_denial_is_dropped_with_the_connection(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    for event in ({"type": "websocket.close"}, {"type": "websocket.http.response.start", "status": 401}):
        peer = await connect(server, early=wire.text("early") * 20_000)
        call = app.calls[-1]
        await call.send(event)
        await settle()
        assert peer.transport.unread == 0
        if event["type"] != "websocket.close":
            await call.send({"type": "websocket.http.response.body", "body": b"no"})
        call.end.set_result(None)
        await peer.send(GET)
        response, rest = wire.read_response(peer.take()) or (None, b"")
        assert response is not None
        assert response.status in (401, 403)
        assert rest == b""
        assert peer.transport.half_closed


# ---------------------------------------------------------------------------------------------------- requests refused

CHUNKED = b"POST /first HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"

BAD_BODIES = {
    "size ends in LF": b"5\nhello\r\n0\r\n\r\n",
    "chunk ends in LF": b"5\r\nhello\n0\r\n\r\n",
    "last size ends in LF": b"5\r\nhello\r\n0\n\n",
    "empty line is LF": b"5\r\nhello\r\n0\r\n\n",
    "CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a\0b\r\nhello\r\n0\r\n\r\n",
    "blank behind the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "size over 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "chunk longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "LF in a trailer": b"0\r\nA: b\nc: d\r\n\r\n",
    "CR in a trailer": b"0\r\nA: b\rc\r\n\r\n",
    "NUL in a trailer": b"0\r\nA: b\0\r\n\r\n",
    "blank before the colon of a trailer": b"0\r\nA : b\r\n\r\n",
    "Content-Length as a trailer": b"0\r\nContent-Length: 50\r\n\r\n",
    "Transfer-Encoding as a trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
}


async def echo(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    data = scope["path"].encode()
    while (event := await receive()).get("more_body"):
        data += b" " + event["body"]
    if event["type"] == "http.request":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": data + event["body"]})


@pytest.mark.parametrize("data", BAD_BODIES.values(), ids=BAD_BODIES)
@pytest.mark.parametrize("step", [0, 1])
@on_fake_clock
async def test_a_chunked_body_that_others_might_read_otherwise_is_refused(data: bytes, step: int) -> None:
    peer = FakeServer(echo).connect()
    stream = CHUNKED + data + GET
    for start in range(0, len(stream), step or len(stream)):
        peer.transport.feed(stream[start : start + (step or len(stream))])
    await settle()
    response, rest = wire.read_response(peer.take()) or (None, b"")
    assert response is not None
    assert response.status == 400
    assert rest == b""
    assert peer.transport.half_closed


@on_fake_clock
async def test_the_first_head_has_its_time_from_the_accept_and_not_from_its_first_byte() -> None:
    peer = FakeServer(echo, timeout_request_head=10).connect()
    await asyncio.sleep(9)
    await peer.send(GET[:5])
    assert peer.take() == b""
    await asyncio.sleep(3)
    response, _ = wire.read_response(peer.take()) or (None, b"")
    assert response is not None
    assert response.status == 408
    assert peer.transport.half_closed


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 8300, 414),
        (b"GET / HTTP/1.1\r\nHost: t\r\nA: " + b"b" * 8300, 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 12_000, 431),
    ],
    ids=["target", "line", "head"],
)
@on_fake_clock
async def test_a_head_that_never_ends_is_refused_when_it_is_too_long(data: bytes, status: int) -> None:
    peer = FakeServer(echo).connect()
    for start in range(0, len(data), 1000):
        assert peer.take() == b"" or start > 8000
        await peer.send(data[start : start + 1000])
    peer.transport.feed_eof()
    response, rest = wire.read_response(b"".join(peer.transport.writes)) or (None, b"")
    assert response is not None
    assert response.status == status
    assert rest == b""


@pytest.mark.parametrize("length", [2**63 - 1, 2**63, 2**64 - 1, 10**18])
@on_fake_clock
async def test_a_length_that_no_number_holds_is_refused(length: int, caplog: pytest.LogCaptureFixture) -> None:
    peer = FakeServer(echo).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\nhello" % length)
    response, _ = wire.read_response(peer.take()) or (None, b"")
    assert response is not None
    assert response.status == 400
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("field", [b"Content-Length: %d" % len(GET), b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
@on_fake_clock
async def test_no_body_of_an_upgrade_is_read_as_a_request(field: bytes, upgrade: bytes) -> None:
    paths = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])
        await echo(scope, receive, send)

    body = GET if field.startswith(b"C") else b"%x\r\n%b\r\n0\r\n\r\n" % (len(GET), GET)
    stream = wire.handshake(field).replace(b"websocket", upgrade) + body
    for cut in (0, 1, len(body) - 1, len(body)):
        peer = FakeServer(app).connect()
        await peer.send(stream[: len(stream) - cut])
        await peer.send(stream[len(stream) - cut :])
        response, rest = wire.read_response(peer.take()) or (None, b"")
        assert response is not None
        assert response.status == (400 if upgrade == b"websocket" else 200)
        assert rest == b""
        assert peer.transport.half_closed == (upgrade == b"websocket")
    assert set(paths) == (set() if upgrade == b"websocket" else {"/chat"})


# ------------------------------------------------------------------------------------------------------- cut responses


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("how", ["raises", "returns", "half-closes", "stalls", "shutdown"])
def test_a_response_that_ends_with_the_connection_and_is_cut_short_ends_in_a_reset(loop: str, how: str) -> None:
    """HTTP/1.0 has no other sign: the end of the stream would make it a whole one."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        if how == "raises":
            raise RuntimeError
        while how != "returns" and (await receive())["type"] != "http.disconnect":
            pass
        if how == "shutdown":
            await asyncio.Event().wait()

    options: dict[str, Any] = {
        "lifespan": "off",
        "loop": loop,
        "timeout_graceful_shutdown": 0.1,
        "timeout_request_body": 0.1,
    }
    with serve(app, **options) as serving, wire.Client(serving) as client:
        length = b"Content-Length: 10\r\n" if how in ("half-closes", "stalls") else b""
        client.send(b"POST / HTTP/1.0\r\n" + length + b"\r\n")
        while len(client.received) < 1000:
            assert client._receive()
        if how == "half-closes":
            client.send_eof()
        if how == "shutdown":
            serving.stop()
        with pytest.raises(ConnectionResetError):
            client.rest()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_response_that_ends_with_the_connection_and_is_whole_ends_in_an_end(loop: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for more in (True, True, False):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": more})

    with serve(app, lifespan="off", loop=loop) as serving, wire.Client(serving) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.response().body == b"x" * 300_000


# ---------------------------------------------------------------------------------------------------------------- logs

NASTY = '\r\nINFO: forged \x1b[31m\x7f\x85\u2028 "quoted" back\\slash é'


@on_fake_clock
async def test_what_a_peer_sends_is_escaped_in_the_log(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fastws")
    raw = NASTY.encode()
    quoted = b"".join(b"%%%02x" % byte for byte in raw)
    printable = b"\"'\\`"
    app = DrivenApp()
    server = FakeServer(app, engine=engine, access_log=True, forwarded_allow_ips="*", ws_allowed_origins="https://ours")
    forwarded = b"X-Forwarded-For: " + raw[2:].replace(b"\x1b", b"").replace(b"\x7f", b"")
    heads = [
        b"GET /a%b?%b HTTP/1.1\r\nHost: t\r\n%b\r\n\r\n" % (quoted + printable, quoted + printable, forwarded),
        b"GET / HTTP/1.1\r\nHost: t" + raw[2:] + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nA: " + raw + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nExpect: " + b"e\xe9\xff" + b"\r\n\r\n",
        b"GET" + raw + b" / HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /" + raw + b" HTTP/1.1\r\nHost: t\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: \xe9\r\n\r\n",
        wire.handshake(b'Sec-WebSocket-Protocol: a"\\\xe9'),
        wire.handshake().replace(b"dGhl", b'\xe9"\\'),
        wire.handshake(b"Origin: https://evil\xe9\"\\'"),
        raw,
    ]
    for data in heads:
        peer = server.connect()
        await peer.send(data)
        peer.transport.reset()
        await asyncio.sleep(2)  # of each kind there is a line a second
    for call in app.calls:
        call.end.set_result(None)
    await settle()
    # An accept that fails names what the client offered; a close has a reason.
    offered = b"Sec-WebSocket-Protocol: one'`, two"
    peer = await connect(server, offered)
    with pytest.raises(RuntimeError, match="not offered") as raised:
        await app.calls[-1].send({**ACCEPT, "subprotocol": "other"})
    app.calls[-1].end.set_exception(raised.value)
    call, peer = await open_on(server, b"X-Nasty: " + raw[2:].replace(b"\x1b", b"").replace(b"\x7f", b""))
    await peer.send(wire.close(4000, NASTY))
    await call.receive()
    call.end.set_result(None)
    await settle()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) >= 12
    assert any("closed 4000" in message for message in messages)
    for record, message in zip(caplog.records, messages, strict=True):
        assert message.isascii(), message
        assert message.isprintable(), message
        if record.name == "fastws.access":
            for text in (*record.args, getattr(record, "close_reason", "")):  # type: ignore[misc]
                assert str(text).isascii()
                assert str(text).isprintable()
                assert str(text).replace('\\"', "").count('"') in (0, 2), text
    assert AccessLog.__slots__ == ("_logger", "_query_values")  # it keeps nothing of a peer
