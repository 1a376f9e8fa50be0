"""Connections to a Redis by redis-py's asyncio client: one attempt at a time, no retry, no time-out of its own.

When to try again, what to do with what was not answered, and what to say about it, is decided by who has the
connection: a client that connects anew by itself would hide that publications were missed. What is connected to is a
primary: a replica takes no streams, and what is published to it reaches nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import socket
import ssl
import weakref
from collections.abc import Iterator
from typing import Any, Final

from fastws.config.redis_url import client_name_of, client_url, missing_file, split_url, timeout_of
from fastws.distribution import install_line
from fastws.errors import ConfigError
from fastws.net.forking import descriptor_of
from fastws.topics.redis_tls import Own, refusal

FIRST_DELAY: Final = 0.05
"""Seconds before the first attempt to connect again; each delay is twice the one before it."""
LONGEST_DELAY: Final = 1.0
"""The greatest of them. Each is shortened at random by up to a half."""

logger: Final = logging.getLogger("fastws.error")

PASSING: Final = re.compile(r"(?:^|-)(?:BUSY|OOM|NOREPLICAS|MISCONF|LOADING|TRYAGAIN|CLUSTERDOWN|MASTERDOWN)\b")
"""What an answer begins with, or has in it where it is a script's, that will be another one later."""
PASSING_CLASSES: Final = (
    "BusyLoadingError",
    "OutOfMemoryError",
    "TryAgainError",
    "ClusterDownError",
    "MasterDownError",
)
"""And as what redis-py raises them, which takes the word away."""
ELSEWHERE: Final = re.compile(r"(?:^|-)(?:READONLY|MOVED|ASK|NOSCRIPT)\b")
"""What another connection may get another answer to."""
_CUT_SHORT: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
ELSEWHERE_CLASSES: Final = ("ReadOnlyError", "AskError", "MovedError", "NoScriptError")


def require_redis() -> Any:
    """The package redis. Raises ConfigError where it is not installed."""
    try:
        import redis.asyncio
        import redis.crc
    except ImportError:
        raise ConfigError(f"--topics-url: needs redis: {install_line('redis')}") from None
    return redis


