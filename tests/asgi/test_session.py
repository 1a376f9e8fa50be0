"""What an application sees of a WebSocket and what its events do, in every state; on every engine.

Handshake, scope, accept, denial and errors of the application are here; the end of a WebSocket is in
test_websocket_close.py, flow control and corking in test_websocket_flow.py.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import wire
from driving import ACCEPT, AHEAD, connect, errors, open_websocket
from fake_loop import DrivenApp, FakeServer, Peer, on_fake_clock, settle
from serving import serve

from fastws.errors import ApplicationError

pytestmark = pytest.mark.usefixtures("channels")


class Echo:
    """A real server's application: `scopes` and `events` are what it was called with and received."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.events: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        self.scopes.append(scope)
        while True:
            event = await receive()
            self.events.append(event)
            if event["type"] == "websocket.connect":
                await send({"type": "websocket.accept", "headers": [(b"x-first", b"1"), (b"X-Second", b"2")]})
            elif event["type"] == "websocket.receive":
                await send({**event, "type": "websocket.send"})
            else:
                return


def test_echo_over_a_real_socket(engine: str) -> None:
    app = Echo()
    with serve(app, ws=engine, root_path="/api") as serving, wire.Client(serving) as client:
        response = client.open(b"Sec-WebSocket-Protocol: chat, superchat", b"Sec-WebSocket-Protocol: third", b"X-A: b ")
        assert response.headers[b"sec-websocket-accept"] == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert b"sec-websocket-protocol" not in response.headers
        assert [line for line in response.lines if line.lower().startswith(b"x-")] == [b"x-first: 1", b"X-Second: 2"]
        client.send(wire.text("héllo") + wire.frame(wire.BINARY, bytes(range(256))) + wire.text(""))
        assert client.frame() == wire.Frame(wire.TEXT, "héllo".encode())
        assert client.frame() == wire.Frame(wire.BINARY, bytes(range(256)))
        assert client.frame() == wire.Frame(wire.TEXT, b"")
        client.send(wire.close(3001, "bye"))
        assert client.frame() == wire.closing(3001, "bye")
        assert client.rest() == b""
        address = client.socket.getsockname()
    assert app.events == [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "héllo"},
        {"type": "websocket.receive", "bytes": bytes(range(256))},
        {"type": "websocket.receive", "text": ""},
        {"type": "websocket.disconnect", "code": 3001, "reason": "bye"},
    ]
    [scope] = app.scopes
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/api/chat",
        "raw_path": b"/api/chat",
        "query_string": b"room=1",
        "root_path": "/api",
        "headers": [
            (b"host", b"test"),
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            (b"sec-websocket-protocol", b"chat, superchat"),
            (b"sec-websocket-protocol", b"third"),
            (b"x-a", b"b"),
        ],
        "client": address,
        "server": (serving.host, serving.port),
        "subprotocols": ["chat", "superchat", "third"],
        "state": {},
        "extensions": {"websocket.http.response": {}, "fastws.topics": {"version": 1}},
    }
    assert type(scope["client"][1]) is int
    assert type(scope["server"][1]) is int


def test_state_is_copied_for_each_websocket() -> None:
    states = []
    shared: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            scope["state"]["shared"] = shared
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            states.append(scope["state"].copy())
            scope["state"]["mine"] = len(states)
            scope["state"]["shared"].append("seen")
            await send({"type": "websocket.close"})

    with serve(app) as serving:
        for _ in range(2):
            with wire.Client(serving) as client:
                client.send(wire.handshake())
                assert client.response().status == 403
    assert states == [{"shared": shared}] * 2
    assert states[0]["shared"] is shared
    assert shared == ["seen", "seen"]


# ------------------------------------------------------------------------------------------------------------ handshake


@on_fake_clock
async def test_nothing_is_received_before_the_accept(engine: str) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine), early=wire.text("early"))
    [call] = app.calls
    assert await call.receive() == {"type": "websocket.connect"}
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    assert not receiving.done()
    assert peer.take() == b""
    await call.send(ACCEPT)
    assert await receiving == {"type": "websocket.receive", "text": "early"}


@on_fake_clock
async def test_an_application_may_accept_without_receiving_the_connect(engine: str) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine))
    [call] = app.calls
    await call.send(ACCEPT)
    await call.send({"type": "websocket.send", "text": "hello"})
    assert wire.read_frames(peer.take().partition(b"\r\n\r\n")[2]) == wire.messages("hello")
    assert await call.receive() == {"type": "websocket.connect"}
    await peer.send(wire.text("x"))
    assert await call.receive() == {"type": "websocket.receive", "text": "x"}


