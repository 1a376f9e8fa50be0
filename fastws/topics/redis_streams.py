"""The bus over Redis that keeps what is published: each topic has a stream beside its channel, and subscribers resume.

A script adds a publication to the stream and publishes it with the id that it got there, in one step: so all processes
see a topic in one order, that of the ids, and a hub delivers its own publications when they come from here. A process
that was cut off reads from the streams what it missed. One that is sent again is not added again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from fastws.topics import envelope
from fastws.topics.bus import Publication
from fastws.topics.envelope import Envelope, EnvelopeError
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_connection import delays, hang_up
from fastws.topics.redis_sender import Command
from fastws.topics.sequences import DUPLICATE

MARK: Final = 0xF6
"""The first byte of what has an id: neither text nor an envelope begins so."""
PAGE: Final = 500
"""Entries that are read at once."""
STREAM_SECONDS: Final = 86_400
"""How long a stream stays to which nothing is published."""
CATCH_UP_ATTEMPTS: Final = 5
"""How often a stream is asked for after an outage; then what was missed in it is counted as that."""
RESUME_SECONDS: Final = 10.0
"""How long a resumption may take; then the subscription begins with what is new."""

SCRIPT: Final = f"""
if ARGV[3] == '1' then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1000)) do
    if string.sub(entry[2][2], 1, 19) == string.sub(ARGV[1], 1, 19) then return 0 end
  end
