"""What comes again and again: heads, fields and lists of response headers, of which each request has its own."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
import wire
from fake_loop import DrivenApp, FakeServer, on_fake_clock, settle

from fastws.asgi.scopes import SHARED_FIELD_BYTES
from fastws.http.pages import PageResponse
from fastws.http.repeats import SLOTS, Repeats

HEAD = b"GET /a%%20b?q=1 HTTP/1.1\r\nHost: test\r\nX-A: 1\r\nX-A: 2\r\n%b\r\n"
GET = HEAD % b""
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
BODY: dict[str, Any] = {"type": "http.response.body", "body": b"ok"}


async def ask(server: FakeServer, peer: Any, data: bytes) -> bytes:
    """What the server answers to `data`."""
    await peer.send(data)
    answer: bytes = peer.take()
    return answer


# ------------------------------------------------------------------------------------------------------------- Repeats


def test_what_came_twice_is_kept() -> None:
    repeats = Repeats(10)
    assert not repeats.keep(b"key", 1)
    assert repeats.found == {}
    assert repeats.keep(b"key", 2)
    assert repeats.found == {b"key": 2}


def test_it_does_not_grow() -> None:
    repeats = Repeats(10)
    for i in range(1000):
        repeats.keep(i, i)
        repeats.keep(i, i)
        assert len(repeats.found) <= 10
    assert repeats.found[999] == 999


def test_what_never_comes_again_pushes_nothing_out() -> None:
    repeats = Repeats(10)
    repeats.keep(1, 1)
    repeats.keep(1, 1)
    for i in range(10, 10 + 4 * SLOTS):
        repeats.keep(i, i)
    assert repeats.found == {1: 1}


# --------------------------------------------------------------------------------------------------------------- scopes


@on_fake_clock
async def test_every_request_has_a_scope_of_its_own() -> None:
    scopes = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(copy.deepcopy(scope))
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        scope["state"]["mine"] = True
        scope["headers"].append((b"x-mine", b"1"))
        scope["path"] = "/other"
        scope["client"] = scope["server"] = None
        await send(START)
        await send(BODY)

    server = FakeServer(app)
    peers = [server.connect((f"192.0.2.{i}", 1000 + i)) for i in (1, 2)]
    for peer in peers * 4:
        assert (await ask(server, peer, GET)).endswith(b"\r\n\r\nok")
    assert len(scopes) == 8
    for i, scope in enumerate(scopes):
        peer_number = i % 2 + 1
        assert scope == scopes[0] | {"client": (f"192.0.2.{peer_number}", 1000 + peer_number)}
        assert list(scope) == list(scopes[0])
    assert scopes[0]["headers"] == [(b"host", b"test"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert scopes[0]["path"] == "/a b"


@on_fake_clock
async def test_forwarded_headers_count_only_from_who_may_send_them() -> None:
    app = DrivenApp()
    server = FakeServer(app, forwarded_allow_ips="192.0.2.1")
    data = HEAD % b"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n"
    found = []
    for host in ("192.0.2.1", "192.0.2.2") * 3:
        peer = server.connect((host, 1))
        await peer.send(data)
        found.append((app.calls[-1].scope["client"][0], app.calls[-1].scope["scheme"]))
    assert found == [("198.51.100.7", "https"), ("192.0.2.2", "http")] * 3


@on_fake_clock
async def test_websockets_share_what_their_clients_have_in_common() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    common = b"User-Agent: some browser\r\nX-Long: " + b"x" * (SHARED_FIELD_BYTES + 1) + b"\r\n"
    for i in range(5):
        fields = common + b"Cookie: the same\r\nX-Other: %d\r\n" % i
        await server.connect().send(wire.handshake().replace(b"\r\n\r\n", b"\r\n" + fields + b"\r\n"))
        app.calls[i].scope["headers"].append((b"x-mine", b"%d" % i))
    headers = [call.scope["headers"] for call in app.calls]
    for i, each in enumerate(headers):
        expected = [(name, b"%d" % i if name in (b"x-other", b"x-mine") else value) for name, value in headers[0]]
        assert each == expected
    kept = server.state.fields.found
    expected_fields = {*headers[0]} - {
        (b"sec-websocket-key", dict(headers[0])[b"sec-websocket-key"]),
        (b"cookie", b"the same"),
        (b"x-long", b"x" * (SHARED_FIELD_BYTES + 1)),
        (b"x-other", b"0"),
        (b"x-mine", b"0"),
    }
    # Two whose hashes share a slot of the memory push each other out, and hashes differ from run to run.
    assert kept.keys() <= expected_fields
    assert len(kept) >= len(expected_fields) - 4
    assert all(field is kept[field] for field in headers[-1] if field in kept)


# ------------------------------------------------------------------------------------------------------- order and ends


@on_fake_clock
async def test_pipelined_between_other_requests() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        event = await receive()
        seen.append((scope["method"], event["body"]))
        await send(START)
        await send(BODY)

    server = FakeServer(app)
    peer = server.connect()
    post = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc"
    upgrade = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    for _ in range(3):
        answer = await ask(server, peer, GET + GET + post + upgrade + GET)
        assert answer.count(b"HTTP/1.1 200 OK\r\n") == 5
        assert (await ask(server, peer, GET)).count(b"HTTP/1.1 200 OK\r\n") == 1
        assert (await ask(server, peer, post)).count(b"HTTP/1.1 200 OK\r\n") == 1
        assert await ask(server, peer, GET[:20]) == b""
        assert (await ask(server, peer, GET[20:])).count(b"HTTP/1.1 200 OK\r\n") == 1
    assert seen == [*[("GET", b"")] * 2, ("POST", b"abc"), *[("GET", b"")] * 3, ("POST", b"abc"), ("GET", b"")] * 3


@on_fake_clock
async def test_a_head_ends_a_connection_as_it_says_each_time() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    data = HEAD % b"Connection: close\r\n"
    for _ in range(4):
        peer = server.connect()
        await peer.send(data)
        await app.calls[-1].send(START)
        await app.calls[-1].send(BODY)
        await settle()
        assert b"\r\nconnection: close\r\n" in peer.take()
        assert peer.transport.closing


@on_fake_clock
async def test_what_is_inside_a_body_is_no_head() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = server.connect()
    for _ in range(3):
        await peer.send(GET)
        await app.calls[-1].send(START)
        await app.calls[-1].send(BODY)
        await settle()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(GET))
    await peer.send(GET)
    assert (await app.calls[-1].receive())["body"] == GET
    await app.calls[-1].send(START)
    await peer.send(GET)  # before the response is complete: it waits
    assert len(app.calls) == 4


# ------------------------------------------------------------------------------------------------ limits and refusals


@on_fake_clock
async def test_the_limit_of_requests_holds() -> None:
    app = DrivenApp()
    server = FakeServer(app, limit_concurrency=3)
    for _ in range(3):
        await server.connect().send(GET)
    peer = server.connect()
    assert (await ask(server, peer, GET)).startswith(b"HTTP/1.1 503 ")
    assert peer.transport.half_closed
    assert len(app.calls) == 3
    assert server.state.requests_total == 3


@on_fake_clock
async def test_pages_and_websockets_are_looked_at_each_time() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    count = 0

    def page(head: Any) -> PageResponse:
        nonlocal count
        count += 1
        return PageResponse(200, (), b"%d" % count)

    server.state.pages["/page"] = page
    peer = server.connect()
    for i in range(1, 5):
        assert (await ask(server, peer, b"GET /page HTTP/1.1\r\nHost: t\r\n\r\n")).endswith(b"\r\n\r\n%d" % i)
    for _ in range(4):
        await server.connect().send(wire.handshake())
        assert app.calls[-1].scope["type"] == "websocket"


# ----------------------------------------------------------------------------------------------------------- responses


async def answers(requests: list[bytes], starts: list[dict[str, Any]], data: bytes = b"ok") -> list[bytes]:
    """What each of `requests` gets for each of `starts`, all on one server."""
    app = DrivenApp()
    server = FakeServer(app)
    found = []
    for start in starts:
        for request in requests:
            peer = server.connect()
            await peer.send(request)
            call = app.calls[-1]
            try:
                await call.send({"type": "http.response.start", **start})
                await call.send({"type": "http.response.body", "body": data})
            except Exception as error:
                found.append(repr(error).encode())
            await settle()
            found.append(peer.take())
    return found


@on_fake_clock
async def test_the_same_headers_make_the_same_response_to_each_kind_of_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.net.loop_state.time.time", lambda: 1_000_000_000.0)
    requests = [
        GET,
        GET.replace(b"GET", b"HEAD"),
        GET.replace(b"1.1", b"1.0"),
        HEAD % b"Connection: close\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
    ]
    length = (b"content-length", b"2")
    headers = [
        [],
        [length],
        [(b"X-A", b"1"), length],
        [(b"date", b"then"), length],
        [(b"server", b"mine"), length],
        [(b"connection", b"close"), length],
        [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")],
    ]
    for status in (200, 304):
        for each in headers:
            once = await answers(requests, [{"status": status, "headers": tuple(each)}])  # no list: never remembered
            again = await answers(requests, [{"status": status, "headers": list(each)} for _ in range(4)])
            assert again == once * 4


@on_fake_clock
async def test_an_application_may_change_its_list_of_headers() -> None:
    headers = [(b"content-length", b"2"), (b"x-count", b"0")]
    app = DrivenApp()
    server = FakeServer(app)
    peer = server.connect()
    for i in range(8):
        headers[1] = (b"x-count", b"%d" % (i // 2 % 2))
        await peer.send(GET)
        await app.calls[-1].send({"type": "http.response.start", "status": 200 + i % 4, "headers": headers})
        await app.calls[-1].send(BODY)
        await settle()
        answer = peer.take()
        assert answer.startswith(b"HTTP/1.1 %d " % (200 + i % 4))
        assert b"\r\nx-count: %d\r\n" % (i // 2 % 2) in answer


@on_fake_clock
async def test_the_date_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 1_000_000_000.0
    monkeypatch.setattr("fastws.net.loop_state.time.time", lambda: seconds)
    app = DrivenApp()
    server = FakeServer(app)
    peer = server.connect()
    dates = []
    for _ in range(12):
        await peer.send(GET)
        await app.calls[-1].send({**START, "headers": [(b"content-length", b"2")]})
        await app.calls[-1].send(BODY)
        await asyncio.sleep(1.5)
        seconds += 1
        dates.append(wire.read_response(peer.take())[0].headers[b"date"])  # type: ignore[index]
    assert len(set(dates)) > 9


@on_fake_clock
async def test_what_is_equal_to_bytes_is_not_taken_for_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.net.loop_state.time.time", lambda: 1_000_000_000.0)
    good = [(b"x-a", b"1"), (b"content-length", b"2")]
    for wrong in (
        [(memoryview(b"x-a"), b"1"), good[1]],
        [(bytearray(b"x-a"), b"1"), good[1]],
        [[b"x-a", 1], good[1]],
        [(b"x-a", "1"), good[1]],
    ):
        [*rest, error, nothing] = await answers(
            [GET], [{"status": 200, "headers": list(good)}] * 3 + [{"headers": wrong, "status": 200}]
        )
        assert all(each.startswith(b"HTTP/1.1 200 OK\r\nx-a: 1\r\n") for each in rest)
        assert b"ApplicationError" in error
        assert nothing == b""
    lists = {"status": 200, "headers": [list(each) for each in good]}
    found = await answers([GET], [{"status": 200, "headers": good}, lists] * 3)
    assert len(set(found)) == 1


# ------------------------------------------------------------------------------------------------- what a task runs


@on_fake_clock
async def test_an_application_that_is_no_coroutine_function_is_called_in_its_task() -> None:
    tasks = []

    class Answer:
        def __init__(self, send: Any) -> None:
            self.send = send

        def __await__(self) -> Any:
            yield from self.send(START).__await__()
            yield from asyncio.sleep(1).__await__()
            yield from self.send(BODY).__await__()

    def app(scope: Any, receive: Any, send: Any) -> Any:
        tasks.append(asyncio.current_task())
        return Answer(send)

    server = FakeServer(app)
    peer = server.connect()
    await peer.send(GET)
    assert server.state.tasks == set(tasks)
    await asyncio.sleep(2)
    assert peer.take().endswith(b"\r\n\r\nok")
    assert server.state.tasks == set()


@on_fake_clock
async def test_a_task_tells_where_its_application_waits() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    await server.connect().send(GET)
    [task] = server.state.tasks
    assert asyncio.iscoroutine(task.get_coro())
    [frame] = task.get_stack()
    assert frame.f_code is DrivenApp.__call__.__code__
    assert "DrivenApp.__call__" in repr(task)
