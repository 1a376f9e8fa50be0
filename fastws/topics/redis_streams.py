"""The bus over Redis that keeps what is published: each topic has a stream beside its channel, and subscribers resume.

A script adds a publication to the stream and publishes it with the id that it got there, in one step: so all processes
see a topic in one order, that of the ids, and a hub delivers its own publications when they come from here. A process
that was cut off reads from the streams what it missed, from the server that is written to, and nobody waits for it. A
publication that is sent again is not added again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from fastws.topics import envelope
from fastws.topics.bus import Publication
from fastws.topics.envelope import Envelope, EnvelopeError
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_link import Part
from fastws.topics.redis_query import Query
from fastws.topics.redis_sender import Command

logger: Final = logging.getLogger("fastws.error")

MARK: Final = 0xF6
"""The first byte of what has an id: neither text nor an envelope begins so."""
PAGE: Final = 500
"""Entries that are read at once."""
MOST_HELD: Final = 2000
"""Entries that wait while a stream is read; where it is more, they are read from there, too."""
AGAIN: Final = 6
"""Which word of a command says that it may have been carried out before."""
STREAM_SECONDS: Final = 86_400
"""How long a stream stays to which nothing is published."""
CHECK_SECONDS: Final = 60
"""How long one stays to which a process has written whether it can."""
RESUME_SECONDS: Final = 10.0
"""How long a resumption may take; then the subscription begins with what is new."""

SCRIPT: Final = """
if ARGV[3] == '1' then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1000)) do
    if string.sub(entry[2][2], 1, 19) == string.sub(ARGV[1], 1, 19) then return 0 end
  end
end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'm', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return redis.call(ARGV[4], KEYS[1], '\\246' .. id .. ' ' .. ARGV[1])
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
        found = cls(int(milliseconds), int(number or "0"))
        if found.milliseconds >> 64 or found.number >> 64:
            raise ValueError(f"{text!r:.50} is no id of a stream")
        return found

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"


class _Entry(NamedTuple):
    publication: Publication
    id: Id
    found: Envelope