end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'm', ARGV[1])
redis.call('EXPIRE', KEYS[1], {STREAM_SECONDS})
return redis.call(ARGV[4], KEYS[2], '\\246' .. id .. ' ' .. ARGV[1])
"""
_DIGEST: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Id(NamedTuple):
    """The id of an entry, which can be compared."""

    milliseconds: int
    number: int

    @classmethod
    def read(cls, text: str) -> Id:
        """Raises ValueError for what is none."""
        milliseconds, _, number = text.partition("-")
        if not milliseconds.isdecimal() or not (number or "0").isdecimal() or len(text) > 41:
            raise ValueError(f"{text!r:.50} is no id of a stream")
        return cls(int(milliseconds), int(number or "0"))

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"


class _Entry(NamedTuple):
    publication: Publication
    id: Id
    found: Envelope


class StreamBus(RedisBus):
    """The bus of one process; `length` is about how many publications each stream keeps."""

    ordered_by_bus = True

    def __init__(self, url: str, length: int, **options: Any) -> None:
        super().__init__(url, **options)
        self._length = length
        self._sender.setup.append(("SCRIPT", "LOAD", SCRIPT))
        self._last: dict[str, Id] = {}  # of topics that have subscribers: what was delivered last
        self._held: dict[str, list[_Entry]] = {}  # what comes to a topic whose stream is read after an outage
        self._resuming: dict[str, list[list[Publication]]] = {}  # what comes while somebody resumes
        self._query = _Query(self)
        self._beginning: dict[str, asyncio.Task[None]] = {}  # of topics that have subscribers
        self._reading: set[asyncio.Task[None]] = set()

    def send(self, publication: Publication, answered: Callable[[Any], None] | None = None) -> bool:
        """See `RedisBus.send`."""
        message = publication.message
        if not self._sender.has_room(len(message)):
            return False
        topic = publication.topic
        sequence, first = self._outgoing.next(topic)
        found = Envelope(message, publication.key, self._outgoing.origin, sequence, first, False, publication.sender)
        data = envelope.encode(found)
        words = ("EVALSHA", _DIGEST, 2, self._stream(topic), self._channel(topic), data, self._length)
        self._sender.send(Command((*words, 0, self._publish), len(data), answered, again=(*words, 1, self._publish)))
        return True

    def subscribe(self, topic: str) -> None:
        """There is a subscriber here now."""
        super().subscribe(topic)
        self._beginning[topic] = task = self._start(self._begin(topic))
        task.add_done_callback(lambda _: self._begun(topic, task))

    def _beginning_of(self, topic: str) -> asyncio.Future[None] | None:
        """Done when it is known behind which entry the subscription begins; None where it is."""
        return self._beginning.get(topic)

    def unsubscribe(self, topic: str) -> None:
        """There is none any more."""
        if topic not in self._resuming:
            super().unsubscribe(topic)
            self._beginning.pop(topic, None)
            self._last.pop(topic, None)
            self._held.pop(topic, None)

    async def resume(self, topic: str, after: str, ready: Callable[[list[Publication]], None]) -> None:
        """Call `ready` with what was published to `topic` after the id `after`, when what comes next is next.

        Raises ValueError where `after` is no id.
        """
        last = Id.read(after)
        coming: list[Publication] = []
        holds = self._resuming.setdefault(topic, [])
        holds.append(coming)
        found: list[Publication] = []
        try:
            if self._channel(topic) not in self._receiver.channels:
                self.subscribe(topic)
            await asyncio.wait_for(self._read_until_now(topic, last, found), RESUME_SECONDS)
        except self._connector.errors:  # a timeout is one of them
            found.clear()
        finally:
            holds.remove(coming)
            if not holds:
                del self._resuming[topic]
            newest = Id.read(found[-1].id or "0") if found else last
            ready([*found, *(each for each in coming if each.id is None or Id.read(each.id) > newest)])
            if not self._local.subscribers(topic):
                self.unsubscribe(topic)

    async def stop(self) -> None:
        """See `RedisBus.stop`."""
        for task in self._reading:
            task.cancel()
        await super().stop()
        await self._query.close()

    def _stream(self, topic: str) -> bytes:
        return self._channel(topic)  # a channel and a key may have one name

    def _start(self, reading: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(reading)
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)
        return task

    async def _begin(self, topic: str) -> None:
        """Note where the stream is, for an outage that comes before the first publication.

        What comes by the channel and is not behind that is taken for old, so that nobody may rely on getting it before.
        """
        try:
            await self.confirmed(topic)
            newest = await self._query.ask("XREVRANGE", self._stream(topic), "+", "-", "COUNT", 1)
        except self._connector.errors:
            return
        if self._channel(topic) in self._receiver.channels:
            self._last.setdefault(topic, Id.read(newest[0][0].decode()) if newest else Id(0, 0))

    def _begun(self, topic: str, task: asyncio.Task[None]) -> None:
        if self._beginning.get(topic) is task:
            del self._beginning[topic]

    async def _read_until_now(self, topic: str, last: Id, found: list[Publication]) -> None:
        """Read what the stream has after `last`; return when that has come by the channel, too."""
        await self.confirmed(topic)
        found += [entry.publication for entry in await self._entries(topic, last)]
        newest = Id.read(found[-1].id or "0") if found else Id(0, 0)
        while self._last.get(topic, Id(0, 0)) < newest:
            await asyncio.sleep(0.001)

    async def _entries(self, topic: str, after: Id) -> list[_Entry]:
        """The entries of a stream after an id."""
        found: list[_Entry] = []
        while True:
            page = await self._query.ask("XRANGE", self._stream(topic), f"({after}", "+", "COUNT", PAGE)
            for name, fields in page:
                after = Id.read(name.decode())
                try:
                    found.append(self._entry(topic, after, envelope.decode(fields[1])))
                except (EnvelopeError, IndexError):
                    self.counts.bad += 1
            if len(page) < PAGE:
                return found

    def _entry(self, topic: str, id: Id, found: Envelope) -> _Entry:
        own = self._local.id if found.origin == self._outgoing.origin else ""
        return _Entry(Publication(topic, found.message, found.key, own, found.sender, str(id)), id, found)

    # What comes in.

    def _take(self, channel: bytes, data: bytes) -> None:
        if not data or data[0] != MARK:
            super()._take(channel, data)
            return
        try:
            topic = channel[len(self._prefix.encode()) :].decode()
            name, _, rest = data[1:].partition(b" ")
            id, found = Id.read(name.decode()), envelope.decode(rest)
        except ValueError as error:
            self._bad(channel, error)
            return
        held = self._held.get(topic)
        if held is not None:
            held.append(self._entry(topic, id, found))
        else:
            self._pass_on(self._entry(topic, id, found))

    def _pass_on(self, entry: _Entry) -> None:
        publication, id, found = entry
        topic = publication.topic
        if id <= self._last.get(topic, Id(0, 0)):
            return
        self._last[topic] = id
        missing = self._incoming.take(topic, found.origin, found.sequence, found.first)
        if missing == DUPLICATE:
            return
        if missing:
            self._missed.add(topic, found.origin, missing)
        self.counts.received += 1
        for coming in self._resuming.get(topic, ()):
            coming.append(publication)
        self._local.deliver(publication)

    def _recovered(self, since: float, was_away: bool) -> None:
        if was_away:
            self._sender.hold()
        if since:
            for topic in self._last:
                self._held.setdefault(topic, [])
            self._start(self._catch_up(list(self._last)))

    async def _catch_up(self, topics: list[str]) -> None:
        """Deliver what was published in an outage, and then what came since."""
        for topic in topics:
            last = self._last.get(topic)
            if last is None:
                continue
            missed: list[_Entry] = []
            for pause in itertools.islice(delays(), CATCH_UP_ATTEMPTS):
                try:
                    missed = await self._entries(topic, last)
                    break
                except self._connector.errors:
                    await asyncio.sleep(pause)
            for each in (*missed, *self._held.pop(topic, ())):
                if topic in self._last:
                    self._pass_on(each)


class _Query:
    """A connection for questions, made when there is one."""

    def __init__(self, bus: StreamBus) -> None:
        self._connector = bus._connector
        self._connection: Any = None
        self._lock = asyncio.Lock()

    async def ask(self, *words: Any) -> Any:
        """The answer. Raises what the connection does; one that has died since the last time gets a successor."""
        async with self._lock:
            if self._connection is not None:
                with contextlib.suppress(*self._connector.errors):
                    return await self._ask(words)
            return await self._ask(words)

    async def _ask(self, words: tuple[Any, ...]) -> Any:
        try:
            if self._connection is None:
                self._connection = await self._connector.connect()
            await self._connection.send_command(*words, check_health=False)
            return await self._connection.read_response(disable_decoding=True)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await hang_up(connection)
