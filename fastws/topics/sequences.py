"""Numbers on publications, so that whoever receives them knows how many it has missed. No event loop, no clock.

A publisher, the origin, numbers what it sends to a topic. A receiver keeps the last number of each origin and topic:
one that it had already is a publication that was sent again after a connection broke, and one that is not the next says
exactly how many are missing. One of these may come late, where Redis did not take it at first but what was behind it:
the last of the missing numbers are kept for that. All tables are bounded; an origin that has forgotten a topic begins a
new series there.
"""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

MAX_TOPICS: Final = 65_536
"""Topics whose last numbers an origin remembers; then the one that was silent for longest is forgotten."""
MAX_ORIGINS: Final = 1024
"""Origins that a receiver remembers for each topic."""

MAX_MISSING: Final = 4096
"""Missing numbers that a receiver remembers, of all origins and topics."""

DUPLICATE: Final = -1
"""What `Incoming.take` returns for a publication that was there before."""
LATE: Final = -2
"""And for one that it has said to be missing."""


class Number(NamedTuple):
    """The number of one publication; `first` in its series."""

    sequence: int
    first: bool


class Outgoing:
    """The numbers that one origin gives."""

    def __init__(self, limit: int = MAX_TOPICS) -> None:
        self.origin = secrets.randbits(63) | 1
        """A number that no other process has; never 0."""
        self._limit = limit
        self._total = 0
        self._last: dict[str, int] = {}

    def next(self, topic: str) -> Number:
        """The number of the next publication to `topic`."""
        self._total += 1
        last = self._last.pop(topic, None)
        # A new series begins above every number that the topic can have had: they all count in the total.
        sequence = self._total if last is None else last + 1
        self._last[topic] = sequence
        if len(self._last) > self._limit:
            del self._last[next(iter(self._last))]
        return Number(sequence, last is None)

    def last(self, topic: str) -> int | None:
        """The last number that was given, or None."""
        return self._last.get(topic)


class Incoming:
    """The numbers that one process has seen, of topics that it is subscribed to."""

    def __init__(self, limit: int = MAX_ORIGINS) -> None:
        self._limit = limit
        self._last: dict[str, dict[int, int]] = {}
        self._missing: dict[tuple[str, int, int], None] = {}

    def knows(self, topic: str, origin: int) -> bool:
        """Whether something of the origin has come on the topic."""
        return origin in self._last.get(topic, ())

    def size(self) -> int:
        """Entries of all tables."""
        return sum(len(each) for each in self._last.values()) + len(self._missing)

    def take(self, topic: str, origin: int, sequence: int, first: bool = False) -> int:
        """How many publications are missing before this one; `DUPLICATE` where it was there already, or `LATE`."""
        origins = self._last.get(topic)
        if origins is None:
            origins = self._last[topic] = {}
        last = origins.pop(origin, None)
        if last is not None and sequence <= last:
            origins[origin] = last
            if self._missing and (topic, origin, sequence) in self._missing:
                del self._missing[topic, origin, sequence]
                return LATE
            return DUPLICATE
        origins[origin] = sequence
        if len(origins) > self._limit:
            del origins[next(iter(origins))]
        if first or last is None or sequence == last + 1:
            return 0
        self._miss(topic, origin, last + 1, sequence)
        return sequence - last - 1

    def mark(self, topic: str, origin: int, sequence: int) -> int:
        """How many are missing, where the origin says that `sequence` was its last number until now."""
        origins = self._last.get(topic, {})
        last = origins.get(origin)
        if last is None or sequence <= last:
            return 0
        origins[origin] = sequence
        self._miss(topic, origin, last + 1, sequence + 1)
        return sequence - last

    def forget(self, topic: str) -> None:
        """The process is not subscribed to the topic any more."""
        self._last.pop(topic, None)

    def _miss(self, topic: str, origin: int, first: int, end: int) -> None:
        for sequence in range(max(first, end - MAX_MISSING), end):
            self._missing[topic, origin, sequence] = None
        while len(self._missing) > MAX_MISSING:
            del self._missing[next(iter(self._missing))]