@pytest.mark.parametrize("cut", range(0, 24, 5))
@on_fake_clock
async def test_frames_behind_the_handshake_are_kept_wherever_the_segment_ends(engine: str, cut: int) -> None:
    frames = wire.text("one") + wire.text("two") + wire.text("3")
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine), early=frames[:cut])
    [call] = app.calls
    await peer.send(frames[cut : cut + 3])  # while the application decides
    await call.send(ACCEPT)
    await peer.send(frames[cut + 3 :])
    await call.receive()
    assert [(await call.receive())["text"] for _ in range(3)] == ["one", "two", "3"]


def test_handshake_byte_by_byte_with_frames_behind_it(engine: str) -> None:
    with serve(Echo(), ws=engine) as serving, wire.Client(serving) as client:
        client.send_byte_by_byte(wire.handshake() + wire.text("hello"))
        assert client.response().status == 101
        assert client.frame() == wire.Frame(wire.TEXT, b"hello")


@on_fake_clock
async def test_a_peer_that_sends_before_the_accept_is_read_up_to_a_bound(engine: str) -> None:
    app = DrivenApp()
    sent = [f"{i:04}".ljust(1000) for i in range(400)]
    peer = await connect(FakeServer(app, engine=engine), early=b"".join(map(wire.text, sent[:20])))
    await peer.send(b"".join(map(wire.text, sent[20:])))
    assert not peer.transport.reading
    assert peer.transport.unread > 250_000
    [call] = app.calls
    await call.send(ACCEPT)
    await call.receive()
    received = []
    for _ in sent:
        received.append((await call.receive())["text"])
    assert received == sent
    await settle()
    assert peer.transport.reading
    assert peer.transport.unread == 0


@on_fake_clock
async def test_a_queue_that_early_frames_have_filled_is_not_filled_further(engine: str) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine, ws_max_queue=4), early=wire.text("x") * 10)
    [call] = app.calls
    await call.send(ACCEPT)
    await peer.send(AHEAD)
    await peer.send(wire.text("y"))
    assert not peer.transport.reading
    assert peer.transport.unread
    await call.receive()
    assert [(await call.receive())["text"] for _ in range(11)] == ["x"] * 10 + ["y"]


@on_fake_clock
async def test_accept_with_a_subprotocol_and_headers(engine: str) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine), b"Sec-WebSocket-Protocol: a, b")
    [call] = app.calls
    headers = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"server", b"mine")]
    await call.send({"type": "websocket.accept", "subprotocol": "b", "headers": iter(headers), "extra": 1})
    found = wire.read_response(peer.take())
    assert found is not None
    assert found[0].headers[b"sec-websocket-protocol"] == b"b"
    assert [line for line in found[0].lines if line.startswith((b"set-cookie", b"server"))] == [
        b"set-cookie: a=1",
        b"set-cookie: b=2",
        b"server: mine",
    ]


BAD_ACCEPTS: dict[str, dict[str, Any]] = {
    "subprotocol that was not offered": {"subprotocol": "c"},
    "subprotocol of a wrong type": {"subprotocol": b"a"},
    "CR LF in a value": {"headers": [(b"x", b"1\r\nset-cookie: stolen")]},
    "LF in a name": {"headers": [(b"x\nset-cookie", b"stolen")]},
    "NUL in a value": {"headers": [(b"x", b"\0")]},
    "header of str": {"headers": [("x", "1")]},
    "header of the handshake": {"headers": [(b"Sec-WebSocket-Protocol", b"a")]},
    "header that frames a body": {"headers": [(b"content-length", b"5")]},
    "pseudo header": {"headers": [(b":status", b"200")]},
    "headers that are no pairs": {"headers": [b"x"]},
}


@pytest.mark.parametrize("event", BAD_ACCEPTS.values(), ids=BAD_ACCEPTS)
@on_fake_clock
async def test_a_bad_accept_is_an_error_to_the_application_and_500_to_the_peer(
    engine: str, event: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine), b"Sec-WebSocket-Protocol: a, b")
    [call] = app.calls
    with pytest.raises(ApplicationError) as raised:
        await call.send({"type": "websocket.accept", **event})
    assert peer.take() == b""
    call.end.set_exception(raised.value)
    await settle()
    answer = peer.take()
    assert b"stolen" not in answer
    found = wire.read_response(answer)
    assert found is not None
    assert found[0].status == 500
    assert found[0].headers[b"connection"] == b"close"
    assert peer.transport.half_closed
    [record] = errors(caplog)
    assert record.exc_info is not None
    assert record.exc_info[1] is raised.value


