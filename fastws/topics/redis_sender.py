"""What goes to a Redis: commands in the order in which they were given, over one connection, many at once.

All commands of a turn of the loop, and those that came while the answers to the ones before were awaited, are one
write. A command leaves the queue when it was answered; where the connection is lost before, it is sent again over the
next one. So nothing is lost with a connection, and what was carried out without an answer is sent twice, which
receivers see by its number. The queue is bounded in bytes, and what has no room is dropped, counted and logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from fastws.topics.losses import BusCounts, Drops, stamp
from fastws.topics.redis_connection import Connector, delays, describe, hang_up

logger: Final = logging.getLogger("fastws.error")

BATCH: Final = 512
"""Commands that are sent at once."""
BATCH_BYTES: Final = 1 << 20
"""Bytes after which no more are added to them."""
COMMAND_BYTES: Final = 128
"""What a command counts for beside its payload."""
ANSWER_SECONDS: Final = 10.0
"""How long Redis has to answer them."""
SETTLE_SECONDS: Final = 1.2
"""How long publications wait for subscribers when a Redis that was away is there: `delays` at its longest, and more."""
REFUSAL_SECONDS: Final = 10.0
"""How often at the most the log tells of commands that Redis refuses."""


class Command(NamedTuple):
    """`answered` gets the answer, or the exception that it is."""

    words: tuple[Any, ...]
    size: int
    answered: Callable[[Any], None] | None = None
    publications: int = 1
    """What is counted as dropped where there is no room: 0 for what is no publication."""
    again: tuple[Any, ...] | None = None
    """What is sent instead where the command was sent before, and may have been carried out."""


class Sender:
    """The connection over which this process publishes; `where` is how the log names the Redis."""

    def __init__(self, connector: Connector, where: str, buffer_bytes: int, counts: BusCounts) -> None:
        self._connector = connector
        self._where = where
        self._bound = buffer_bytes
        self._counts = counts
        self._queue: deque[Command] = deque()
        self._queued_bytes = 0
        self._more = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._drops = Drops(counts, where)
        self._refused = 0
        self._refusal_told = float("-inf")
        self._pause: Iterator[float] = delays()
        self._outage: tuple[float, int] | None = None  # when it began, and how many had been dropped by then
        self.setup: list[tuple[Any, ...]] = []
        """Commands for each new connection."""
        self.away: Callable[[], bool] = bool
        """Whether Redis is known to be away, by other signs than this connection."""
        self.connected = False
        self._hold_until = 0.0
        self._tried = 0  # commands at the head of the queue that were sent before

    def hold(self) -> None:
        """Redis was away and is there again: wait until others have subscribed again."""
        self._hold_until = time.monotonic() + SETTLE_SECONDS

    def has_room(self, size: int) -> bool:
        """Whether there is room for `size` bytes; where not, a publication is dropped, and is counted and logged so."""
        if self._queued_bytes + size + COMMAND_BYTES <= self._bound:
            return True
        self._drops.add(size)
        return False

    def send(self, command: Command) -> None:
        """Send it, soon. Whoever sends publications asks `has_room` before."""
        self._queue.append(command)
        self._queued_bytes += command.size + COMMAND_BYTES
        self._more.set()
        self._empty.clear()

    def waiting(self) -> int:
        """Publications that were not answered yet."""
        return sum(each.publications for each in self._queue)

    async def flush(self, seconds: float) -> None:
        """Wait until all is answered, for so long at the most, and say what is not."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)
        self._drops.over()
        if left := self.waiting():
            self._counts.dropped += left
            logger.warning("Topics: the server ends, and %d publications did not reach %s", left, self._where)

    async def run(self) -> None:
        """Send until cancelled."""
        known_run: str | None = None
        while True:
            failures = 0
            while True:
                try:
                    connection = await self._connector.connect()
                    break
                except self._connector.errors as error:
                    failures += 1
                    self._down(f"cannot publish to {self._where}: {describe(error)}")
                    await asyncio.sleep(next(self._pause))
            try:
                for words in self.setup:
                    await connection.send_command(*words)
                    await connection.read_response()
                run = await self._run_of(connection)
                restarted, known_run = run != known_run and known_run is not None, run
                if failures or restarted or self.away():
                    self.hold()
                self._up()
                await self._serve(connection)
            except self._connector.errors as error:
                self._down(f"lost the connection that publishes to {self._where}: {describe(error)}")
            finally:
                self.connected = False
                await hang_up(connection)
            await asyncio.sleep(next(self._pause))

    async def _run_of(self, connection: Any) -> str | None:
        """What Redis calls the time since its start; None where it does not say."""
        try:
            await connection.send_command("INFO", "server")
            for line in (await connection.read_response()).decode().splitlines():
                if line.startswith("run_id:"):
                    return str(line)
        except self._connector.answers:
            pass
        return None

    def _down(self, what: str) -> None:
        if self._outage is None:
            self._outage = time.time(), self._counts.dropped
            self._counts.outages += 1
            logger.warning("Topics: %s; publications wait", what)

    def _up(self) -> None:
        self.connected = True
        if self._outage is not None:
            began, dropped = self._outage
            self._outage = None
            logger.warning(
                "Topics: publishing to %s again; outage from %s to %s, %d publications waited, %d were dropped",
                self._where,
                stamp(began),
                stamp(time.time()),
                self.waiting(),
                self._counts.dropped - dropped,
            )

    async def _serve(self, connection: Any) -> None:
        while True:
            if not self._queue:
                self._drops.over()
                self._empty.set()
                self._more.clear()
                await self._more.wait()
            while (seconds := self._hold_until - time.monotonic()) > 0:
                await asyncio.sleep(seconds)
            batch: list[Command] = []
            size = 0
            for command in itertools.islice(self._queue, BATCH):
                batch.append(command)
                size += command.size
                if size >= BATCH_BYTES:
                    break
            await asyncio.wait_for(self._exchange(connection, batch), ANSWER_SECONDS)
            self._pause = delays()

    async def _exchange(self, connection: Any, batch: list[Command]) -> None:
        """Send the first commands of the queue, and take each away with its answer."""
        tried, self._tried = self._tried, max(self._tried, len(batch))
        packed = connection.pack_commands(
            [
                (command.again or command.words) if index < tried else command.words
                for index, command in enumerate(batch)
            ]
        )
        await connection.send_packed_command(packed, check_health=False)
        for command in batch:
            answer: Any
            try:
                answer = await connection.read_response()
                self._counts.sent += command.publications
            except self._connector.answers as error:
                if self._connector.is_passing(error) or self._connector.is_elsewhere(error):
                    raise  # this and all that follow are sent again, over a new connection
                answer = error
            self._queue.popleft()
            self._tried -= 1
            self._queued_bytes -= command.size + COMMAND_BYTES
            if isinstance(answer, Exception):
                self._refuse(command, answer)
            if command.answered is not None:
                command.answered(answer)

    def _refuse(self, command: Command, error: Exception) -> None:
        """Redis does not take it, and would not next time."""
        self._refused += command.publications
        self._counts.dropped += command.publications
        now = time.monotonic()
        if now - self._refusal_told >= REFUSAL_SECONDS:
            self._refusal_told = now
            logger.error(
                "Topics: %s refused %s: %s (%d publications until now)",
                self._where,
                command.words[0],
                error,
                self._refused,
            )
