"""The streams between the workers of a mesh: one is opened to write to, one is accepted to read from.

Each stream has a buffer with a bound. What a worker that reads too slowly, or not at all, has no room for is dropped
for that worker, counted and logged; the others get it. What a frame means is `fastws.topics.mesh`'s.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import time
from typing import Any, Final, Protocol, cast

from fastws.net.log_limit import LogLimit
from fastws.topics import mesh_frames
from fastws.topics.losses import BusCounts, Drops
from fastws.topics.mesh_frames import HELLO, Frame, FrameReader

logger: Final = logging.getLogger("fastws.error")

ANSWERS_BYTES: Final = 65_536
"""Answers that wait for a worker; more are not given."""
LEAST_FRAME: Final = 64 << 20
"""Bytes of a frame that another worker may send, or as many as may wait here."""
_EVERYTHING: Final = b"\x01" * (1 << 16)
_NOTHING: Final = bytes(1 << 16)


class Home(Protocol):
    """What streams ask of the mesh that they belong to."""

    name: str
    """Of this worker."""
    buffer_bytes: int
    """How much may wait for each other worker."""
    loop: asyncio.AbstractEventLoop
    counts: BusCounts

    def accepted(self, accepted: Accepted) -> None:
        """Another worker has connected to us."""

    def left(self, accepted: Accepted) -> None:
        """What it had opened has ended."""

    def received(self, accepted: Accepted, frame: Frame) -> None:
        """A frame of a worker that connected to us."""

    def answered(self, stream: Stream, frame: Frame) -> None:
        """A frame of a worker to which we connected."""

    def lost(self, stream: Stream) -> None:
        """A stream that we opened has ended."""


class Reading(asyncio.Protocol):
    """What both ends of a stream have in common."""

    def __init__(self, mesh: Home) -> None:
        self._mesh = mesh
        self._reader = FrameReader(max(mesh.buffer_bytes, LEAST_FRAME))
        self._log = LogLimit(logger)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                try:
                    if isinstance(frame, ValueError):
                        raise frame
                    self._take(frame)
                except Exception as error:  # of another version of fastws, or a subscriber's fault: the next one may do
                    self._mesh.counts.bad += 1
                    self._log.log(time.monotonic(), logging.WARNING, "Topics: no publication, from a worker: %s", error)
        except ValueError as error:  # where the next one begins is not known
            self._mesh.counts.bad += 1
            logger.error("Topics: cannot use what another worker has sent: %s", error)
            assert self.transport is not None
            self.transport.abort()

    def _take(self, frame: Frame) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Accepted(Reading):
    """A stream that another worker opened: it brings what that one publishes."""

    name = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._mesh.accepted(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._mesh.left(self)

    def _take(self, frame: Frame) -> None:
        self._mesh.received(self, frame)

    def answer(self, frame: bytes) -> None:
        assert self.transport is not None
        if self.transport.get_write_buffer_size() < ANSWERS_BYTES:
            self.transport.write(frame)


class Stream(Reading):
    """A stream that we opened to another worker, with what waits for it."""

    def __init__(self, mesh: Home, name: str) -> None:
        super().__init__(mesh)
        self.name = name
        self.interest: Any = _EVERYTHING
        self._bound = mesh.buffer_bytes
        self._waiting: list[bytes] = [mesh_frames.encode(HELLO, "", mesh.name.encode())]
        self._waiting_bytes = 0
        self._flushing = False
        self._ended: asyncio.Future[None] = mesh.loop.create_future()
        self._drops = Drops(mesh.counts, f"worker [{name.partition('-')[0]}]")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.set_write_buffer_limits(self._bound // 2)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._drops.over()
        self.transport = None
        if isinstance(self.interest, mmap.mmap):
            self.interest.close()
        self.interest = _NOTHING
        if not self._ended.done():
            self._ended.set_result(None)
        self._mesh.lost(self)

    def resume_writing(self) -> None:
        self._drops.over()

    def publish(self, frame: bytes) -> None:
        """Send it, if there is room."""
        if self.waiting() + len(frame) > self._bound:
            self._drops.add(len(frame))
            return
        self._mesh.counts.sent += 1
        self.send(frame)

    def ask(self, frame: bytes) -> bool:
        """Send a question, if not much waits; who does not read does not answer either."""
        if self.waiting() + len(frame) > min(ANSWERS_BYTES, self._bound):
            return False
        self.send(frame)
        return True

    def waiting(self) -> int:
        """Bytes that were not written yet."""
        return self._waiting_bytes + (0 if self.transport is None else self.transport.get_write_buffer_size())

    def send(self, frame: bytes) -> None:
        """Send it with all else of this turn of the loop."""
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        if not self._flushing and self.transport is not None:
            self._flushing = True
            self._mesh.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.transport is not None:
            self.transport.write(b"".join(self._waiting))
            self._waiting.clear()
            self._waiting_bytes = 0
            if self._drops.going_on and not self.transport.get_write_buffer_size():
                self._drops.over()

    def _take(self, frame: Frame) -> None:
        self._mesh.answered(self, frame)

    def end(self) -> asyncio.Future[None]:
        """Close it when all is written; the result comes then."""
        if self.transport is None:
            self._ended.set_result(None)
        else:
            self._flush()
            self.transport.close()
        return self._ended
