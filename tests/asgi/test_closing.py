"""The close handshake, alone: over a channel that is no socket, with the frames and no application."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_cases import frame
from fake_channel import FakeChannel, loop_core
from fake_loop import on_fake_clock

from fastws.asgi.closing import Closing
from fastws.asgi.states import State
from fastws.errors import ApplicationError
from fastws.websocket.engines import load_engine


def close(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason


def make(**options: Any) -> tuple[Closing, FakeChannel]:
    state = loop_core(asyncio.get_running_loop(), **options)
    channel = FakeChannel(state)
    closing = Closing(channel, state)
    closing.state = State.OPEN
    closing.engine = load_engine("auto")(1000)  # type: ignore[misc]
    closing._begin_lifetime()
    return closing, channel


def feed(closing: Closing, data: bytes) -> None:
    closing.data_received(memoryview(data))


@on_fake_clock
async def test_the_peers_close_is_answered_and_ends_the_connection() -> None:
    closing, channel = make()
    feed(closing, frame(8, close(1001, b"bye")))
    assert channel.take() == [b"\x88\x05" + close(1001, b"bye")]
    assert (closing.state, channel.ended) == (State.CLOSED, "closed")
    assert closing._disconnect_event() == {"type": "websocket.disconnect", "code": 1001, "reason": "bye"}
    with pytest.raises(ApplicationError):
        closing._disconnect_event()


@on_fake_clock
async def test_the_peers_close_waits_for_the_messages_before_it() -> None:
    closing, channel = make(ws_close_timeout=10)
    feed(closing, frame(1, b"a") + frame(8, close(1000)))
    assert (closing.state, channel.take(), channel.ended) == (State.OPEN, [], "")
    assert channel.deadline == closing.shared.now + 5
    closing.on_deadline(channel.deadline)
    assert (closing.state, channel.take(), channel.ended) == (State.CLOSED, [b"\x88\x02" + close(1000)], "closed")
    assert closing.queued() == (1, 1)


@on_fake_clock
async def test_a_broken_frame_is_answered_and_the_peer_may_read_that() -> None:
    closing, channel = make()
    feed(closing, frame(3))
    written = channel.take()
    assert written[0][:1] == b"\x88"
    assert written[0][2:4] == (1002).to_bytes(2, "big")
    assert channel.ended == "half-closed"


@on_fake_clock
async def test_our_close_goes_out_at_once_and_waits_for_the_peers() -> None:
    closing, channel = make(ws_close_timeout=10)
    feed(closing, frame(1, b"a"))
    closing.close(1012, "again")
    assert channel.take() == [b"\x88\x07" + close(1012, b"again")]
    assert (closing.state, channel.ended) == (State.CLOSING, "")
    feed(closing, frame(1, b"b"))
    assert closing.queued() == (2, 2)
    feed(closing, frame(8, close(1012)))
    assert (closing.state, channel.take(), channel.ended) == (State.CLOSED, [], "closed")
    assert closing._disconnect_event()["code"] == 1012


@on_fake_clock
async def test_what_cannot_be_sent_is_the_callers_error_and_closes_nothing() -> None:
    closing, channel = make()
    with pytest.raises(ApplicationError):
        closing.close(1005, "no code")
    assert (closing.state, channel.take()) == (State.OPEN, [])


@on_fake_clock
async def test_retiring_waits_for_the_answers_to_what_was_received() -> None:
    closing, channel = make(ws_close_timeout=10)
    feed(closing, frame(1, b"a"))
    closing._retire()
    assert (channel.take(), channel.reading_paused) == ([], True)
    closing.next_event()
    closing._retire()
    assert channel.take() == [b"\x88\x0d" + close(1012, b"Maximum Age")]
    assert not channel.reading_paused


@on_fake_clock
async def test_a_peer_that_ends_without_a_close_gets_the_time_to_read_what_waits() -> None:
    closing, channel = make(ws_close_timeout=10)
    assert not closing.eof_received()
    assert channel.deadline == closing.shared.now + 10


@on_fake_clock
async def test_a_peer_that_has_closed_may_read_the_answers_behind_its_end() -> None:
    closing, _ = make()
    feed(closing, frame(1, b"a") + frame(8, close(1000)))
    assert closing.eof_received()


@on_fake_clock
async def test_nobody_who_answers_pings_is_closed_with_1011_and_cut() -> None:
    closing, channel = make()
    closing._time_out()
    assert channel.take()[0][2:4] == (1011).to_bytes(2, "big")
    assert channel.ended == "aborted"
    assert closing.shared.counts.ping_timeouts == 1
