"""What a bus counts, and what it says in the log when publications are lost: how many, of what, between which times."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime, timezone
from typing import Final

from fastws.counted import counted

logger: Final = logging.getLogger("fastws.error")


GATHER_SECONDS: Final = 0.5
"""How long the log gathers what was missed."""
MOST_NAMED: Final = 100
"""Topics that are remembered for that."""


class BusCounts:
    """The counters of one bus, for metrics."""

    __slots__ = ("bad", "dropped", "missed", "outages", "received", "sent")

    def __init__(self) -> None:
        self.sent = 0
        """Publications that went to other processes; a worker that has no subscriber gets none."""
        self.received = 0
        """Publications that came from other processes."""
        self.dropped = 0
        """Publications of this process that others did not get: a buffer was full, or Redis refused them."""
        self.missed = 0
        """Publications of others that this process did not get, as their numbers say; as the log tells of them."""
        self.bad = 0
        """Payloads that were no publication."""
        self.outages = 0
        """Times that a connection was lost."""


class Drops:
    """Publications that went nowhere for one reason: the log has a line when it begins and one when it is over."""

    def __init__(self, counts: BusCounts, what: str) -> None:
        """`what` comes behind ``did not reach``: who does not get them."""
        self._counts = counts
        self._what = what
        self._publications = self._bytes = 0
        self._began = 0.0

    @property
    def going_on(self) -> bool:
        """Whether some were dropped that `over` has not told of."""
        return self._publications > 0

    def add(self, size: int, publications: int = 1, why: str | None = None) -> None:
        """There was no room for `size` bytes, or `why` says what is the matter."""
        if not self._publications:
            self._began = time.time()
            if why is None:
                logger.warning("Topics: the buffer for %s is full (--topics-buffer-bytes); dropping", self._what)
            else:
                logger.error("Topics: %s refused %s; dropping what it refuses", self._what, why)
        self._publications += publications
        self._bytes += size
        self._counts.dropped += publications

    def over(self) -> None:
        """There is room again, or nobody who needs it. Says what was lost."""
        if self._publications:
            logger.warning(
                "Topics: %s (%s) did not reach %s, from %s to %s",
                counted(self._publications, "publication"),
                counted(self._bytes, "byte"),
                self._what,
                stamp(self._began),
                stamp(time.time()),
            )
            self._publications = self._bytes = 0


def stamp(when: float) -> str:
    """A time for the log, in UTC with milliseconds."""
    return datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Missed:
    """Publications of others that did not come, gathered for a moment and then counted and told of in one line."""

    def __init__(self, counts: BusCounts) -> None:
        self._counts = counts
        self._publications = self._late = 0
        self._topics: set[str] = set()
        self._origins: set[int] = set()
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def since(self, when: float) -> None:
        """Nothing came since then: what is missing was published from then on."""
        self._since = when

    def add(self, topic: str, origin: int, publications: int) -> None:
        """The numbers of this origin say that so many are missing."""
        self._publications += publications
        if len(self._topics) < MOST_NAMED:
            self._topics.add(topic)
        if len(self._origins) < MOST_NAMED:
            self._origins.add(origin)
        self._tell_soon()

    def came_late(self) -> None:
        """One that was missing has come after all."""
        if self._publications:
            self._publications -= 1
        else:
            self._late += 1
            self._tell_soon()

    def tell(self) -> None:
        """Count and log what was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._publications:
            self._counts.missed += self._publications
            logger.warning(
                "Topics: missed %s of %s%s, to %s%s",
                counted(self._publications, "publication"),
                counted(len(self._origins), "other process", "other processes"),
                f" since {stamp(self._since)}" if self._since else "",
                ", ".join(repr(each) for each in sorted(self._topics)[:3]),
                " and others" if len(self._topics) > 3 else "",
            )
        if self._late:
            late = counted(self._late, "publication")
            logger.warning("Topics: %s came late, after the log had called them missed", late)
        self._publications = self._late = 0
        self._topics.clear()
        self._origins.clear()

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self.tell)
