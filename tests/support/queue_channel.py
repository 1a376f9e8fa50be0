"""A channel that is no connection: two queues in memory, and the end of them that a test plays the peer with.

Above the seam of `fastws.net.channel` nothing may tell it from a socket: the tests of the HTTP cycle and of the
WebSocket session run on both.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from fastws.net.channel import Channel
from fastws.net.http1_handler import Http1Handler
from fastws.net.loop_core import RECEIVE_BUFFER_BYTES
from fastws.net.loop_state import LoopState


class QueueChannel(Channel):
    """A stream to the `PeerEnd` that is its `end`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, state: LoopState, peer_name: Any = ("192.0.2.1", 50000)
    ) -> None:
        super().__init__(state)
        self.end = PeerEnd(loop, self, state.write_high_water)
        self._peer_name = peer_name
        state.connections.add(self)
        state.counts.connections += 1
        self.number = state.counts.connections
        self.handler = Http1Handler(self, state)

    def peer_address(self) -> Any:
        return self._peer_name

    def local_address(self) -> Any:
        return ("192.0.2.2", 80)

    def tls(self) -> None:
        return None

    def may_half_close(self) -> bool:
        return True

    def is_gone(self) -> bool:
        return self.end.lost

    def is_closing(self) -> bool:
        return self.end.closing

    def put(self, chunks: list[bytes]) -> None:
        self.end.take(b"".join(chunks))

    def unsent(self) -> int:
        return self.end.unsent

    def stop_reading(self) -> None:
        assert self.end.reading
        self.end.reading = False
        self.end.reads_paused += 1

    def start_reading(self) -> None:
        assert not self.end.reading
        self.end.reading = True
        self.end.deliver_soon()

    def close(self) -> None:
        if self.unfinished:
            self.abort()
        else:
            self.end.close()

    def abort(self) -> None:
        self.end.abort()

    def write_eof(self) -> bool:
        if self.is_closing():
            return False
        if self.unfinished:
            self.abort()
            return False
        if self.end.has_ended:
            self.close()
            return False
        self.resume_reading()
        self.end.half_closed = True
        return True

    def ended(self) -> bool:
        """The peer sends no more; whether we do."""
        stays = self.handler is not None and self.handler.eof_received()
        if self.unfinished and not stays:
            self.abort()
        return stays


class PeerEnd:
    """The other end, to be played with as a `FakeTransport`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: QueueChannel, high: int) -> None:
        self.channel = channel
        self.writes: list[bytes] = []
        """What the server has written, one entry for each write."""
        self.stalled = False
        self.unsent = 0
        self.reading = True
        self.closing = False
        self.aborted = False
        self.half_closed = False
        self.lost = False
        self.has_ended = False
        self.reads_paused = 0
        self._loop = loop
        self._high = high
        self._incoming: deque[bytes] = deque()

    # What the channel does.

    def take(self, data: bytes) -> None:
        assert not self.half_closed, "a write behind write_eof()"
        assert not self.closing or self.aborted, f"a write behind close(): {data!r:.100}"
        if self.aborted:
            return
        self.writes.append(data)
        if self.stalled:
            self.unsent += len(data)
            if self.unsent > self._high and not self.channel.writing_paused:
                self.channel.pause_writing()

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.unsent:
                self._loop.call_soon(self._lose)

    def abort(self) -> None:
        if not self.aborted:
            self.aborted = self.closing = True
            self._loop.call_soon(self._lose)

    def deliver_soon(self) -> None:
        self._loop.call_soon(self._deliver)

    # What the peer does.

    def feed(self, data: bytes) -> None:
        """Bytes arrive; they wait while reading is paused."""
        self._incoming.append(data)
        self._deliver()

    @property
    def unread(self) -> int:
        """Bytes that the server has not read."""
        return sum(map(len, self._incoming))

    def feed_eof(self) -> None:
        assert not self.unread, "the end of the stream is behind the bytes"
        self.has_ended = True
        if not self.channel.ended():
            self.close()

    def reset(self) -> None:
        """The peer resets the stream."""
        self.aborted = self.closing = True
        self._lose()

    def drain(self, size: int | None = None) -> None:
        """The peer takes `size` of the bytes that wait, or all of them."""
        self.unsent = 0 if size is None else max(0, self.unsent - size)
        if self.channel.writing_paused and self.unsent <= self._high // 4:
            self.channel.resume_writing()
        if self.closing and not self.unsent:
            self._loop.call_soon(self._lose)

    def _deliver(self) -> None:
        while self._incoming and self.reading and not self.closing:
            data = self._incoming.popleft()
            room = self.channel.allowance if self.channel.allowance > 0 else RECEIVE_BUFFER_BYTES
            if len(data) > room:
                self._incoming.appendleft(data[room:])
            piece = bytearray(data[:room])
            self.channel.deliver(memoryview(piece))
            piece[:] = b"\xee" * len(piece)  # it was valid during the call

    def _lose(self) -> None:
        if not self.lost:
            self.lost = True
            self.channel.state.connections.discard(self.channel)
            self.channel.state.wake_when_idle()
            self.channel.lost()