@on_fake_clock
async def test_an_application_may_mend_a_bad_accept(engine: str) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine))
    [call] = app.calls
    with pytest.raises(ApplicationError):
        await call.send({"type": "websocket.accept", "subprotocol": "nobody offered it"})
    await call.send(ACCEPT)
    assert peer.take().startswith(b"HTTP/1.1 101 ")


@on_fake_clock
async def test_an_application_that_never_decides_is_a_504(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine, ws_handshake_timeout=3))
    await asyncio.sleep(2.9)
    assert peer.take() == b""
    await asyncio.sleep(2)
    found = wire.read_response(peer.take())
    assert found is not None
    assert found[0].status == 504
    [call] = app.calls
    assert await call.receive() == {"type": "websocket.connect"}
    assert (await call.receive())["type"] == "websocket.disconnect"
    with pytest.raises(OSError, match="closed"):
        await call.send(ACCEPT)
    assert caplog.messages[0] == (
        "The application did not accept or close a WebSocket within --ws-handshake-timeout. "
        '(192.0.2.1:50000 - "WebSocket /chat?room=1")'
    )


@on_fake_clock
async def test_a_peer_that_goes_before_the_accept(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server)
    [call] = app.calls
    assert await call.receive() == {"type": "websocket.connect"}
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    peer.transport.reset()
    assert await receiving == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    with pytest.raises(OSError, match="closed") as raised:
        await call.send(ACCEPT)
    call.end.set_exception(raised.value)
    await server.state.wait_closed()
    assert errors(caplog) == []


# -------------------------------------------------------------------------------------------------------------- denials


def refused(peer: Peer) -> wire.Response:
    """The response that refused the handshake; it closes the connection."""
    found = wire.read_response(peer.take())
    assert found is not None
    assert found[1] == b""
    assert found[0].headers[b"connection"] == b"close"
    assert peer.transport.half_closed
    peer.transport.feed(wire.text("dropped"))
    peer.transport.feed_eof()
    assert peer.transport.closing
    return found[0]


@on_fake_clock
async def test_close_before_accept_is_a_403(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server, early=wire.text("early"))
    [call] = app.calls
    await call.receive()
    await call.send({"type": "websocket.close", "code": 4000})
    assert refused(peer).status == 403
    assert (await call.receive())["type"] == "websocket.disconnect"
    call.end.set_result(None)
    await server.state.wait_closed()
    assert errors(caplog) == []


@on_fake_clock
async def test_a_denied_peer_that_stays_is_cut(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine, ws_close_timeout=5)
    peer = await connect(server)
    [call] = app.calls
    await call.send({"type": "websocket.close"})
    call.end.set_result(None)
    await server.state.wait_closed()
    assert peer.transport.aborted


@on_fake_clock
async def test_the_response_of_a_denial_is_streamed(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server)
    [call] = app.calls
    await call.receive()
    headers = [(b"content-type", b"text/plain"), (b"transfer-encoding", b"gzip")]
    await call.send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    assert peer.take() == b""
    await call.send({"type": "websocket.http.response.body", "body": b"one, ", "more_body": True})
    first = peer.take()
    assert first.startswith(b"HTTP/1.1 401 ")
    assert b"5\r\none, \r\n" in first
    for event in (ACCEPT, {"type": "websocket.close"}, {"type": "websocket.send", "text": "x"}):
        with pytest.raises(ApplicationError, match=r"'websocket\.http\.response\.body'"):
            await call.send(event)
    await asyncio.sleep(100)  # a response has as long as it takes
    await call.send({"type": "websocket.http.response.body", "body": b"two"})
    second = peer.take()
    found = wire.read_response(first + second)
    assert found is not None
    assert found[0].body == b"one, two"
    assert found[0].headers[b"connection"] == b"close"
    assert found[0].headers[b"content-type"] == b"text/plain"
    await call.send({"type": "websocket.http.response.body", "body": b"ignored"})
    assert peer.take() == b""
    assert peer.transport.half_closed
    assert (await call.receive())["type"] == "websocket.disconnect"
    call.end.set_result(None)
    peer.transport.feed_eof()
    await server.state.wait_closed()
    assert errors(caplog) == []


@on_fake_clock
async def test_a_denial_in_one_piece_is_one_write_with_its_length(engine: str) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine))
    [call] = app.calls
    await call.send({"type": "websocket.http.response.start", "status": 404})
    await call.send({"type": "websocket.http.response.body", "body": b"nothing here"})
    [write] = peer.take_writes()
    found = wire.read_response(write)
    assert found is not None
    assert (found[0].status, found[0].body, found[0].headers[b"content-length"]) == (404, b"nothing here", b"12")


