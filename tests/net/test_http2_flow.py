"""Flow control of HTTP/2: who is not read, or does not read, stalls itself alone, and nothing grows without a bound."""

from __future__ import annotations

import asyncio
from typing import Any

import h2.events
import pytest
from fake_loop import Call, DrivenApp, FakeServer, on_fake_clock, settle
from http2_peer import REQUEST, Http2Peer, connected

from fastws.net.http2_stream import GROWTH_BYTES, WAITING_BYTES

START = {"type": "http.response.start", "status": 200, "headers": []}


def more(size: int) -> dict[str, Any]:
    return {"type": "http.response.body", "body": bytes(size), "more_body": True}


async def three(server: FakeServer, **options: Any) -> tuple[Http2Peer, list[int]]:
    peer = await connected(server, **options)
    return peer, [await peer.request(ends=False) for _ in range(3)]


@on_fake_clock
async def test_a_stream_that_is_not_read_makes_its_application_wait_and_nobody_else() -> None:
    app = DrivenApp()
    peer, streams = await three(FakeServer(app), automatic=False, INITIAL_WINDOW_SIZE=1000)
    peer.h2.increment_flow_control_window(1_000_000)
    await peer.flush()
    first, second = app.calls[0], app.calls[1]
    await first.send(START)
    sending = asyncio.ensure_future(first.send(more(200_000)))
    await peer.flush()
    assert not sending.done()
    assert len(peer.body(streams[0])) == 1000
    await second.send(START)
    await second.send({"type": "http.response.body", "body": b"well"})
    await peer.flush()
    assert peer.body(streams[1]) == b"well"
    assert peer.ended(streams[1])
    peer.h2.increment_flow_control_window(300_000, streams[0])
    await peer.flush()
    assert sending.done()
    assert len(peer.body(streams[0])) == 200_000


@on_fake_clock
async def test_streams_share_the_window_of_the_connection_in_turns() -> None:
    app = DrivenApp()
    peer, streams = await three(FakeServer(app), automatic=False, INITIAL_WINDOW_SIZE=1_000_000)
    sending = []
    for call in app.calls:
        await call.send(START)
        sending.append(asyncio.ensure_future(call.send({"type": "http.response.body", "body": bytes(300_000)})))
    await peer.flush()
    assert sum(len(peer.body(stream)) for stream in streams) == 65535
    taken = [len(peer.body(stream)) for stream in streams]
    peer.h2.increment_flow_control_window(300_000)
    await peer.flush()
    for stream, before in zip(streams, taken, strict=True):
        assert 80_000 < len(peer.body(stream)) - before < 120_000
    peer.h2.increment_flow_control_window(1_000_000)
    await peer.flush()
    assert [len(peer.body(stream)) for stream in streams] == [300_000] * 3
    assert all(peer.ended(stream) for stream in streams)


@on_fake_clock
async def test_a_smaller_window_than_was_used_holds_the_stream() -> None:
    app = DrivenApp()
    peer, [stream, *_] = await three(FakeServer(app), automatic=False)
    [call, *_] = app.calls
    await call.send(START)
    await call.send(more(30_000))
    await peer.flush()
    peer.h2.update_settings({4: 10_000})
    await peer.flush()
    sending = asyncio.ensure_future(call.send(more(50_000)))
    await peer.flush()
    assert len(peer.body(stream)) == 30_000  # the window is at -20,000
    peer.h2.increment_flow_control_window(20_001, stream)
    await peer.flush()
    assert len(peer.body(stream)) == 30_001
    sending.cancel()


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
@on_fake_clock
async def test_a_body_that_nobody_takes_stalls_its_stream_alone(cut: bool) -> None:
    app = DrivenApp()
    peer, [stream, other, _] = await three(FakeServer(app), cut=cut)
    sent = 0
    while (window := peer.h2.local_flow_control_window(stream)) > 0:
        size = min(window, 16384)
        await peer.send(stream, bytes(size))
        sent += size
        assert sent < 400_000, "there is no bound"
    assert 65_535 <= sent < 200_000
    assert peer.h2.outbound_flow_control_window > 500_000, "the connection has its credit back"
    await peer.send(other, b"x", ends=True)
    assert (await app.calls[1].receive())["body"] == b"x"
    taken = 0
    while taken < sent:
        taken += len((await app.calls[0].receive())["body"])
        await settle()
    await peer.flush()
    assert peer.h2.local_flow_control_window(stream) > 60_000


@on_fake_clock
async def test_windows_grow_for_who_takes_what_comes_and_by_so_much_for_all() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peer = await connected(server)
    for round_ in range(2):
        streams = [await peer.request(ends=False) for _ in range(40)]
        for _ in range(8):
            for stream, call in zip(streams, app.calls[-40:], strict=True):
                await peer.send(stream, bytes(min(16384, peer.h2.local_flow_control_window(stream))))
                await call.receive()
        windows = [peer.h2.local_flow_control_window(stream) for stream in streams]
        assert max(windows) > 100_000
        assert sum(windows) <= 40 * 65_535 + GROWTH_BYTES, f"in round {round_}"
        for stream, call in zip(streams, app.calls[-40:], strict=True):
            peer.h2.reset_stream(stream)
            await peer.flush()
            call.end.set_result(None)
        await asyncio.sleep(10)  # so that many resets are none too many


