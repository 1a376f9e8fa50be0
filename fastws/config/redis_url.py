"""The URL of a Redis, as --topics-url has it: checked, and shown without its password.

What may be in its query is in one table: options of the client that would change what the code gets are refused.
"""

from __future__ import annotations

import os
import re
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
)
"""What a URL may begin with: +cluster uses sharded pub/sub (Redis 7) on nodes, +sentinel asks who the primary is."""
OPTIONS: Final = frozenset({"username", "password", "client_name", "socket_timeout"})
"""What the query of every URL may have."""
TLS_OPTIONS: Final = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_ciphers",
        "ssl_keyfile",
        "ssl_password",
    }
)
"""And that of one with TLS."""
SENTINEL_OPTIONS: Final = frozenset({"db", "sentinel_password", "sentinel_username"})
"""And that of a Sentinel's."""
FILES: Final = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
PREFIX: Final = re.compile(r"[^:\x00]+:|\{[^:{}\x00]+:\}")
"""What channels may begin with: none of them is the beginning of another one."""
SENTINEL_PORT: Final = 26379
TIMEOUT_SECONDS: Final = 5.0
"""How long Redis may be silent where something is due from it, unless the URL has a socket_timeout."""
_PLACE: Final = re.compile(r"[^:]+://([^/?#]*)")
_SECRETS: Final = frozenset({"password", "sentinel_password", "ssl_password"})


class Sentinels(NamedTuple):
    """Whom to ask for the primary, and how it is called there."""

    places: list[tuple[str, int]]
    service: str
    options: dict[str, str]
    """What is different for the connections to them: `username` and `password`."""


def split_url(url: str) -> SplitResult:
    """Its parts. Raises ValueError.

    `urlsplit` takes one host, and newer ones no brackets where there are several: those of Sentinels it does not see.
    """
    place = _PLACE.match(url) if is_sentinel(url) else None
    if place is None:
        return urlsplit(url)
    return urlsplit(url[: place.start(1)] + url[place.end(1) :])._replace(netloc=place[1])


def check_redis_url(url: str) -> str:
    """The URL, if it is one. Raises ValueError with what it must be; the message does not show it."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(f'{each}://' for each in SCHEMES)}")
    try:
        parts = split_url(url)
    except ValueError:
        raise ValueError("must be a URL as redis://host:6379/0") from None
    if is_sentinel(url):
        sentinels_of(url)
    else:
        _check_place(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = OPTIONS
    if scheme.startswith("rediss"):
        known |= TLS_OPTIONS
    if is_sentinel(url):
        known |= SENTINEL_OPTIONS
    if scheme == "unix":
        known |= {"db"}
    for name in options:
        if name not in known:
            raise ValueError(
                f"must not have {name!r:.50} in its query: what may be there is {', '.join(sorted(known))}"
            )
    if not options.get("db", "0").isdecimal():
        raise ValueError("must have the number of a database as its db")
    timeout_of(url)
    return url


def _check_place(url: str) -> None:
    parts = split_url(url)
    try:
        port = parts.port
    except ValueError:
        raise ValueError("must be a URL as redis://host:6379/0; its port is no number from 0 to 65535") from None
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise ValueError("must name a socket, as unix:///run/redis/redis.sock")
        return
    if not parts.hostname:
        raise ValueError("must name a host, as redis://host:6379/0")
    database = parts.path.strip("/")
    if database and not database.isdecimal():
        raise ValueError("must have the number of a database as its path, as redis://host:6379/0")
    if is_cluster(url) and database not in ("", "0"):
        raise ValueError("must have no database: a cluster has one")
    if port == 0:
        raise ValueError("must have a port from 1 to 65535")


def check_prefix(prefix: str) -> str:
    """The prefix, if no other one can be the beginning of the same channel. Raises ValueError with what it must be."""
    if not PREFIX.fullmatch(prefix):
        raise ValueError(
            "must be a name and a colon, as 'chat:', and have no other colon: with 'chat:' and 'chat:eu:' beside each "
            "other, topics of one would be topics of the other"
        )
    return prefix


def is_cluster(url: str) -> bool:
    """Whether it is a cluster's."""
    return url.partition("://")[0].endswith("+cluster")


def is_sentinel(url: str) -> bool:
    """Whether Sentinels say who the primary is."""
    return url.partition("://")[0].endswith("+sentinel")


def sentinels_of(url: str) -> Sentinels:
    """The Sentinels of such a URL. Raises ValueError."""
    parts = split_url(url)
    places = []
    for each in parts.netloc.rpartition("@")[2].split(","):
        try:
            place = urlsplit(f"//{each}")
            host, port = place.hostname, place.port
        except ValueError:
            host, port = None, None
        if not host or port == 0:
            raise ValueError("must name Sentinels and the service, as redis+sentinel://host:26379,host2:26379/mymaster")
        places.append((host, port or SENTINEL_PORT))
    service = unquote(parts.path.strip("/"))
    if not service:
        raise ValueError(
            "must end with the name that the Sentinels have for it, as redis+sentinel://host:26379/mymaster"
        )
    options = {
        name.removeprefix("sentinel_"): value
        for name, value in parse_qsl(parts.query)
        if name.startswith("sentinel_") and value
    }
    return Sentinels(places, service, options)


def timeout_of(url: str) -> float:
    """How many seconds Redis may be silent where something is due from it. Raises ValueError."""
    text = dict(parse_qsl(split_url(url).query)).get("socket_timeout")
    if text is None:
        return TIMEOUT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.05 <= seconds <= 600.0:
        raise ValueError("must have a socket_timeout from 0.05 to 600 seconds")
    return seconds


def client_name_of(url: str) -> str:
    """What the connections are called in Redis."""
    return dict(parse_qsl(split_url(url).query)).get("client_name", "fastws")


def missing_file(url: str) -> str | None:
    """A file or directory that its query names and that cannot be read; None where all can."""
    options = dict(parse_qsl(split_url(url).query))
    for name in FILES:
        if name in options and not os.access(options[name], os.R_OK):
            return options[name]
    return None


def client_url(url: str) -> str:
    """The URL as redis-py reads it: without what is read here."""
    parts = split_url(url)
    scheme, place, path = parts.scheme.partition("+")[0], parts.netloc, parts.path
    query = dict(parse_qsl(parts.query))
    if is_sentinel(url):
        user, separator, _ = place.rpartition("@")
        place = f"{user}{separator}primary"  # they say where that is
        path = f"/{query.pop('db', '0')}"
    left_out = {"client_name", "socket_timeout", "sentinel_username", "sentinel_password"}
    rest = urlencode({name: value for name, value in query.items() if name not in left_out})
    return f"{scheme}://{place}{path}{'?' if rest else ''}{rest}"


def shown(url: str) -> str:
    """The URL for a log line: without passwords, and without a user."""
    parts = split_url(url)
    place = parts.netloc.rpartition("@")[2]
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name not in _SECRETS])
    return f"{parts.scheme}://{place}{quote(unquote(parts.path))}{'?' if query else ''}{query}"
