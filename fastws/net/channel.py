# cython: nonecheck=False
"""The seam above sockets: what an HTTP exchange and a WebSocket session have below them.

A `Channel` is an ordered, flow-controlled stream of bytes in both directions, with deadlines, addresses and an end. A
`Connection` is one, over a socket of its own; whoever carries several over one socket makes another. What the bytes
mean is the business of the channel's `handler`: of HTTP at first, and of the WebSocket session after an upgrade.

Flow control is here, and the same for every channel: who waits for room, when an application must let the loop turn,
what reading is paused for, and which peer is too slow to be kept. A kind of channel adds how bytes are put on their way
(`put`), how reading stops and starts (`stop_reading`, `start_reading`), and how it ends.

The module is compiled by Cython where the extension was built (channel.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastws.errors import ClientDisconnected
from fastws.net.waiters import Waiters

if TYPE_CHECKING:
    from fastws.net.loop_core import LoopCore

NEVER = float("inf")

STALLED_BYTES = 65536
"""Bytes that a client whose buffer is full must take in --timeout-stalled-write."""

BURST_BYTES = 65536
"""Bytes that an application may write before one of its sends lasts a turn of the loop."""


class Handler:
    """What a channel needs of the protocol that its bytes belong to.

    A class and no `typing.Protocol`, so that a compiled connection finds the methods of a compiled handler at once.
    """

    def bytes_received(self, buffer: memoryview, size: int) -> None:
        """Take the first `size` bytes of `buffer`, which are only valid during the call."""
        self.data_received(buffer[:size])

    def wanted(self) -> int:
        """How many bytes at most may be read to `place`, instead of the shared buffer; 0 where nothing is to be."""
        return 0

    def place(self) -> int:
        """The address where `wanted` bytes may be read to, after which comes `receive_placed`."""
        raise NotImplementedError

    def receive_placed(self, size: int) -> None:
        """Take the `size` bytes that were read to `place`."""
        raise NotImplementedError

    def data_received(self, data: memoryview) -> None:
        """Take `data`, which is only valid during the call."""
        raise NotImplementedError

    def eof_received(self) -> bool:
        """The peer will send no more; true keeps our direction open."""
        raise NotImplementedError

    def connection_lost(self) -> None:
        """The channel is gone."""
        raise NotImplementedError

    def on_deadline(self, now: float) -> None:
        """`Channel.deadline` has passed: act, and set the next one."""
        raise NotImplementedError

    def writing_resumed(self) -> None:
        """The peer has taken most of what had filled the write buffer."""

    def shut_down(self) -> None:
        """The server stops: end as soon as what is under way allows."""
        raise NotImplementedError


class Channel:
    """A stream of bytes to and from one peer, for a `Handler` on the loop that `state` belongs to."""

    def __init__(self, state: LoopCore) -> None:
        self._prepare(state)

    def _prepare(self, state: LoopCore) -> None:
        """What `__init__` does: a compiled one of another class finds this at once."""
        if state is None:
            raise TypeError("A channel needs the state of its loop.")  # compiled, nothing looks at that later
        self.state = state
        self.handler: Handler | None = None
        # Which of its loop's connections it is, and since when.
        self.number: int = 0
        self.since: float = state.now
        # Times are those of the loop's coarse clock, `LoopCore.now`, in seconds.
        self.deadline: float = NEVER
        self.last_seen: float = state.now
        self.reading_paused: bool = False
        self.allowance: int = -1  # bytes that are read until reading pauses; -1: no end
        self.writing_paused: bool = False
        self.burst: int = 0  # bytes that were written since an application last waited for the loop
        self._drain_waiters: Waiters | None = None
        # What is written is delimited by the end of the channel, and more of it is to come.
        self.unfinished: bool = False
        self._unsent: int = 0
        # While writing is paused: since when the peer has been given time, and what it took and was given meanwhile.
        self._stalled_since: float = NEVER
        self._stalled_unsent: int = 0

    # What it is.

    def peer_address(self) -> Any:
        """Who the peer is, as `socket.getpeername` has it; None where nobody can tell."""
        raise NotImplementedError

    def peer_name(self) -> str:
        """Who the peer is, for the log."""
        address = self.peer_address()
        return "an unknown peer" if address is None else show_address(address)

    def local_address(self) -> Any:
        """What the peer has connected to, as `socket.getsockname` has it; None where nobody can tell."""
        raise NotImplementedError

    def tls(self) -> Any:
        """The `ssl.SSLObject` that encrypts it; None where nothing does."""
        raise NotImplementedError

    def may_half_close(self) -> bool:
        """Whether we may go on to write when the peer has said that it sends no more."""
        raise NotImplementedError

    def is_gone(self) -> bool:
        """Whether nothing can be written any more, and no byte will come."""
        raise NotImplementedError

    def is_closing(self) -> bool:
        """Whether it is gone, or ends as soon as what waits is sent."""
        raise NotImplementedError

    # Writing.

    def write(self, data: bytes) -> None:
        """Write at once; without effect when the channel is gone."""
        self.write_all([data])

    def write_all(self, chunks: list[bytes]) -> None:
        """Write `chunks` in order, in one system call where that can be."""
        if not self.is_gone():
            for chunk in chunks:
                self.burst += len(chunk)
                if self.writing_paused:
                    self._stalled_unsent += len(chunk)
            self.put(chunks)

    def put(self, chunks: list[bytes]) -> None:
        """Put `chunks` on their way; a channel that has a faster way replaces `write` and `write_all`."""
        raise NotImplementedError

    def unsent(self) -> int:
        """Bytes that were written and wait for the peer."""
        raise NotImplementedError

    def keep_little_unsent(self) -> None:
        """Let what is below take little more than the peer takes, where it can be told: what waits can be replaced."""

    def wait_for_room(self) -> asyncio.Future[None] | None:
        """What an application that has sent must wait for before it sends more, if anything."""
        if self.writing_paused:
            return self.drained()
        if self.burst >= BURST_BYTES:
            return self.next_turn()
        return None

    def drained(self) -> asyncio.Future[None]:
        """A future of the moment when writing may go on; its error is `ClientDisconnected`."""
        waiter: asyncio.Future[None] = self.state.loop.create_future()
        if self._drain_waiters is None:
            self._drain_waiters = Waiters()
        self._drain_waiters.add(waiter)
        return waiter

    def next_turn(self) -> asyncio.Future[None]:
        """A future of the loop's next turn, for an application that sends and sends without waiting for anything.

        Else a peer that reads as fast would starve every other connection, and a lost one would never be noticed: a
        transport takes what it is given after its end, and tells of that end in the next turn.
        """
        self.burst = 0
        return next_turn_of(self.state.loop)

    def pause_writing(self) -> None:
        """More waits for the peer than --write-buffer-bytes."""
        self.writing_paused = True
        self.state.counts.writing_pauses += 1
        self.state.stalled.add(self)
        self._watch_stalled(self.state.now)

    def resume_writing(self) -> None:
        """The peer has taken most of it."""
        self.writing_paused = False
        self.state.stalled.discard(self)
        self.last_seen = self.state.now  # who takes bytes is there, as who sends them
        waiters, self._drain_waiters = self._drain_waiters, None
        if waiters is not None:
            waiters.wake()
        if self.handler is not None:
            self.handler.writing_resumed()

    def peer_takes(self) -> bool:
        """Whether the peer has taken some of what waited to be sent at the last call."""
        before = self._unsent
        self._unsent = self.unsent()
        return self._unsent < before

    def check_stalled(self, now: float, timeout: float) -> None:
        """Abort where the peer has not taken enough of a full buffer in `timeout` seconds, up to `now`.

        Any progress would not do: a byte a minute would hold the buffer for ever.
        """
        if now - self._stalled_since < timeout or self.is_gone():
            return
        if self._stalled_unsent - self.unsent() >= STALLED_BYTES:
            self._watch_stalled(now)
        else:
            self.abort()

    def _watch_stalled(self, now: float) -> None:
        self._stalled_since = now
        self._stalled_unsent = self.unsent()

    def call_ended(self) -> None:
        """The call of the application that it was for is over, which may be long after the channel is gone."""

    # Reading.

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`."""
        self.allowance = 0
        if not self.reading_paused and not self.is_closing():
            self.reading_paused = True
            self.state.counts.reading_pauses += 1
            self.stop_reading()

    def pause_reading_after(self, size: int) -> None:
        """Read `size` bytes more at most; then reading is paused. What was said of that before no longer holds."""
        if size > 0:
            self.resume_reading()
            self.allowance = size
        else:
            self.pause_reading()

    def resume_reading(self) -> None:
        """Read on, without an end."""
        self.allowance = -1
        if self.reading_paused and not self.is_closing():
            self.reading_paused = False
            self.start_reading()

    def deliver(self, data: memoryview) -> None:
        """Hand `data` from the peer to the handler; it is only valid during the call."""
        size = len(data)
        self.last_seen = self.state.now
        if self.allowance > 0:
            self.pause_reading_after(max(0, self.allowance - size))
        if self.handler is not None:
            self.handler.bytes_received(data, size)

    def stop_reading(self) -> None:
        """Take no more bytes from below."""
        raise NotImplementedError

    def start_reading(self) -> None:
        """Take bytes from below again."""
        raise NotImplementedError

    # Ends.

    def close(self) -> None:
        """Close when everything written has been sent."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close at once; what was not sent is lost.

        Where the peer would take that for the end of a response, it gets a reset (RFC 9112 section 8).
        """
        raise NotImplementedError

    def write_eof(self) -> bool:
        """Half-close so that a peer which still sends gets our last bytes and no reset (RFC 9112 section 9.6).

        Returns false where the peer has done so before, or this channel cannot: it is then closed.
        """
        raise NotImplementedError

    def lost(self) -> None:
        """It is gone: tell the handler, and who waits for room."""
        self.deadline = NEVER
        self.state.stalled.discard(self)
        handler, self.handler = self.handler, None
        waiters, self._drain_waiters = self._drain_waiters, None
        try:
            if handler is not None:
                handler.connection_lost()
        finally:
            if waiters is not None:
                waiters.fail(_gone)


def _gone() -> ClientDisconnected:
    return ClientDisconnected("the peer is gone")


def show_address(address: Any) -> str:
    """An address as sockets have it, or as ASGI has, for the log."""
    if not isinstance(address, tuple) or address[1] is None:
        return "a unix socket"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def next_turn_of(loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """A future of the next turn of `loop`."""
    waiter: asyncio.Future[None] = loop.create_future()
    loop.call_soon(_release, waiter)
    return waiter


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
