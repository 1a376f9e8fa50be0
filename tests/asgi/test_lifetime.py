"""What time does to a WebSocket, alone: deadlines over a channel that is no socket and a clock that a test sets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_cases import frame
from fake_channel import FakeChannel, loop_core
from fake_loop import on_fake_clock

from fastws.asgi.lifetime import MAX_PONGS, Lifetime
from fastws.asgi.states import State
from fastws.websocket.engines import load_engine
from fastws.websocket.events import Close

PING = b"\x89\x00"


class Told(Lifetime):
    """Keeps what a lifetime leaves to others."""

    def __init__(self, channel: Any, state: Any) -> None:
        super().__init__(channel, state)
        self.told: list[str] = []

    def _refuse_late(self) -> None:
        self.told.append("refuse")

    def _time_out(self) -> None:
        self.told.append("time out")

    def _retire(self) -> None:
        self.told.append("retire")

    def _send_close(self, code: int, reason: str, by: str = "") -> None:
        self.told.append(f"close {code}")

    def _end_queued(self, item: Close) -> None:
        self.told.append("end queued")

    def _finish(self, item: Close) -> None:
        self.told.append("finish")


def make(*, opened: bool = True, **options: Any) -> tuple[Told, FakeChannel]:
    state = loop_core(asyncio.get_running_loop(), **options)
    state.now = 1000.0
    channel = FakeChannel(state)
    lifetime = Told(channel, state)
    if opened:
        lifetime.state = State.OPEN
        lifetime.engine = load_engine("auto")(1000)  # type: ignore[misc]
        lifetime._begin_lifetime()
    return lifetime, channel


def at(lifetime: Told, now: float) -> None:
    """The sweep of `now` comes by, where it is due."""
    lifetime.shared.now = now
    if lifetime.connection.deadline <= now:
        lifetime.on_deadline(now)


@on_fake_clock
async def test_a_handshake_that_is_not_answered_is_refused() -> None:
    lifetime, channel = make(opened=False, ws_handshake_timeout=5)
    assert channel.deadline == 1005
    at(lifetime, 1005)
    assert lifetime.told == ["refuse"]


@on_fake_clock
async def test_a_silent_peer_is_pinged_and_given_up() -> None:
    lifetime, channel = make(ws_ping_interval=20, ws_ping_timeout=10)
    at(lifetime, 1019)
    assert channel.take() == []
    at(lifetime, 1020)
    assert channel.take() == [PING]
    at(lifetime, 1029)
    assert lifetime.told == []
    at(lifetime, 1030)
    assert lifetime.told == ["time out"]


@on_fake_clock
async def test_a_byte_from_the_peer_puts_the_ping_off() -> None:
    lifetime, channel = make(ws_ping_interval=20, ws_ping_timeout=10)
    channel.last_seen = 1015
    at(lifetime, 1020)
    assert (channel.take(), channel.deadline) == ([], 1035)


@on_fake_clock
async def test_a_silence_that_is_ours_is_not_counted() -> None:
    lifetime, channel = make(ws_ping_interval=20, ws_ping_timeout=10)
    at(lifetime, 1020)
    assert channel.take() == [PING]
    channel.pause_reading()
    at(lifetime, 1030)
    assert (lifetime.told, channel.deadline) == ([], 1050)


@on_fake_clock
async def test_idleness_ends_unless_it_is_the_applications() -> None:
    lifetime, channel = make(ws_idle_timeout=60, ws_ping_interval=None)
    lifetime.data_received(memoryview(frame(1, b"a")))
    at(lifetime, 1060)
    assert (lifetime.told, channel.deadline) == ([], 1120)
    lifetime.next_event()
    at(lifetime, 1120)
    assert lifetime.told == ["close 1001"]


@on_fake_clock
async def test_age_ends_it_a_little_early_so_that_not_all_end_at_once() -> None:
    lifetime, channel = make(ws_max_age=100, ws_ping_interval=None)
    assert 1090 <= channel.deadline <= 1100
    at(lifetime, 1100)
    assert lifetime.told == ["retire"]


@on_fake_clock
async def test_the_peers_end_is_acted_on_where_the_application_does_not_come_back() -> None:
    lifetime, channel = make()
    lifetime.data_received(memoryview(frame(1, b"a") + frame(8, b"\x03\xe8")))
    channel.deadline = 1001
    at(lifetime, 1001)
    assert lifetime.told == ["end queued", "finish"]


@on_fake_clock
async def test_a_close_that_nobody_answers_is_cut_unless_the_peer_takes_bytes() -> None:
    lifetime, channel = make(ws_close_timeout=5)
    lifetime.state = State.CLOSING
    channel.waiting = 100
    lifetime._set_close_deadline()
    channel.waiting = 50
    at(lifetime, 1005)
    assert (channel.ended, channel.deadline) == ("", 1010)
    at(lifetime, 1010)
    assert channel.ended == "aborted"


@pytest.mark.parametrize("count", [1, MAX_PONGS, 2 * MAX_PONGS])
def test_of_a_flood_of_pings_the_newest_are_answered(count: int) -> None:
    @on_fake_clock
    async def check() -> None:
        lifetime, channel = make()
        lifetime.data_received(memoryview(b"".join(frame(9, b"%03d" % number) for number in range(count))))
        pongs = [b"\x8a\x03%03d" % number for number in range(count)]
        assert channel.take() == [b"".join(pongs[-MAX_PONGS:])]

    check()


@on_fake_clock
async def test_a_peer_that_does_not_read_gets_no_more_pongs() -> None:
    lifetime, channel = make()
    channel.pause_writing()
    lifetime.data_received(memoryview(frame(9)))
    assert channel.take() == []
