"""What an application sees of a request, and what its events make of the response.

Errors of the application are here too; the connection around requests (pipelining, limits, refused upgrades, timeouts)
is in test_http_connection.py.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import wire
from driving import errors
from fake_loop import Call, DrivenApp, FakeServer, Peer, on_fake_clock, settle
from serving import serve

from fastws.errors import ApplicationError

pytestmark = pytest.mark.usefixtures("channels")

START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def body(data: bytes = b"", **extra: Any) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, **extra}


async def begin(request: bytes = GET, **options: Any) -> tuple[Call, Peer]:
    """The application's side and the peer of a request that has arrived."""
    app = DrivenApp()
    peer = FakeServer(app, **options).connect()
    await peer.send(request)
    [call] = app.calls
    return call, peer


def response(peer: Peer, method: str = "GET") -> wire.Response:
    """The whole response, alone."""
    found = wire.read_response(peer.take(), method, ended=peer.transport.closing)
    assert found is not None
    assert found[1] == b""
    return found[0]


class Collect:
    """A real server's application: it reads each request to its end and answers with the body, backwards."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        self.scopes.append(scope)
        data = b""
        more = True
        while more:
            event = await receive()
            assert event.keys() == {"type", "body", "more_body"}
            data += event["body"]
            more = event["more_body"]
        self.bodies.append(data)
        await send(START)
        await send(body(data[::-1]))


# --------------------------------------------------------------------------------------------------------------- scope


def test_scope() -> None:
    app = Collect()
    fields = b"Host: test:80\r\nX-Two: 1\r\nAccept: \t*/* \r\nX-Two: 2\r\n\r\n"
    request = b"PATCH /caf%C3%A9/a%2Fb;x=1?q=%20&q=2 HTTP/1.1\r\n" + fields
    with serve(app, lifespan="off", root_path="/api/") as serving, wire.Client(serving) as client:
        client.send(request)
        assert client.response().status == 200
        address = client.socket.getsockname()
    [scope] = app.scopes
    scope.pop("state", None)
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "PATCH",
        "scheme": "http",
        "path": "/api/café/a/b;x=1",
        "raw_path": b"/api/caf%C3%A9/a%2Fb;x=1",
        "query_string": b"q=%20&q=2",
        "root_path": "/api",
        "headers": [(b"host", b"test:80"), (b"x-two", b"1"), (b"accept", b"*/*"), (b"x-two", b"2")],
        "client": address,
        "server": (serving.host, serving.port),
        "extensions": {"http.response.trailers": {}, "http.response.early_hint": {}},
    }
    assert type(scope["client"][1]) is int
    assert type(scope["server"][1]) is int


@pytest.mark.parametrize(
    ("line", "method", "path", "raw_path", "query"),
    [
        (b"GET / HTTP/1.1", "GET", "/", b"/", b""),
        (b"GET /? HTTP/1.1", "GET", "/", b"/", b""),
        (b"GET /%FF%00?%FF HTTP/1.1", "GET", "/\ufffd\0", b"/%FF%00", b"%FF"),
        (b"GET //a//b?/c?d HTTP/1.1", "GET", "//a//b", b"//a//b", b"/c?d"),
        (b"OPTIONS * HTTP/1.1", "OPTIONS", "*", b"*", b""),
        (b"GET http://test/abs?x HTTP/1.1", "GET", "/abs", b"/abs", b"x"),
        (b"GET http://test HTTP/1.1", "GET", "/", b"/", b""),
    ],
)
@on_fake_clock
async def test_path(line: bytes, method: str, path: str, raw_path: bytes, query: bytes) -> None:
    call, _ = await begin(line + b"\r\nHost: test\r\n\r\n")
    scope = call.scope
    assert (scope["method"], scope["path"], scope["raw_path"], scope["query_string"]) == (
        method,
        path,
        raw_path,
        query,
    )


@on_fake_clock
async def test_http_1_0() -> None:
    call, peer = await begin(b"GET / HTTP/1.0\r\n\r\n")
    assert call.scope["http_version"] == "1.0"
    assert call.scope["headers"] == []
    await call.send(START)
    await call.send(body(b"a", more_body=True))
    await call.send(body(b"b"))
    found = response(peer)
    assert found.body == b"ab"
    assert b"transfer-encoding" not in found.headers
    assert peer.transport.closing


def test_state_is_a_shallow_copy_for_each_request() -> None:
    shared: list[int] = []
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["shared"] = shared
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        seen.append(scope["state"].copy())
        scope["state"]["mine"] = 1
        scope["state"]["shared"].append(1)
        await send(START)
        await send(body())

    with serve(app) as serving, wire.Client(serving) as client:
        client.send(GET * 2)
        client.response()
        client.response()
    assert [list(state) for state in seen] == [["shared"]] * 2
    assert seen[1]["shared"] is shared
    assert shared == [1, 1]


# -------------------------------------------------------------------------------------------------------- request body

BODIES = {
    "none": (b"", b""),
    "empty": (b"Content-Length: 0", b""),
    "length": (b"Content-Length: 5", b"hello"),
    "chunked": (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"),
    "chunked with trailers": (b"Transfer-Encoding: chunked", b"1\r\na\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n"),
    "chunked and empty": (b"Transfer-Encoding: Chunked", b"0\r\n\r\n"),
    "body like a request": (b"Content-Length: %d" % len(GET), GET),
    "chunk with empty lines": (b"Transfer-Encoding: chunked", b"8\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n"),
    "large chunk": (b"Transfer-Encoding: chunked", b"11170\r\n" + b"z" * 70_000 + b"\r\n0\r\n\r\n"),
    "64 KiB": (b"Content-Length: 65536", b"y" * 65536),
    "64 KiB and one": (b"Content-Length: 65537", b"y" * 65537),
}
DECODED = {
    "chunked": b"hello world",
    "chunked with trailers": b"a",
    "chunked and empty": b"",
    "chunk with empty lines": b"\r\n\r\n\r\n\r\n",
    "large chunk": b"z" * 70_000,
}


def a_request(name: str) -> bytes:
    field, data = BODIES[name]
    return (
        b"POST /"
        + name.replace(" ", "_").encode()
        + b" HTTP/1.1\r\nHost: t\r\n"
        + field
        + b"\r\n" * bool(field)
        + (b"\r\n" + data)
    )


@pytest.mark.parametrize("by", ["whole", "byte by byte"])
def test_request_bodies_pipelined(by: str) -> None:
    """All of them on one connection, each behind the body of the one before."""
    app = Collect()
    names = [name for name in BODIES if by == "whole" or len(BODIES[name][1]) < 1000]
    with serve(app, lifespan="off") as serving, wire.Client(serving) as client:
        data = b"".join(map(a_request, names))
        if by == "whole":
            client.send(data)
        else:
            client.send_byte_by_byte(data)
        for name in names:
            assert client.response().body == DECODED.get(name, BODIES[name][1])[::-1], name
    assert len(app.scopes) == len(names)


@pytest.mark.parametrize("name", [name for name in BODIES if len(BODIES[name][1]) < 1000])
@on_fake_clock
@pytest.mark.slow
async def test_request_bodies_in_two_segments_wherever_they_part(name: str) -> None:
    data = a_request(name) + GET
    for cut in range(1, len(data)):
        app = Collect()
        peer = FakeServer(app).connect()
        await peer.send(data[:cut])
        await peer.send(data[cut:])
        assert app.bodies == [DECODED.get(name, BODIES[name][1]), b""], cut


@on_fake_clock
async def test_a_body_is_received_as_it_comes() -> None:
    call, peer = await begin(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc")
    assert await call.receive() == {"type": "http.request", "body": b"abc", "more_body": True}
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    assert not receiving.done()
    await peer.send(b"def")
    assert await receiving == {"type": "http.request", "body": b"def", "more_body": True}
    await peer.send(b"g")
    await peer.send(b"hi")
    assert await call.receive() == {"type": "http.request", "body": b"ghi", "more_body": False}


@on_fake_clock
async def test_after_the_body_receive_waits_for_the_end() -> None:
    call, _ = await begin()
    assert await call.receive() == {"type": "http.request", "body": b"", "more_body": False}
    receiving = [asyncio.ensure_future(call.receive()) for _ in range(3)]
    await settle()
    receiving[0].cancel()
    await settle()
    assert not receiving[1].done()
    await call.send(START)
    await call.send(body(b"x", more_body=True))
    await settle()
    assert not receiving[1].done()
    await call.send(body())
    for task in receiving[1:]:
        assert await task == {"type": "http.disconnect"}
    assert await call.receive() == {"type": "http.disconnect"}


@on_fake_clock
async def test_a_slow_application_stops_the_reading_of_its_body() -> None:
    call, peer = await begin(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n")
    peer.transport.feed(b"x" * 1_000_000)
    assert not peer.transport.reading
    assert peer.transport.unread > 800_000
    size = 0
    while (event := await call.receive())["more_body"]:
        assert len(event["body"]) < 200_000
        size += len(event["body"])
    assert size + len(event["body"]) == 1_000_000


# ------------------------------------------------------------------------------------------------------ 100 (Continue)

EXPECT = b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@on_fake_clock
async def test_100_is_sent_when_the_application_reads() -> None:
    call, peer = await begin(EXPECT)
    assert peer.take() == b""
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    assert peer.take() == CONTINUE
    await peer.send(b"hello")
    assert (await receiving)["body"] == b"hello"
    await call.send(START)
    await call.send(body(b"ok"))
    assert response(peer).body == b"ok"
    assert not peer.transport.closing


@on_fake_clock
async def test_no_100_where_the_application_does_not_read() -> None:
    call, peer = await begin(EXPECT)
    await call.send({**START, "status": 413})
    await call.send(body(b"no"))
    found = response(peer)
    assert found.status == 413
    # Whether the body will come cannot be known: the connection is of no more use.
    assert found.headers[b"connection"] == b"close"
    await peer.send(b"hello" + GET)
    assert peer.take() == b""


@on_fake_clock
async def test_no_100_where_the_body_has_come() -> None:
    call, peer = await begin(EXPECT + b"he")
    await call.receive()
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    assert peer.take() == b""
    await peer.send(b"llo")
    await receiving


@on_fake_clock
async def test_no_100_behind_the_beginning_of_the_response() -> None:
    call, peer = await begin(EXPECT)
    await call.send(START)
    await call.send(body(b"x", more_body=True))
    peer.take()
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    assert peer.take() == b""
    await peer.send(b"hello")
    assert (await receiving)["body"] == b"hello"


@on_fake_clock
async def test_no_100_to_http_1_0_or_without_a_body() -> None:
    for request in (EXPECT.replace(b"HTTP/1.1", b"HTTP/1.0"), GET[:-2] + b"Expect: 100-continue\r\n\r\n"):
        call, peer = await begin(request)
        receiving = asyncio.ensure_future(call.receive())
        await settle()
        assert peer.take() == b""
        receiving.cancel()


# ------------------------------------------------------------------------------------------------------------ response


@on_fake_clock
async def test_a_response_in_one_piece_is_one_write() -> None:
    call, peer = await begin()
    await call.send({**START, "headers": [(b"X-A", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]})
    assert peer.take_writes() == []
    await call.send(body(b"hello"))
    [write] = peer.take_writes()
    found = wire.read_response(write)
    assert found is not None
    assert found[0].body == b"hello"
    assert found[0].headers[b"content-length"] == b"5"
    assert found[0].lines[:3] == [b"X-A: 1", b"set-cookie: a=1", b"set-cookie: b=2"]
    assert {b"date", b"server"} <= found[0].headers.keys()
    assert b"connection" not in found[0].headers
    assert not peer.transport.closing


@pytest.mark.parametrize("size", [65535, 65536, 65537, 1_000_000])
@on_fake_clock
async def test_a_large_response_is_one_write_too(size: int) -> None:
    call, peer = await begin()
    await call.send(START)
    await call.send(body(b"x" * size))
    [write] = peer.take_writes()
    found = wire.read_response(write)
    assert found is not None
    assert found[0].body == b"x" * size


@on_fake_clock
async def test_a_streamed_response_is_one_write_a_piece() -> None:
    call, peer = await begin()
    await call.send(START)
    await call.send(body(b"one", more_body=True))
    await call.send(body(b"", more_body=True))
    await call.send(body(b"two", more_body=True))
    await call.send({"type": "http.response.body"})
    writes = peer.take_writes()
    assert len(writes) == 3
    found = wire.read_response(b"".join(writes))
    assert found is not None
    assert found[0].headers[b"transfer-encoding"] == b"chunked"
    assert found[0].body == b"onetwo"


@on_fake_clock
async def test_an_empty_first_piece_sends_the_head() -> None:
    """As server-sent events want it."""
    call, peer = await begin()
    await call.send(START)
    await call.send(body(b"", more_body=True))
    assert peer.take().endswith(b"transfer-encoding: chunked\r\n\r\n")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 205), ("GET", 304), ("HEAD", 404), ("DELETE", 204)]
)
@on_fake_clock
async def test_responses_without_a_body(method: str, status: int, streamed: bool) -> None:
    call, peer = await begin(method.encode() + GET[3:])
    await call.send({**START, "status": status})
    await call.send(body(b"dropped", more_body=streamed))
    if streamed:
        await call.send(body(b"too"))
    assert response(peer, method).status == status
    await peer.send(GET)
    assert not peer.transport.closing


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"4")]])
@on_fake_clock
async def test_a_205_says_that_it_has_no_content(headers: list[tuple[bytes, bytes]]) -> None:
    call, peer = await begin()
    await call.send({**START, "status": 205, "headers": headers})
    await call.send(body(b"gone"))
    head, _, rest = peer.take().partition(b"\r\n\r\n")
    assert b"\r\ncontent-length: 0" in head
    assert head.count(b"content-length") == 1
    assert rest == b""
    await peer.send(GET)
    assert not peer.transport.closing


@on_fake_clock
async def test_a_control_character_in_a_trailer_is_the_applications_error() -> None:
    call, peer = await begin(GET[:-2] + b"TE: trailers\r\n\r\n")
    await call.send({**START, "trailers": True})
    await call.send(body(b"x"))
    with pytest.raises(ApplicationError, match="control character"):
        await call.send({"type": "http.response.trailers", "headers": [(b"a", b"\x02")]})
    await call.send({"type": "http.response.trailers", "headers": [(b"a", b"b")]})
    assert peer.take().endswith(b"0\r\na: b\r\n\r\n")


@on_fake_clock
async def test_the_length_of_a_head_or_304_is_the_applications() -> None:
    for method, status in (("HEAD", 200), ("GET", 304)):
        call, peer = await begin(method.encode() + GET[3:])
        await call.send({**START, "status": status, "headers": [(b"content-length", b"1234")]})
        await call.send(body())
        assert response(peer, method).headers[b"content-length"] == b"1234"


@on_fake_clock
async def test_the_applications_transfer_encoding_is_ignored() -> None:
    for more in (False, True):
        call, peer = await begin()
        await call.send({**START, "headers": [(b"Transfer-Encoding", b"gzip, chunked")]})
        await call.send(body(b"x", more_body=more))
        if more:
            await call.send(body())
        found = response(peer)
        assert found.body == b"x"
        assert b"Transfer-Encoding" not in found.headers  # ours is in lower case


@on_fake_clock
async def test_the_applications_length_frames_a_streamed_body() -> None:
    call, peer = await begin()
    await call.send({**START, "headers": [(b"content-length", b"4")]})
    await call.send(body(b"ab", more_body=True))
    await call.send(body(b"cd"))
    found = response(peer)
    assert found.body == b"abcd"
    assert not peer.transport.closing


@pytest.mark.parametrize("pieces", [[b"abcde"], [b"ab", b"cde"], [b"abc"], [b"a", b"bc"]])
@on_fake_clock
async def test_a_body_that_is_not_as_long_as_promised(pieces: list[bytes], caplog: pytest.LogCaptureFixture) -> None:
    call, peer = await begin()
    await call.send({**START, "headers": [(b"content-length", b"4")]})
    for piece in pieces[:-1]:
        await call.send(body(piece, more_body=True))
    with pytest.raises(ApplicationError, match="Content-Length") as raised:
        await call.send(body(pieces[-1]))
    call.end.set_exception(raised.value)
    await settle()
    if len(pieces) == 1:
        assert response(peer).status == 500
    else:
        assert wire.read_response(peer.take()) is None  # cut short, and to be seen as such
    assert peer.transport.closing
    assert len(errors(caplog)) == 1


@on_fake_clock
async def test_close_is_the_applications_to_ask_for() -> None:
    call, peer = await begin()
    await call.send({**START, "headers": [(b"Connection", b"Close")]})
    await call.send(body(b"x"))
    assert response(peer).headers[b"connection"] == b"close"
    assert peer.transport.closing


@on_fake_clock
async def test_keep_alive_of_http_1_0() -> None:
    call, peer = await begin(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    await call.send(START)
    await call.send(body(b"x"))
    assert response(peer).headers[b"connection"] == b"keep-alive"
    assert not peer.transport.closing


@on_fake_clock
async def test_close_of_http_1_1() -> None:
    call, peer = await begin(GET[:-2] + b"Connection: close\r\n\r\n")
    await call.send(START)
    await call.send(body(b"x"))
    assert response(peer).headers[b"connection"] == b"close"
    assert peer.transport.closing


@on_fake_clock
async def test_our_header_lines_and_the_applications() -> None:
    options: dict[str, Any] = {"server_header": False, "date_header": False, "headers": [("X-Ours", "1")]}
    call, peer = await begin(**options)
    await call.send({**START, "headers": [(b"server", b"mine"), (b"DATE", b"today")]})
    await call.send(body())
    found = response(peer)
    assert found.lines[:3] == [b"server: mine", b"DATE: today", b"x-ours: 1"]
    call, peer = await begin()
    await call.send({**START, "headers": [(b"server", b"mine")]})
    await call.send(body())
    assert [line for line in response(peer).lines if line.startswith(b"server")] == [b"server: mine"]


@on_fake_clock
async def test_after_the_end_messages_are_ignored() -> None:
    call, peer = await begin()
    await call.send(START)
    await call.send(body(b"x"))
    response(peer)
    for event in (body(b"y"), START, {"type": "nonsense"}):
        await call.send(event)
    peer.transport.reset()
    await call.send(body(b"z"))
    assert peer.take() == b""


# ----------------------------------------------------------------------------------------------- trailers, early hints


@pytest.mark.parametrize("asked", [False, True])
@on_fake_clock
async def test_trailers(asked: bool) -> None:
    call, peer = await begin(GET[:-2] + (b"TE: trailers\r\n\r\n" if asked else b"\r\n"))
    await call.send({**START, "trailers": True, "headers": [(b"trailer", b"x-a")]})
    await call.send(body(b"data"))
    assert wire.read_response(peer.take()[:0]) is None
    with pytest.raises(ApplicationError, match=r"http\.response\.trailers"):
        await call.send(body(b"more"))
    await call.send({"type": "http.response.trailers", "headers": [(b"x-a", b"1")], "more_trailers": True})
    await call.send({"type": "http.response.trailers", "headers": [(b"x-b", b"2")]})
    found = wire.read_response(b"".join(peer.transport.writes))
    assert found is not None
    assert found[1] == b""
    assert found[0].body == b"data"
    assert found[0].trailers == ([b"x-a: 1", b"x-b: 2"] if asked else [])
    await peer.send(GET)
    assert not peer.transport.closing


@pytest.mark.parametrize("request_line", [b"HEAD / HTTP/1.1", b"GET / HTTP/1.0"])
@on_fake_clock
async def test_trailers_where_there_can_be_none(request_line: bytes) -> None:
    call, peer = await begin(request_line + b"\r\nHost: t\r\nTE: trailers\r\n\r\n")
    await call.send({**START, "trailers": True})
    await call.send(body(b"data"))
    await call.send({"type": "http.response.trailers", "headers": [(b"x-a", b"1")]})
    assert b"x-a" not in peer.take()
    assert await call.receive()
    assert (await call.receive())["type"] == "http.disconnect"


@on_fake_clock
async def test_bad_trailers_are_an_error() -> None:
    call, peer = await begin(GET[:-2] + b"TE: trailers\r\n\r\n")
    await call.send({**START, "trailers": True})
    await call.send(body(b"data"))
    peer.take()
    with pytest.raises(ApplicationError, match="CR, LF or NUL"):
        await call.send({"type": "http.response.trailers", "headers": [(b"x-a", b"1\r\nx: 2")]})
    assert peer.take() == b""


@on_fake_clock
async def test_early_hints() -> None:
    links = [b"</style.css>; rel=preload; as=style", b"</script.js>; rel=preload; as=script"]
    hint = {"type": "http.response.early_hint", "links": links}
    call, peer = await begin()
    await call.send(hint)
    found = wire.read_response(peer.take())
    assert found is not None
    assert found[0].status == 103
    await call.send(START)
    await call.send(body(b"x"))
    assert response(peer).status == 200
    call, peer = await begin(b"GET / HTTP/1.0\r\n\r\n")
    await call.send(hint)
    assert peer.take() == b""
    for links_value in ([b"a\r\nb: c"], ["</text>"], None, 5):
        call, peer = await begin()
        with pytest.raises(ApplicationError):
            await call.send({**hint, "links": links_value})
        assert peer.take() == b""
    call, _ = await begin()
    with pytest.raises(ApplicationError, match="links"):
        await call.send({"type": "http.response.early_hint"})


# ----------------------------------------------------------------------------------------------------------- bad events

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no type": ({}, "None"),
    "unknown": ({"type": "http.response.strat"}, r"'http\.response\.strat' .* allowed is 'http\.response\.start'"),
    "body first": (body(), r"'http\.response\.body' cannot be sent before http\.response\.start"),
    "of WebSocket": ({"type": "websocket.accept"}, "websocket"),
    "no status": ({"type": "http.response.start"}, "status"),
    "status of str": ({**START, "status": "200"}, "status"),
    "status of None": ({**START, "status": None}, "status"),
    "interim status": ({**START, "status": 101}, "101"),
    "status too large": ({**START, "status": 1000}, "status"),
    "headers of str": ({**START, "headers": [("a", "b")]}, "bytes"),
    "headers of None": ({**START, "headers": None}, "headers"),
    "a name that is no token": ({**START, "headers": [(b"a b", b"")]}, "token"),
    "an empty name": ({**START, "headers": [(b"", b"")]}, "token"),
    "CR LF in a value": ({**START, "headers": [(b"a", b"b\r\nset-cookie: stolen")]}, "CR, LF or NUL"),
    "a control character in a value": ({**START, "headers": [(b"a", b"b\x01")]}, "control character"),
    "DEL in a value": ({**START, "headers": [(b"a", b"\x7f")]}, "control character"),
    "a control character in a hint": (
        {"type": "http.response.early_hint", "links": [b"</a>\x1b"]},
        "control character",
    ),
    "bad length": ({**START, "headers": [(b"content-length", b"-1")]}, "Content-Length"),
    "two lengths": ({**START, "headers": [(b"content-length", b"1"), (b"Content-Length", b"2")]}, "Content-Length"),
    "trailers of a wrong type": ({**START, "trailers": "yes"}, "trailers"),
}


@pytest.mark.parametrize(("event", "message"), WRONG.values(), ids=WRONG)
@on_fake_clock
async def test_a_wrong_event_says_what_is_wrong_and_writes_nothing(event: dict[str, Any], message: str) -> None:
    call, peer = await begin()
    with pytest.raises(ApplicationError, match=message):
        await call.send(event)
    assert peer.take() == b""
    await call.send({**START, "extra": 1})
    await call.send(body(b"mended"))
    assert response(peer).body == b"mended"


WRONG_BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "start again": (START, r"in the response body: allowed is 'http\.response\.body'"),
    "body of str": ({"type": "http.response.body", "body": "text"}, "bytes, not str"),
    "body of None": ({"type": "http.response.body", "body": None}, "bytes, not NoneType"),
    "more_body of a wrong type": (body(b"", more_body="no"), "more_body"),
    "hint": ({"type": "http.response.early_hint", "links": []}, "early_hint"),
    "trailers": ({"type": "http.response.trailers", "headers": []}, "trailers"),
}


@pytest.mark.parametrize(("event", "message"), WRONG_BODIES.values(), ids=WRONG_BODIES)
@pytest.mark.parametrize("begun", [False, True])
@on_fake_clock
async def test_a_wrong_event_in_the_body(event: dict[str, Any], message: str, begun: bool) -> None:
    call, peer = await begin()
    await call.send(START)
    if begun:
        await call.send(body(b"be", more_body=True))
    with pytest.raises(ApplicationError, match=message):
        await call.send(event)
    await call.send(body(memoryview(b"gun")))  # type: ignore[arg-type]
    assert response(peer).body == (b"begun" if begun else b"gun")


# ---------------------------------------------------------------------------------------------- errors of applications


class Broken(Exception):
    pass


class Worse(BaseException):
    pass


@pytest.mark.parametrize("error", [Broken("mine"), Worse("mine")], ids=["Exception", "BaseException"])
@pytest.mark.parametrize("started", [False, True])
@on_fake_clock
async def test_an_application_that_raises_before_the_response(
    error: BaseException, started: bool, caplog: pytest.LogCaptureFixture
) -> None:
    call, peer = await begin()
    if started:
        await call.send({**START, "headers": [(b"x-secret", b"1")], "trailers": True})
    call.end.set_exception(error)
    await settle()
    found = response(peer)
    assert found.status == 500
    assert found.headers[b"connection"] == b"close"
    assert b"x-secret" not in found.headers
    assert b"mine" not in found.body
    assert peer.transport.closing
    [record] = errors(caplog)
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@on_fake_clock
async def test_an_application_that_raises_in_the_response(caplog: pytest.LogCaptureFixture) -> None:
    call, peer = await begin()
    await call.send(START)
    await call.send(body(b"begun", more_body=True))
    call.end.set_exception(Broken("mine"))
    await settle()
    assert wire.read_response(peer.take()) is None
    assert peer.transport.closing
    assert caplog.text.count("Broken: mine") == 1
    assert len(errors(caplog)) == 1


@on_fake_clock
async def test_an_application_that_raises_after_the_response(caplog: pytest.LogCaptureFixture) -> None:
    call, peer = await begin()
    await call.send(START)
    await call.send(body(b"done"))
    call.end.set_exception(Broken("mine"))
    await settle()
    assert response(peer).body == b"done"
    assert not peer.transport.closing
    assert caplog.text.count("Broken: mine") == 1


@pytest.mark.parametrize("sent", [[], [START], [START, body(b"begun", more_body=True)]])
@on_fake_clock
async def test_an_application_that_returns_early(sent: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    call, peer = await begin()
    for event in sent:
        await call.send(event)
    call.end.set_result(None)
    await settle()
    if len(sent) < 2:
        assert response(peer).status == 500
    else:
        assert wire.read_response(peer.take()) is None
    assert peer.transport.closing
    [record] = errors(caplog)
    assert "without completing" in record.getMessage()


@on_fake_clock
async def test_an_application_that_cancels_itself(caplog: pytest.LogCaptureFixture) -> None:
    call, peer = await begin()
    call.end.cancel()
    await settle()
    assert response(peer).status == 500
    assert len(errors(caplog)) == 1


def test_what_is_no_asgi_application(caplog: pytest.LogCaptureFixture) -> None:
    def app(scope: Any, receive: Any, send: Any) -> None:
        return None

    with serve(app, lifespan="off") as serving, wire.Client(serving) as client:
        client.send(GET)
        assert client.response().status == 500
        assert client.rest() == b""
    [record] = errors(caplog)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], TypeError)


def test_an_asgi_2_application() -> None:
    class App:
        def __init__(self, scope: Any) -> None:
            self.scope = scope

        async def __call__(self, receive: Any, send: Any) -> None:
            assert self.scope["type"] == "http"
            await send(START)
            await send(body(self.scope["path"].encode()))

    with serve(App) as serving, wire.Client(serving) as client:
        client.send(b"GET /two HTTP/1.1\r\nHost: t\r\n\r\n")
        assert client.response().body == b"/two"


# ----------------------------------------------------------------------------------------------------- the peer is gone


@on_fake_clock
async def test_a_peer_that_goes(caplog: pytest.LogCaptureFixture) -> None:
    call, peer = await begin()
    await call.receive()
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    peer.transport.reset()
    assert await receiving == {"type": "http.disconnect"}
    with pytest.raises(OSError, match="gone") as raised:
        await call.send(START)
    assert type(raised.value) is not OSError
    call.end.set_exception(raised.value)
    await settle()
    assert errors(caplog) == []


@on_fake_clock
async def test_that_another_peer_is_gone_does_not_leave_this_one_waiting(caplog: pytest.LogCaptureFixture) -> None:
    gone, gone_peer = await begin()
    call, peer = await begin()
    gone_peer.transport.reset()
    with pytest.raises(OSError, match="gone") as raised:
        await gone.send(START)
    call.end.set_exception(raised.value)
    await settle()
    assert response(peer).status == 500
    assert len(errors(caplog)) == 1


@on_fake_clock
async def test_sending_waits_for_a_peer_that_does_not_read() -> None:
    call, peer = await begin()
    peer.transport.stalled = True
    await call.send(START)
    sending = asyncio.ensure_future(call.send(body(b"x" * 100_000, more_body=True)))
    await asyncio.sleep(50)
    assert not sending.done()
    peer.transport.drain()
    await sending
    sending = asyncio.ensure_future(call.send(body(b"x" * 100_000, more_body=True)))
    await settle()
    peer.transport.reset()
    with pytest.raises(OSError, match="gone"):
        await sending


@on_fake_clock
async def test_each_request_has_one_line_in_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastws.access")
    app = DrivenApp()
    peer = FakeServer(app, access_log=True).connect()
    await peer.send(b'GET /a"b?c HTTP/1.1\r\nHost: t\r\n\r\n')
    await app.calls[0].send({**START, "status": 404})
    await app.calls[0].send(body(b"hello"))
    await peer.send(GET)
    await app.calls[1].send(START)
    await app.calls[1].send(body(b"be", more_body=True))
    peer.transport.reset()
    await settle()
    records = [record for record in caplog.records if record.name == "fastws.access"]
    assert [record.getMessage() for record in records] == [
        r'192.0.2.1:50000 - "GET /a\"b?c HTTP/1.1" 404',
        '192.0.2.1:50000 - "GET / HTTP/1.1" 200',
    ]
    assert [record.__dict__["body_bytes"] for record in records] == [5, 2]