class _Topic:
    """One topic that has subscribers, or that somebody resumes."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        """When it was subscribed to."""
        self.last: Id | None = None
        """Behind which entry the next one is; None until that is known."""
        self.held: list[_Entry] | None = None
        """What comes in an outage, and while its stream is read after it."""
        self.more = False
        """Whether what came then was too much to be held: it is to be read, too."""
        self.resuming: list[list[Publication]] = []
        """What comes while somebody resumes."""
        self.beginning: asyncio.Task[None] | None = None
        """While it is asked what `last` is."""


class StreamBus(RedisBus):
    """The bus of one process; `length` is about how many publications each stream keeps."""

    ordered_by_bus = True

    def __init__(self, url: str, length: int, **options: Any) -> None:
        super().__init__(url, **options)
        self._length = length
        self._sender.setup.append(("SCRIPT", "LOAD", SCRIPT))
        self._topics: dict[str, _Topic] = {}
        self._clock: tuple[int, float] | None = None  # of Redis, in milliseconds, and the one here at the same time

    def _parts(self) -> list[Part]:
        self._query = Query(self._connector)
        return [*super()._parts(), self._query]

    def publish(self, publication: Publication) -> None:
        """Take it to all, this process too; where Redis does not have it, this process still does."""

        def answered(found: Any) -> None:
            if isinstance(found, Exception):
                self._local.deliver(publication)

        if not self.send(publication, answered):
            self._local.deliver(publication)

    def send(self, publication: Publication, answered: Callable[[Any], None] | None = None) -> bool:
        """See `RedisBus.send`."""
        message = publication.message
        if not self._sender.has_room(len(message)):
            return False
        topic = publication.topic
        sequence, first = self._outgoing.next(topic)
        found = Envelope(message, publication.key, self._outgoing.origin, sequence, first, False, publication.sender)
        data = envelope.encode(found)
        words = self._script(self._names.of_topic(topic), data, 0)
        self._sender.send(Command(words, len(data), answered, AGAIN))
        return True

    def subscribe(self, topic: str) -> None:
        """There is a subscriber here now."""
        super().subscribe(topic)
        about = self._topics.get(topic)
        if about is None:
            about = self._topics[topic] = _Topic()
            if self._link.up:
                self._begin_soon(topic, about)
            else:
                about.held = []

    async def confirmed(self, topic: str) -> None:
        """See `RedisBus.confirmed`."""
        await super().confirmed(topic)
        beginning = self._beginning_of(topic)
        if beginning is not None:
            await asyncio.wait([beginning])

    def _beginning_of(self, topic: str) -> asyncio.Future[None] | None:
        """Done when it is known behind which entry the subscription begins; None where it is."""
        found = self._topics.get(topic)
        return None if found is None else found.beginning

    def unsubscribe(self, topic: str) -> None:
        """There is none any more."""
        found = self._topics.get(topic)
        if found is not None and not found.resuming:
            super().unsubscribe(topic)
            del self._topics[topic]
            if found.beginning is not None:
                found.beginning.cancel()

    async def resume(self, topic: str, after: str, ready: Callable[[list[Publication]], None]) -> None:
        """Call `ready` with what was published to `topic` after the id `after`, when what comes next is next.

        Raises ValueError where `after` is no id.
        """
        last = Id.read(after)
        coming: list[Publication] = []
        found: list[Publication] = []
        about = self._topics.get(topic)
        if about is None:
            self.subscribe(topic)
            about = self._topics[topic]
        about.resuming.append(coming)
        try:
            await asyncio.wait_for(self._read_until_now(topic, about, last, found), RESUME_SECONDS)
        except self._connector.errors:  # a timeout is one of them
            found.clear()
        finally:
            about.resuming = [each for each in about.resuming if each is not coming]
            newest = Id.read(found[-1].id or "0") if found else last
            try:
                ready([*found, *(each for each in coming if each.id is None or Id.read(each.id) > newest)])
            finally:
                if not self._local.subscribers(topic):
                    self.unsubscribe(topic)

    def tables(self) -> dict[str, int]:
        """See `RedisBus.tables`."""
        held = sum(len(each.held or ()) + len(each.resuming) for each in self._topics.values())
        return super().tables() | {"topics": len(self._topics), "held": held}

    # The link.

    async def check(self) -> None:
        """Write to a stream, and read it: that both can be done, and at one server, whose clock the id shows."""
        self._clock = None
        data = envelope.encode(Envelope(b"", None, self._outgoing.origin, control=True))
        written: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._sender.tell(Command(self._script(self._own, data, 0, CHECK_SECONDS), len(data), written.set_result))
        answer = await written
        if isinstance(answer, Exception):
            raise answer
        found = await self._query.ask("XREVRANGE", self._own, "+", "-", "COUNT", 1)
        if not found:
            raise ConnectionError("its connections lead to different servers")
        self._clock = Id.read(found[0][0].decode()).milliseconds, time.monotonic()
        await self._query.ask("XRANGE", self._own, "-", "+", "COUNT", 1)

    def ask_role(self, answered: Callable[[Any], None]) -> None:
        """Ask Redis what it is, and over the connection for questions, too: one that is never used may be cut."""
        super().ask_role(answered)
        self._start(self._query.ask, "HELLO", "2")

    def came_up(self, began: float, was_away: bool) -> None:
        """Read what was missed."""
        super().came_up(began, was_away)
        self._start(self._catch_up)

    def went_down(self) -> None:
        """What comes next comes behind what is missed."""
        super().went_down()
        for each in self._topics.values():
            each.held, each.more = [], False

    def _must_wait(self) -> bool:
        return False  # who comes later reads what there was

    async def _ask_what_was_missed(self) -> None:
        pass  # it is read

    def _script(self, channel: bytes, data: bytes, again: int, seconds: int = STREAM_SECONDS) -> tuple[Any, ...]:
        """The words of a command; a channel and the key of its stream have one name."""
        return ("EVALSHA", _DIGEST, 1, channel, data, self._length, again, self._publish, seconds)

    def _begin_soon(self, topic: str, about: _Topic) -> None:
        about.beginning = task = self._start(self._begin, topic, about)
        task.add_done_callback(lambda _: self._begun(about, task))

    def _begun(self, about: _Topic, task: asyncio.Task[None]) -> None:
        if about.beginning is task:
            about.beginning = None

    async def _begin(self, topic: str, about: _Topic) -> None:
        """Note where the stream is, for an outage that comes before the first publication.

        What comes by the channel and is not behind that is taken for old, so that nobody may rely on getting it before.
        """
        await super().confirmed(topic)
        newest = await self._newest(topic)
        if about.last is None:
            about.last = newest or Id(0, 0)

    async def _newest(self, topic: str) -> Id | None:
        """The id of the last entry."""
        found = await self._query.ask("XREVRANGE", self._names.of_topic(topic), "+", "-", "COUNT", 1)
        return Id.read(found[0][0].decode()) if found else None

    async def _read_until_now(self, topic: str, about: _Topic, last: Id, found: list[Publication]) -> None:
        """Read what the stream has after `last`; return when that has come by the channel, too."""
        await self.confirmed(topic)
        while True:
            page = await self._page(topic, last)
            found += [each.publication for each in page[0]]
            last = page[1]
            if page[2]:
                break
        newest = Id.read(found[-1].id or "0") if found else Id(0, 0)
        while (about.last or Id(0, 0)) < newest:
            await asyncio.sleep(0.001)

    async def _page(self, topic: str, after: Id) -> tuple[list[_Entry], Id, bool]:
        """The next entries after an id, the id of the last one, and whether they are the last ones."""
        found: list[_Entry] = []
        page = await self._query.ask("XRANGE", self._names.of_topic(topic), f"({after}", "+", "COUNT", PAGE)
        for name, fields in page:
            after = Id.read(name.decode())
            try:
                found.append(self._entry(topic, after, envelope.decode(fields[1])))
            except (EnvelopeError, IndexError, TypeError) as error:
                self._bad(self._names.of_topic(topic), error)
        return found, after, len(page) < PAGE

    def _entry(self, topic: str, id: Id, found: Envelope) -> _Entry:
        if found.control or not found.origin:
            raise EnvelopeError("an entry that is no publication")
        own = self._local.id if found.origin == self._outgoing.origin else ""
        return _Entry(Publication(topic, found.message, found.key, own, found.sender, str(id)), id, found)

    # What comes in.

    def _take(self, channel: bytes, data: bytes) -> None:
        if not data or data[0] != MARK:
            super()._take(channel, data)
            return
        if channel == self._own:
            return  # what `check` has written
        try:
            topic = self._names.topic(channel)
            if topic is None:
                raise EnvelopeError("a publication where none belongs")
            name, _, rest = data[1:].partition(b" ")
            id, found = Id.read(name.decode()), envelope.decode(rest)
            entry = self._entry(topic, id, found)
        except Exception as error:
            self._bad(channel, error)
            return
        about = self._topics.get(entry.publication.topic)
        if about is None:
            return
        if about.held is None:
            self._pass_on(about, entry)
        elif len(about.held) < MOST_HELD:
            about.held.append(entry)
        else:
            about.held.clear()
            about.more = True

    def _pass_on(self, about: _Topic, entry: _Entry) -> None:
        publication, id, found = entry
        if about.last is not None and id <= about.last:
            return
        about.last = id
        if self._is_old(publication.topic, found):
            return
        self.counts.received += 1
        for coming in about.resuming:
            coming.append(publication)
        self._local.deliver(publication)

    async def _catch_up(self) -> None:
        """Deliver what was published in an outage, and then what came since."""
        for topic, about in [*self._topics.items()]:
            try:
                if about.last is not None:
                    await self._read_missed(topic, about, about.last)
                elif self._clock is not None:
                    about.last = self._when(about.since, *self._clock)
                    await self._read_missed(topic, about)
                elif about.beginning is None:
                    await self._begin(topic, about)
                    self._let_go(about)
            except self._connector.answers as error:
                if self._connector.is_passing(error):
                    raise
                logger.error("Topics: cannot read the stream of %.100r: %s", topic, error)
                self._let_go(about)

    def _when(self, since: float, redis_milliseconds: int, here: float) -> Id:
        """Where a stream was at that time: for who subscribed while Redis could not be asked."""
        return Id(max(0, redis_milliseconds - int((here - since) * 1000.0) - 1), 0)

    async def _read_missed(self, topic: str, about: _Topic, known: Id | None = None) -> None:
        """Deliver what the stream has behind the last entry, which is one that has been seen, where it is `known`."""
        last = about.last or Id(0, 0)
        went_back = False
        if known is not None and (newest := await self._newest(topic) or Id(0, 0)) < known:
            # Another server, to which not all was copied, or one that has begun anew.
            logger.warning("Topics: the stream of %.100r went back from %s to %s", topic, known, newest)
            about.last = last = Id(0, 0)
            went_back = True
        while True:
            entries, last, ended = await self._page(topic, last)
            for each in entries:
                if not went_back or self._incoming.knows(topic, each.found.origin):
                    self._pass_on(about, each)
            if ended and not about.more:
                self._let_go(about)
                return
            if ended:  # what came meanwhile was too much to be held
                about.more, about.held = False, []

    def _let_go(self, about: _Topic) -> None:
        """What was held is next."""
        held, about.held, about.more = about.held, None, False
        for each in held or ():
            self._pass_on(about, each)
