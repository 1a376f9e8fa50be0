"""PING as keepalive of HTTP/2: a peer that has vanished is noticed while streams are open (RFC 9113 section 6.7)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from fake_loop import DrivenApp, FakeServer, on_fake_clock, settle
from http2_peer import Http2Peer, connected, frames_in

from fastws.http.http2_frames import ACK, GOAWAY, PING, frame

START = {"type": "http.response.start", "status": 200, "headers": []}


def more(size: int) -> dict[str, Any]:
    return {"type": "http.response.body", "body": bytes(size), "more_body": True}


async def waiting(cut: bool = False, **options: Any) -> tuple[DrivenApp, FakeServer, Http2Peer, int]:
    """A connection with a request under way, whose peer says nothing more and answers nothing."""
    app = DrivenApp()
    server = FakeServer(app, **options)
    peer = await connected(server, cut=cut)
    stream = await peer.request()
    peer.peer.take()
    return app, server, peer, stream


def pings(peer: Http2Peer) -> list[bytes]:
    """What the PINGs since the last call carry; nobody answers them."""
    return [payload for kind, flags, _, payload in frames_in(peer.peer.take()) if kind == PING and not flags & ACK]


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
@on_fake_clock
async def test_a_peer_that_answers_stays(cut: bool) -> None:
    app, _, peer, stream = await waiting(cut, ws_ping_interval=10.0, ws_ping_timeout=5.0)
    for _ in range(5):
        await asyncio.sleep(13)
        [payload] = pings(peer)
        await peer.raw(frame(PING, ACK, 0, payload))
    await app.calls[0].send(START)
    await app.calls[0].send({"type": "http.response.body", "body": b"late"})
    await peer.flush()
    assert peer.body(stream) == b"late"


@on_fake_clock
async def test_a_peer_that_has_vanished_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    app, server, peer, _ = await waiting(ws_ping_interval=10.0, ws_ping_timeout=5.0)
    assert (await app.calls[0].receive())["type"] == "http.request"
    with caplog.at_level(logging.WARNING, "fastws.error"):
        await asyncio.sleep(20)
    assert peer.transport.lost
    assert (await app.calls[0].receive())["type"] == "http.disconnect"
    assert "HTTP/2 connection ended: no answer to a PING (192.0.2.1:50000)" in caplog.text
    app.calls[0].end.set_result(None)
    await settle()
    assert not server.state.streams
    assert not server.state.connections


@on_fake_clock
async def test_whatever_comes_is_a_sign_of_life() -> None:
    _, _, peer, stream = await waiting(ws_ping_interval=10.0, ws_ping_timeout=5.0)
    for _ in range(10):
        await asyncio.sleep(8)
        peer.h2.increment_flow_control_window(1, stream)
        await peer.raw(peer.h2.data_to_send())
    assert pings(peer) == []
    assert not peer.transport.closing


@pytest.mark.parametrize(("interval", "timeout", "sent"), [(None, 5.0, 0), (10.0, None, 9)])
@on_fake_clock
async def test_it_can_be_off_as_for_websockets(interval: float | None, timeout: float | None, sent: int) -> None:
    _, _, peer, _ = await waiting(ws_ping_interval=interval, ws_ping_timeout=timeout)
    await asyncio.sleep(100)
    assert len(pings(peer)) == pytest.approx(sent, abs=2 if sent else 0)
    assert not peer.transport.closing


@on_fake_clock
async def test_who_takes_what_waits_is_there_and_so_is_who_is_not_read() -> None:
    app, _, peer, stream = await waiting(ws_ping_interval=10.0, ws_ping_timeout=5.0, timeout_stalled_write=None)
    peer.h2.increment_flow_control_window(1_000_000)
    peer.h2.increment_flow_control_window(1_000_000, stream)
    await peer.raw(peer.h2.data_to_send())
    peer.transport.stalled = True
    await app.calls[0].send(START)
    await app.calls[0].send(more(500_000))
    sending = asyncio.ensure_future(app.calls[0].send(more(400_000)))
    await settle()
    for _ in range(12):
        await asyncio.sleep(8)
        peer.transport.drain(1000)
    assert not peer.transport.closing
    assert not sending.done()
    sending.cancel()


@on_fake_clock
async def test_an_answer_to_a_keepalive_is_none_to_the_shutdown() -> None:
    _, server, peer, _ = await waiting(ws_ping_interval=10.0, ws_ping_timeout=5.0)
    await asyncio.sleep(13)
    [alive] = pings(peer)
    server.state.shut_down()
    await settle()
    [retire] = pings(peer)
    await peer.raw(frame(PING, ACK, 0, alive))
    assert len(peer.goaways) == 0, "the first was taken by pings(), the last is not due"
    peer.peer.transport.feed(frame(PING, ACK, 0, retire))
    await settle()
    assert [kind for kind, *_ in frames_in(peer.peer.take())] == [GOAWAY]


@on_fake_clock
async def test_a_peer_that_has_ended_is_written_nothing_more_and_waited_for_no_longer() -> None:
    app, server, peer, _ = await waiting(timeout_stalled_write=None, ws_ping_interval=None)
    peer.transport.stalled = True
    await app.calls[0].send(START)
    await settle()
    peer.transport.feed_eof()
    await settle()
    assert (await app.calls[0].receive())["type"] == "http.disconnect"
    app.calls[0].end.set_result(None)
    await asyncio.sleep(20)
    assert peer.transport.lost
    assert not server.state.connections


@on_fake_clock
async def test_without_streams_nobody_is_pinged() -> None:
    peer = await connected(FakeServer(DrivenApp(), ws_ping_interval=1.0, timeout_keep_alive=30.0))
    peer.peer.take()
    await asyncio.sleep(20)
    assert peer.peer.take() == b""
