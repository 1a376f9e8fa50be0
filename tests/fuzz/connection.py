"""The target `connection`: the whole server above a fake transport, on a fake clock, with applications that do much.

Input: an application and options, a beginning and an engine, a seed for the cut and for what else happens between the
reads (time, a stalled peer, the end of its stream, a reset), another byte for that, then the stream.

Whatever comes, all that is written is HTTP and frames to the letter, nothing but what the application did is logged as
an error, and in the end no connection and no task is left.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import cutting
import wire
from fake_loop import FakeClockLoop, FakeServer, FakeTransport, Peer

from fuzz import codec

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
BEGINNINGS = (
    b"",
    wire.handshake(),
    wire.handshake(DEFLATE),
    wire.handshake(b"Sec-WebSocket-Protocol: chat"),
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nExpect: 100-continue\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {
        "ws_max_size": 300,
        "ws_max_queue": 4,
        "ws_max_queue_bytes": 500,
        "limit_request_head": 600,
        "limit_request_fields": 10,
        "limit_request_field_size": 200,
        "limit_request_line": 100,
        "timeout_request_head": 4.0,
        "timeout_keep_alive": 5,
        "ws_close_timeout": 4.0,
    },
    {"ws_per_message_deflate": False, "ws_ping_interval": 4.0, "ws_ping_timeout": 4.0, "server_header": False},
    {"root_path": "/root", "ws_max_size": 100_000, "date_header": False, "ws_handshake_timeout": 4.0},
)
TURNS = 20_000
"""Turns of the loop without any new input, after which it is spinning."""


# -------------------------------------------------------------------------------------------------------- applications


async def body_of(receive: Receive) -> bytes | None:
    body = b""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        body += event.get("body", b"")
        if not event.get("more_body"):
            return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        body = await body_of(receive)
        if body is not None:
            length = (b"content-length", b"%d" % len(body))
            await send({"type": "http.response.start", "status": 200, "headers": [length]})
            await send({"type": "http.response.body", "body": body})
        return
    await receive()
    offered = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": offered[0] if offered else None})
    await echo_messages(receive, send)


async def echo_messages(receive: Receive, send: Send) -> None:
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Much output, and no look at the input."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x" * 30_000, "more_body": True})
        await send({"type": "http.response.body"})
        return
    await send({"type": "websocket.accept", "headers": [(b"x-a", b"b")]})
    for i in range(4):
        await send({"type": "websocket.send", "bytes": b"y" * (10 ** (i + 1))})
        await send({"type": "websocket.send", "text": "\u20ac" * 1000})
    await receive()
    await echo_messages(receive, send)


async def deny(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})
    else:
        await send({"type": "websocket.close"})


async def respond_to_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send(
            {"type": "http.response.start", "status": 404, "headers": [(b"connection", b"close")], "trailers": True}
        )
        await send({"type": "http.response.body", "body": b"no"})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})
        return
    await receive()
    await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "websocket.http.response.body", "body": b"part ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"of it"})
    await receive()


async def close_soon(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]})
        await echo(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    await send({"type": "websocket.close", "code": 3001, "reason": "enough"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(6)
    if scope["type"] == "http":
        await echo(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await asyncio.sleep(0.3)
        await send({**event, "type": "websocket.send"})


async def leave(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns too early."""
    if scope["type"] == "websocket" and scope["path"] != "/":
        await send({"type": "websocket.accept"})
        await receive()


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    """Raises, in the middle of what it does where there is a body or a message."""
    await receive()
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"half", "more_body": scope["method"] == "POST"})
    else:
        await send({"type": "websocket.accept"})
        await receive()
    raise ZeroDivisionError


APPLICATIONS = (echo, stream, deny, respond_to_websocket, close_soon, slow, leave, fail)
FAULTY = (leave, fail)
OUR_WORDS = re.compile(
    "Exception in ASGI application|The application returned without|The application's task was cancelled"
)


