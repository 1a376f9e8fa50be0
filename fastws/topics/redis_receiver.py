"""What comes from a Redis: one connection, subscribed to what this process has subscribers for.

It looks after itself: where nothing has come for a while it asks for a sign of life, and it connects again, and
subscribes again, until it is told to end. Whoever uses it is told between which times nothing can have come.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from fastws.topics.losses import BusCounts, stamp
from fastws.topics.redis_connection import Connector, delays, describe, hang_up

logger: Final = logging.getLogger("fastws.error")

SILENCE_SECONDS: Final = 5.0
"""Silence after which the connection is asked for a sign of life; after twice as long it is given up."""
CHUNK: Final = 1000
"""Channels that one command names."""


class Receiver:
    """The connection over which others' publications come, to `take`; `where` is how the log names the Redis."""

    def __init__(
        self,
        connector: Connector,
        where: str,
        counts: BusCounts,
        take: Callable[[bytes, bytes], None],
        *,
        sharded: bool = False,
    ) -> None:
        """`take` gets a channel and what was published there."""
        self._connector = connector
        self._where = where
        self._counts = counts
        self._take = take
        prefix = "S" if sharded else ""
        self._subscribe, self._unsubscribe = f"{prefix}SUBSCRIBE", f"{prefix}UNSUBSCRIBE"
        small = prefix.lower().encode()
        self._message, self._subscribed, self._unsubscribed = (
            small + word for word in (b"message", b"subscribe", b"unsubscribe")
        )
        self._wanted: set[bytes] = set()
        self._confirmed: set[bytes] = set()
        self._changed: dict[bytes, None] = {}
        self._unanswered: dict[bytes, int] = {}  # commands about a channel that Redis has not answered
        self._awaited: dict[bytes, asyncio.Future[None]] = {}
        self._change = asyncio.Event()
        self._pause: Iterator[float] = delays()
        self._heard: float | None = None  # when something came, as of time.monotonic
        self._outage = 0.0  # since when nothing came, or 0
        self._failures = 0  # attempts to connect in this outage
        self._catching_up: set[bytes] | None = None  # channels to be confirmed until an outage is over
        self.connected = False
        self.recovered: Callable[[float, bool], None] | None = None
        """Is told, when all channels are subscribed to, since when nothing came, 0 for never; and if Redis was away."""

    @property
    def channels(self) -> Iterable[bytes]:
        """What it is, or will be, subscribed to."""
        return self._wanted

    def subscribe(self, channel: bytes) -> None:
        """From soon on, what is published there comes here."""
        self._wanted.add(channel)
        self._changed[channel] = None
        self._change.set()

    def unsubscribe(self, channel: bytes) -> None:
        """It need not come any more."""
        self._wanted.discard(channel)
        self._confirmed.discard(channel)
        self._changed[channel] = None
        self._change.set()
        if self._catching_up is not None:
            self._catch_up_without(channel)

    def is_away(self) -> bool:
        """Whether Redis could not be reached the last time."""
        return self._failures > 0

    def confirmed(self, channel: bytes) -> asyncio.Future[None]:
        """Done when what is published there comes here."""
        awaited = self._awaited.get(channel)
        if awaited is None or awaited.cancelled():
            awaited = asyncio.get_running_loop().create_future()
            if channel in self._confirmed:
                awaited.set_result(None)
                return awaited
            self._awaited[channel] = awaited
        return awaited

    async def run(self) -> None:
        """Receive until cancelled."""
        while True:
            try:
                connection = await self._connector.connect()
            except self._connector.errors as error:
                self._failures += 1
                self._down(f"cannot subscribe at {self._where}: {describe(error)}")
            else:
                await self._serve(connection)
            await asyncio.sleep(next(self._pause))

    async def _serve(self, connection: Any) -> None:
        helpers = []
        try:
            self._heard = time.monotonic()
            self._catching_up = set(self._wanted)
            self._changed.clear()
            self._unanswered.clear()
            await self._command(connection, self._subscribe, self._wanted)
            if not self._catching_up:
                self._up()
            loop = asyncio.get_running_loop()
            helpers = [loop.create_task(self._follow(connection)), loop.create_task(self._watch(connection))]
            read = connection.read_response
            while True:
                self._answer(await read(disable_decoding=True))
        except self._connector.errors as error:
            self._down(f"lost the connection that receives from {self._where}: {describe(error)}")
        finally:
            self.connected = False
            self._confirmed.clear()
            for helper in helpers:
                helper.cancel()
            await hang_up(connection)

    def _answer(self, answer: Any) -> None:
        self._heard = time.monotonic()
        kind = answer[0]
        if kind == self._message:
            if answer[1] in self._confirmed:  # else it belongs to a subscription that has ended
                self._take(answer[1], answer[2])
        elif kind == self._subscribed or kind == self._unsubscribed:
            channel = answer[1]
            left = self._unanswered.pop(channel, 0) - 1
            if left > 0:
                self._unanswered[channel] = left  # the last one counts
            elif kind == self._subscribed:
                self._confirm(channel)
            elif left < 0:  # nobody has asked for that
                raise ConnectionError("another node of the cluster has the channels now")

    def _confirm(self, channel: bytes) -> None:
        if channel not in self._wanted or (channel in self._changed and channel not in self._confirmed):
            return  # it was left meanwhile, and perhaps subscribed to again: that is confirmed by itself
        self._confirmed.add(channel)
        awaited = self._awaited.pop(channel, None)
        if awaited is not None and not awaited.done():
            awaited.set_result(None)
        if self._catching_up is not None:
            self._catch_up_without(channel)

    def _catch_up_without(self, channel: bytes) -> None:
        assert self._catching_up is not None
        before = len(self._catching_up)
        self._catching_up.discard(channel)
        if before and not self._catching_up:
            self._up()

    async def _follow(self, connection: Any) -> None:
        """Subscribe and unsubscribe as is asked for: all of a turn of the loop at once."""
        try:
            while True:
                await self._change.wait()
                self._change.clear()
                changed, self._changed = self._changed, {}
                wanted = [channel for channel in changed if channel in self._wanted]
                await self._command(connection, self._unsubscribe, changed.keys() - set(wanted))
                await self._command(connection, self._subscribe, wanted)
        except self._connector.errors:
            await hang_up(connection)  # who reads sees it

    async def _watch(self, connection: Any) -> None:
        """Give up a connection that is silent, though asked for a sign of life."""
        try:
            while True:
                await asyncio.sleep(SILENCE_SECONDS)
                silence = time.monotonic() - (self._heard or 0.0)
                if silence >= 2 * SILENCE_SECONDS:
                    break
                if silence >= SILENCE_SECONDS - 0.1:
                    await connection.send_command("PING", check_health=False)
        except self._connector.errors:
            pass
        await hang_up(connection)

    async def _command(self, connection: Any, command: str, channels: Iterable[bytes]) -> None:
        channels = list(channels)
        for channel in channels:
            self._unanswered[channel] = self._unanswered.get(channel, 0) + 1
        commands = [(command, *channels[start : start + CHUNK]) for start in range(0, len(channels), CHUNK)]
        if commands:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    def _down(self, what: str) -> None:
        if not self._outage:
            self._outage = time.time()
            if self._heard is not None:
                self._outage -= time.monotonic() - self._heard
            self._counts.outages += 1
            logger.warning("Topics: %s; what others publish does not come here", what)

    def _up(self) -> None:
        self.connected = True
        self._catching_up = None
        self._pause = delays()
        began, self._outage = self._outage, 0.0
        if began:
            logger.warning(
                "Topics: receiving from %s again; nothing came from %s to %s",
                self._where,
                stamp(began),
                stamp(time.time()),
            )
        if self.recovered is not None:
            self.recovered(began, self._failures > 0)
        self._failures = 0
