"""Futures of those who wait for the same thing.

Each has a future of its own, so that the cancellation of one does not reach the others. One that is cancelled is of no
more interest, and somebody may be cancelled and wait again for as long as a connection lasts: an application that looks
for a disconnect does it between any two events that it sends. So the done ones are taken out, from the end at once and
from the rest whenever the list has doubled, which costs a constant time for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

LEAST: Final = 16
"""Futures that are kept without a look at them."""


class Waiters:
    """Who waits, in the order in which they came."""

    __slots__ = ("_futures", "_room")

    def __init__(self) -> None:
        self._futures: list[asyncio.Future[None]] = []
        self._room = LEAST

    def __len__(self) -> int:
        """How many are kept: those that wait, and at most as many again, or LEAST, that no longer do."""
        return len(self._futures)

    def add(self, waiter: asyncio.Future[None]) -> None:
        """Let `waiter` wait, too."""
        while self._futures and self._futures[-1].done():
            self._futures.pop()
        if len(self._futures) >= self._room:
            self._futures = [each for each in self._futures if not each.done()]
            self._room = max(LEAST, 2 * len(self._futures))
        self._futures.append(waiter)

    def wake(self) -> None:
        """What they wait for has come; nobody waits any more."""
        futures, self._futures = self._futures, []
        for each in futures:
            if not each.done():
                each.set_result(None)

    def fail(self, error: Callable[[], BaseException]) -> None:
        """It will not come: each gets an exception of its own."""
        futures, self._futures = self._futures, []
        for each in futures:
            if not each.done():
                each.set_exception(error())
