"""When to start a worker again in the place of one that died: at once, or later where they die young.

A value with a clock that is told. Workers that die at the same moment have one cause, and count once.
"""

from __future__ import annotations

from typing import Final

HEALTHY_SECONDS: Final = 10.0
"""A worker that dies after it has served for so long did not die young."""
FIRST_DELAY: Final = 0.1
MAX_DELAY: Final = 30.0
"""Seconds before the next start, after the second death of a young worker in a row, and at the most."""
TOGETHER_SECONDS: Final = 0.25
"""Deaths within so many seconds have one cause, and count once."""


class Backoff:
    """The deaths of the workers of one service."""

    def __init__(self) -> None:
        self.next_start: float = 0.0
        """Before this time no worker is to be started."""
        self._failures = 0
        self._last_failure = float("-inf")

    def died(self, now: float, served: float) -> float:
        """A worker has died after it has served for so many seconds. In how many the next one may start."""
        if now - self._last_failure > TOGETHER_SECONDS:
            self._failures = self._failures + 1 if served < HEALTHY_SECONDS else 1
            delay = 0.0 if self._failures == 1 else min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(self._failures - 2, 16))
            self.next_start = now + delay
        self._last_failure = now
        return max(0.0, self.next_start - now)
