"""Which other processes there are, as far as they have said so: who is waited for after an outage.

A publication that is sent while others have not subscribed again goes to nobody. So each process says that it is there
when it is, and now and then, and answers who asks; one that ends says that, too. After an outage those that were there
before are waited for, and one that was killed meanwhile as long as one that is there would need.
"""

from __future__ import annotations

import asyncio
from typing import Final

HERE_SECONDS: Final = 30.0
"""How often a process says that it is there."""
GONE_SECONDS: Final = 75.0
"""One that has said nothing for so long is not waited for."""
MOST: Final = 1024
"""Processes that are remembered."""


class Roll:
    """The others. Times are of any clock that does not go back."""

    def __init__(self) -> None:
        self._heard: dict[int, float] = {}
        self._missing: set[int] = set()
        self._complete: asyncio.Future[None] | None = None

    def here(self, origin: int, now: float) -> None:
        """That one is there."""
        self._heard.pop(origin, None)
        self._heard[origin] = now
        if len(self._heard) > MOST:
            del self._heard[next(iter(self._heard))]
        self._found(origin)

    def left(self, origin: int) -> None:
        """That one ends."""
        self._heard.pop(origin, None)
        self._found(origin)

    async def wait(self, seconds: float) -> None:
        """Return when nobody is missing, or so much later."""
        if self._missing:
            self._complete = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._complete], timeout=seconds)

    def call(self, now: float) -> None:
        """Nobody is known to be there, from now on; those are missing that were at `now`."""
        self._heard = {origin: heard for origin, heard in self._heard.items() if now - heard < GONE_SECONDS}
        self._missing = set(self._heard)

    def give_up(self) -> None:
        """Wait for nobody any more: who is missing has gone."""
        for origin in self._missing:
            self._heard.pop(origin, None)
        self._missing.clear()

    @property
    def missing(self) -> int:
        """How many are not there again."""
        return len(self._missing)

    def __len__(self) -> int:
        return len(self._heard)

    def _found(self, origin: int) -> None:
        self._missing.discard(origin)
        if not self._missing and self._complete is not None and not self._complete.done():
            self._complete.set_result(None)
