"""The streams between workers without any: a mesh that writes down what it is told, and transports that keep bytes."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from fake_loop import on_fake_clock

from fastws.topics import mesh_frames
from fastws.topics.losses import BusCounts
from fastws.topics.mesh_frames import ANSWER, COUNT, HELLO, TEXT, Frame, FrameReader
from fastws.topics.mesh_streams import ANSWERS_BYTES, Accepted, Stream


class Transport:
    def __init__(self) -> None:
        self.written = b""
        self.buffered = 0
        self.ended = ""

    def write(self, data: bytes) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def frames(self) -> list[Frame]:
        written, self.written = self.written, b""
        found = list(FrameReader().feed(written))
        return [each for each in found if isinstance(each, Frame)]


class Mesh:
    """What a mesh is to its streams."""

    name = "1-me"
    buffer_bytes = 1000

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.counts = BusCounts()
        self.here: set[Accepted] = set()
        self.told: list[tuple[str, Any]] = []

    def accepted(self, accepted: Accepted) -> None:
        self.here.add(accepted)

    def left(self, accepted: Accepted) -> None:
        self.here.discard(accepted)

    def received(self, accepted: Accepted, frame: Frame) -> None:
        if frame.topic == "fails":
            raise LookupError
        self.told.append(("received", frame.topic))

    def answered(self, stream: Stream, frame: Frame) -> None:
        self.told.append(("answered", frame.kind))

    def lost(self, stream: Stream) -> None:
        self.told.append(("lost", stream.name))


def opened(mesh: Mesh) -> tuple[Stream, Transport]:
    stream, transport = Stream(mesh, "2-you"), Transport()
    stream.connection_made(cast(asyncio.Transport, transport))
    return stream, transport


@on_fake_clock
async def test_a_stream_says_who_we_are_and_then_what_waited() -> None:
    mesh = Mesh(asyncio.get_running_loop())
    stream, transport = Stream(mesh, "2-you"), Transport()
    stream.publish(mesh_frames.encode(TEXT, "t", b"early"))
    stream.connection_made(cast(asyncio.Transport, transport))
    assert [(each.kind, each.message) for each in transport.frames()] == [(HELLO, b"1-me"), (TEXT, "early")]
    assert transport.high == mesh.buffer_bytes // 2


@on_fake_clock
async def test_frames_of_one_turn_leave_in_one_write() -> None:
    stream, transport = opened(Mesh(asyncio.get_running_loop()))
    transport.frames()
    for text in (b"1", b"2"):
        stream.publish(mesh_frames.encode(TEXT, "t", text))
    assert transport.written == b""
    await asyncio.sleep(0)
    assert [each.message for each in transport.frames()] == ["1", "2"]


@on_fake_clock
async def test_what_there_is_no_room_for_is_dropped_and_counted() -> None:
    mesh = Mesh(asyncio.get_running_loop())
    stream, transport = opened(mesh)
    transport.buffered = mesh.buffer_bytes
    stream.publish(mesh_frames.encode(TEXT, "t", b"no room"))
    assert (mesh.counts.sent, mesh.counts.dropped) == (0, 1)
    transport.buffered = 0
    stream.publish(mesh_frames.encode(TEXT, "t", b"room"))
    assert (mesh.counts.sent, mesh.counts.dropped) == (1, 1)


@on_fake_clock
async def test_the_end_is_written_first_and_then_known() -> None:
    mesh = Mesh(asyncio.get_running_loop())
    stream, transport = opened(mesh)
    stream.publish(mesh_frames.encode(TEXT, "t", b"last"))
    ended = stream.end()
    assert (transport.frames()[-1].message, transport.ended, ended.done()) == ("last", "closed", False)
    stream.connection_lost(None)
    assert (ended.done(), mesh.told) == (True, [("lost", "2-you")])
    assert not any(stream.interest)


@on_fake_clock
async def test_a_stream_that_never_opened_has_ended() -> None:
    assert Stream(Mesh(asyncio.get_running_loop()), "2-you").end().done()


@on_fake_clock
async def test_each_side_hands_its_frames_to_the_mesh() -> None:
    mesh = Mesh(asyncio.get_running_loop())
    accepted, transport = Accepted(mesh), Transport()
    accepted.connection_made(cast(asyncio.Transport, transport))
    assert mesh.here == {accepted}
    frame = mesh_frames.encode(COUNT, "topic", bytes(4))
    accepted.data_received(frame[:3])
    accepted.data_received(frame[3:])
    opened(mesh)[0].data_received(mesh_frames.encode(ANSWER, "", bytes(8)))
    assert mesh.told == [("received", "topic"), ("answered", ANSWER)]
    accepted.connection_lost(None)
    assert not mesh.here


@on_fake_clock
async def test_a_frame_that_cannot_be_used_is_dropped_alone(caplog: pytest.LogCaptureFixture) -> None:
    mesh = Mesh(asyncio.get_running_loop())
    accepted, transport = Accepted(mesh), Transport()
    accepted.connection_made(cast(asyncio.Transport, transport))
    accepted.data_received(mesh_frames.encode(TEXT, "fails", b"") + mesh_frames.encode(TEXT, "next", b""))
    assert (transport.ended, mesh.counts.bad, mesh.told) == ("", 1, [("received", "next")])
    assert "no publication, from a worker" in caplog.text
    accepted.data_received(b"\xff" * 9)
    assert (transport.ended, mesh.counts.bad) == ("aborted", 2)
    assert "cannot use what another worker has sent" in caplog.text


@on_fake_clock
async def test_answers_are_not_given_to_who_does_not_read_them() -> None:
    mesh = Mesh(asyncio.get_running_loop())
    accepted, transport = Accepted(mesh), Transport()
    accepted.connection_made(cast(asyncio.Transport, transport))
    accepted.answer(b"first")
    transport.buffered = ANSWERS_BYTES
    accepted.answer(b"second")
    assert transport.written == b"first"