class Connector:
    """Makes connections to one Redis."""

    def __init__(self, url: str, password: str | None = None) -> None:
        """`password` is used where the URL has none. Raises ConfigError for what redis-py does not take in the URL."""
        redis = self._redis = require_redis()
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self.timeout = timeout_of(url)
        """How many seconds Redis may be silent where something is due from it: of each connection."""
        options: dict[str, Any] = {
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": self.timeout,
            "health_check_interval": 0,
            "retry": Retry(NoBackoff(), 0),
        }
        if password is not None:
            options["password"] = password
        if split_url(url).scheme != "unix":
            options |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive(self.timeout)}
        missing = missing_file(url)
        if missing is not None:
            raise ConfigError(f"--topics-url: cannot read {missing}")
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
        self._name = client_name_of(url)
        known = redis.exceptions
        self._passing = tuple(getattr(known, name) for name in PASSING_CLASSES if hasattr(known, name))
        self._elsewhere = tuple(getattr(known, name) for name in ELSEWHERE_CLASSES if hasattr(known, name))
        self._refusals = (known.AuthenticationError, known.NoPermissionError, ssl.SSLError)

    def is_passing(self, error: BaseException) -> bool:
        """Whether an answer is one that will be another one later: it is to be waited for."""
        return isinstance(error, self._passing) or PASSING.search(str(error)) is not None

    def is_elsewhere(self, error: BaseException) -> bool:
        """Whether an answer is one that another connection may mend: of a replica, or a wrong node of a cluster."""
        return isinstance(error, self._elsewhere) or ELSEWHERE.search(str(error)) is not None

    def is_hopeless(self, error: BaseException) -> bool:
        """Whether another attempt at a connection will not mend it, as far as one can know."""
        each: BaseException | None = error
        for _ in range(5):
            if each is None:
                return False
            if isinstance(each, self._refusals) and not isinstance(each, _CUT_SHORT):
                return True
            if isinstance(each, self.answers) and not (self.is_passing(each) or self.is_elsewhere(each)):
                return True
            each = each.__cause__ or each.__context__
        return False

    def at(self, host: str, port: int, **options: Any) -> Connector:
        """The same for another host: a node of a cluster, a primary, or, with a login of its own, a Sentinel."""
        found = Connector.__new__(Connector)
        found.__dict__.update(self.__dict__)
        pool = self._pool
        options = {**pool.connection_kwargs, "host": host, "port": port, **options}
        found._pool = type(pool)(pool.connection_class, **options)
        return found

    @property
    def place(self) -> tuple[str, int]:
        """The host and port that it connects to."""
        options = self._pool.connection_kwargs
        return options.get("host", ""), options.get("port", 6379)

    def descriptors(self) -> list[int]:
        """The descriptors of the connections that are open."""
        writers = (getattr(each, "_writer", None) for each in list(self._made))
        return [descriptor_of(writer.transport) for writer in writers if writer is not None]

    async def locate(self) -> Connector:
        """What makes all connections to one server. Raises one of `errors`."""
        return self

    async def replaced(self, located: Connector) -> str | None:
        """Who is the primary now instead of the one that was located, as those say who know; None where it still is."""
        return None

    async def close(self) -> None:
        """Give up what is kept between two questions to those who know."""

    async def connect(self) -> Any:
        """A new connection, to a primary. Raises one of `errors`."""
        connection = await self.open()
        try:
            await asyncio.wait_for(self._greet(connection), self.timeout)
        except BaseException:
            await hang_up(connection)
            raise
        return connection

    async def explain(self, error: Exception) -> Exception:
        """The error of a first attempt, or what one can find out of its cause."""
        if (
            isinstance(error, (self._redis.ConnectionError, OSError))
            and not isinstance(error, self._redis.AuthenticationError)
            and issubclass(self._pool.connection_class, self._redis.asyncio.SSLConnection)
        ):
            options = self._pool.connection_kwargs
            file = options.get("ssl_certfile")
            own = Own(file, options.get("ssl_keyfile"), options.get("ssl_password")) if file else None
            asked = (refusal(*place, own, min(1.0, self.timeout)) for place in self._places())
            for said in await asyncio.gather(*asked):
                if said:
                    explained: Exception = self._redis.AuthenticationError(said)
                    return explained
        return error

    def _places(self) -> list[tuple[str, int]]:
        """Whom a first attempt has to do with."""
        return [self.place]

    async def open(self) -> Any:
        """A new connection, to whatever is there. Raises one of `errors`."""
        connection = self._pool.make_connection()
        self._made.add(connection)
        try:
            await asyncio.wait_for(connection.connect(), self.timeout)
        except asyncio.TimeoutError:
            await hang_up(connection)
            raise ConnectionError(f"no answer within {self.timeout:g} s") from None
        except BaseException:
            await hang_up(connection)
            raise
        return connection

    async def _greet(self, connection: Any) -> None:
        """Say who we are, and ask who it is: neither needs a right, but older ones do not know it."""
        commands = [("CLIENT", "SETNAME", self._name), ("HELLO", "2")]
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        answer: Any = None
        for _ in commands:
            try:
                answer = await connection.read_response(disable_decoding=True)
            except self.answers as error:
                if self.is_passing(error):
                    raise
                answer = None
        self.check_role(answer)

    def check_role(self, answer: Any) -> None:
        """Raises ConnectionError where the answer to HELLO is a replica's."""
        if isinstance(answer, list) and b"role" in answer:
            role = answer[answer.index(b"role") + 1]
            if role != b"master":
                raise ConnectionError(f"it is a {role.decode(errors='replace')}, not the primary")


def _keepalive(seconds: float) -> dict[int, int]:
    """What lets the kernel notice, for a silent connection, within about `seconds` that its peer has gone."""
    each = max(1, round(seconds / 4))
    names = {"TCP_KEEPIDLE": each, "TCP_KEEPINTVL": each, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in names.items() if hasattr(socket, name)}


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


def describe(error: BaseException) -> str:
    """What the log says of it."""
    return str(error) or type(error).__name__


def delays() -> Iterator[float]:
    """Seconds to wait before each attempt."""
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(LONGEST_DELAY, delay * 2.0)
