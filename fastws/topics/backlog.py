"""What waits for a slow subscriber, and what becomes of it when it is too much.

A connection whose peer does not read gets a `Backlog` when its write buffer is full, and loses it when all of it could
be written. It is bounded in bytes: beyond, what the subscription asked for is done. Each topic has its own, so that
one topic's flood drops nothing of another's, and they leave in the order in which they came.

Sans-IO, plain Python: most subscribers never have one.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from typing import Final, NamedTuple

from fastws.topics.outgoing import Outgoing

DROP_NEWEST: Final = "drop-newest"
DROP_OLDEST: Final = "drop-oldest"
LATEST: Final = "latest"
CLOSE: Final = "close"

POLICIES: Final = (DROP_NEWEST, DROP_OLDEST, LATEST, CLOSE)
"""What may be done for a subscriber that does not keep up."""

MESSAGE_BYTES: Final = 64
"""What a message that waits counts for beside its payload: many empty ones take memory, too."""


class Policy(NamedTuple):
    """What a subscription does when its peer does not keep up."""

    slow: str
    """One of POLICIES."""
    limit: int
    """Bytes of its messages that may wait."""
    ids: bool = False
    """Whether messages that have an id of a stream begin with it and a blank."""


class _Waiting:
    """The messages of one topic that wait, by their number or, of those that only the latest is kept of, their key."""

    __slots__ = ("messages", "size")

    def __init__(self) -> None:
        self.messages: OrderedDict[int | tuple[str | None], tuple[int, Outgoing]] = OrderedDict()
        self.size = 0

    def first(self) -> int:
        """The number of the first of them."""
        return next(iter(self.messages.values()))[0]


class Backlog:
    """The messages that wait for one connection; `limit` bytes of them all, with MESSAGE_BYTES for each."""

    __slots__ = ("_firsts", "_limit", "_number", "_topics", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._number = 0
        self._topics: dict[str, _Waiting] = {}
        self._firsts: list[
            tuple[int, str]
        ] = []  # a heap: each of these topics, with a number that is not behind its first
        self.size = 0

    def __len__(self) -> int:
        return sum(len(waiting.messages) for waiting in self._topics.values())

    def add(self, topic: str, message: Outgoing, policy: Policy) -> int:
        """Let `message` wait, as `policy` says; how many messages are dropped for it, itself perhaps.

        Raises OverflowError where there is no room and `policy` is to close.
        """
        self._number += 1
        number = self._number
        waiting = self._topics.get(topic)
        if waiting is None:
            waiting = self._topics[topic] = _Waiting()
            heapq.heappush(self._firsts, (number, topic))
        size = message.size + MESSAGE_BYTES
        room = min(policy.limit, self._limit - self.size + waiting.size)
        if policy.slow == LATEST:
            return self._replace(waiting, message, number, room)
        dropped = 0
        if waiting.size + size > room:
            if policy.slow == CLOSE:
                raise OverflowError
            if policy.slow == DROP_NEWEST or size > room:
                return 1
            dropped = self._make_room(waiting, room - size, None)
        waiting.messages[number] = number, message
        self._grow(waiting, size)
        return dropped

    def take(self) -> Outgoing | None:
        """The message that has waited longest, if any."""
        firsts = self._firsts
        while firsts:
            number, topic = firsts[0]
            waiting = self._topics[topic]
            if not waiting.messages:
                heapq.heappop(firsts)
                del self._topics[topic]
            elif waiting.first() != number:
                heapq.heapreplace(firsts, (waiting.first(), topic))
            else:
                message = waiting.messages.popitem(last=False)[1][1]
                self._grow(waiting, -message.size - MESSAGE_BYTES)
                return message
        return None

    def drop(self, topic: str) -> None:
        """Forget the messages of `topic`."""
        waiting = self._topics.pop(topic, None)
        if waiting is not None:
            self.size -= waiting.size
            self._firsts = [each for each in self._firsts if each[1] != topic]
            heapq.heapify(self._firsts)

    def _replace(self, waiting: _Waiting, message: Outgoing, number: int, room: int) -> int:
        """Keep `message` as the latest of its key: in its predecessor's place, or a busy key would never be sent."""
        key = (message.key,)
        before = waiting.messages.get(key)
        dropped = 0
        if before is not None:
            dropped = 1
            number = before[0]
            self._grow(waiting, -before[1].size - MESSAGE_BYTES)
        waiting.messages[key] = number, message
        self._grow(waiting, message.size + MESSAGE_BYTES)
        if waiting.size > room:
            dropped += self._make_room(waiting, room, key)
            if waiting.size > room:
                del waiting.messages[key]
                self._grow(waiting, -message.size - MESSAGE_BYTES)
                dropped += 1
        return dropped

    def _make_room(self, waiting: _Waiting, size: int, kept: tuple[str | None] | None) -> int:
        """Drop the oldest messages but `kept` until no more than `size` bytes are left; how many they were."""
        freed = 0
        victims = []
        for key, (_, message) in waiting.messages.items():
            if waiting.size - freed <= size:
                break
            if key != kept:
                victims.append(key)
                freed += message.size + MESSAGE_BYTES
        for key in victims:
            del waiting.messages[key]
        self._grow(waiting, -freed)
        return len(victims)

    def _grow(self, waiting: _Waiting, size: int) -> None:
        waiting.size += size
        self.size += size
