"""Which server is the primary, as Sentinels say: all are asked at once, over connections that are kept.

They may be of different minds: one that was cut off together with an old primary goes on naming that one. So most of
them are waited for, and who knows of the latest election (`config-epoch`) is believed. A primary that they have given
up may well go on answering: whether it still is one is asked again and again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, NamedTuple

from fastws.config.redis_url import sentinels_of
from fastws.topics.redis_connection import Connector, describe, hang_up

SENTINEL_SECONDS: Final = 1.0
"""How long a Sentinel may take to answer, at the most."""
_NOT_NOW: Final = frozenset({"s_down", "o_down"})

logger: Final = logging.getLogger("fastws.error")


class Named(NamedTuple):
    """The primary, as one Sentinel says."""

    place: tuple[str, int]
    epoch: int
    """Which election has made it the primary."""
    down: bool
    """Whether it is taken for lost."""


class SentinelConnector(Connector):
    """Makes connections to the primary that Sentinels name; else as `Connector`."""

    def __init__(self, url: str, password: str | None) -> None:
        super().__init__(url, password)
        places, self._service, login = sentinels_of(url)
        options: dict[str, Any] = {"username": None, "password": None, "db": 0, **login}
        seconds = min(SENTINEL_SECONDS, self.timeout)
        self._sentinels = [_Sentinel(self.at(*place, **options), seconds) for place in places]
        self._located: Named | None = None

    async def locate(self) -> Connector:
        """See `Connector.locate`."""
        found, errors = await self._ask()
        here = [each for each in found if not each.down]
        if not here:
            raise self._nobody(found, errors)
        self._located = max(here, key=lambda each: each.epoch)
        return self.at(*self._located.place)

    async def replaced(self, located: Connector) -> str | None:
        """See `Connector.replaced`."""
        found, _ = await self._ask()
        before = self._located
        others = [each for each in found if not each.down and each.place != located.place]
        if before is None or not others:
            return None
        latest = max(others, key=lambda each: each.epoch)
        if latest.epoch > before.epoch or len(others) == len(found):
            return f"{latest.place[0]}:{latest.place[1]}"
        return None  # some call it by another name

    async def close(self) -> None:
        """See `Connector.close`."""
        for each in self._sentinels:
            await each.close()

    def _places(self) -> list[tuple[str, int]]:
        found = [each.place for each in self._sentinels]
        if self._located is not None:
            found.append(self._located.place)
        return found

    async def _ask(self) -> tuple[list[Named], list[Exception]]:
        """What most of them say of the service, as far as they know it; and why others say nothing."""
        tasks = [asyncio.ensure_future(each.ask(self._service)) for each in self._sentinels]
        found: list[Named] = []
        errors: list[Exception] = []
        answers = 0
        try:
            for each in asyncio.as_completed(tasks):
                try:
                    named = await each
                except self.errors as error:
                    errors.append(error)
                    continue
                answers += 1
                if named is not None:
                    found.append(named)
                if answers * 2 > len(tasks):
                    break
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return found, errors

    def _nobody(self, found: list[Named], errors: list[Exception]) -> Exception:
        """Why there is no primary."""
        if found:
            return ConnectionError(f"the Sentinels say that {self._service!r:.100} is down")
        for error in errors:
            if isinstance(error, self._redis.AuthenticationError):
                refused: Exception = self._redis.AuthenticationError("a Sentinel wants another sentinel_password")
                return refused
            if self.is_hopeless(error):
                return error
        if len(errors) == len(self._sentinels):
            return ConnectionError(f"no Sentinel answers: {describe(errors[0])}")
        return ConnectionError(f"no Sentinel that answers knows a primary called {self._service!r:.100}")


class _Sentinel:
    """One of them, and the connection to it."""

    def __init__(self, connector: Connector, seconds: float) -> None:
        self._connector = connector
        self._seconds = seconds
        self._connection: Any = None
        self.place = connector.place

    async def ask(self, service: str) -> Named | None:
        """What it says of the service, None where it does not know it. Raises one of the connector's errors."""
        try:
            return await asyncio.wait_for(self._ask(service), self._seconds)
        except asyncio.TimeoutError:
            raise ConnectionError(f"no answer within {self._seconds:g} s") from None

    async def close(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await hang_up(connection)

    async def _ask(self, service: str) -> Named | None:
        if self._connection is not None:
            try:
                return await self._exchange(service)
            except self._connector.errors as error:
                logger.debug("Topics: a connection to a Sentinel was lost: %s", error)
        self._connection = await self._connector.open()
        return await self._exchange(service)

    async def _exchange(self, service: str) -> Named | None:
        try:
            await self._connection.send_command("SENTINEL", "MASTERS", check_health=False)
            answer = await self._connection.read_response(disable_decoding=True)
        except BaseException:  # its next answer would be that to this question
            await self.close()
            raise
        try:
            return _read(answer, service)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConnectionError(f"no answer of a Sentinel: {error!r:.100}") from None


def _read(answer: Any, service: str) -> Named | None:
    """What names and values, in turn, of each primary say of this one."""
    for each in answer:
        words = [word.decode() for word in each]
        about = dict(zip(words[::2], words[1::2], strict=True))
        if about["name"] == service:
            down = not _NOT_NOW.isdisjoint(about["flags"].split(","))
            return Named((about["ip"], int(about["port"])), int(about["config-epoch"]), down)
    return None
