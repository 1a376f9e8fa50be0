"""How an address to listen on is written: ``host:port``, ``unix:path`` or ``fd://number``.

gunicorn and hypercorn have the same words.

Values only: nothing is looked up or opened here. `fastws.net.listeners` binds them.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class TcpAddress(NamedTuple):
    """A host, where the empty one is all addresses, and a port, where 0 is a free one."""

    host: str
    port: int


class UnixAddress(NamedTuple):
    """The path of a Unix domain socket."""

    path: str


class Descriptor(NamedTuple):
    """The number of a file descriptor that is a socket already."""

    number: int


BindAddress: TypeAlias = TcpAddress | UnixAddress | Descriptor


def parse_address(text: str) -> BindAddress:
    """The address that the text spells. An address of IPv6 stands in brackets. Raises ValueError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path or "\0" in path:
            raise ValueError(text)
        return UnixAddress(path)
    if text.startswith("fd://"):
        return Descriptor(_number(text.removeprefix("fd://"), 1 << 20))
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed) or any(each in host for each in "/ \0"):
        raise ValueError(text)
    return TcpAddress(host[1:-1] if bracketed else host, _number(port, 65535))


def _number(text: str, maximum: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > maximum:
        raise ValueError(text)
    return int(text)
