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


HUBS: list[tuple[asyncio.AbstractEventLoop, Publisher]] = []
"""Each hub between its start and its stop, with its loop, in the order of their starts."""
