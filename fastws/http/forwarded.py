"""X-Forwarded-For and X-Forwarded-Proto: who the client is behind proxies that the operator trusts.

Sans-IO. Every proxy appends the address that it saw, so the list is read from its end: as long as the sender of an
element is trusted, the element is believed. One that is no address ends the walk, for what stands before it may come
from anybody; the last address that was believed is then the client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from fastws.errors import ConfigError

Client: TypeAlias = tuple[str, int | None] | None
"""A peer as ASGI names it: address and port; None (or a path and None) for a unix socket."""

UNIX: Final = "unix"
"""The word that trusts every peer of a unix socket; those have no address. Its file's permissions are its guard."""

# Longer than a DNS name, so neither an address nor anything that is trusted: not worth a place in the cache.
_MAX_CACHED_HOST: Final = 253
_LOOKS_LIKE_ADDRESS: Final = re.compile(r"[0-9.]+|[0-9a-fA-F.]*:[0-9a-fA-F:.]*").fullmatch
_ADDRESS_AND_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?").fullmatch
_ADDRESS: Final = re.compile(r"[0-9A-Fa-f:.]+").fullmatch
_SCHEMES: Final = {b"http": False, b"ws": False, b"https": True, b"wss": True}  # is it secure


def names_peer(item: str) -> bool:
    """Whether an element of a list of peers can be that of a real one: no host name, and no pattern but ``*``."""
    item = item.strip()
    return not item or item == "*" or "/" in item or item.startswith(UNIX) or _LOOKS_LIKE_ADDRESS(item) is not None


class TrustedPeers:
    """The peers whose X-Forwarded headers are believed.

    `spec` is a list, or a string with commas, of addresses (``127.0.0.1``, ``::1``), networks (``10.0.0.0/8``), ``*``
    for everybody, ``unix`` for every peer of a unix socket, and literals (a name or a path that a peer goes by).
    Raises ConfigError, which names `option`, for an element that looks like an address or a network and is none.
    """

    def __init__(self, spec: str | Iterable[str], option: str = "--forwarded-allow-ips") -> None:
        self.everybody = False
        self._option = option
        self._literals: set[str] = set()
        self._addresses: set[IPv4Address | IPv6Address] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for item in spec.split(",") if isinstance(spec, str) else spec:
            self._add(item.strip())
        self._trusts_host = lru_cache(maxsize=1024)(self._compute)

    def _add(self, item: str) -> None:
        if not item:
            return
        if item == "*":
            self.everybody = True
        elif item.startswith(("/", UNIX)):
            self._literals.add(item.removesuffix(":") if item == UNIX + ":" else item)
        elif "/" in item:
            try:
                self._networks.append(ip_network(item))
            except ValueError as error:
                raise ConfigError(f"{self._option}: {error}; a network is such as 10.0.0.0/8") from None
        elif _LOOKS_LIKE_ADDRESS(item):
            try:
                self._addresses.add(ip_address(item))
            except ValueError:
                raise ConfigError(
                    f"{self._option}: {item!r} is not an address; one is such as 127.0.0.1 or ::1"
                ) from None
        else:
            self._literals.add(item)

    def trusts(self, host: str | None) -> bool:
        """Whether `host` (an address, a path, a name; None or an empty one for a unix socket's peer) is trusted."""
        if self.everybody:
            return True
        if not host:
            return UNIX in self._literals
        return self._trusts_host(host) if len(host) <= _MAX_CACHED_HOST else host in self._literals

    def _compute(self, host: str) -> bool:
        if host in self._literals:
            return True
        try:
            address = ip_address(host.partition("%")[0])  # the zone of a link-local address is no part of it here
        except ValueError:
            return host.startswith("/") and UNIX in self._literals
        if address.version == 6 and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # how a dual-stack socket shows an IPv4 peer
        return address in self._addresses or any(address in network for network in self._networks)


def apply_forwarded(
    fields: Mapping[bytes, bytes], client: Client, scheme: str, trusted: TrustedPeers
) -> tuple[Client, str]:
    """The client and the scheme of a request that may have come through proxies.

    `fields` is `RequestHead.fields`, `client` the peer of the socket, `scheme` one of http, https, ws, wss. What is
    absent, malformed or sent by a peer that is not trusted changes nothing.
    """
    proto = fields.get(b"x-forwarded-proto")
    addresses = fields.get(b"x-forwarded-for")
    if (proto is None and addresses is None) or not trusted.trusts(client[0] if client is not None else None):
        return client, scheme
    if proto is not None:
        scheme = read_scheme(proto.rpartition(b",")[2].strip(), scheme)  # the nearest proxy wrote the last one
    if addresses is not None:
        client = _walk(addresses.decode("latin-1"), client, trusted)
    return client, scheme


def read_scheme(proto: bytes | None, scheme: str) -> str:
    """`scheme`, one of http, https, ws, wss, as secure as `proto` says, where that is one of them too."""
    secure = None if proto is None else _SCHEMES.get(proto.lower())
    if secure is None:
        return scheme
    return ("wss" if secure else "ws") if scheme[0] == "w" else ("https" if secure else "http")


def _walk(value: str, client: Client, trusted: TrustedPeers) -> Client:
    for element in reversed(value.split(",")):
        element = element.strip(" \t")
        if not element:
            continue  # RFC 9110 section 5.6.1
        found = read_address(element)
        if found is not None:
            client = found
            if not trusted.trusts(found[0]):
                break
        elif trusted.everybody or not trusted.trusts(element.removesuffix(":")):
            break  # nginx writes "unix:" for a peer on a unix socket: a hop without an address, which may be trusted
    return client


def read_address(element: str) -> tuple[str, int] | None:
    """Read ``192.0.2.1`` or ``2001:db8::1``, the latter in brackets too, where ``:80`` may follow; else port 0."""
    match = _ADDRESS_AND_PORT(element)
    if match is not None:
        host = match[1] or match[2]
        port = int(match[3] or 0)
        # Brackets are for IPv6 only.
        if port > 65535 or (match[1] is not None) != (":" in host):
            return None
    elif _ADDRESS(element) is not None:
        host, port = element, 0
    else:
        return None
    try:
        ip_address(host)
    except ValueError:
        return None
    return host, port
