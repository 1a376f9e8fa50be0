"""The seam between the topics of one process and those of others: what a bus is, and what goes over it.

A hub (`fastws.topics.hub`) serves the subscribers of its own process and knows no other. A bus takes its publications
to the hubs of other processes and brings theirs. It is called on the event loop of its hub only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from fastws.topics.audience import Audience
from fastws.topics.losses import BusCounts


class Publication(NamedTuple):
    """One message to the subscribers of a topic. All of it are plain values, for a bus to write down."""

    topic: str
    message: str | bytes
    key: str | None = None
    """What the message is the latest of, for subscribers that keep only the latest while they are slow."""
    origin: str = ""
    """`Hub.id` of the process where it was published."""
    sender: int = 0
    """There, the number of the connection that does not get it, since it asked for that (`exclude_self`); 0: none."""
    id: str | None = None
    """What a stream calls it, for subscribers that resume."""


class Local(Protocol):
    """What a bus may ask of its hub."""

    id: str
    """Of this hub alone: random."""

    def deliver(self, publication: Publication) -> int:
        """Give `publication` to the subscribers of this process; how many they are. Never raises, never waits."""

    def subscribers(self, topic: str) -> int:
        """How many connections of this process have subscribed to `topic`."""

    def topics(self) -> Iterable[str]:
        """The topics that have subscribers in this process: a copy."""


class Bus(Protocol):
    """Takes publications to other processes, and brings theirs to `Local.deliver`."""

    ordered_by_bus: bool
    """Whether it brings a hub's own publications back, in the order that all processes have (a stream does).

    The hub then delivers none of them by itself. Where it is false, a bus must never bring back what its hub has
    published: the hub has delivered it already, and a subscriber gets each message once.
    """

    counts: BusCounts
    """For metrics."""

    @property
    def connected(self) -> bool:
        """Whether other processes can be reached now."""

    async def start(self, local: Local) -> None:
        """Begin, before the first call of another method. Raises StartupError where there is no hope."""

    def publish(self, publication: Publication) -> None:
        """Take `publication` to the others, soon. Never waits, never raises; what it must drop it counts and logs."""

    def subscribe(self, topic: str) -> None:
        """The first subscriber of this process has come to `topic`."""

    def coming(self, topic: str) -> asyncio.Future[Any] | None:
        """What a subscriber of `topic` waits for until what others publish comes here; None where it does already."""

    def unsubscribe(self, topic: str) -> None:
        """The last subscriber of this process has left `topic`."""

    def counted(self, topic: str, subscribers: int) -> None:
        """`topic` has so many subscribers in this process now: at each change, behind the two above."""

    async def presence(self, topic: str) -> int:
        """How many subscribers `topic` has in all processes, this one included."""

    async def audience(self, topic: str) -> Audience:
        """How many they are, and in how many processes."""

    def descriptors(self) -> Iterable[int]:
        """The descriptors of all that was opened."""

    async def stop(self) -> None:
        """End; what was published is taken along where that is a matter of a second or so."""


class ResumingBus(Bus, Protocol):
    """A bus that keeps what was published, for subscribers that resume; it is `ordered_by_bus`."""

    async def resume(self, topic: str, after: str, ready: Callable[[list[Publication]], None]) -> None:
        """Call `ready`, once, with what was published to `topic` after the id `after`.

        What comes by `Local.deliver` afterwards is what was published behind it.
        """
