"""The part of a loop's shared state that every message touches: the receive buffer, the coarse clock and the cork.

`LoopState` is built on it. It stands apart because it is compiled by Cython where the extension was built
(loop_core.pxd) and must not import what imports it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from fastws.http.repeats import Repeats
from fastws.net.loop_counts import LoopCounts

RECEIVE_BUFFER_BYTES = 65536 + 1024
"""Many a program sends messages of 64 KiB: with its header, one is one read."""

REPEATED_ENTRIES = 256
"""How many request heads, and how many lists of response headers, are remembered: a few hundred KiB if all are used."""


class Corked(Protocol):
    """Somebody whose output waits for the end of the loop's turn."""

    def end_of_turn(self) -> None:
        """Write what waits."""


class Resumable:
    """Somebody who goes on in the loop's next turn."""

    def resume(self) -> None:
        """Go on; raises nothing."""
        raise NotImplementedError


class LoopCore:
    """What the hot path shares on `loop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # A clock for what lasts microseconds: uvloop's own has milliseconds, of when the turn of the loop began.
        coarse = type(loop).__module__.partition(".")[0] == "uvloop"
        self.clock: Callable[[], float] = time.perf_counter if coarse else loop.time
        # Seconds on the loop's clock, as of the last sweep.
        self.now: float = loop.time()
        self.receive_buffer: memoryview = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        # The server is about to stop: a response is the last one on its connection.
        self.draining: bool = False
        # The server no longer listens, and connections end.
        self.shutting_down: bool = False
        self._corked: list[Corked] = []
        self._resumable: list[Resumable] = []
        # Requests whose response is not complete and whose application has not ended.
        self.requests: int = 0
        # Connections whose peer does not take what waits for it, and the bytes that may wait.
        self.stalled: set[Any] = set()
        self.write_high_water: int = 65536
        self.counts = LoopCounts()
        # The application's tasks, and who waits until there are none, and no connections.
        self.tasks: set[asyncio.Task[None]] = set()
        self.idle_waiters: list[asyncio.Future[None]] = []
        # Request heads and response headers that came more than once.
        self.heads = Repeats(REPEATED_ENTRIES)
        self.responses = Repeats(REPEATED_ENTRIES)
        # Where WebSockets subscribe and publish, if the server offers that: `fastws.topics.hub.Hub`.
        self.topics: Any = None
        # Header fields that several WebSockets had.
        self.fields = Repeats(4 * REPEATED_ENTRIES)
        # Whether connections are TLS.
        self.secure: bool = False

    def connection_opened(self, connection: Any) -> None:
        """The `Connection` has its transport: give it a number and a handler."""
        raise NotImplementedError

    def connection_closed(self, connection: Any) -> None:
        """The `Connection` has lost its transport."""
        raise NotImplementedError

    def cork(self, corked: Corked) -> None:
        """Call `corked.end_of_turn()` once, when everything that is ready to run now has run."""
        if not self._corked:
            self.loop.call_soon(self.end_turn)
        self._corked.append(corked)

    def resume_soon(self, resumable: Resumable) -> None:
        """Call `resumable.resume()` in the loop's next turn: one callback of the loop's for all that go on in it."""
        if not self._resumable:
            self.loop.call_soon(self.resume_all)
        self._resumable.append(resumable)

    def resume_all(self) -> None:
        """Let everybody go on who is to."""
        resumable, self._resumable = self._resumable, []
        for each in resumable:
            each.resume()

    def end_turn(self) -> None:
        """Let everybody who is corked write."""
        corked, self._corked = self._corked, []
        for each in corked:
            each.end_of_turn()
