"""What comes from a Redis: one connection, subscribed to what this process has subscribers for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from fastws.topics.redis_connection import Connector, hang_up

logger: Final = logging.getLogger("fastws.error")

CHUNK: Final = 1000
"""Channels that one command names."""


class Receiver:
    """The connection over which others' publications come, to `take`."""

    def __init__(
        self, connector: Connector, take: Callable[[bytes, bytes], None], nobody: bytes, *, sharded: bool = False
    ) -> None:
        """`take` gets a channel and what was published there; `nobody` is a channel that nobody publishes to."""
        self._connector = connector
        self._take = take
        self._nobody = nobody
        prefix = "S" if sharded else ""
        self._subscribe, self._unsubscribe = f"{prefix}SUBSCRIBE", f"{prefix}UNSUBSCRIBE"
        small = prefix.lower().encode()
        self._message, self._subscribed, self._unsubscribed = (
            small + word for word in (b"message", b"subscribe", b"unsubscribe")
        )
        self._wanted: set[bytes] = set()
        self._confirmed: set[bytes] = set()
        self._awaited: dict[bytes, asyncio.Future[None]] = {}  # of wanted channels
        # Of this connection.
        self._serving = False
        self._changed: dict[bytes, None] = {}
        self._unanswered: dict[bytes, int] = {}  # commands about a channel that Redis has not answered
        self._change = asyncio.Event()
        self._complete: set[bytes] = set()  # channels to be confirmed until all are
        self._all = asyncio.Event()
        # For the watch.
        self.probed = False
        """Whether a probe is due."""
        self.heard = 0
        """What came until now."""
        self.size = 0

    @property
    def awaiting(self) -> bool:
        """Whether something is due from Redis."""
        return self.probed or bool(self._unanswered)

    @property
    def channels(self) -> Iterable[bytes]:
        """What it is, or will be, subscribed to."""
        return self._wanted

    def subscribe(self, channel: bytes) -> None:
        """From soon on, what is published there comes here."""
        self._wanted.add(channel)
        self._note(channel)

    def unsubscribe(self, channel: bytes) -> None:
        """It need not come any more."""
        self._wanted.discard(channel)
        self._confirmed.discard(channel)
        self._note(channel)
        self._wake(channel)
        self._is_complete_without(channel)

    def confirmed(self, channel: bytes) -> asyncio.Future[None]:
        """Done when what is published there comes here, or it is unsubscribed from."""
        awaited = self._awaited.get(channel)
        if awaited is None or awaited.cancelled():
            awaited = asyncio.get_running_loop().create_future()
            if channel in self._confirmed or channel not in self._wanted:
                awaited.set_result(None)
                return awaited
            self._awaited[channel] = awaited
        return awaited

    async def all_confirmed(self) -> None:
        """Wait until all channels are that were wanted when the connection began to serve."""
        await self._all.wait()

    def tables(self) -> int:
        """Entries of all tables."""
        tables = (self._wanted, self._confirmed, self._awaited, self._changed, self._unanswered, self._complete)
        return sum(len(each) for each in tables)

    async def serve(self, connection: Any) -> None:
        """Receive over this connection, until it fails. Raises what it raises."""
        follower: asyncio.Task[None] | None = None
        self._serving = True
        try:
            self._complete = set(self._wanted)
            self._all.clear()
            await self._command(connection, self._unsubscribe, [self._nobody])  # whether it may
            await self._command(connection, self._subscribe, self._wanted)
            if not self._complete:
                self._all.set()
            follower = asyncio.get_running_loop().create_task(self._follow(connection))
            read = connection.read_response
            while True:
                answer = await read(disable_decoding=True)
                self.heard += 1
                self._answer(answer)
        finally:
            self._serving = self.probed = False
            self._confirmed.clear()
            self._changed.clear()
            self._unanswered.clear()
            self._complete.clear()
            self._all.clear()
            if follower is not None:
                follower.cancel()

    def _note(self, channel: bytes) -> None:
        if self._serving:  # the next connection begins with all that is wanted
            self._changed[channel] = None
            self._change.set()

    def _wake(self, channel: bytes) -> None:
        awaited = self._awaited.pop(channel, None)
        if awaited is not None and not awaited.done():
            awaited.set_result(None)

    def _answer(self, answer: Any) -> None:
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
        self._wake(channel)
        self._is_complete_without(channel)

    def _is_complete_without(self, channel: bytes) -> None:
        if self._complete:
            self._complete.discard(channel)
            if not self._complete:
                self._all.set()

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
        except Exception:
            logger.exception("Topics: a fault in what subscribes at Redis; connecting again")
            await hang_up(connection)

    async def _command(self, connection: Any, command: str, channels: Iterable[bytes]) -> None:
        channels = list(channels)
        for channel in channels:
            self._unanswered[channel] = self._unanswered.get(channel, 0) + 1
        commands = [(command, *channels[start : start + CHUNK]) for start in range(0, len(channels), CHUNK)]
        if commands:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
