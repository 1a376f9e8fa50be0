"""What an application can do wrong, at each stage of a request and of a WebSocket, on every engine.

Whatever it is: the peer gets an answer, the log has one error that names the fault, nothing is left behind, and the
next request is served. The clock and the transport are fake, so that every timeout is waited for in full; how processes
end that have such applications is in test_faults_process.py, what tasks do in test_faults_tasks.py.
"""

from __future__ import annotations

import asyncio
import builtins
import itertools
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import wire
from driving import connect, errors
from fake_loop import FakeServer, Peer, on_fake_clock, settle

from fastws.errors import ApplicationError

Act = Callable[[Any, Any], Awaitable[Any]]
"""What an application does, with its receive and send."""

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
NEXT = GET.replace(b"/", b"/next", 1)
POST = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n"
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
PART: dict[str, Any] = {"type": "http.response.body", "body": b"part", "more_body": True}
END: dict[str, Any] = {"type": "http.response.body", "body": b"end"}
ACCEPT: dict[str, Any] = {"type": "websocket.accept"}
MESSAGE: dict[str, Any] = {"type": "websocket.send", "text": "x"}
CLOSE: dict[str, Any] = {"type": "websocket.close", "code": 4000}
DENIAL: dict[str, Any] = {"type": "websocket.http.response.start", "status": 401, "headers": []}
DENIAL_PART: dict[str, Any] = {"type": "websocket.http.response.body", "body": b"part", "more_body": True}


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


# ------------------------------------------------------------------------------------------------------------- faults


class Custom(BaseException):
    pass


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even this fails")


class ClientDisconnect(Exception):
    """As Starlette's: of a peer that is there, it is an error like any other."""


def raising(error: BaseException) -> Act:
    async def act(receive: Any, send: Any) -> None:
        raise type(error)(*error.args)  # a new one, without the traceback of the last test

    return act


async def raise_in_cleanup(receive: Any, send: Any) -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            raise ValueError("in the cleanup of a generator")

    generator = numbers()
    async for _ in generator:
        await generator.aclose()  # type: ignore[attr-defined]  # it is a generator


async def raise_behind_a_slow_finally(receive: Any, send: Any) -> None:
    try:
        raise ValueError("first")
    finally:
        await asyncio.sleep(30)


