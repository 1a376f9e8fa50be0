"""What applications can write to, and the context they run in, is one call's own."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fake_loop import DrivenApp, FakeServer, on_fake_clock, settle
from wire import handshake, text

from fastws.asgi.scopes import sharing_keys

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nX-Mine: 1\r\n\r\n"
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="the server's")


def containers(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """All dictionaries and lists in `value`, but what is in `state`, which is the lifespan's."""
    if isinstance(value, dict):
        yield path, value
        for key, each in value.items():
            if key != "state":
                yield from containers(each, f"{path}[{key!r}]")
    elif isinstance(value, list):
        yield path, value
        for number, each in enumerate(value):
            yield from containers(each, f"{path}[{number}]")
    elif isinstance(value, tuple):
        for number, each in enumerate(value):
            yield from containers(each, f"{path}[{number}]")


def scribble(scope: dict[str, Any]) -> None:
    """Write into all that can be written to."""
    for path, each in list(containers(scope, "scope")):
        if path != "scope['headers']" and isinstance(each, list):
            each.append("scribbled")
        elif isinstance(each, list):
            each.append((b"scribbled", b"1"))
        else:
            each["scribbled"] = True
    scope["state"]["scribbled"] = True
    scope.update({f"scribbled {number}": True for number in range(40)})  # more than can be shared of keys
    del scope["raw_path"]


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_what_a_call_writes_into_its_scope_no_other_sees(kind: str) -> None:
    @on_fake_clock
    async def check() -> None:
        app = DrivenApp()
        server = FakeServer(app)
        scopes = []
        for _ in range(4):
            peer = server.connect()
            await peer.send(REQUEST if kind == "http" else handshake(b"Sec-WebSocket-Protocol: a, b"))
            scope = app.calls[-1].scope
            assert "scribbled" not in repr(scope)
            assert type(scope) is dict
            assert "raw_path" in scope
            scopes.append(scope)
            scribble(scope)
            peer.transport.reset()
            app.calls[-1].end.set_result(None)
            await settle()
        seen: dict[int, str] = {}
        for number, scope in enumerate(scopes):
            for path, each in containers(scope, "scope"):
                assert seen.setdefault(id(each), f"{path} of call {number}") == f"{path} of call {number}"

    check()


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="measures CPython's dictionaries")
def test_a_copy_with_shared_keys_is_small_and_keeps_its_own_values() -> None:
    values = {"websocket.http.response": 1, "b": 2}
    shared = sharing_keys(values, ("tls",))
    copy = shared.copy()
    assert sys.getsizeof(copy) < sys.getsizeof(dict(values))
    copy["tls"] = 3
    assert sys.getsizeof(copy) < sys.getsizeof({**values, "tls": 3})
    del copy["b"]
    copy["another"] = 4
    assert list(copy.items()) == [("websocket.http.response", 1), ("tls", 3), ("another", 4)]
    assert list(shared.items()) == list(values.items())


@on_fake_clock
async def test_a_repeated_request_on_one_connection_has_a_scope_of_its_own() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    for _ in range(4):
        await peer.send(REQUEST)
        call = app.calls[-1]
        assert "scribbled" not in repr(call.scope)
        scribble(call.scope)
        await respond(call)


@on_fake_clock
async def test_an_application_cannot_offer_itself_a_subprotocol() -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(handshake(b"Sec-WebSocket-Protocol: a"))
    (call,) = app.calls
    call.scope["subprotocols"].append("b")
    await call.receive()
    with pytest.raises(Exception, match="subprotocol"):
        await call.send({"type": "websocket.accept", "subprotocol": "b"})
    peer.transport.reset()
    call.end.set_result(None)
    await settle()


async def respond(call: Any) -> None:
    await call.send({"type": "http.response.start", "status": 200})
    await call.send({"type": "http.response.body", "body": b"x"})
    call.end.set_result(None)
    await settle()


def variable_app(seen: list[str]) -> Any:
    """Notes what it finds in VARIABLE, and leaves the path there."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set(scope["path"])
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                seen.append(VARIABLE.get())
                VARIABLE.set(VARIABLE.get() + "+")
                await send({"type": "websocket.send", "text": "x"})
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"x"})

    return app


@on_fake_clock
async def test_a_pipelined_request_begins_in_the_servers_context() -> None:
    seen: list[str] = []
    peer = FakeServer(variable_app(seen)).connect()
    await peer.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(4)))
    assert seen == ["the server's"] * 4


@on_fake_clock
async def test_a_request_behind_a_body_that_was_held_back_begins_in_the_servers_context() -> None:
    seen: list[str] = []
    peer = FakeServer(variable_app(seen)).connect()
    head = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"
    for number in range(2):
        peer.transport.feed(head % number)
        for _ in range(10):
            peer.transport.feed(b"x" * 30_000)
        await settle()
    assert seen == ["the server's"] * 2


@on_fake_clock
async def test_a_websocket_behind_a_pipelined_request_has_its_own_context_all_the_time() -> None:
    seen: list[str] = []
    peer = FakeServer(variable_app(seen)).connect()
    await peer.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" + handshake())
    for _ in range(3):
        await peer.send(text("a"))
    assert seen == ["the server's", "the server's", "/chat", "/chat+", "/chat++"]
    peer.transport.reset()
    await settle()


@on_fake_clock
async def test_callbacks_that_sends_and_receives_ask_for_run_in_the_servers_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon
    scheduled: list[tuple[str, str]] = []

    def noting(callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        name = getattr(callback, "__qualname__", repr(callback))
        found = VARIABLE.get() if context is None else context.get(VARIABLE, "the server's")
        scheduled.append((name, found))
        return call_soon(callback, *args, context=context)

    seen: list[str] = []
    peer = FakeServer(variable_app(seen), ws_max_queue_bytes=1000).connect()
    await peer.send(handshake())
    monkeypatch.setattr(loop, "call_soon", noting)
    await peer.send(b"".join(text("x" * 100) for _ in range(30)))
    monkeypatch.undo()
    own = [entry for entry in scheduled if "LoopCore" in entry[0] or "Session" in entry[0] or "Inbox" in entry[0]]
    assert own
    assert {found for _, found in own} == {"the server's"}
    peer.transport.reset()
    await settle()


@on_fake_clock
async def test_the_end_of_a_connection_is_dealt_with_in_the_servers_context() -> None:
    found: list[str] = []

    class Leaving:
        def __init__(self) -> None:
            self.hears_requests = False

        def websocket_opened(self, scope: Any, status: int) -> None:
            pass

        def websocket_closed(self, scope: Any, end: Any) -> None:
            found.append(VARIABLE.get())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        VARIABLE.set("the application's")
        await receive()
        await send({"type": "websocket.accept"})
        loop = asyncio.get_running_loop()
        loop.call_soon(peer.connection.connection_lost, None)  # as a transport that the application's call has ended
        while (await receive())["type"] != "websocket.disconnect":
            pass

    peer = FakeServer(app, observer=Leaving()).connect()
    await peer.send(handshake())
    await settle()
    assert found == ["the server's"]
