"""Requests over HTTP/2, with h2 as the client, whole and byte by byte (docs/http2.md)."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

import h2.events
import pytest
from fake_loop import DrivenApp, FakeServer, on_fake_clock, settle
from http2_peer import REQUEST, connected

from fastws.http.pages import PageResponse

pytestmark = pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])

START = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]}
OTHER = (*REQUEST[:2], (":path", "/a%20b?q=1"), REQUEST[3])


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"hello"})


async def mirror(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        await send({"type": "http.response.body", "body": event["body"], "more_body": event["more_body"]})
        if not event["more_body"]:
            return


@on_fake_clock
async def test_a_request_has_a_scope_of_http_2(cut: bool) -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app), cut=cut)
    fields = (*OTHER, ("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2"), ("te", "trailers"))
    stream = await peer.request(fields)
    [call] = app.calls
    assert call.scope["http_version"] == "2"
    assert call.scope["method"] == "GET"
    assert call.scope["scheme"] == "http"
    assert (call.scope["path"], call.scope["raw_path"], call.scope["query_string"]) == ("/a b", b"/a%20b", b"q=1")
    assert call.scope["headers"] == [
        *((b"host", b"example.org"), (b"x-a", b"1"), (b"te", b"trailers"), (b"cookie", b"a=1; b=2")),
    ]
    assert {type(part) for pair in call.scope["headers"] for part in pair} == {bytes}
    assert call.scope["client"] == ("192.0.2.1", 50000)
    assert await call.receive() == {"type": "http.request", "body": b"", "more_body": False}
    await call.send(START)
    await call.send({"type": "http.response.body", "body": b"hello"})
    call.end.set_result(None)
    await peer.flush()
    response = peer.response(stream)
    assert response[":status"] == "200"
    assert response["content-type"] == "text/plain"
    assert response["content-length"] == "5"
    assert response["server"] == "fastws"
    assert "date" in response
    assert peer.body(stream) == b"hello"
    assert peer.ended(stream)
    assert peer.goaway() is None


@on_fake_clock
async def test_a_head_and_its_body_are_one_write(cut: bool) -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app), cut=cut)
    await peer.request()
    [call] = app.calls
    await call.send(START)
    await call.send({"type": "http.response.body", "body": b"hello"})
    await settle()
    assert len(peer.peer.take_writes()) == 1


@on_fake_clock
async def test_responses_to_what_is_read_at_once_are_one_write(cut: bool) -> None:
    peer = await connected(FakeServer(hello), cut=cut)
    for _ in range(3):
        stream = peer.h2.get_next_available_stream_id()
        peer.h2.send_headers(stream, list(REQUEST), end_stream=True)
    peer.transport.feed(peer.h2.data_to_send())
    await settle()
    assert len(peer.peer.take_writes()) == 1


@on_fake_clock
async def test_a_repeated_response_is_the_same(cut: bool) -> None:
    peer = await connected(FakeServer(hello), cut=cut)
    streams = [await peer.request() for _ in range(3)]
    assert [peer.response(stream)["content-length"] for stream in streams] == ["5"] * 3
    assert [peer.body(stream) for stream in streams] == [b"hello"] * 3


@on_fake_clock
async def test_bodies_stream_both_ways(cut: bool) -> None:
    peer = await connected(FakeServer(mirror), cut=cut)
    stream = await peer.request(((":method", "POST"), *REQUEST[1:]), ends=False)
    await peer.send(stream, b"one")
    assert peer.body(stream) == b"one"
    assert not peer.ended(stream)
    await peer.send(stream, b"two", ends=True)
    assert peer.body(stream) == b"onetwo"
    assert peer.ended(stream)
    assert "content-length" not in peer.response(stream)
    assert "transfer-encoding" not in peer.response(stream)


@on_fake_clock
async def test_a_body_that_is_there_at_once_is_whole(cut: bool) -> None:
    peer = await connected(FakeServer(mirror), cut=cut)
    stream = await peer.request((*REQUEST, ("content-length", "3")), b"abc")
    assert peer.body(stream) == b"abc"
    assert peer.ended(stream)


@on_fake_clock
async def test_padding_is_no_body_and_its_window_comes_back(cut: bool) -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app), cut=cut)
    stream = await peer.request(ends=False)
    for _ in range(8):
        for _ in range(100):
            peer.h2.send_data(stream, b"x", pad_length=255)
        await peer.flush()
    [call] = app.calls
    assert (await call.receive())["body"] == b"x" * 800
    assert peer.h2.local_flow_control_window(stream) > 100_000


@on_fake_clock
async def test_trailers_go_both_ways(cut: bool) -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app), cut=cut)
    stream = await peer.request(ends=False)
    await peer.send(stream, b"abc")
    peer.h2.send_headers(stream, [("x-sum", "1")], end_stream=True)
    await peer.flush()
    [call] = app.calls
    assert await call.receive() == {"type": "http.request", "body": b"abc", "more_body": False}
    await call.send({**START, "trailers": True})
    await call.send({"type": "http.response.body", "body": b"hello"})
    await call.send({"type": "http.response.trailers", "headers": [(b"X-Sum", b"2")]})
    await peer.flush()
    [trailers] = peer.of(h2.events.TrailersReceived, stream)
    assert dict(trailers.headers) == {"x-sum": "2"}
    assert peer.ended(stream)


@on_fake_clock
async def test_promised_trailers_may_be_none(cut: bool) -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app), cut=cut)
    stream = await peer.request()
    [call] = app.calls
    await call.send({**START, "trailers": True})
    await call.send({"type": "http.response.body", "body": b"hello"})
    await call.send({"type": "http.response.trailers", "headers": []})
    await peer.flush()
    assert peer.ended(stream)


@pytest.mark.parametrize(
    ("method", "status", "length"), [("HEAD", 200, "5"), ("GET", 204, None), ("GET", 304, None), ("GET", 205, "0")]
)
@on_fake_clock
async def test_what_has_no_content_has_none(cut: bool, method: str, status: int, length: str | None) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    peer = await connected(FakeServer(app), cut=cut)
    stream = await peer.request(((":method", method), *REQUEST[1:]))
    assert peer.response(stream)[":status"] == str(status)
    assert peer.body(stream) == b""
    assert peer.ended(stream)
    if status == 205:
        assert peer.response(stream)["content-length"] == length


@on_fake_clock
async def test_early_hints_and_continue(cut: bool) -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app), cut=cut)
    stream = await peer.request((*REQUEST, ("expect", "100-continue")), ends=False)
    [call] = app.calls
    await call.send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    event = peer.transport.loop.create_task(call.receive())
    await peer.flush()
    [hint, go_on] = peer.of(h2.events.InformationalResponseReceived, stream)
    assert dict(hint.headers) == {":status": "103", "link": "</a.css>; rel=preload"}
    assert dict(go_on.headers) == {":status": "100"}
    await peer.send(stream, b"x", ends=True)
    assert (await event)["body"] == b"x"


@pytest.mark.parametrize("size", [0, 100, 4095, 4096, 65_536])
@on_fake_clock
async def test_a_peer_with_a_smaller_table_is_told_that_ours_is_smaller(cut: bool, size: int) -> None:
    """RFC 7541 section 4.2: h2, as nghttp2, ends a connection where it is not."""
    peer = await connected(FakeServer(hello), cut=cut)
    first = await peer.request()
    peer.h2.update_settings({1: size})
    await peer.flush()
    second, third = await peer.request(), await peer.request()
    peer.h2.update_settings({1: 4096})
    await peer.flush()
    peer.h2.update_settings({1: size})
    await peer.flush()
    for stream in (first, second, third, await peer.request()):
        assert peer.response(stream)[":status"] == "200"
    assert peer.goaway() is None


@on_fake_clock
async def test_what_responses_repeat_is_sent_once(cut: bool) -> None:
    peer = await connected(FakeServer(hello), cut=cut)
    sizes = []
    for _ in range(4):
        stream = await peer.request()
        assert peer.response(stream)[":status"] == "200"
        sizes.append(peer.received_bytes)
    second, third, fourth = (after - before for before, after in itertools.pairwise(sizes))
    assert fourth == third < second - 40


@on_fake_clock
async def test_fields_of_a_connection_are_not_sent(cut: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Connection", b"close, x"), (b"keep-alive", b"1"), (b"Transfer-Encoding", b"chunked"), (b"a", b"")]
        await send({"type": "http.response.start", "status": 299, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    peer = await connected(FakeServer(app), cut=cut)
    stream = await peer.request()
    assert peer.response(stream)[":status"] == "299"
    assert set(peer.response(stream)) == {":status", "a", "content-length", "date", "server"}
    again = await peer.request()
    assert peer.body(again) == b"hello"


@on_fake_clock
async def test_a_large_head_goes_in_several_frames(cut: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"x-%d" % i, b"v" * 1000) for i in range(40)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    peer = await connected(FakeServer(app), cut=cut)
    peer.h2.max_inbound_frame_size = 16384
    peer.h2.decoder.max_header_list_size = 1 << 20
    stream = await peer.request()
    assert peer.response(stream)["x-39"] == "v" * 1000
    assert peer.body(stream) == b"hello"


@on_fake_clock
async def test_an_application_that_raises_costs_its_stream_only(cut: bool, caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app), cut=cut)
    before, behind, other = [await peer.request() for _ in range(3)]
    await app.calls[1].send(START)
    await app.calls[1].send({"type": "http.response.body", "body": b"half", "more_body": True})
    for call in app.calls[:2]:
        call.end.set_exception(ValueError("broken"))
    await peer.flush()
    assert peer.response(before)[":status"] == "500"
    assert peer.ended(before)
    assert peer.body(behind) == b"half"
    assert peer.reset(behind) == 2
    assert not peer.ended(behind)
    await app.calls[2].send(START)
    await app.calls[2].send({"type": "http.response.body", "body": b"well"})
    await peer.flush()
    assert peer.body(other) == b"well"
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 2


@on_fake_clock
async def test_a_reset_is_a_disconnect(cut: bool, caplog: pytest.LogCaptureFixture) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = await connected(server, cut=cut)
    stream = await peer.request()
    other = await peer.request()
    peer.h2.reset_stream(stream, 8)
    await peer.flush()
    assert await app.calls[0].receive() == {"type": "http.disconnect"}
    with pytest.raises(OSError, match="gone"):
        await app.calls[0].send(START)
    app.calls[0].end.set_result(None)
    await app.calls[1].send(START)
    await app.calls[1].send({"type": "http.response.body", "body": b"well"})
    app.calls[1].end.set_result(None)
    await peer.flush()
    assert peer.body(other) == b"well"
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert server.state.requests == 0
    assert not server.state.streams


@on_fake_clock
async def test_a_lost_connection_is_a_disconnect_for_all(cut: bool) -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = await connected(server, cut=cut)
    for _ in range(3):
        await peer.request(ends=False)
    peer.transport.reset()
    await settle()
    for call in app.calls:
        assert (await call.receive())["type"] == "http.disconnect"
        call.end.set_result(None)
    await settle()
    assert not server.state.streams
    assert not server.state.connections
    assert server.state.requests == 0


@on_fake_clock
async def test_a_response_before_the_end_of_the_body_refuses_the_rest(cut: bool) -> None:
    peer = await connected(FakeServer(hello), cut=cut)
    stream = await peer.request(ends=False)
    assert peer.body(stream) == b"hello"
    assert peer.ended(stream)
    assert peer.reset(stream) == 0


@on_fake_clock
async def test_pages_of_the_server_are_answered(cut: bool) -> None:
    server = FakeServer(DrivenApp())
    server.state.pages["/livez"] = lambda head: PageResponse(200, ((b"content-type", b"text/plain"),), b"ok\n")
    peer = await connected(server, cut=cut)
    stream = await peer.request((*REQUEST[:2], (":path", "/livez"), REQUEST[3]))
    assert (peer.response(stream)[":status"], peer.body(stream)) == ("200", b"ok\n")
    assert peer.ended(stream)


@on_fake_clock
async def test_limits_of_requests_are_of_streams(cut: bool) -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app, limit_concurrency=1, limit_request_body=10), cut=cut)
    await peer.request()
    refused = await peer.request()
    assert peer.response(refused)[":status"] == "503"
    assert peer.response(refused)["retry-after"] == "5"
    app.calls[0].end.set_result(None)
    await settle()
    large = await peer.request((*REQUEST, ("content-length", "11")), ends=False)
    assert peer.response(large)[":status"] == "413"
    longer = await peer.request(ends=False)
    await peer.send(longer, b"x" * 11)
    assert peer.response(longer)[":status"] == "413"
    assert peer.reset(longer) == 0
    assert peer.goaway() is None


@on_fake_clock
async def test_a_head_that_is_too_large_gets_431_and_others_go_on(cut: bool) -> None:
    peer = await connected(FakeServer(hello, limit_request_head=2000, limit_request_field_size=1000), cut=cut)
    many = await peer.request((*REQUEST, *((f"x-{i}", "v" * 30) for i in range(50))))
    assert peer.response(many)[":status"] == "431"
    long = await peer.request((*REQUEST, ("x", "v" * 1200)))
    assert peer.response(long)[":status"] == "431"
    assert peer.body(await peer.request()) == b"hello"


@on_fake_clock
async def test_a_body_that_does_not_come_gets_408(cut: bool) -> None:
    peer = await connected(FakeServer(DrivenApp(), timeout_request_body=5.0), cut=cut)
    stream = await peer.request(ends=False)
    await asyncio.sleep(12)
    await peer.flush()
    assert peer.response(stream)[":status"] == "408"


@on_fake_clock
async def test_an_idle_connection_ends_in_time(cut: bool) -> None:
    peer = await connected(FakeServer(hello, timeout_keep_alive=5.0), cut=cut)
    stream = await peer.request()
    await asyncio.sleep(3)
    assert not peer.transport.closing
    await asyncio.sleep(5)
    await peer.read()
    assert peer.goaway() == (stream, 0)
    assert peer.transport.lost
