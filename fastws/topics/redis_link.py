"""The connections of a bus to its Redis: made together, to one server, watched together, and replaced together.

They have one budget of time. Where something is due from Redis and nothing comes for so long, on whichever of them, it
is taken for lost, and with it all: a host that is lost, or a flow that something on the way has forgotten, leaves no
reset, and connections that noticed it one by one would publish to nobody, or receive from a server that nobody writes
to. A link is up when a probe, a message of this process to itself, has gone round, and goes round again and again.
Where others know who the primary is, they are asked now and then: one that was given up may well go on answering.

Time is counted in beats of the event loop, not by the clock: a loop that was blocked has not waited for Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from fastws.topics.losses import BusCounts
from fastws.topics.redis_connection import Connector, delays, describe, hang_up

logger: Final = logging.getLogger("fastws.error")

BEATS: Final = 5
"""Parts of the budget; silence is looked at once in each."""
BEAT_BYTES: Final = 1 << 17
"""Bytes that take a beat more to be answered, on the slowest way that there may be."""
LOOK_SECONDS: Final = 5.0
"""How long it takes at the most until those who know are asked again who the primary is."""
LEAVE_SECONDS: Final = 1.0
"""How long, at the most, what others publish is taken from one that has been replaced."""


class Part(Protocol):
    """One connection, and what is done over it."""

    heard: int
    """How much has come until now."""
    size: int
    """Bytes on the way to Redis that it may take a while to take in."""

    @property
    def awaiting(self) -> bool:
        """Whether something is due from Redis."""

    async def serve(self, connection: Any) -> None:
        """Use it until it fails. Raises what it raises."""


class Bus(Protocol):
    """What a link asks of the bus that it belongs to."""

    def send_probe(self, number: int, sent: Callable[[], None], answered: Callable[[Any], None]) -> None:
        """Let a probe go round; `Link.came` is told when it comes. `answered` gets what Redis says."""

    def ask_role(self, answered: Callable[[Any], None]) -> None:
        """Ask Redis what it is; `answered` gets the answer to HELLO."""

    async def check(self) -> None:
        """Whether the connections can do what they must. Raises what they raise."""

    def take_leave(self) -> None:
        """The connections will soon be given up, since another server has taken over."""

    def came_up(self, began: float, was_away: bool) -> None:
        """The link is up. It was not since `began`, a time, or 0; with `was_away`, Redis could not be reached."""

    def went_down(self) -> None:
        """It is not any more."""


class Link:
    """The connections of `parts`. `receiver` is the one of them that a probe comes back to."""

    def __init__(
        self, connector: Connector, where: str, counts: BusCounts, bus: Bus, parts: list[Part], receiver: Any
    ) -> None:
        self._connector = connector
        self._where = where
        self._counts = counts
        self._bus = bus
        self._parts = parts
        self._receiver = receiver
        self._pause: Iterator[float] = delays()
        self._since = 0.0  # when the outage began, or 0
        self._failures = 0  # attempts to connect in this outage
        self._silence = 0.0  # seconds of it that had passed when it was noticed
        self.up = False
        self.beat = connector.timeout / BEATS
        """Seconds between two looks."""
        self._probe = 0  # the last one
        self._probe_beats: int | None = None  # since it was sent; None where it has come
        self._probe_came: asyncio.Future[None] | None = None
        self._refusal: Exception | None = None
        self._logged: BaseException | None = None  # the last fault
        self.dropped_before = 0
        """Publications that had been dropped when the last outage began."""
        self._fault: asyncio.Future[None] | None = None
        self._look = asyncio.Event()
        self.attempted: asyncio.Future[Exception | None] | None = None
        """For the start: done after the first attempt, with its error."""

    @property
    def round(self) -> bool:
        """Whether a message goes round: the last probe has come, or may still be on its way."""
        return self.up and self._refusal is None and (self._probe_beats is None or self._probe_beats < 2)

    def came(self, number: int) -> None:
        """A probe has gone round."""
        if number == self._probe:
            self._probe_beats = None
            self._receiver.probed = False
            if self._probe_came is not None and not self._probe_came.done():
                self._probe_came.set_result(None)

    def fail(self, error: Exception) -> None:
        """Something that is done over the connections has failed: replace them."""
        if self._fault is not None and not self._fault.done():
            self._fault.set_exception(error)

    def look(self) -> None:
        """Ask now whether another server has taken over."""
        self._look.set()

    async def run(self) -> None:
        """Connect, and connect again, until cancelled; but where Redis refuses us at first."""
        try:
            await self._run()
        finally:
            await self._connector.close()

    async def _run(self) -> None:
        while True:
            error: Exception
            try:
                await self._serve()
                raise ConnectionError("a connection has ended")
            except self._connector.errors as problem:
                error = problem
            except Exception as problem:
                error = problem
                self._log_fault(problem)
            if self.attempted is not None and not self.attempted.done():
                error = await self._connector.explain(error)
                self.attempted.set_result(error)
                if self._connector.is_hopeless(error):
                    return  # whoever starts says so
            self._down(error)
            await asyncio.sleep(next(self._pause))

    async def _serve(self) -> None:
        try:
            place = await self._connector.locate()
            connections = await self._connect(place)
        except Exception:
            self._failures += 1
            raise
        loop = asyncio.get_running_loop()
        self._probe_beats, self._refusal, self._silence = None, None, 0.0
        self._fault = loop.create_future()
        tasks: list[asyncio.Future[None]] = [
            loop.create_task(part.serve(connection)) for part, connection in zip(self._parts, connections, strict=True)
        ]
        tasks += [loop.create_task(self._watch(place)), loop.create_task(self._follow(place)), self._fault]
        rising = loop.create_task(self._rise())
        try:
            await asyncio.wait([*tasks, rising], return_when=asyncio.FIRST_COMPLETED)
            if rising.done() and not rising.exception():
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in (*tasks, rising):  # a part knows better than who waited for it
                if task.done():
                    task.result()
        finally:
            self.up = False
            for connection in connections:
                await hang_up(connection)
            for task in (*tasks, rising):
                task.cancel()
            await asyncio.wait([*tasks, rising])
            for task in (*tasks, rising):
                if not task.cancelled():
                    self._log_fault(task.exception())
            self._bus.went_down()

    async def _connect(self, place: Connector) -> list[Any]:
        """A connection for each part, to one server."""
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(place.connect()) for _ in self._parts]
        try:
            await asyncio.wait(tasks)
            return [task.result() for task in tasks]
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled() and task.exception() is None:
                    await hang_up(task.result())
            raise

    async def _rise(self) -> None:
        """Come up: all is subscribed to, a probe goes round, and what must be possible is."""
        await self._receiver.all_confirmed()
        self._probe_came = asyncio.get_running_loop().create_future()
        self._send_probe()
        await self._probe_came
        try:
            await self._bus.check()
        except self._connector.answers as error:
            if not self._connector.is_passing(error):
                raise
            self._refusal = error
        self.up = True
        self._pause = delays()
        began, self._since = self._since, 0.0
        failures, self._failures = self._failures, 0
        self._bus.came_up(began, failures > 0)
        if self.attempted is not None and not self.attempted.done():
            self.attempted.set_result(None)

    async def _watch(self, place: Connector) -> None:
        """Take the link for lost where something is due and nothing comes, or the primary is none any more."""
        self._role: list[Any] = [None]  # the answer, when it has come
        heard = [part.heard for part in self._parts]
        silent = [0] * len(self._parts)
        while True:
            await asyncio.sleep(self.beat)
            patience = BEATS + max(part.size for part in self._parts) // BEAT_BYTES
            for index, part in enumerate(self._parts):
                if not part.awaiting or part.heard != heard[index]:
                    silent[index] = 0
                else:
                    silent[index] += 1
                heard[index] = part.heard
                if silent[index] >= patience:
                    self._silence = silent[index] * self.beat
                    raise ConnectionError(f"no answer within {self._connector.timeout:g} s")
            if not self.up:
                continue
            if self._refusal is not None and self._connector.is_elsewhere(self._refusal):
                raise self._refusal
            if self._probe_beats is None:
                self._send_probe()
            else:
                self._probe_beats += 1
            if self._role:
                place.check_role(self._role.pop())
                self._bus.ask_role(self._role.append)

    async def _follow(self, place: Connector) -> None:
        """Leave where another server has taken over, though this one answers.

        Not all processes notice at once. So they tell each other, publish nothing more here, and listen for a while.
        """
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._look.wait(), min(LOOK_SECONDS, self._connector.timeout))
            self._look.clear()
            successor = await self._connector.replaced(place)
            if successor is not None:
                self._bus.take_leave()
                await asyncio.sleep(min(LEAVE_SECONDS, self.beat))
                raise ConnectionError(f"{successor} is the primary now")

    def _send_probe(self) -> None:
        self._probe += 1
        self._probe_beats = 0
        self._bus.send_probe(self._probe, self._probe_sent, self._probe_answered)

    def _probe_sent(self) -> None:
        """From now on it is due: what is long and before it may take its time."""
        self._receiver.probed = True

    def _probe_answered(self, answer: Any) -> None:
        """Redis has, or has not, taken the probe."""
        if not isinstance(answer, Exception):
            self._refusal = None
            return
        self._probe_beats = None  # it will not come
        self._receiver.probed = False
        self._refusal = answer
        if self._probe_came is not None and not self._probe_came.done():
            self._probe_came.set_exception(answer)

    def _log_fault(self, error: BaseException | None) -> None:
        """Log what no connection raises, once: it is a fault of ours."""
        if error is not None and error is not self._logged and not isinstance(error, self._connector.errors):
            self._logged = error
            logger.error("Topics: a fault in a connection to %s; connecting again", self._where, exc_info=error)

    def _down(self, error: Exception) -> None:
        if not self._since:
            self._since = time.time() - self._silence
            self.dropped_before = self._counts.dropped
            self._counts.outages += 1
            logger.warning(
                "Topics: no way to %s: %s; publications wait, and nothing comes", self._where, describe(error)
            )
