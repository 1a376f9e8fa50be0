"""Who of several workers that share a listening socket accepts a connection, so that each gets its even part.

Whoever is quickest accepts, and with long-lived connections one worker would end up with most of them. So a worker
that has more than its part leaves a connection that waits to the others, by looking away for a moment; where nobody has
taken it after `PATIENCE_SECONDS`, because the others are busy, it takes one each time that it looks. While nobody
connects nothing of this happens. When a service starts, connections wait until all workers are there, for a few seconds
at the most: else the first one would get all of the clients that come back after a deploy.

The queue of connections is the kernel's and belongs to the socket, which the supervisor holds: none is lost when a
worker ends, as it would be with SO_REUSEPORT. Accepting itself is in `fastws.net.accepting`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from fastws.process.scoreboard import Row, Stage

LOOK_AWAY_SECONDS: Final = 0.005
PATIENCE_SECONDS: Final = 0.1
HOLD_SECONDS: Final = 0.02


def has_its_part(mine: int, mean: float) -> bool:
    """Whether a worker with so many connections should leave the next one to the others."""
    return mine > mean + mean / 16 + 1


class Gate:
    """Asked before each accept, by all listeners of the worker whose row is `row`; `count` says what it has open."""

    def __init__(self, row: Row, count: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._row = row
        self._count = count
        self._clock = clock
        self._waits_since = self._last_asked = self._last_admitted = 0.0

    def __call__(self) -> float:
        """Seconds for which to look away from a connection that waits; 0 to accept it."""
        row = self._row
        if row.board.is_held():
            return HOLD_SECONDS
        mine = self._count()
        row.connections = mine
        # One that was told to end and still listens does so because all of them were.
        if row.stage == Stage.ACCEPTING and has_its_part(mine, row.board.mean()):
            now = self._clock()
            if now - self._last_asked > 2 * LOOK_AWAY_SECONDS:
                self._waits_since = now  # nobody waited when we last looked
            self._last_asked = now
            overdue = now - self._waits_since >= PATIENCE_SECONDS
            if not overdue or now - self._last_admitted < LOOK_AWAY_SECONDS:
                return LOOK_AWAY_SECONDS
            self._last_admitted = now
        row.connections = mine + 1
        return 0.0
