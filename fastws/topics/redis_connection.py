"""Connections to a Redis by redis-py's asyncio client: one attempt at a time, no retry, no timeout of its own.

When to try again, what to do with what was not answered, and what to say about it, is decided by who has the
connection: a client that connects anew by itself would hide that publications were missed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import weakref
from collections.abc import Iterator
from typing import Any, Final

from fastws.config.redis_url import client_url, is_cluster
from fastws.errors import ConfigError

CONNECT_SECONDS: Final = 5.0
"""How long a connection may take to be made, greeting included."""
FIRST_DELAY: Final = 0.05
"""Seconds before the first attempt to connect again; each delay is twice the one before it."""
LONGEST_DELAY: Final = 1.0
"""The greatest of them. Each is shortened at random by up to a half."""

logger: Final = logging.getLogger("fastws.error")


def require_redis() -> Any:
    """The package redis. Raises ConfigError where it is not installed."""
    try:
        import redis.asyncio
        import redis.crc
    except ImportError:
        raise ConfigError("--topics-url needs redis: pip install 'fastws[redis]'") from None
    return redis


class Connector:
    """Makes connections to one Redis."""

    def __init__(self, url: str, password: str | None = None, slot_of: str = "") -> None:
        """`password` is used where the URL has none; of a cluster the node is taken that has the slot of `slot_of`.

        Raises ConfigError for what redis-py does not take in the URL.
        """
        redis = require_redis()
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options: dict[str, Any] = {
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": CONNECT_SECONDS,
            "health_check_interval": 0,
            "retry": Retry(NoBackoff(), 0),
            "client_name": "fastws",
        }
        if password is not None:
            options["password"] = password
        try:
            self._pool = redis.asyncio.ConnectionPool.from_url(client_url(url), **options)
            self._pool.make_connection()
        except (ValueError, TypeError) as error:
            raise ConfigError(f"--topics-url: {error}") from None
        self.errors: tuple[type[Exception], ...] = (redis.RedisError, OSError, asyncio.TimeoutError, EOFError)
        """What a connection raises when it is lost, or cannot be made; an answer that is an error among them."""
        self.answers: tuple[type[Exception], ...] = (redis.ResponseError,)
        """What it raises for an answer that is an error."""
        self._made: weakref.WeakSet[Any] = weakref.WeakSet()
        known = redis.exceptions
        self._slot: int | None = redis.crc.key_slot(slot_of.encode()) if is_cluster(url) else None
        self._passing = (known.ReadOnlyError, known.NoScriptError, known.ClusterDownError, known.MasterDownError)
        self._elsewhere = (known.MovedError, known.AskError)
        self._hopeless = (known.AuthenticationError, known.NoPermissionError)

    def is_passing(self, error: Exception) -> bool:
        """Whether an answer is one that another attempt may mend."""
        return isinstance(error, self._passing) or str(error).startswith(("CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN"))

    def is_hopeless(self, error: Exception) -> bool:
        """Whether another attempt at a connection will not mend it."""
        return isinstance(error, self._hopeless) or isinstance(error.__cause__, self._hopeless)

    def is_elsewhere(self, error: Exception) -> bool:
        """Whether an answer is that of a node of a cluster that is the wrong one."""
        return isinstance(error, self._elsewhere) or str(error).startswith(("MOVED ", "ASK "))

    def at(self, host: str, port: int) -> Connector:
        """The same for another host, a node of a cluster."""
        found = Connector.__new__(Connector)
        found.__dict__.update(self.__dict__)
        found._slot = None
        pool = self._pool
        found._pool = type(pool)(pool.connection_class, **{**pool.connection_kwargs, "host": host, "port": port})
        return found

    def descriptors(self) -> list[int]:
        """The descriptors of the connections that are open."""
        writers = (getattr(each, "_writer", None) for each in list(self._made))
        return [writer.get_extra_info("socket").fileno() for writer in writers if writer is not None]

    async def connect(self) -> Any:
        """A new connection. Raises one of `errors`."""
        connection = self._pool.make_connection()
        self._made.add(connection)
        try:
            await asyncio.wait_for(connection.connect(), CONNECT_SECONDS)
            if self._slot is None:
                return connection
            node = await asyncio.wait_for(self._node(connection, self._slot), CONNECT_SECONDS)
        except BaseException:
            await hang_up(connection)
            raise
        if node is None:
            return connection
        await hang_up(connection)
        return await self.at(*node).connect()

    async def _node(self, connection: Any, slot: int) -> tuple[str, int] | None:
        """Where the node is that has the slot; None for the one that we are connected to."""
        await connection.send_command("CLUSTER", "MYID")
        own = await connection.read_response(disable_decoding=True)
        await connection.send_command("CLUSTER", "SLOTS")
        for first, last, (host, port, name, *_), *_ in await connection.read_response(disable_decoding=True):
            if first <= slot <= last:
                return None if name == own else (host.decode() or connection.host, port)
        raise ConnectionError("no node of the cluster has the slot")


async def hang_up(connection: Any) -> None:
    """Close it, whatever it does."""
    try:
        writer = getattr(
            connection, "_writer", None
        )  # closing alone would wait until a dead peer takes what is written
        if writer is not None:
            writer.transport.abort()
        await connection.disconnect(nowait=True)
    except Exception as error:
        logger.debug("Topics: a connection to Redis could not be closed: %s", error)


def describe(error: Exception) -> str:
    """What the log says of it."""
    return str(error) or type(error).__name__


def delays() -> Iterator[float]:
    """Seconds to wait before each attempt."""
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(LONGEST_DELAY, delay * 2.0)
