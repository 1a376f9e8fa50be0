"""A fake clock and a fake transport: the whole server above the socket, without sockets and without waiting.

The clock of the loop that `on_fake_clock` runs a test on jumps to the next timer whenever nothing else is left to do:
`await asyncio.sleep(60)` takes no time, and everything that was due in that minute happens in its order.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from queue_channel import QueueChannel
from serving import CHOSEN

import fastws
from fastws.asgi.application import Application
from fastws.net.loop_state import LoopState
from fastws.observe.access_log import AccessLog
from fastws.topics.hub import Hub
from fastws.websocket.engines import load_engine


class _ClockSelector(selectors.SelectSelector):
    """Waits for nothing: where the loop would, the clock goes on instead."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "the test waits for what can never come"
            self.now += max(timeout, 0.0)
            assert self.now < 1_000_000, "the test waits for what does not come"
        return ready


class FakeClockLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, but `time()` is fake. `stall(seconds)` is a callback that took that long."""

    def __init__(self) -> None:
        self.selector = _ClockSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now

    def stall(self, seconds: float) -> None:
        self.selector.now += seconds


def on_fake_clock(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine test on a `FakeClockLoop`; what it leaves behind, such as an unseen exception, fails it."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        loop = FakeClockLoop()
        complaints: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        try:
            loop.run_until_complete(test(*args, **kwargs))
        finally:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks))
            loop.close()
        assert complaints == []

    return run


async def settle() -> None:
    """Let everything that can happen at this time of the clock happen."""
    for _ in range(50):
        await asyncio.sleep(0)


class FakeTransport(asyncio.Transport):
    """One accepted connection as a transport of asyncio's, with a peer that a test plays.

    While `stalled`, the peer's window is shut: what is written waits here, above the high-water mark with the
    protocol's writing paused.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any, peername: Any = ("192.0.2.1", 50000)) -> None:
        super().__init__({"peername": peername, "sockname": ("192.0.2.2", 80)})
        self.loop = loop
        self.protocol = protocol
        self.writes: list[bytes] = []
        """One entry for each write, as a system call would be."""
        self.stalled = False
        self.unsent = 0
        self.reading = True
        self.closing = False
        self.aborted = False
        self.half_closed = False
        self.lost = False
        self.reads_paused = 0
        self._incoming: list[bytes] = []
        self._writing_paused = False
        self._high, self._low = 65536, 16384
        protocol.connection_made(self)

    # What the protocol calls.

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        assert low is not None
        self._high, self._low = high, low

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: Any) -> None:
        assert not self.half_closed, "a write behind write_eof()"
        assert not self.closing or self.lost or self.aborted, f"a write behind close(): {bytes(data)!r:.100}"
        if self.lost or self.aborted:
            return
        self.writes.append(bytes(data))
        if self.stalled:
            self.unsent += len(data)
            if self.unsent > self._high and not self._writing_paused:
                self._writing_paused = True
                self.protocol.pause_writing()

    def writelines(self, chunks: Any) -> None:
        self.write(b"".join(chunks))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.unsent:
                self.loop.call_soon(self._lose)

    def abort(self) -> None:
        if not self.aborted:
            self.aborted = self.closing = True
            self.loop.call_soon(self._lose)

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False
        self.reads_paused += 1

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True
        self.loop.call_soon(self._deliver)

    # What the peer does.

    def feed(self, data: bytes) -> None:
        """Bytes arrive; they wait while reading is paused."""
        self._incoming.append(data)
        self._deliver()

    @property
    def unread(self) -> int:
        """Bytes that the server has left in the socket."""
        return sum(map(len, self._incoming))

    def feed_eof(self) -> None:
        assert not self.unread, "the end of the stream is behind the bytes"
        if not self.protocol.eof_received():
            self.close()

    def reset(self) -> None:
        """The peer resets the connection."""
        self.aborted = self.closing = True
        self._lose()

    def drain(self, size: int | None = None) -> None:
        """The peer takes `size` of the bytes that wait, or all of them."""
        self.unsent = 0 if size is None else max(0, self.unsent - size)
        if self._writing_paused and self.unsent <= self._low:
            self._writing_paused = False
            self.protocol.resume_writing()
        if self.closing and not self.unsent:
            self.loop.call_soon(self._lose)

    def _deliver(self) -> None:
        while self._incoming and self.reading and not self.closing:
            data = self._incoming.pop(0)
            buffer = self.protocol.get_buffer(-1)
            size = min(len(data), len(buffer))
            buffer[:size] = data[:size]
            if size < len(data):
                self._incoming.insert(0, data[size:])
            self.protocol.buffer_updated(size)
            buffer[:size] = b"\xee" * size  # the next read of any connection comes here

    def _lose(self) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(None)


def over_socket(loop: asyncio.AbstractEventLoop, state: LoopState, *peername: Any) -> tuple[Any, Any]:
    """A `Connection`, and its transport, whose peer a test plays."""
    connection = state.new_connection()
    return connection, FakeTransport(loop, connection, *peername)


def over_queues(loop: asyncio.AbstractEventLoop, state: LoopState, *peername: Any) -> tuple[Any, Any]:
    """A channel that is no connection, and its other end."""
    channel = QueueChannel(loop, state, *peername)
    return channel, channel.end


CHANNELS = {"socket": over_socket, "queues": over_queues}


class Peer:
    """A client of a `FakeServer`, over the channel that the fixture `channels` says."""

    over = staticmethod(over_socket)

    def __init__(self, loop: asyncio.AbstractEventLoop, state: LoopState, *peername: Any) -> None:
        self.connection, self.transport = self.over(loop, state, *peername)
        self._taken = 0

    async def send(self, data: bytes) -> None:
        """Send `data`, which arrives in one read, and let the server do what it does about it."""
        self.transport.feed(data)
        await settle()

    def take(self) -> bytes:
        """What the server has written since the last call."""
        return b"".join(self.take_writes())

    def take_writes(self) -> list[bytes]:
        """The writes since the last call, one by one."""
        writes = self.transport.writes[self._taken :]
        self._taken = len(self.transport.writes)
        return writes


class FakeServer:
    """A server's event loop layer and ASGI layer for `app`, in the running loop; `options` are Config's."""

    def __init__(
        self, app: Any, *, engine: str = "auto", access_log: bool = False, observer: Any = None, **options: Any
    ) -> None:
        self.loop = asyncio.get_running_loop()
        config = fastws.Config(app, **{**CHOSEN, **options})
        application = Application(app, config, state={}, observer=AccessLog() if access_log else observer)
        self.state = LoopState(self.loop, config, application, load_engine(engine), secure=False)
        self.hub = Hub(self.state)

    def connect(self, *peername: Any) -> Peer:
        """A new peer, whose address may be given as a transport has it."""
        return Peer(self.loop, self.state, *peername)


class Call:
    """One call of a `DrivenApp`: the test receives and sends in its place."""

    def __init__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Its result is the application's return, its exception what the application raises."""


class DrivenApp:
    """An application that does nothing by itself; `calls` are what a test drives."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        call = Call(scope, receive, send)
        self.calls.append(call)
        await call.end