@on_fake_clock
async def test_many_streams_that_nobody_reads_hold_no_more_than_one_event_each_beyond_a_bound() -> None:
    """Small events of a hundred applications would be as many full buffers."""
    app = DrivenApp()
    server = FakeServer(app)
    peer = await connected(server, automatic=False, INITIAL_WINDOW_SIZE=0)
    for _ in range(100):
        await peer.request()
    sending = []
    for call in app.calls:
        await call.send(START)
        sending.append(asyncio.ensure_future(send_on(call)))
    await settle()
    held = sum(stream.unsent() for stream in server.state.streams)
    assert held <= WAITING_BYTES + 100 * 1024
    for each in sending:
        each.cancel()


async def send_on(call: Call) -> None:
    while True:
        await call.send(more(1024))


@on_fake_clock
async def test_windows_do_not_leak_with_bodies_that_are_reset() -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app))
    for _ in range(60):
        stream = await peer.request(ends=False)
        await peer.send(stream, bytes(16384))
        await peer.send(stream, bytes(16384))
        peer.h2.reset_stream(stream)
        await peer.flush()
        app.calls[-1].end.set_result(None)
    assert peer.h2.outbound_flow_control_window > 500_000
    stream = await peer.request(ends=False)
    await peer.send(stream, b"x", ends=True)
    assert (await app.calls[-1].receive())["body"] == b"x"


@on_fake_clock
async def test_a_socket_that_takes_nothing_is_not_read_either() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": bytes(1000)})

    server = FakeServer(app)
    peer = await connected(server, automatic=False)
    peer.transport.stalled = True
    for _ in range(2000):
        stream = peer.h2.get_next_available_stream_id()
        peer.h2.send_headers(stream, list(REQUEST), end_stream=True)
        peer.h2.streams[stream].state_machine.state = type(peer.h2.streams[stream].state_machine.state).CLOSED
        peer.transport.feed(peer.h2.data_to_send())
        await settle()
        if not peer.transport.reading:
            break
    assert not peer.transport.reading
    assert peer.transport.unsent < 200_000
    peer.transport.stalled = False
    peer.transport.drain()
    await settle()
    assert peer.transport.reading


@on_fake_clock
async def test_a_peer_that_opens_no_window_is_cut_in_time() -> None:
    app = DrivenApp()
    server = FakeServer(app, timeout_stalled_write=5.0)
    peer = await connected(server, automatic=False, INITIAL_WINDOW_SIZE=0)
    stalled, ending = await peer.request(), await peer.request()
    [call, other] = app.calls
    await call.send(START)
    sending = asyncio.ensure_future(call.send(more(200_000)))
    await other.send(START)
    await other.send({"type": "http.response.body", "body": b"little"})  # that is complete for the application
    other.end.set_result(None)
    await asyncio.sleep(20)
    await peer.read()
    with pytest.raises(OSError, match="gone"):
        await sending
    assert peer.reset(stalled) == 2
    assert peer.reset(ending) == 2
    assert peer.goaway() is None


@on_fake_clock
async def test_a_window_of_one_byte_is_used() -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app), automatic=False, INITIAL_WINDOW_SIZE=1)
    stream = await peer.request()
    [call] = app.calls
    await call.send(START)
    await call.send({"type": "http.response.body", "body": b"hello"})
    await peer.flush()
    for expected in (b"h", b"he", b"hel", b"hell", b"hello"):
        assert peer.body(stream) == expected
        peer.h2.increment_flow_control_window(1, stream) if expected != b"hello" else None
        await peer.flush()
    assert peer.ended(stream)


@on_fake_clock
async def test_a_hundred_streams_at_once() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(1)
        await send(START)
        await send({"type": "http.response.body", "body": scope["raw_path"] * 1000})

    peer = await connected(FakeServer(app))
    streams = [await peer.request((*REQUEST[:2], (":path", f"/{i}"), REQUEST[3])) for i in range(100)]
    await asyncio.sleep(2)
    for _ in range(10):
        await peer.flush()
    assert [peer.body(stream) for stream in streams] == [b"/%d" % i * 1000 for i in range(100)]
    assert len(peer.of(h2.events.StreamEnded)) == 100


@on_fake_clock
async def test_more_streams_than_allowed_are_refused_those_included_that_were_reset_and_still_run() -> None:
    app = DrivenApp()
    peer = await connected(FakeServer(app, http2_max_concurrent_streams=3))
    first = await peer.request()
    await peer.request()
    await peer.request()
    peer.h2.reset_stream(first)
    await peer.flush()
    refused = await peer.request()
    assert peer.reset(refused) == 7
    assert len(app.calls) == 3
    calls: list[Call] = app.calls
    calls[0].end.set_result(None)
    await settle()
    await peer.request()
    assert len(app.calls) == 4
