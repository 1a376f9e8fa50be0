"""Pages that the server answers itself: before any limit and without the application, and as HTTP has it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import wire
from fake_loop import DrivenApp, FakeServer, on_fake_clock

from fastws.http.head import RequestHead
from fastws.http.pages import PageResponse

GET = b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n"


def page(head: RequestHead) -> PageResponse:
    return PageResponse(200, [(b"content-type", b"text/plain")], head.query_string or b"ok")


def broken(head: RequestHead) -> PageResponse:
    raise ZeroDivisionError


def server(**options: Any) -> tuple[FakeServer, DrivenApp]:
    app = DrivenApp()
    made = FakeServer(app, **options)
    made.state.pages |= {"/page": page, "/broken": broken}
    return made, app


@on_fake_clock
async def test_a_page_is_answered_without_the_application_and_the_connection_stays() -> None:
    made, app = server()
    peer = made.connect()
    for query in (b"a", b"b"):
        await peer.send(GET.replace(b"/page", b"/page?" + query))
        [response] = wire.read_responses(peer.take())
        assert (response.status, response.body) == (200, query)
        assert response.headers[b"content-type"] == b"text/plain"
        assert b"server" in response.headers
        assert b"connection" not in response.headers
    assert not app.calls
    assert made.state.requests_total == 0


@on_fake_clock
async def test_a_page_is_answered_at_the_limit_of_requests() -> None:
    made, app = server(limit_concurrency=1)
    busy, peer = made.connect(), made.connect()
    await busy.send(GET.replace(b"/page", b"/other"))
    assert len(app.calls) == 1
    await peer.send(GET)
    assert [each.status for each in wire.read_responses(peer.take())] == [200]
    await peer.send(GET.replace(b"/page", b"/other"))
    assert [each.status for each in wire.read_responses(peer.take())] == [503]


@on_fake_clock
async def test_pages_and_requests_are_answered_in_order() -> None:
    made, app = server()
    peer = made.connect()
    await peer.send(GET + GET.replace(b"/page", b"/other") + GET + GET.replace(b"GET", b"HEAD"))
    assert [each.body for each in wire.read_responses(peer.take())] == [b"ok"]
    [call] = app.calls
    await call.send({"type": "http.response.start", "status": 201, "headers": []})
    await call.send({"type": "http.response.body", "body": b"of the application"})
    answered = peer.take()
    head = answered[answered.rindex(b"HTTP/1.1") :]
    assert b"content-length: 2\r\n" in head
    assert head.endswith(b"\r\n\r\n")
    bodies = [each.body for each in wire.read_responses(answered[: -len(head)])]
    assert bodies == [b"of the application", b"ok"]


@on_fake_clock
async def test_many_pipelined_pages_and_a_partial_head_behind_them() -> None:
    made, _ = server()
    peer = made.connect()
    await peer.send(GET * 1500 + b"GET /pa")
    assert len(wire.read_responses(peer.take())) == 1500
    await peer.send(b"ge HTTP/1.1\r\nHost: test\r\n\r\n")
    assert len(wire.read_responses(peer.take())) == 1


@on_fake_clock
async def test_a_peer_that_does_not_read_its_pages_gets_no_more_of_them() -> None:
    made, _ = server()
    peer = made.connect()
    peer.transport.stalled = True
    for _ in range(20):
        await peer.send(GET * 1500)
    assert len(peer.take()) < 2 * 65536


@on_fake_clock
async def test_the_body_of_a_request_for_a_page_is_dropped() -> None:
    made, _ = server()
    peer = made.connect()
    await peer.send(b"GET /page HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nab")
    assert len(wire.read_responses(peer.take())) == 1
    await peer.send(b"cde" + GET)
    assert len(wire.read_responses(peer.take())) == 1


@on_fake_clock
async def test_other_methods_and_websockets_go_to_the_application() -> None:
    made, app = server()
    await made.connect().send(b"POST /page HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
    await made.connect().send(wire.handshake().replace(b"/chat", b"/page", 1))
    assert [call.scope["type"] for call in app.calls] == ["http", "websocket"]
    assert {call.scope["path"] for call in app.calls} == {"/page"}


@on_fake_clock
async def test_http_1_0_and_connection_close_end_with_the_page() -> None:
    made, _ = server()
    for request in (GET.replace(b"HTTP/1.1", b"HTTP/1.0"), GET[:-2] + b"Connection: close\r\n\r\n"):
        peer = made.connect()
        await peer.send(request)
        [response] = wire.read_responses(peer.take())
        assert response.headers[b"connection"] == b"close"
        assert peer.transport.closing


@on_fake_clock
async def test_an_upgrade_that_is_not_made_gets_the_page() -> None:
    made, _ = server()
    peer = made.connect()
    await peer.send(GET[:-2] + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + GET)
    assert len(wire.read_responses(peer.take())) == 2


@on_fake_clock
async def test_an_idle_connection_for_pages_ends_as_any_other() -> None:
    made, _ = server(timeout_keep_alive=5.0)
    peer = made.connect()
    await peer.send(GET)
    await asyncio.sleep(10)
    assert peer.transport.closing


@on_fake_clock
async def test_a_page_that_raises_is_a_500_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    made, _ = server()
    peer = made.connect()
    await peer.send(GET.replace(b"/page", b"/broken"))
    assert [each.status for each in wire.read_responses(peer.take())] == [500]
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True]
