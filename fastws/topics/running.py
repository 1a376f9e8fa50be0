"""The hubs that run in this process: where `fastws.topics.publish` finds them, from whatever code it is called.

It is the one place where topics are a module's: code that is no connection (an HTTP handler, a background task, a
thread) has nothing in its hands that a hub could hang on.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Publisher(Protocol):
    """What publishes to subscribers of one event loop; to be called there only, but for `subscribers`."""

    def publish(self, topic: str, message: str | bytes, key: str | None = None, sender: int = 0) -> int:
        """Send `message` to all subscribers of `topic` but the connection `sender`; how many they are here."""

    def wait_for_turn(self) -> asyncio.Future[None] | None:
        """What a publisher must wait for before it publishes more, if anything."""

    def subscribers(self, topic: str) -> int:
        """How many connections have subscribed to `topic`."""

    async def presence(self, topic: str) -> int:
        """How many connections of all processes have subscribed to `topic`."""


Entry = tuple[asyncio.AbstractEventLoop, Publisher]

_entries: list[Entry] = []


def enter(loop: asyncio.AbstractEventLoop, hub: Publisher) -> None:
    """`hub` has started, on `loop`."""
    _entries.append((loop, hub))


def leave(hub: Publisher) -> bool:
    """`hub` stops; whether it was found until now."""
    found = [entry for entry in list(_entries) if entry[1] is hub]
    return any(_forget(entry) for entry in found)


def hubs() -> list[Entry]:
    """Each hub between its start and its stop, with its loop, in the order of their starts. For every thread.

    A loop that is closed has no hub any more: one that was never told to stop (another server's, or one that was cut
    short) is forgotten here.
    """
    for entry in list(_entries):
        if entry[0].is_closed():
            _forget(entry)
    return list(_entries)


def _forget(entry: Entry) -> bool:
    try:
        _entries.remove(entry)
    except ValueError:  # another thread was first
        return False
    return True
