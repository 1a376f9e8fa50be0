"""The one timer of a loop: every deadline and every keepalive ping of every connection hangs on it.

A timer for each connection would cost more than a connection's messages. Instead each connection carries its next
deadline as a number, and the sweep looks over all of them a few times a second at most. It also keeps the coarse
clock that connections read, so that no received byte costs a call for the time.

Connections that came together, as after a restart, are due together. So those that are due have their turn in slices,
and between two slices the loop serves whoever has sent something: no sweep holds up a message for long.

A sweep that comes late finds what peers have sent unread, and lets those off who are due. Late is late once: what was
due in a sweep is seen to by the next one at the latest, however late that is, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from fastws.net.channel import Channel

LONGEST_INTERVAL = 1.0
SHORTEST_INTERVAL = 0.01

SLICE = 128
"""Handlers that are called in one turn of the loop: about a millisecond, where each sends a ping."""


def sweep_interval(timeouts: Iterable[float | None]) -> float:
    """Seconds between two sweeps so that the shortest of `timeouts` is kept to about a quarter of itself."""
    shortest = min((timeout for timeout in timeouts if timeout), default=4 * LONGEST_INTERVAL)
    return min(LONGEST_INTERVAL, max(SHORTEST_INTERVAL, shortest / 4))


class Sweep:
    """Calls `Handler.on_deadline` of the connections whose deadline has passed, every `interval` seconds.

    `on_tick` gets the time of each sweep before any deadline is looked at, and `on_error` an exception that one of the
    connections has raised: the others have their turn. `stalled` are the connections whose peer
    holds up what is written; each gets `Connection.check_stalled` with `stall_timeout`. `streams` are channels that
    have deadlines too, and share the socket of a connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connections: set[Channel],
        interval: float,
        on_tick: Callable[[float], None],
        on_error: Callable[[Channel, Exception], None],
        *,
        stalled: set[Channel],
        streams: set[Channel],
        stall_timeout: float | None,
    ) -> None:
        self._loop = loop
        self._connections = connections
        self._on_tick = on_tick
        self._on_error = on_error
        self._stalled = stalled
        self._streams = streams
        self._stall_timeout = stall_timeout
        self._last = loop.time()
        self._lag = 0.0
        # Those that are due and have not had their turn, and what will give it to them.
        self._due: list[Channel] = []
        self._next_slice: asyncio.Handle | None = None
        # Those that the last sweep has let off since the loop was late: which deadline was spared, and who was stalled.
        self._spared: dict[Channel, float] = {}
        self._spared_stalled: set[Channel] = set()
        self.interval = interval
        self._timer: asyncio.TimerHandle | None = loop.call_later(interval, self._tick)

    def lag(self) -> float:
        """By how many seconds the loop was late of late: half of what it was counts for each sweep since."""
        return max(self._lag, self._loop.time() - self._last - self.interval, 0.0)

    def hasten(self, interval: float) -> None:
        """Sweep every `interval` seconds, if that is more often than now."""
        if interval < self.interval and self._timer is not None:
            self.interval = interval
            self._timer.cancel()
            self._timer = self._loop.call_later(interval, self._tick)

    def close(self) -> None:
        """Stop sweeping."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._next_slice is not None:
            self._next_slice.cancel()
            self._next_slice = None
        self._spared.clear()
        self._spared_stalled.clear()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self.interval, self._tick)
        now = self._loop.time()
        passed = now - self._last
        late = passed > 2 * self.interval
        self._lag = max(passed - self.interval, self._lag / 2)
        self._last = now
        self._on_tick(now)
        due = [each for each in self._connections if each.deadline <= now]
        if self._streams:
            due += [each for each in self._streams if each.deadline <= now]
        stalled = list(self._stalled)
        if late:
            due, stalled = self._spare(due, stalled)
        else:
            self._spared.clear()
            self._spared_stalled.clear()
        self._due = due
        if due and self._next_slice is None:
            self._slice()
        if self._stall_timeout is not None:
            for connection in stalled:
                try:
                    connection.check_stalled(now, self._stall_timeout)
                except Exception as error:
                    self._on_error(connection, error)

    def _spare(self, due: list[Channel], stalled: list[Channel]) -> tuple[list[Channel], list[Channel]]:
        """Those of `due` and `stalled` that have been spared before, or have waited for their slice.

        The loop was stuck, and what peers sent meanwhile is still unread: nobody is late but us. That is so once for
        each deadline: a loop that is late in every sweep would else never come to any.
        """
        waited = set(self._due)
        spared, self._spared = self._spared, {each: each.deadline for each in due}
        spared_stalled, self._spared_stalled = self._spared_stalled, set(stalled)
        return (
            [each for each in due if each in waited or spared.get(each) == each.deadline],
            [each for each in stalled if each in spared_stalled],
        )

    def _slice(self) -> None:
        """Call the handlers of some that are due, if they still are, and leave the others to the next turn."""
        self._next_slice = None
        now, part = self._last, self._due[-SLICE:]
        del self._due[-SLICE:]
        if self._due:
            self._next_slice = self._loop.call_soon(self._slice)
        for connection in part:
            handler = connection.handler
            try:
                if handler is not None and connection.deadline <= now:
                    handler.on_deadline(now)
            except Exception as error:
                self._on_error(connection, error)
