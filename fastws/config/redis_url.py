"""The URL of a Redis, as --topics-url has it: checked, and shown without its password."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

SCHEMES: Final = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
"""What a URL may begin with; the last two use sharded pub/sub (Redis 7) on the nodes of a cluster."""
_SECRETS: Final = frozenset({"password", "ssl_password"})


def check_redis_url(url: str) -> str:
    """The URL, if it is one. Raises ValueError with what it must be; the message does not show it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("must be a URL as redis://host:6379/0; its port is no number from 0 to 65535") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(f'{each}://' for each in SCHEMES)}")
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise ValueError("must name a socket, as unix:///run/redis/redis.sock")
    elif not parts.hostname:
        raise ValueError("must name a host, as redis://host:6379/0")
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise ValueError("must have the number of a database as its path, as redis://host:6379/0")
    if is_cluster(url) and database not in ("", "0"):
        raise ValueError("must have no database: a cluster has one")
    if port == 0:
        raise ValueError("must have a port from 1 to 65535")
    return url


def is_cluster(url: str) -> bool:
    """Whether it is a cluster's."""
    return url.partition("://")[0].endswith("+cluster")


def client_url(url: str) -> str:
    """The URL as redis-py reads it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.removesuffix('+cluster')}://{rest}"


def shown(url: str) -> str:
    """The URL for a log line: without passwords, and without a user."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name not in _SECRETS])
    return f"{parts.scheme}://{place}{quote(unquote(parts.path))}{'?' if query else ''}{query}"