@pytest.mark.parametrize("begun", [False, True], ids=["before the body", "in the body"])
@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
@on_fake_clock
async def test_a_denial_that_the_application_does_not_finish(
    engine: str, begun: bool, raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server)
    [call] = app.calls
    await call.send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-mine", b"1")]})
    if begun:
        await call.send({"type": "websocket.http.response.body", "body": b"one", "more_body": True})
    if raises:
        call.end.set_exception(ValueError("mine"))
    else:
        call.end.set_result(None)
    await settle()
    answer = peer.take()
    if begun:
        assert wire.read_response(answer) is None
        assert peer.transport.closing
    else:
        found = wire.read_response(answer)
        assert found is not None
        assert found[0].status == 500
        assert b"x-mine" not in found[0].headers
        assert peer.transport.half_closed
        peer.transport.feed_eof()
    await server.state.wait_closed()
    assert len(errors(caplog)) == 1


@on_fake_clock
async def test_a_peer_that_goes_in_the_response_of_a_denial(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peer = await connect(server)
    [call] = app.calls
    await call.send({"type": "websocket.http.response.start", "status": 401})
    await call.send({"type": "websocket.http.response.body", "body": b"one", "more_body": True})
    peer.transport.reset()
    with pytest.raises(OSError, match="closed") as raised:
        await call.send({"type": "websocket.http.response.body", "body": b"two"})
    call.end.set_exception(raised.value)
    await server.state.wait_closed()
    assert errors(caplog) == []


# ----------------------------------------------------------------------------------------------- events and their order

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no type": ({}, "None"),
    "type of a wrong type": ({"type": 5}, "5"),
    "unknown": ({"type": "websocket.sned"}, r"'websocket\.sned' .* 'websocket\.send' or 'websocket\.close'"),
    "of HTTP": ({"type": "http.response.start", "status": 200}, r"http\.response\.start"),
    "accept again": (ACCEPT, r"'websocket\.accept' cannot be sent on an open WebSocket: allowed is 'websocket\.send'"),
    "denial": ({"type": "websocket.http.response.start", "status": 200}, r"on an open WebSocket"),
    "neither": ({"type": "websocket.send"}, "neither"),
    "both None": ({"type": "websocket.send", "text": None, "bytes": None}, "neither"),
    "both": ({"type": "websocket.send", "text": "a", "bytes": b"a"}, "both"),
    "text of bytes": ({"type": "websocket.send", "text": b"a"}, "'text' .* str, not bytes"),
    "bytes of str": ({"type": "websocket.send", "bytes": "a"}, "'bytes' .* bytes, not str"),
    "code that may not be sent": ({"type": "websocket.close", "code": 1006}, "websocket.close"),
    "code out of range": ({"type": "websocket.close", "code": 99999}, "websocket.close"),
    "code of a wrong type": ({"type": "websocket.close", "code": "1000"}, "websocket.close"),
    "reason too long": ({"type": "websocket.close", "reason": "é" * 62}, "websocket.close"),
    "reason of a wrong type": ({"type": "websocket.close", "reason": b"bye"}, "websocket.close"),
}


@pytest.mark.parametrize(("event", "message"), WRONG.values(), ids=WRONG)
@on_fake_clock
async def test_a_wrong_event_names_itself_and_changes_nothing(engine: str, event: dict[str, Any], message: str) -> None:
    call, peer = await open_websocket(engine)
    with pytest.raises(ApplicationError, match=message):
        await call.send(event)
    assert peer.take() == b""
    await call.send({"type": "websocket.send", "text": "still open", "bytes": None, "extra": object()})
    assert wire.read_frames(peer.take()) == wire.messages("still open")


@on_fake_clock
async def test_a_lone_surrogate_is_an_error_to_the_application_only(engine: str) -> None:
    call, peer = await open_websocket(engine)
    with pytest.raises(UnicodeEncodeError):
        await call.send({"type": "websocket.send", "text": "\ud800"})
    await call.send({"type": "websocket.send", "text": "fine"})
    assert wire.read_frames(peer.take()) == wire.messages("fine")


@pytest.mark.parametrize("event", [{"type": "websocket.send", "text": "x"}, {"type": "websocket.http.response.body"}])
@on_fake_clock
async def test_what_may_not_be_sent_before_the_accept(engine: str, event: dict[str, Any]) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine))
    [call] = app.calls
    with pytest.raises(ApplicationError, match=r"before the WebSocket is accepted: allowed is 'websocket\.accept' or"):
        await call.send(event)
    assert peer.take() == b""


