"""What is written, and when, alone: an outbox over a channel that is no socket, with events and no application."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_cases import frame
from fake_channel import FakeChannel, loop_core
from fake_loop import on_fake_clock, settle

from fastws.asgi.outbox import Outbox
from fastws.errors import ApplicationError
from fastws.websocket.engines import load_engine

CORK_BYTES = 65536
A, B = b"\x81\x01a", b"\x81\x01b"


def make(**options: Any) -> tuple[Outbox, FakeChannel]:
    state = loop_core(asyncio.get_running_loop(), **options)
    channel = FakeChannel(state)
    outbox = Outbox(channel, state)
    outbox.engine = load_engine("auto")(1 << 20)  # type: ignore[misc]
    return outbox, channel


def send(outbox: Outbox, text: str) -> Any:
    return outbox.send_event({"type": "websocket.send", "text": text})


@on_fake_clock
async def test_the_first_message_is_written_at_once_and_others_with_the_turn() -> None:
    outbox, channel = make()
    send(outbox, "a")
    assert channel.take() == [A]
    send(outbox, "a")
    send(outbox, "b")
    assert channel.take() == []
    await settle()
    assert channel.take() == [A + B]
    send(outbox, "a")
    assert channel.take() == [A]


@on_fake_clock
async def test_answers_wait_while_messages_do() -> None:
    outbox, channel = make()
    outbox.data_received(memoryview(frame(1, b"x") + frame(1, b"y")))
    outbox.next_event()
    send(outbox, "a")
    assert channel.take() == []
    outbox.next_event()
    send(outbox, "b")
    assert channel.take() == [A + B]


@on_fake_clock
async def test_much_is_not_held_back() -> None:
    outbox, channel = make()
    send(outbox, "a")
    channel.take()
    send(outbox, "x" * CORK_BYTES)
    assert len(channel.take()[0]) > CORK_BYTES


@on_fake_clock
async def test_who_sends_without_end_waits_for_the_loop_and_for_the_peer() -> None:
    outbox, channel = make()
    assert send(outbox, "a") is None
    turn = send(outbox, "x" * 70_000)
    assert turn is not None
    await turn
    channel.pause_writing()
    room = send(outbox, "a")
    await settle()
    assert not room.done()
    channel.resume_writing()
    await room


@on_fake_clock
async def test_a_bad_message_is_the_applications_error_and_writes_nothing() -> None:
    outbox, channel = make()
    for event in ({}, {"text": "a", "bytes": b"a"}, {"text": b"a"}, {"bytes": "a"}):
        with pytest.raises(ApplicationError):
            outbox.send_event({"type": "websocket.send", **event})
    assert channel.take() == []
