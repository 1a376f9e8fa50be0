"""What waits for the application, alone: an inbox over a channel that is no socket, with events and no application."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_cases import frame
from fake_channel import FakeChannel, loop_core
from fake_loop import on_fake_clock, settle

from fastws.asgi.inbox import READ_AHEAD_BYTES, Inbox
from fastws.websocket.engines import load_engine
from fastws.websocket.events import Close, Failure, Ping, Pong

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Taker(Inbox):
    """Keeps what an inbox leaves to others."""

    def __init__(self, channel: Any, state: Any) -> None:
        super().__init__(channel, state)
        self.engine = load_engine("auto")(1000)  # type: ignore[misc]
        self.controls: list[Any] = []
        self.ends: list[Close] = []
        self.finished: list[Close] = []

    def _answer_pings(self, events: list[Any]) -> list[Any]:
        self.controls += [item for item in events if type(item) in (Ping, Pong)]
        return [item for item in events if type(item) not in (Ping, Pong)]

    def _end_queued(self, item: Close) -> None:
        self.ends.append(item)

    def _finish(self, item: Close) -> None:
        self.finished.append(item)

    def feed(self, data: bytes) -> None:
        self.data_received(memoryview(data))


def make(**options: Any) -> tuple[Taker, FakeChannel]:
    state = loop_core(asyncio.get_running_loop(), **options)
    channel = FakeChannel(state)
    return Taker(channel, state), channel


def message(text: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": text}


@on_fake_clock
async def test_messages_are_taken_in_their_order_and_pings_do_not_wait() -> None:
    inbox, _ = make()
    inbox.feed(frame(TEXT, b"a") + frame(PING, b"p") + frame(BINARY, b"\x00"))
    inbox.feed(frame(TEXT, b"c"))
    assert inbox.queued() == (3, 3)
    assert inbox.controls == [Ping(b"p")]
    assert [inbox.next_event() for _ in range(4)] == [
        message("a"),
        {"type": "websocket.receive", "bytes": b"\x00"},
        message("c"),
        None,
    ]
    assert inbox.queued() == (0, 0)


@on_fake_clock
async def test_the_peers_end_waits_behind_its_messages() -> None:
    inbox, _ = make()
    inbox.feed(frame(TEXT, b"a") + frame(CLOSE, b"\x03\xe8"))
    assert [end.code for end in inbox.ends] == [1000]
    assert inbox.next_event() == message("a")
    assert inbox.next_event() is None
    assert inbox.queued() == (1, 0)


@on_fake_clock
async def test_reading_stops_above_the_bound_of_bytes_and_goes_on_at_a_quarter() -> None:
    inbox, channel = make(ws_max_queue_bytes=100)
    inbox.feed(b"".join(frame(TEXT, b"x" * 25) for _ in range(4)))
    assert not channel.reading_paused
    inbox.feed(frame(TEXT, b"x"))
    assert channel.reading_paused
    for _ in range(3):
        inbox.next_event()
        assert channel.reading_paused
    inbox.next_event()
    assert not channel.reading_paused


@on_fake_clock
async def test_above_the_bound_of_the_number_a_little_is_read_for_pings() -> None:
    inbox, channel = make(ws_max_queue=4)
    inbox.feed(frame(TEXT, b"x") * 5)
    assert (channel.reading_paused, channel.allowance) == (False, READ_AHEAD_BYTES)
    while inbox.queued()[0] > 2:
        inbox.next_event()
    assert channel.allowance == READ_AHEAD_BYTES
    inbox.next_event()
    assert channel.allowance == -1


@on_fake_clock
async def test_who_waits_is_woken_by_a_message() -> None:
    inbox, _ = make()

    async def receive() -> Any:
        event = inbox.next_event()
        while event is None:
            await inbox.wait_for_event()
            event = inbox.next_event()
        return event

    first, second = asyncio.ensure_future(receive()), asyncio.ensure_future(receive())
    await settle()
    inbox.feed(frame(TEXT, b"a"))
    await settle()
    inbox.feed(frame(TEXT, b"b"))
    assert {(await first)["text"], (await second)["text"]} == {"a", "b"}


@pytest.mark.parametrize("broken", [frame(3), frame(TEXT, b"\xff")])
def test_a_broken_frame_is_an_end(broken: bytes) -> None:
    @on_fake_clock
    async def check() -> None:
        inbox, _ = make()
        inbox.feed(frame(TEXT, b"a") + broken)
        assert [type(end) for end in inbox.ends] == [Failure]
        assert inbox.queued() == (2, 1)

    check()
