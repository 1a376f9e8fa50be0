"""Topics for programs that are no server: a script, a Celery worker, another service. They publish over Redis.

`connect` is for both kinds of code: ``async with connect(url) as topics`` in coroutines, and elsewhere ``with
connect(url) as topics``, where a thread with an event loop of its own does the work.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, TypeVar

from fastws.config.redis_url import check_redis_url, shown
from fastws.errors import StartupError
from fastws.topics.audience import Audience
from fastws.topics.bus import Publication
from fastws.topics.events import check_key, check_message, check_topic
from fastws.topics.redis_bus import RedisBus

T = TypeVar("T")

BUFFER_BYTES: Final = 64 << 20
"""Bytes of publications that may wait at once."""


class _Nobody:
    """A hub without subscribers."""

    id = ""

    def deliver(self, publication: Publication) -> int:
        return 0

    def subscribers(self, topic: str) -> int:
        return 0

    def topics(self) -> list[str]:
        return []


class AsyncTopics:
    """Publishes from coroutines; made by `connect`."""

    def __init__(self, bus: RedisBus, where: str, timeout: float) -> None:
        self._bus = bus
        self._where = where
        self._timeout = timeout

    async def publish(self, topic: str, message: str | bytes, *, key: str | None = None) -> int:
        """Send `message` to all subscribers of `topic`, wherever they are connected; see `fastws.topics.publish`.

        Returns when Redis has it: in how many processes there are subscribers. Raises TypeError or ValueError for what
        cannot be published, ConnectionError where Redis does not take it, and TimeoutError where Redis does not answer:
        it may then have been published, or be published yet.
        """
        publication = Publication(check_topic(topic), check_message(message), check_key(key))
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answer(found: Any) -> None:
            if not answered.done():
                answered.set_result(found)

        if not self._bus.send(publication, answer):
            raise ConnectionError(f"too much waits for {self._where}")
        try:
            found = await asyncio.wait_for(answered, self._timeout)
        except asyncio.TimeoutError:
            raise TimeoutError(f"{self._where} has not answered within {self._timeout:g} s") from None
        if isinstance(found, Exception):
            raise ConnectionError(f"{self._where}: {found}")
        return int(found)

    async def audience(self, topic: str) -> Audience:
        """How many connections have subscribed to `topic`, in how many processes; those that answer in a second."""
        return await self._bus.audience(check_topic(topic))

    async def subscribers(self, topic: str) -> int:
        """How many connections have subscribed to `topic`."""
        return (await self.audience(topic)).subscribers


class SyncTopics:
    """Publishes from code that is no coroutine, from any thread; made by `connect`."""

    def __init__(self, topics: AsyncTopics, loop: asyncio.AbstractEventLoop) -> None:
        self._topics = topics
        self._loop = loop

    def publish(self, topic: str, message: str | bytes, *, key: str | None = None) -> int:
        """As `AsyncTopics.publish`."""
        return self._run(self._topics.publish(topic, message, key=key))

    def audience(self, topic: str) -> Audience:
        """As `AsyncTopics.audience`."""
        return self._run(self._topics.audience(topic))

    def subscribers(self, topic: str) -> int:
        """As `AsyncTopics.subscribers`."""
        return self._run(self._topics.subscribers(topic))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class connect:
    """Connect to the Redis of a service, by ``with`` or ``async with``.

    `url`, `password` and `prefix` are what the servers have as --topics-url, --topics-password, --topics-prefix;
    `timeout` is how many seconds Redis has for each answer. The block gets an object with `publish`,
    which returns how many processes have subscribers, and `subscribers`; with ``async with`` both must be awaited.

    Raises ValueError for a malformed URL. Entering the block raises ConfigError if redis-py is not installed, and
    ConnectionError if Redis refuses the connection.
    """

    def __init__(
        self, url: str, *, password: str | None = None, prefix: str = "fastws:", timeout: float = 10.0
    ) -> None:
        check_redis_url(url)
        self._url, self._timeout = url, timeout
        self._options: dict[str, Any] = {
            "password": password,
            "prefix": prefix,
            "buffer_bytes": BUFFER_BYTES,
            "has_subscribers": False,
        }
        self._bus: RedisBus | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> AsyncTopics:
        self._bus = RedisBus(self._url, **self._options)
        try:
            await self._bus.start(_Nobody())
        except StartupError as error:
            raise ConnectionError(str(error).removeprefix("--topics-url: ")) from None
        return AsyncTopics(self._bus, shown(self._url), self._timeout)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bus is not None:
            await self._bus.stop()

    def __enter__(self) -> SyncTopics:
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="fastws-topics", daemon=True)
        self._thread.start()
        try:
            topics = asyncio.run_coroutine_threadsafe(self.__aenter__(), loop).result()
        except BaseException:
            self._end()
            raise
        return SyncTopics(topics, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self.__aexit__(kind, error, traceback), self._loop).result()
        self._end()

    def _end(self) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