@on_fake_clock
async def test_bytes_like_messages(engine: str) -> None:
    call, peer = await open_websocket(engine)
    for data in (b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]):
        await call.send({"type": "websocket.send", "bytes": data})
    await settle()
    assert wire.read_frames(peer.take()) == [wire.Frame(wire.BINARY, b"abc")] * 3


@on_fake_clock
async def test_two_tasks_that_receive_get_each_message_once(engine: str) -> None:
    call, peer = await open_websocket(engine)
    tasks = [asyncio.ensure_future(call.receive()) for _ in range(3)]
    await settle()
    tasks[0].cancel()
    await settle()
    await peer.send(wire.text("a"))
    await peer.send(wire.text("b"))
    assert sorted([(await task)["text"] for task in tasks[1:]]) == ["a", "b"]
    await peer.send(wire.text("c"))
    assert (await call.receive())["text"] == "c"


@on_fake_clock
async def test_a_cancelled_receive_loses_nothing(engine: str) -> None:
    call, peer = await open_websocket(engine)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(call.receive(), 1)
    await peer.send(wire.text("a"))
    assert (await call.receive())["text"] == "a"


# -------------------------------------------------------------------------------------------- errors of the application


def test_an_application_that_raises_before_the_accept(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        raise ValueError("mine")

    with serve(app, ws=engine) as serving, wire.Client(serving) as client:
        client.send(wire.handshake() + wire.text("early"))
        assert client.response().status == 500
        assert client.rest() == b""
    [record] = errors(caplog)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert caplog.text.count("ValueError: mine") == 1


def test_an_application_that_returns_before_the_accept(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        return

    with serve(app, ws=engine, lifespan="off") as serving, wire.Client(serving) as client:
        client.send(wire.handshake())
        assert client.response().status == 500
    assert len(errors(caplog)) == 1


@on_fake_clock
async def test_an_application_that_raises_after_the_accept(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    call, peer = await open_websocket(engine)
    call.end.set_exception(ValueError("mine"))
    await settle()
    [frame] = wire.read_frames(peer.take())
    assert frame.opcode == wire.CLOSE
    assert frame.payload[:2] == (1011).to_bytes(2, "big")
    assert not peer.transport.closing
    await peer.send(wire.text("ignored") + frame_back(frame))
    assert peer.transport.closing
    assert caplog.text.count("ValueError: mine") == 1
    assert len(errors(caplog)) == 1


def frame_back(frame: wire.Frame) -> bytes:
    """A client's answer to the server's Close."""
    return wire.frame(frame.opcode, frame.payload)


@on_fake_clock
async def test_an_application_that_returns_after_the_accept(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    call, peer = await open_websocket(engine)
    call.end.set_result(None)
    await settle()
    assert wire.read_frames(peer.take()) == [wire.closing(1000)]
    await peer.send(wire.close(1000))
    assert peer.transport.closing
    assert errors(caplog) == []


@on_fake_clock
async def test_what_was_sent_before_the_return_arrives_before_the_close(engine: str) -> None:
    call, peer = await open_websocket(engine)
    for i in range(5):
        await call.send({"type": "websocket.send", "text": str(i)})
    call.end.set_result(None)
    await settle()
    assert wire.read_frames(peer.take()) == [*wire.messages(*"01234"), wire.closing(1000)]


@on_fake_clock
async def test_an_application_that_cancels_itself(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    call, peer = await open_websocket(engine)
    call.end.cancel()
    await settle()
    [frame] = wire.read_frames(peer.take())
    assert frame.payload[:2] == (1011).to_bytes(2, "big")
    assert len(errors(caplog)) == 1


def test_an_application_that_is_no_coroutine_function(caplog: pytest.LogCaptureFixture) -> None:
    def app(scope: Any, receive: Any, send: Any) -> None:
        return None

    with serve(app, lifespan="off") as serving, wire.Client(serving) as client:
        client.send(wire.handshake())
        assert client.response().status == 500
    [record] = errors(caplog)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], TypeError)


def test_an_asgi_2_application() -> None:
    class App:
        def __init__(self, scope: Any) -> None:
            self.scope = scope

        async def __call__(self, receive: Any, send: Any) -> None:
            assert self.scope["type"] == "websocket"
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": self.scope["path"]})

    with serve(App) as serving, wire.Client(serving) as client:
        client.open()
        assert client.frame() == wire.Frame(wire.TEXT, b"/chat")
        assert client.frame() == wire.closing(1000)
