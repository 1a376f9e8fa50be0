"""Which node of a cluster has the channels: the one with the slot of the prefix, as a node says that is not alone.

A node that was cut off from most of the others has the slot in its own eyes, and takes nothing: `CLUSTERDOWN`. Another
one may have been elected, so another one is asked.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fastws.topics.redis_connection import Connector, hang_up

MOST_NODES: Final = 64
"""Nodes that are remembered, for when the one in the URL is away."""


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
        for seed in (self, *(self.at(*node) for node in self._nodes)):
            try:
                return await asyncio.wait_for(self._node_with_slot(seed), self.timeout)
            except self.errors as error:
                problem = problem or error
        assert problem is not None
        raise problem

    async def _node_with_slot(self, seed: Connector) -> Connector:
        """The node that has the slot, as `seed` says; all that it knows are remembered."""
        connection = await seed.open()
        try:
            answers = []
            for words in (("INFO",), ("MYID",), ("SLOTS",)):
                await connection.send_command("CLUSTER", *words)
                answers.append(await connection.read_response(disable_decoding=True))
        finally:
            await hang_up(connection)
        information, own, slots = answers
        if b"cluster_state:ok" not in information:
            raise ConnectionError("the cluster is down, as its nodes say")
        found: Connector | None = None
        known = []
        for first, last, *places in slots:
            for host, port, *_ in places:
                known.append(((host or b"").decode() or connection.host, port))
            if first <= self._slot <= last:
                found = seed if places[0][2] == own else self.at(*known[-len(places)])
        if found is None:
            raise ConnectionError("no node of the cluster has the slot")
        self._nodes[:] = list(dict.fromkeys(known))[:MOST_NODES]
        return found