class Log(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


_log = Log()
_logger = logging.getLogger("fastws")


# ------------------------------------------------------------------------------------------------------------- the run


class Script:
    """One input, played."""

    def __init__(self, data: bytes) -> None:
        self.application = APPLICATIONS[data[0] & 7]
        self.options = OPTIONS[data[0] >> 3 & 3]
        self.restless = bool(data[0] & 32)  # more happens than bytes
        self.engine = codec.ENGINES[(data[1] >> 3 & 3) % len(codec.ENGINES)]
        beginning = BEGINNINGS[data[1] & 7]
        self.choose = random.Random(data[2] | data[3] << 8)
        self.whole = data[2] == 0
        self.stream = beginning + data[4:]
        self.scopes: list[Scope] = []

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await self.application(scope, receive, send)

    async def play(self) -> None:
        server = FakeServer(self.app, engine=self.engine, **self.options)
        peer = server.connect()
        transport = peer.transport
        for piece in [self.stream] if self.whole else cutting.at_random(self.stream, self.choose.randrange(1 << 16)):
            if transport.closing:
                break
            transport.feed(piece)
            if self.choose.random() < 0.7:
                await settle(server)
            if self.restless:
                await self.disturb(server, transport)
        await settle(server)
        await self.end(server, peer)
        self.check(b"".join(transport.writes), cut=transport.aborted or transport.stalled)

    def check(self, output: bytes, *, cut: bool) -> None:
        """Look at all that was written, of which the last may be missing."""
        check_output(output, self.scopes, cut=cut)

    async def disturb(self, server: FakeServer, transport: FakeTransport) -> None:
        match self.choose.randrange(12):
            case 0:
                await asyncio.sleep(self.choose.choice((0.1, 1.0, 4.0)))
            case 1:
                transport.stalled = True
            case 2:
                transport.stalled = False
                transport.drain()
            case 3:
                transport.drain(self.choose.choice((1, 1000, 50_000)))
            case 4 if self.choose.random() < 0.2:
                server.state.shut_down()
            case _:
                pass

    async def end(self, server: FakeServer, peer: Peer) -> None:
        """The peer goes, in one way or another, and nothing of it may be left after a while."""
        transport = peer.transport
        way = self.choose.randrange(4)
        if way == 0 and not transport.closing and not transport.unread:
            transport.feed_eof()
        elif way == 1 and not transport.lost:
            transport.reset()
        elif way == 2:
            transport.stalled = False
            transport.drain()
        await asyncio.sleep(100)
        if not transport.lost:
            # It may wait for the rest of a body; the peer's answer to our last frame is not to be waited for.
            assert not server.state.websockets, "a WebSocket that a silent peer keeps"
            transport.reset()
            await asyncio.sleep(30)
        await settle(server)
        assert not server.state.connections, "a connection is left"
        assert not server.state.tasks, "a task is left"
        server.state.close()


async def settle(server: FakeServer) -> None:
    """Let everything happen that needs no time."""
    loop: Any = server.loop
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if not loop._ready:
            return
    raise AssertionError("the loop spins")


_loop: FakeClockLoop | None = None
_complaints: list[dict[str, Any]] = []


def run(data: bytes) -> None:
    if len(data) >= 4:
        play(Script(data))


def play(script: Script) -> None:
    """Play a script on the loop that all have; raises AssertionError for a finding."""
    global _loop
    if _loop is None or _loop.selector.now > 500_000:
        if _loop is not None:
            _loop.close()
        _loop = FakeClockLoop()
        _loop.set_exception_handler(lambda _, context: _complaints.append(context))
    _complaints.clear()
    _log.records.clear()
    propagate, level = _logger.propagate, _logger.level
    _logger.propagate = False
    _logger.setLevel(logging.ERROR)
    _logger.addHandler(_log)
    try:
        _loop.run_until_complete(script.play())
    except BaseException:
        _loop.close()
        _loop = None
        raise
    finally:
        _logger.removeHandler(_log)
        _logger.propagate = propagate
        _logger.setLevel(level)
    assert not _complaints, _complaints
    for record in _log.records:
        assert script.application in FAULTY, logging.Formatter().format(record)
        assert OUR_WORDS.match(record.getMessage()), logging.Formatter().format(record)
        assert record.exc_info is None or record.exc_info[0] is ZeroDivisionError, logging.Formatter().format(record)


# ---------------------------------------------------------------------------------------------------------- the output

_line = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: (?:[\t -~\x80-\xff]*[!-~\x80-\xff])?").fullmatch
_status_line = re.compile(rb"HTTP/1\.1 [1-5][0-9][0-9] [ -~]*\r\n").match


def check_output(output: bytes, scopes: list[Scope], *, cut: bool) -> None:
    """Responses in the order of their requests, then frames; `cut`: the last of it may be missing."""
    answered = 0
    last = False
    while output:
        assert not last, f"bytes behind a response with 'connection: close': {output!r:.200}"
        assert _status_line(output), f"{output!r:.200}"
        scope = scopes[answered] if answered < len(scopes) else None
        websocket = scope is not None and scope["type"] == "websocket"
        method = scope["method"] if scope is not None and not websocket else "GET"
        found = wire.read_response(output, method, ended=True)
        if found is None and scope is None:
            found = wire.read_response(output, "HEAD", ended=True)  # refused before the application heard of it
        if found is None:
            assert cut, f"half a response: {output!r:.300}"
            return
        response, output = found
        for line in response.lines:
            assert _line(line), line
        if response.status == 101:
            assert websocket
            check_frames(output, b"sec-websocket-extensions" in response.headers)
            return
        if response.status >= 200:
            answered += 1
            last = response.headers.get(b"connection") == b"close"
            assert last or not websocket, "a refused handshake must close the connection"


def check_frames(output: bytes, deflate: bool) -> None:
    """Whole messages in single frames, control frames between them, and nothing behind a Close."""
    frames = wire.read_frames(output)
    for i, frame in enumerate(frames):
        assert frame.fin
        assert frame.opcode in (wire.TEXT, wire.BINARY, wire.CLOSE, wire.PING, wire.PONG), frame
        payload = frame.payload
        if frame.rsv1:
            assert deflate
            payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
        if frame.opcode == wire.TEXT:
            payload.decode()
        elif frame.opcode >= wire.CLOSE:
            assert len(payload) <= 125
            assert not frame.rsv1
        if frame.opcode == wire.CLOSE:
            assert i == len(frames) - 1, f"frames behind a Close: {frames[i:]!r:.200}"
            assert len(payload) != 1
            payload[2:].decode()
