"""Which node of a cluster has the channels: the one with the slot of the prefix, as a node says that is not alone.

A node that was cut off from most of the others has the slot in its own eyes, and says that the cluster is down, though
it goes on taking what is published, but no streams. Another one may have been elected: others are asked then.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from fastws.topics.redis_connection import Connector, hang_up

MOST_NODES: Final = 64
"""Nodes that are remembered, for when the one in the URL is away."""


class View(NamedTuple):
    """What a node says."""

    up: bool
    """Whether the cluster is not down."""
    owner: Connector
    """Who has the slot."""


class ClusterConnector(Connector):
    """Makes connections to the node that has the slot of `slot_of`; else as `Connector`."""

    def __init__(self, url: str, password: str | None, slot_of: str) -> None:
        super().__init__(url, password)
        self._slot: int = self._redis.crc.key_slot(slot_of.encode())
        self._nodes: list[tuple[str, int]] = []  # as far as they are known

    def is_elsewhere(self, error: BaseException) -> bool:
        """See `Connector.is_elsewhere`."""
        return super().is_elsewhere(error) or (
            "CLUSTERDOWN" in str(error) or isinstance(error, self._redis.exceptions.ClusterDownError)
        )

    async def locate(self) -> Connector:
        """See `Connector.locate`."""
        problem: Exception | None = None
        found: Connector | None = None
        for seed in (self, *(self.at(*node) for node in self._nodes)):
            try:
                view = await self._ask(seed)
            except self.errors as error:
                problem = problem or error
                continue
            if view.up:
                return view.owner
            found = found or view.owner  # where no node says anything else it is the best there is
        if found is None:
            assert problem is not None
            raise problem
        return found

    async def replaced(self, located: Connector) -> str | None:
        """See `Connector.replaced`."""
        for seed in (located, *(self.at(*node) for node in self._nodes if node != located.place)):
            try:
                view = await self._ask(seed)
            except self.errors:
                continue
            if view.up:
                return None if view.owner.place == located.place else "{}:{}".format(*view.owner.place)
        return None

    async def _ask(self, seed: Connector) -> View:
        return await asyncio.wait_for(self._view_of(seed), self.timeout)

    async def _view_of(self, seed: Connector) -> View:
        """What `seed` says; all nodes that it knows are remembered."""
        connection = await seed.open()
        try:
            answers = []
            for words in (("INFO",), ("MYID",), ("SLOTS",)):
                await connection.send_command("CLUSTER", *words)
                answers.append(await connection.read_response(disable_decoding=True))
        finally:
            await hang_up(connection)
        information, own, slots = answers
        owner: Connector | None = None
        known = []
        for first, last, *places in slots:
            for host, port, *_ in places:
                known.append(((host or b"").decode() or connection.host, port))
            if first <= self._slot <= last:
                owner = seed if places[0][2] == own else self.at(*known[-len(places)])
        if owner is None:
            raise ConnectionError("no node of the cluster has the slot")
        self._nodes[:] = list(dict.fromkeys(known))[:MOST_NODES]
        return View(b"cluster_state:ok" in information, owner)
