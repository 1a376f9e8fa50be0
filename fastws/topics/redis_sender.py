"""What goes to a Redis: commands in the order in which they were given, over one connection, many at once.

All commands of a turn of the loop, and those that came while the answers to the ones before were awaited, are one
write. A command leaves the queue when it was answered; where the connection is lost before, it is sent again over the
next one. So nothing is lost with a connection, and what was carried out without an answer is sent twice, which
receivers see by its number. An answer that will be another one later keeps its command in the queue, which then goes
alone until it is taken. The queue is bounded in bytes, and what has no room is dropped, counted and logged.

What is no publication is about now: it has a queue of its own, short, which nothing survives that connection.
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

from fastws.counted import counted
from fastws.topics.losses import BusCounts, Drops
from fastws.topics.redis_connection import Connector, delays, describe

logger: Final = logging.getLogger("fastws.error")

BATCH: Final = 512
"""Commands that are sent at once."""
BATCH_BYTES: Final = 1 << 18
"""Bytes after which no more are added to them."""
COMMAND_BYTES: Final = 128
"""What a command counts for beside its payload."""
MOST_TOLD: Final = 4096
"""Commands that are no publications and may wait."""
TOLD_BYTES: Final = 1 << 20
"""Bytes of them."""
REFUSAL_SECONDS: Final = 10.0
"""How long the log gathers what Redis refuses."""


class Command(NamedTuple):
    """`answered` gets the answer, or the exception that it is."""

    words: tuple[Any, ...]
    size: int
    answered: Callable[[Any], None] | None = None
    again: int | None = None
    """Which word is 1 instead where the command was sent before, and may have been carried out."""
    sent: Callable[[], None] | None = None
    """Is called when it is on its way; of what is no publication."""


class Sender:
    """The connection over which this process publishes; `where` is how the log names the Redis."""

    def __init__(self, connector: Connector, where: str, buffer_bytes: int, counts: BusCounts) -> None:
        self._connector = connector
        self._where = where
        self._bound = buffer_bytes
        self._counts = counts
        # Publications.
        self._queue: deque[Command] = deque()
        self._queued_bytes = 0
        self._tried = 0  # at the head of the queue, which were sent before
        self._held = True
        self._try_at = 0.0  # when the first is sent again that was not taken, as of time.monotonic
        self._pause: Iterator[float] = delays()
        self._empty = asyncio.Event()
        self._empty.set()
        self._drops, self._refusals = Drops(counts, where), Drops(counts, where)
        # All else.
        self._told: deque[Command] = deque()
        self._told_bytes = 0
        self._more = asyncio.Event()
        self._serving = False
        self.setup: list[tuple[Any, ...]] = []
        """Commands for each new connection."""
        self.when_drained: Callable[[int], list[Command]] = lambda most: []
        """What is to be told behind the last publication that waits: so many commands at the most."""
        # For the watch.
        self.awaiting = False
        """Whether an answer is due."""
        self.heard = 0
        """Answers until now."""
        self.size = 0
        """Bytes that are on their way and were not answered yet."""

    @property
    def stuck(self) -> bool:
        """Whether Redis does not take publications now."""
        return self._try_at > 0.0

    def release(self) -> None:
        """Send publications, until the connection ends."""
        self._held = False
        self._more.set()

    def hold(self) -> None:
        """Send no more publications over this connection: they wait for the next one."""
        self._held = True

    def has_room(self, size: int) -> bool:
        """Whether there is room for `size` bytes; where not, a publication is dropped, and is counted and logged so."""
        if self._queued_bytes + size + COMMAND_BYTES <= self._bound:
            return True
        self._drops.add(size)
        return False

    def send(self, command: Command) -> None:
        """Send a publication, soon. Whoever does asks `has_room` before."""
        self._queue.append(command)
        self._queued_bytes += command.size + COMMAND_BYTES
        self._more.set()
        self._empty.clear()

    def tell(self, command: Command) -> bool:
        """Send what is no publication; False where there is no connection now, or too much waits for it."""
        if not self._serving or len(self._told) >= MOST_TOLD or self._told_bytes + command.size > TOLD_BYTES:
            return False
        self._told.append(command)
        self._told_bytes += command.size
        self._more.set()
        return True

    def look(self) -> None:
        """There is something to be told when all that waits is sent."""
        self._more.set()

    def waiting(self) -> int:
        """Publications that were not answered yet."""
        return len(self._queue)

    def tables(self) -> int:
        """Entries of all tables."""
        return len(self._queue) + len(self._told)

    async def flush(self, seconds: float) -> None:
        """Wait until all is answered, for so long at the most, and say what is not."""
        self.release()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)
        self._drops.over()
        self._refusals.over()
        if left := self.waiting():
            self._counts.dropped += left
            logger.warning(
                "Topics: the server ends, and %s did not reach %s", counted(left, "publication"), self._where
            )

    async def serve(self, connection: Any) -> None:
        """Send over this connection, until it fails; publications after `release`. Raises what it raises."""
        self._serving = self._held = True
        self._try_at = 0.0
        try:
            for words in self.setup:
                self.awaiting = True
                await connection.send_command(*words, check_health=False)
                await connection.read_response()
                self.heard += 1
            self.awaiting = False
            while True:
                self._more.clear()
                batch, told = self._next()
                if batch or told:
                    await self._exchange(connection, batch, told)
                else:
                    if not self._queue:
                        self._drops.over()
                        self._empty.set()
                    await self._more.wait()
        finally:
            self._serving = self.awaiting = False
            told = [*self._told]
            self._told.clear()
            self._told_bytes = 0
            for command in told:
                _answer(command, ConnectionError("the connection was lost"))

    def _next(self) -> tuple[list[Command], list[Command]]:
        """What is sent at once: publications, and what else there is."""
        batch: list[Command] = []
        size = 0
        if not self._held and time.monotonic() >= self._try_at:
            for command in itertools.islice(self._queue, 1 if self._try_at else BATCH):
                batch.append(command)
                size += command.size
                if size >= BATCH_BYTES:
                    break
        told: list[Command] = []
        while self._told and len(told) < BATCH and size < BATCH_BYTES:
            command = self._told.popleft()
            self._told_bytes -= command.size
            if command.sent is not None:
                command.sent()
            told.append(command)
            size += command.size
        if len(batch) == len(self._queue):
            told += self.when_drained(BATCH)
        self.size = size
        return batch, told

    async def _exchange(self, connection: Any, batch: list[Command], told: list[Command]) -> None:
        """Send the first commands of the queue, and take each away with its answer; and what is told."""
        tried, self._tried = self._tried, max(self._tried, len(batch))
        words = [_again(command) if index < tried else command.words for index, command in enumerate(batch)]
        kept: list[Command] = []
        problem: Exception | None = None
        self.awaiting = True
        try:
            packed = connection.pack_commands([*words, *(command.words for command in told)])
            await connection.send_packed_command(packed, check_health=False)
            for command in batch:
                answer = await self._read(connection)
                self._queue.popleft()
                self._tried -= 1
                if isinstance(answer, Exception) and (
                    self._connector.is_passing(answer) or self._connector.is_elsewhere(answer)
                ):
                    kept.append(command)
                    problem = answer
                    continue
                self._queued_bytes -= command.size + COMMAND_BYTES
                if isinstance(answer, Exception):
                    self._refuse(command, answer)
                else:
                    self._counts.sent += 1
                _answer(command, answer)
            while told:
                answer = await self._read(connection)
                _answer(told.pop(0), answer)
        finally:
            self.awaiting = False
            self.size = 0
            self._queue.extendleft(reversed(kept))
            self._tried += len(kept)
            for command in told:
                _answer(command, ConnectionError("the connection was lost"))
        if problem is not None:
            self._wait_because(problem)
        elif batch:
            if self._try_at:
                logger.warning(
                    "Topics: %s takes publications again, %d waited", self._where, len(batch) + self.waiting()
                )
            self._try_at = 0.0
            self._pause = delays()

    async def _read(self, connection: Any) -> Any:
        try:
            answer = await connection.read_response(disable_decoding=True)
        except self._connector.answers as error:
            answer = error
        self.heard += 1
        return answer

    def _refuse(self, command: Command, problem: Exception) -> None:
        """Redis does not take it, and would not next time."""
        if not self._refusals.going_on:
            asyncio.get_running_loop().call_later(REFUSAL_SECONDS, self._refusals.over)
        self._refusals.add(command.size, why=f"{command.words[0]}: {describe(problem)}")

    def _wait_because(self, problem: Exception) -> None:
        """Redis does not take what was sent, for now: try again later, or over another connection."""
        if self._connector.is_elsewhere(problem):
            raise problem
        if not self._try_at:
            logger.warning("Topics: %s takes no publications now: %s; they wait", self._where, describe(problem))
        pause = next(self._pause)
        self._try_at = time.monotonic() + pause
        asyncio.get_running_loop().call_later(pause, self._more.set)


def _answer(command: Command, answer: Any) -> None:
    if command.answered is not None:
        try:
            command.answered(answer)
        except Exception:
            logger.exception("Topics: what was to be done with an answer of Redis failed")


def _again(command: Command) -> tuple[Any, ...]:
    """The words of one that was sent before."""
    index = command.again
    return command.words if index is None else (*command.words[:index], 1, *command.words[index + 1 :])
