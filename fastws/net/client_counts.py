"""How many connections each client address has, so that one cannot have them all. Sans-IO.

Addresses are those of the sockets, as of accept: nothing that a client says counts. One that holds a /64 of IPv6 has
2**64 addresses, so that is what is counted. Peers on Unix sockets and trusted proxies, whose one address stands for
many clients, are not counted at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Any

from fastws.http.forwarded import TrustedPeers


class ClientCounts:
    """Counts up to `limit` connections for each address that is not in `trusted` (as `TrustedPeers` takes it)."""

    def __init__(self, limit: int | None, trusted: str | Iterable[str]) -> None:
        self._limit = limit
        self._trusted = TrustedPeers(trusted)
        self._counts: dict[str, int] = {}

    def enter(self, peer: Any) -> str | None:
        """Count a connection of `peer`, a transport's peername; what to give to `leave`, or None if it is exempt."""
        if not isinstance(peer, tuple) or self._trusted.trusts(peer[0]):
            return None
        client = _network(peer[0])
        self._counts[client] = self._counts.get(client, 0) + 1
        return client

    def over(self, client: str) -> bool:
        """Whether `client` has more connections than it may."""
        return self._limit is not None and self._counts[client] > self._limit

    def leave(self, client: str) -> None:
        """A connection of `client` has ended."""
        left = self._counts[client] - 1
        if left:
            self._counts[client] = left
        else:
            del self._counts[client]


def _network(host: str) -> str:
    """The address itself; of IPv6 its /64."""
    if ":" not in host:
        return host
    address = IPv6Address(host)  # a zone is no part of the network
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"