async def cancel_itself(receive: Any, send: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await forever()


async def recurse(receive: Any, send: Any) -> None:
    await recurse(receive, send)


def stop_iteration() -> Act:
    async def act(receive: Any, send: Any) -> None:
        next(iter(()))

    return act


RAISING: dict[str, tuple[Act, str]] = {
    "Exception": (raising(ValueError("mine")), "mine"),
    "BaseException": (raising(Custom("mine")), "mine"),
    "SystemExit": (raising(SystemExit(3)), "SystemExit"),
    "KeyboardInterrupt": (raising(KeyboardInterrupt()), "KeyboardInterrupt"),
    "GeneratorExit": (raising(GeneratorExit()), "GeneratorExit"),
    "StopIteration": (stop_iteration(), "StopIteration"),
    "StopAsyncIteration": (raising(StopAsyncIteration()), "StopAsyncIteration"),
    "MemoryError": (raising(MemoryError()), "MemoryError"),
    "OSError": (raising(ConnectionResetError("of a database")), "of a database"),
    "a disconnect that is none": (raising(ClientDisconnect("who?")), "who?"),
    "unprintable": (raising(Unprintable()), "Unprintable"),
    "recursion": (recurse, "RecursionError"),
    "cleanup of a generator": (raise_in_cleanup, "in the cleanup"),
    "slow finally": (raise_behind_a_slow_finally, "first"),
}
"""What it raises, and a word that the traceback has."""
if sys.version_info >= (3, 11):
    group = builtins.ExceptionGroup("all mine", [ValueError("a"), OSError("b")])
    worst = builtins.BaseExceptionGroup("worst", [SystemExit(1)])
    RAISING["ExceptionGroup"] = (raising(group), "all mine")
    RAISING["BaseExceptionGroup"] = (raising(worst), "worst")

CANCELLED: dict[str, Act] = {"CancelledError": raising(asyncio.CancelledError()), "cancels itself": cancel_itself}


async def returns(receive: Any, send: Any) -> None:
    pass


NO_EVENT: list[Any] = [
    None,
    [],
    "http.response.start",
    7,
    {},
    {"type": None},
    {"type": 7},
    {"type": b"http.response.start"},
    {"type": ["http.response.start"]},
    {"type": "nonsense"},
    {"type": "lifespan.startup.complete"},
]
BAD_HEADERS: list[Any] = [None, "x", 7, [None], [("a", "b")], [(b"a",)], [(b"a b", b"c")], [(b"a", b"c\r\nd: e")]]
BAD_START: list[Any] = [
    {"type": "http.response.start"},
    *({**START, "status": status} for status in (None, "200", True, 99, 101, 1000)),
    *({**START, "headers": headers} for headers in BAD_HEADERS),
    {**START, "trailers": "yes"},
    {"type": "http.response.early_hint", "links": 7},
    END,
    ACCEPT,
]
BAD_BODY: list[Any] = [
    {**PART, "body": "text"},
    {**PART, "body": None},
    {**PART, "more_body": "no"},
    {**PART, "more_body": None},
    START,
    {"type": "http.response.trailers"},
    MESSAGE,
]
BAD_ACCEPT: list[Any] = [
    *({**ACCEPT, "subprotocol": name} for name in (7, b"chat", "not-offered", "a\r\nb: c")),
    *({**ACCEPT, "headers": headers} for headers in BAD_HEADERS[1:]),
    {**ACCEPT, "headers": [(b"sec-websocket-protocol", b"x")]},
    {"type": "websocket.http.response.start"},
    {**DENIAL, "status": "401"},
    {**DENIAL, "headers": 7},
    DENIAL_PART,
    MESSAGE,
    START,
]
BAD_SEND: list[Any] = [
    {"type": "websocket.send"},
    {"type": "websocket.send", "text": "x", "bytes": b"x"},
    {"type": "websocket.send", "text": b"x"},
    {"type": "websocket.send", "text": 7},
    {"type": "websocket.send", "bytes": "x"},
    {"type": "websocket.send", "bytes": [1]},
    *({**CLOSE, "code": code} for code in ("1000", 1000.0, True, 0, 999, 1006, 1015, 2999, 5000, 2**40)),
    *({**CLOSE, "reason": reason} for reason in (7, b"x", "x" * 124, "\ud800")),
    ACCEPT,
    DENIAL,
    END,
]
BAD_DENIAL: list[Any] = [{**DENIAL_PART, "body": "x"}, {**DENIAL_PART, "more_body": 1}, DENIAL, ACCEPT, CLOSE, MESSAGE]


# ------------------------------------------------------------------------------------------------------------- stages


def do(*events: dict[str, Any]) -> Act:
    """An application that gets this far."""

    async def act(receive: Any, send: Any) -> None:
        for event in events:
            await send(event)

    return act


async def read(receive: Any, send: Any) -> None:
    while (await receive())["more_body"]:
        pass


async def read_once(receive: Any, send: Any) -> None:
    await receive()


HTTP: dict[str, tuple[bytes, Act, str]] = {
    "before the response": (GET, do(), "500"),
    "after the start": (GET, do(START), "500"),
    "in a chunked body": (GET, do(START, PART), "cut"),
    "in a body with a length": (GET, do({**START, "headers": [(b"content-length", b"9")]}, PART), "cut"),
    "before the trailers": (GET, do({**START, "trailers": True}, {**END, "more_body": False}), "cut"),
    "after the end": (GET, do(START, END), "whole"),
    "before the request body is read": (POST + b"\r\nbody", do(), "500"),
    "before the request body has come": (POST + b"\r\nbo", do(), "500"),
    "in the request body": (POST + b"\r\nbo", read_once, "500"),
    "after the request body": (POST + b"\r\nbody", read, "500"),
    "before 100": (POST + b"Expect: 100-continue\r\n\r\n", do(), "500"),
    "HEAD": (GET.replace(b"GET", b"HEAD"), do(), "500"),
    "HEAD, in the body": (GET.replace(b"GET", b"HEAD"), do(START, PART), "cut"),
    "HTTP/1.0": (GET.replace(b"1.1", b"1.0"), do(), "500"),
    "before a pipelined request": (GET + NEXT, do(), "500"),
    "after the end, before a pipelined request": (GET + NEXT, do(START, END), "whole, and the next"),
    "behind a pipelined request": (NEXT + GET, do(), "the next, and 500"),
    "an upgrade that is not made": (
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nbody",
        do(),
        "500",
    ),
}
"""What is sent, how far the application gets, and what the peer then sees of a fault."""


async def accept(receive: Any, send: Any) -> None:
    await receive()
    await send(ACCEPT)


async def receive_one(receive: Any, send: Any) -> None:
    await accept(receive, send)
    assert (await receive())["text"] == "one"


async def hear_the_close(receive: Any, send: Any) -> None:
    await accept(receive, send)
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def wait_a_second(receive: Any, send: Any) -> None:
    await accept(receive, send)
    await asyncio.sleep(1)


async def hang_a_second(receive: Any, send: Any) -> None:
    await receive()
    await asyncio.sleep(1)


def then(first: Act, *events: dict[str, Any]) -> Act:
    async def act(receive: Any, send: Any) -> None:
        await first(receive, send)
        await do(*events)(receive, send)

    return act


ONE_TWO = wire.text("one") + wire.text("two")
WEBSOCKET: dict[str, tuple[bytes, str, Act, str]] = {
    "before the connect": (b"", "", do(), "500"),
    "before the accept": (b"", "", read_once, "500"),
    "before the accept, with frames behind it": (ONE_TWO, "", read_once, "500"),
    "after the accept": (b"", "", accept, "close"),
    "after the accept, before the connect": (b"", "", do(ACCEPT), "close"),
    "while the peer sends": (ONE_TWO + b"\x81\xfe\x01", "", accept, "close"),
    "after a message": (ONE_TWO, "", receive_one, "close"),
    "after an answer": (ONE_TWO, "", then(receive_one, MESSAGE), "answer, close"),
    "after a message, before a close": (wire.text("one") + wire.close(1000), "", receive_one, "close"),
    "in the denial, before its body": (b"", "", then(read_once, DENIAL), "500"),
    "in the denial's body": (b"", "", then(read_once, DENIAL, DENIAL_PART), "cut"),
    "after the denial": (b"", "", then(read_once, DENIAL, {**DENIAL_PART, "more_body": False}), "401"),
    "after denying": (b"", "", then(read_once, {"type": "websocket.close"}), "403"),
    "after its own close": (b"", "", then(accept, CLOSE), "4000"),
    "after the peer's close": (wire.close(3000), "", hear_the_close, "3000"),
    "after a breach": (b"\xff\x00", "", hear_the_close, "1002"),
    "after the peer is gone": (b"", "reset", hear_the_close, "gone"),
    "unaware that the peer is gone": (b"", "reset", wait_a_second, "gone"),
    "before the accept, the peer gone": (b"", "reset", hang_a_second, "gone"),
    "after the server's shutdown began": (b"", "shut down", wait_a_second, "1012"),
}
"""What comes behind the handshake, what happens then, how far the application gets, what the peer then sees."""


class Faulty:
    """An application that gets as far as `stage` and then does `fault`; "/next" is always served."""

    def __init__(self, stage: Act, fault: Act) -> None:
        self.stage = stage
        self.fault = fault

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/next":
            await read(receive, send)
            await send(START)
            await send(END)
            return
        await self.stage(receive, send)
        await self.fault(receive, send)


async def begin_http(stage: str, fault: Act) -> tuple[FakeServer, Peer]:
    request, act, _ = HTTP[stage]
    server = FakeServer(Faulty(act, fault))
    peer = server.connect()
    await peer.send(request)
    await asyncio.sleep(40)
    return server, peer


async def check_http(stage: str, server: FakeServer, peer: Peer) -> None:
    """What the peer sees, and that nothing is left."""
    request, _, expected = HTTP[stage]
    method = request.split()[0].decode()
    answer = peer.take()
    ended = peer.transport.closing or peer.transport.half_closed
    if expected == "cut":
        assert peer.transport.aborted
        assert method == "HEAD" or wire.read_response(answer) is None
    elif expected.startswith("whole"):
        found = wire.read_response(answer, ended=ended)
        assert found is not None
        assert (found[0].status, found[0].body) == (200, b"end")
        if expected == "whole":
            await peer.send(NEXT)
            rest = found[1] + peer.take()
        else:
            rest = found[1]
        found = wire.read_response(rest)
        assert found is not None
        assert (found[0].body, found[1]) == (b"end", b"")
    else:
        if expected.startswith("the next"):
            found = wire.read_response(answer)
            assert found is not None
            assert found[0].body == b"end"
            answer = found[1]
        found = wire.read_response(answer, method, ended=ended)
        assert found is not None
        assert (found[0].status, found[1]) == (500, b"")
        assert found[0].headers[b"connection"] == b"close"
        assert ended
    await nothing_left(server, peer)


async def begin_websocket(engine: str, stage: str, fault: Act, **options: Any) -> tuple[FakeServer, Peer]:
    early, happens, act, _ = WEBSOCKET[stage]
    server = FakeServer(Faulty(act, fault), engine=engine, ws_ping_interval=None, ws_handshake_timeout=3600, **options)
    peer = await connect(server, early=early)
    if happens == "reset":
        peer.transport.reset()
    elif happens == "shut down":
        server.state.shut_down()
    await asyncio.sleep(35)
    return server, peer


async def check_websocket(
    stage: str, server: FakeServer, peer: Peer, *, failed: bool, expected: str | None = None
) -> None:
    """What the peer sees, and that nothing is left."""
    expected = expected or WEBSOCKET[stage][3]
    answer = peer.take()
    if expected == "cut":
        assert peer.transport.aborted
        assert wire.read_response(answer) is None
    elif expected in ("500", "401", "403"):
        found = wire.read_response(answer)
        assert found is not None
        assert (found[0].status, found[1]) == (int(expected), b"")
        assert peer.transport.half_closed or peer.transport.closing
    elif expected != "gone":
        found = wire.read_response(answer)
        assert found is not None
        assert found[0].status == 101
        *answers, last = wire.read_frames(found[1])
        assert answers == (wire.messages("x") if "answer" in expected else [])
        code = int(expected) if expected.isdigit() else 1011 if failed else 1000
        assert (last.opcode, last.payload[:2]) == (wire.CLOSE, code.to_bytes(2, "big"))
    await nothing_left(server, peer)


async def nothing_left(server: FakeServer, peer: Peer) -> None:
    """Once the peer is gone there is no trace of it, and the next one is served as if nothing had been."""
    if not peer.transport.closing:
        peer.transport.feed_eof()
    await settle()
    state = server.state
    if not state.shutting_down:
        other = server.connect()
        await other.send(NEXT)
        found = wire.read_response(other.take())
        assert found is not None
        assert found[0].body == b"end"
        other.transport.reset()
    await asyncio.sleep(20)
    assert state.connections == set()
    assert state.tasks == set()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.wait_for(state.wait_closed(), 1)


def one_error(caplog: pytest.LogCaptureFixture, word: str | None = None) -> None:
    """The log has one error and, where there is a `word`, one traceback with it."""
    [record] = errors(caplog)
    if word is None:
        assert not record.exc_info
    else:
        assert word in logging.Formatter().format(record)
        assert caplog.text.count("Traceback (most recent call last)") >= 1


# ----------------------------------------------------------------------------------------------------------- the matrix


@pytest.mark.parametrize("stage", HTTP)
@pytest.mark.parametrize("fault", RAISING)
@on_fake_clock
async def test_raising_in_a_request(fault: str, stage: str, caplog: pytest.LogCaptureFixture) -> None:
    act, word = RAISING[fault]
    server, peer = await begin_http(stage, act)
    await check_http(stage, server, peer)
    if fault == "a disconnect that is none" and HTTP[stage][2].startswith("whole"):  # who knows that it is none
        assert errors(caplog) == []
    else:
        one_error(caplog, word)


@pytest.mark.parametrize("stage", HTTP)
@pytest.mark.parametrize("fault", CANCELLED)
@on_fake_clock
async def test_a_request_that_is_cancelled(fault: str, stage: str, caplog: pytest.LogCaptureFixture) -> None:
    server, peer = await begin_http(stage, CANCELLED[fault])
    await check_http(stage, server, peer)
    one_error(caplog)


@pytest.mark.parametrize("stage", HTTP)
@on_fake_clock
async def test_returning_from_a_request(stage: str, caplog: pytest.LogCaptureFixture) -> None:
    server, peer = await begin_http(stage, returns)
    await check_http(stage, server, peer)
    if HTTP[stage][2].startswith("whole"):
        assert errors(caplog) == []
    else:
        one_error(caplog)


@pytest.mark.parametrize("stage", WEBSOCKET)
@pytest.mark.parametrize("fault", RAISING)
@on_fake_clock
@pytest.mark.slow
async def test_raising_in_a_websocket(engine: str, fault: str, stage: str, caplog: pytest.LogCaptureFixture) -> None:
    act, word = RAISING[fault]
    server, peer = await begin_websocket(engine, stage, act)
    # A peer that has closed does not wait for an application that does not come back.
    answered = fault == "slow finally" and stage == "after a message, before a close"
    await check_websocket(stage, server, peer, failed=True, expected="1000" if answered else None)
    silent = fault == "a disconnect that is none" and WEBSOCKET[stage][3] not in (
        "500",
        "cut",
        "close",
        "answer, close",
    )
    if silent:  # it is one
        assert errors(caplog) == []
    else:
        one_error(caplog, word)


@pytest.mark.parametrize("stage", WEBSOCKET)
@pytest.mark.parametrize("fault", CANCELLED)
@on_fake_clock
async def test_a_websocket_that_is_cancelled(
    engine: str, fault: str, stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    server, peer = await begin_websocket(engine, stage, CANCELLED[fault])
    await check_websocket(stage, server, peer, failed=True)
    if server.state.shutting_down:
        assert errors(caplog) == []
    else:
        one_error(caplog)


@pytest.mark.parametrize("stage", WEBSOCKET)
@on_fake_clock
async def test_returning_from_a_websocket(engine: str, stage: str, caplog: pytest.LogCaptureFixture) -> None:
    server, peer = await begin_websocket(engine, stage, returns)
    await check_websocket(stage, server, peer, failed=False)
    if WEBSOCKET[stage][3] in ("500", "cut"):
        one_error(caplog)
    else:
        assert errors(caplog) == []


# -------------------------------------------------------------------------------------------------------------- garbage


def sending(event: Any, seen: list[type]) -> Act:
    """An application that lets through what the event raises."""

    async def act(receive: Any, send: Any) -> None:
        try:
            await send(event)
        except BaseException as error:
            seen.append(type(error))
            raise

    return act


@pytest.mark.parametrize(
    ("stage", "event"),
    [
        *itertools.product(["before the response", "in the request body", "HEAD"], NO_EVENT + BAD_START),
        *itertools.product(["after the start", "in a chunked body", "HEAD, in the body"], NO_EVENT + BAD_BODY),
        *itertools.product(["before the trailers"], [*NO_EVENT, START, END, ACCEPT]),
        *(("before the trailers", {"type": "http.response.trailers", "headers": each}) for each in BAD_HEADERS),
    ],
)
@on_fake_clock
async def test_garbage_in_a_request(stage: str, event: Any, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[type] = []
    server, peer = await begin_http(stage, sending(event, seen))
    assert seen == [ApplicationError]
    await check_http(stage, server, peer)
    one_error(caplog, "ApplicationError")


@pytest.mark.parametrize("event", NO_EVENT[4:] + BAD_START + BAD_BODY)
@on_fake_clock
async def test_garbage_after_a_response_is_ignored(event: Any, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[type] = []
    server, peer = await begin_http("after the end", sending(event, seen))
    await check_http("after the end", server, peer)
    assert (seen, errors(caplog)) == ([], [])


@pytest.mark.parametrize(
    ("stage", "event"),
    [
        *itertools.product(["before the connect", "before the accept"], NO_EVENT + BAD_ACCEPT),
        *itertools.product(["after the accept", "while the peer sends", "after a message"], NO_EVENT + BAD_SEND),
        *itertools.product(["in the denial, before its body", "in the denial's body"], NO_EVENT + BAD_DENIAL),
        *itertools.product(["after its own close", "after denying"], [*NO_EVENT, ACCEPT, MESSAGE, CLOSE, DENIAL]),
    ],
)
@on_fake_clock
@pytest.mark.slow
async def test_garbage_in_a_websocket(engine: str, stage: str, event: Any, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[type] = []
    server, peer = await begin_websocket(engine, stage, sending(event, seen))
    assert len(seen) == 1
    assert issubclass(seen[0], ApplicationError | UnicodeError)
    await check_websocket(stage, server, peer, failed=True)
    one_error(caplog, seen[0].__name__)


@pytest.mark.parametrize(
    ("stage", "event"),
    [
        *itertools.product(
            ["after the peer's close", "after a breach", "after the peer is gone", "before the accept, the peer gone"],
            [*NO_EVENT[4:], ACCEPT, MESSAGE, CLOSE, DENIAL],
        )
    ],
)
@on_fake_clock
async def test_sending_to_a_peer_that_is_gone(
    engine: str, stage: str, event: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[type] = []
    server, peer = await begin_websocket(engine, stage, sending(event, seen))
    assert len(seen) == 1
    assert issubclass(seen[0], OSError)
    await check_websocket(stage, server, peer, failed=True)
    assert errors(caplog) == []
