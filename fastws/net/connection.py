"""One socket: what asyncio calls, flow control in both directions, and nothing of HTTP or WebSocket.

A `Connection` is the asyncio protocol of a socket for its whole life. What the bytes mean is the business of its
`handler`: HTTP at first, and after an upgrade the WebSocket session, so that no transport ever changes its protocol.
Bytes arrive in the receive buffer that all connections of a loop share: a handler takes what it needs during the call.

The module is compiled by Cython where the extension was built (connection.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastws.errors import ClientDisconnected

if TYPE_CHECKING:
    from fastws.net.loop_state import LoopState

NEVER = float("inf")

STALLED_BYTES = 65536
"""Bytes that a client whose buffer is full must take in --timeout-stalled-write."""

BURST_BYTES = 65536
"""Bytes that an application may write before one of its sends lasts a turn of the loop."""

RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER that makes the end of a connection a reset."""


class Handler:
    """What a connection needs of the protocol that its bytes belong to.

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
        """The socket is gone."""
        raise NotImplementedError

    def on_deadline(self, now: float) -> None:
        """`Connection.deadline` has passed: act, and set the next one."""
        raise NotImplementedError

    def writing_resumed(self) -> None:
        """The peer has taken most of what had filled the write buffer."""

    def shut_down(self) -> None:
        """The server stops: end as soon as what is under way allows."""
        raise NotImplementedError


class Stream:
    """A transport of ours, that a connection reaches without looking its methods up: `fastws.net._sockets` has it."""

    def write(self, data: bytes) -> None:
        """As `asyncio.WriteTransport.write`."""
        raise NotImplementedError

    def writelines(self, chunks: list[bytes]) -> None:
        """As `asyncio.WriteTransport.writelines`."""
        raise NotImplementedError


class Connection:
    """The asyncio protocol of one accepted socket; asyncio needs the subclass in loop_state.py."""

    def __init__(self, state: LoopState) -> None:
        self.state = state
        self.transport: asyncio.Transport | None = None
        self._stream: Stream | None = None  # the same, where it is one of ours
        self.handler: Handler | None = None
        # Which of its loop's connections it is, and since when.
        self.number: int = 0
        self.since: float = state.now
        # Times are those of the loop's coarse clock, `LoopState.now`, in seconds.
        self.deadline: float = NEVER
        self.last_seen: float = state.now
        self.reading_paused: bool = False
        self.allowance: int = -1  # bytes that are read until reading pauses; -1: no end
        self.writing_paused: bool = False
        self.burst: int = 0  # bytes that were written since an application last waited for the loop
        self._drain_waiters: list[asyncio.Future[None]] | None = None
        # What is written is delimited by the end of the connection, and more of it is to come.
        self.unfinished: bool = False
        self._eof: bool = False
        self._unsent: int = 0
        # Whose connection it is, where that is counted.
        self.client: str | None = None
        # While writing is paused: since when the peer has been given time, and what it took and was given meanwhile.
        self._stalled_since: float = NEVER
        self._stalled_unsent: int = 0

    # What asyncio calls.

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if isinstance(transport, Stream):
            self._stream = transport
        self._limit_writing(transport)
        self.state.connection_opened(self)

    def get_buffer(self, sizehint: int) -> Any:
        if self.allowance > 0:
            return self.state.receive_buffer[: self.allowance]
        return self.state.receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received(nbytes)

    def received(self, nbytes: int) -> None:
        """Take `nbytes` from the receive buffer."""
        self.last_seen = self.state.now
        if self.allowance > 0:
            self.pause_reading_after(max(0, self.allowance - nbytes))
        if self.handler is not None:
            self.handler.bytes_received(self.state.receive_buffer, nbytes)

    def wanted(self) -> int:
        """As `Handler.wanted`."""
        return 0 if self.handler is None or self.allowance >= 0 else self.handler.wanted()

    def received_placed(self, nbytes: int) -> None:
        """Take `nbytes` that were read to `Handler.place`."""
        self.last_seen = self.state.now
        assert self.handler is not None
        self.handler.receive_placed(nbytes)

    def eof_received(self) -> bool:
        self._eof = True
        stays = self.handler is not None and self.handler.eof_received()
        if self.unfinished and not stays:
            self.abort()
        return stays

    def connection_lost(self, exc: BaseException | None) -> None:
        self.transport = None
        self._stream = None
        self.deadline = NEVER
        self.state.stalled.discard(self)
        self.state.connection_closed(self)
        handler = self.handler
        self.handler = None
        if handler is not None:
            handler.connection_lost()
        self._release_writers(ClientDisconnected("the peer is gone"))

    def pause_writing(self) -> None:
        self.writing_paused = True
        self.state.counts.writing_pauses += 1
        self.state.stalled.add(self)
        self._watch_stalled(self.state.now)

    def resume_writing(self) -> None:
        self.writing_paused = False
        self.state.stalled.discard(self)
        self.last_seen = self.state.now  # who takes bytes is there, as who sends them
        self._release_writers(None)
        if self.handler is not None:
            self.handler.writing_resumed()

    def begin_tls(self, transport: Any) -> None:
        """Go on with `transport`, which speaks TLS over the one before."""
        self.transport = transport
        self.allowance = -1
        self.reading_paused = False
        self._limit_writing(transport)

    def _limit_writing(self, transport: Any) -> None:
        high = self.state.write_high_water
        transport.set_write_buffer_limits(high=high, low=high // 4)

    # What handlers call.

    def write(self, data: bytes) -> None:
        """Write at once; without effect when the socket is gone."""
        if self.transport is not None:
            self.burst += len(data)
            if self.writing_paused:
                self._stalled_unsent += len(data)
            if self._stream is not None:
                self._stream.write(data)
            else:
                self.transport.write(data)

    def write_all(self, chunks: list[bytes]) -> None:
        """Write `chunks` in order, in one system call where the kernel takes them."""
        if self.transport is not None:
            for chunk in chunks:
                self.burst += len(chunk)
                if self.writing_paused:
                    self._stalled_unsent += len(chunk)
            stream = self._stream
            if stream is None:
                if len(chunks) == 1:
                    self.transport.write(chunks[0])
                else:
                    self.transport.writelines(chunks)
            elif len(chunks) == 1:
                stream.write(chunks[0])
            else:
                stream.writelines(chunks)

    def wait_for_room(self) -> asyncio.Future[None] | None:
        """What an application that has sent must wait for before it sends more, if anything."""
        if self.writing_paused:
            return self.drained()
        if self.burst >= BURST_BYTES:
            return self.next_turn()
        return None

    def drained(self) -> asyncio.Future[None]:
        """A future of the moment when writing may go on; its error is `ClientDisconnected`.

        One future for each waiter: a task that is cancelled while it waits must not take the others with it.
        """
        waiter: asyncio.Future[None] = self.state.loop.create_future()
        waiters = self._drain_waiters
        if waiters is None:
            self._drain_waiters = [waiter]
            return waiter
        if waiters and waiters[-1].done():  # cancelled, as those of an application that gives each send a timeout
            waiters = self._drain_waiters = [each for each in waiters if not each.done()]
        waiters.append(waiter)
        return waiter

    def next_turn(self) -> asyncio.Future[None]:
        """A future of the loop's next turn, for an application that sends and sends without waiting for anything.

        Else a peer that reads as fast would starve every other connection, and a lost one would never be noticed: a
        transport takes what it is given after its end, and tells of that end in the next turn.
        """
        self.burst = 0
        return next_turn_of(self.state.loop)

    def peer_takes(self) -> bool:
        """Whether the peer has taken some of what waited to be sent at the last call."""
        before = self._unsent
        self._unsent = 0 if self.transport is None else self.transport.get_write_buffer_size()
        return self._unsent < before

    def check_stalled(self, now: float, timeout: float) -> None:
        """Abort where the peer has not taken enough of a full buffer in `timeout` seconds, up to `now`.

        Any progress would not do: a byte a minute would hold the buffer for ever.
        """
        if now - self._stalled_since < timeout or self.transport is None:
            return
        if self._stalled_unsent - self.transport.get_write_buffer_size() >= STALLED_BYTES:
            self._watch_stalled(now)
        else:
            self.abort()

    def _watch_stalled(self, now: float) -> None:
        self._stalled_since = now
        self._stalled_unsent = 0 if self.transport is None else self.transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        self.allowance = 0
        if not self.reading_paused and self.transport is not None and not self.transport.is_closing():
            self.reading_paused = True
            self.state.counts.reading_pauses += 1
            self.transport.pause_reading()

    def pause_reading_after(self, size: int) -> None:
        """Read `size` bytes more at most; then reading is paused. What was said of that before no longer holds."""
        if size > 0:
            self.resume_reading()
            self.allowance = size
        else:
            self.pause_reading()

    def resume_reading(self) -> None:
        self.allowance = -1
        if self.reading_paused and self.transport is not None and not self.transport.is_closing():
            self.reading_paused = False
            self.transport.resume_reading()

    def close(self) -> None:
        """Close when everything written has been sent."""
        if self.unfinished:
            self.abort()
        elif self.transport is not None and not self.transport.is_closing():  # asyncio's TLS breaks at a second close()
            self.transport.close()

    def abort(self) -> None:
        """Close at once; what was not sent is lost.

        Where the peer would take that for the end of a response, it gets a reset (RFC 9112 section 8).
        """
        transport = self.transport
        if transport is None:
            return
        accepted = transport.get_extra_info("socket") if self.unfinished else None
        if accepted is not None:
            with suppress(OSError):
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        transport.abort()

    def write_eof(self) -> bool:
        """Half-close so that a peer which still sends gets our last bytes and no reset (RFC 9112 section 9.6).

        Returns false where the peer has done so before, or the transport cannot (TLS): the connection is then closed.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        if self.unfinished:
            self.abort()
            return False
        if self._eof or not transport.can_write_eof():
            transport.close()
            return False
        self.resume_reading()
        transport.write_eof()
        return True

    def _release_writers(self, error: ClientDisconnected | None) -> None:
        waiters = self._drain_waiters
        if waiters is None:
            return
        self._drain_waiters = None
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


def next_turn_of(loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """A future of the next turn of `loop`."""
    waiter: asyncio.Future[None] = loop.create_future()
    loop.call_soon(_release, waiter)
    return waiter


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
