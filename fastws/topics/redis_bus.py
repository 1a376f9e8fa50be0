"""The bus between machines: Redis pub/sub, with one subscription a process and topic.

A topic is a channel, its name behind a prefix. A process never gets its own publications from here: its hub has
delivered them. Publications carry numbers (`fastws.topics.sequences`): one that came twice is delivered once, and one
that did not come is counted, and the log says so. After an outage publications wait until the other processes are back,
as far as they are known (`fastws.topics.redis_roll`); then each is asked for its last numbers, for the ones at the end
of a gap.

In a cluster all channels of a prefix are in one slot, and sharded pub/sub (Redis 7) keeps them to the node that has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastws.config.redis_url import check_prefix, is_cluster, shown
from fastws.counted import counted
from fastws.errors import ConfigError, StartupError
from fastws.net.log_limit import LogLimit
from fastws.topics import envelope, redis_control
from fastws.topics.audience import Audience
from fastws.topics.bus import Local, Publication
from fastws.topics.envelope import Envelope, EnvelopeError
from fastws.topics.losses import BusCounts, Missed, stamp
from fastws.topics.redis_connection import LONGEST_DELAY, describe
from fastws.topics.redis_connectors import connector_of
from fastws.topics.redis_control import ANSWER, ASK, BYE, HERE, LOOK, MARK, PROBE, ROLL, SYNC
from fastws.topics.redis_link import Link, Part
from fastws.topics.redis_names import Names
from fastws.topics.redis_questions import Questions
from fastws.topics.redis_receiver import Receiver
from fastws.topics.redis_roll import HERE_SECONDS, Roll
from fastws.topics.redis_sender import Command, Sender
from fastws.topics.sequences import DUPLICATE, LATE, Incoming, Outgoing

logger: Final = logging.getLogger("fastws.error")

START_SECONDS: Final = 2.0
"""How long a server that starts waits for Redis; then it serves without, and goes on trying."""
STOP_SECONDS: Final = 2.0
"""How long a server that ends waits until Redis has all that was published."""
BYE_SECONDS: Final = 0.5
"""And until it has that this process ends."""
SETTLE_SECONDS: Final = 1.2
"""How long publications wait, when a Redis that was away is there, for processes that nobody knows of."""
SYNC_TOPICS: Final = 1000
"""Topics that one message asks about."""


class RedisBus:
    """The bus of one process. Raises ConfigError where redis-py is not installed or cannot read the URL."""

    ordered_by_bus = False

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        prefix: str = "fastws:",
        buffer_bytes: int = 1 << 24,
        has_subscribers: bool = True,
    ) -> None:
        """`prefix` is that of the channels; `buffer_bytes` of publications may wait for Redis.

        Without `has_subscribers` nobody has to wait for this process.
        """
        try:
            check_prefix(prefix)
        except ValueError as error:
            raise ConfigError(f"--topics-prefix: {error}") from None
        self._where = shown(url)
        sharded = is_cluster(url)
        self._names = Names(prefix, in_one_slot=sharded)
        self._publish = "SPUBLISH" if sharded else "PUBLISH"
        self._connector = connector_of(url, password, self._names.prefix)
        self.counts = BusCounts()
        self._outgoing, self._incoming = Outgoing(), Incoming()
        self._missed = Missed(self.counts)
        self._sender = Sender(self._connector, self._where, buffer_bytes, self.counts)
        self._sender.when_drained = self._take_marks
        self._receiver = Receiver(self._connector, self._take, self._names.of_process(0), sharded=sharded)
        parts = self._parts()
        self._link = Link(self._connector, self._where, self.counts, self, parts, self._receiver)
        self._log = LogLimit(logger)
        self._roll = Roll()
        self._has_subscribers = has_subscribers
        self._said_here = float("-inf")
        self._outage_drops = 0
        self._running: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # that end with the link
        self._questions = Questions()
        self._marks: dict[str, None] = {}  # topics whose last number somebody has asked for
        self._local: Local
        self._everybody = self._names.of_processes()
        self._own = self._names.of_process(self._outgoing.origin)

    def _parts(self) -> list[Part]:
        """What has a connection each."""
        return [self._sender, self._receiver]

    # The bus.

    async def start(self, local: Local) -> None:
        """Connect. Raises StartupError where Redis refuses us; where it is away, it will be there later."""
        self._local = local
        for channel in (self._everybody, self._own):
            self._receiver.subscribe(channel)
        loop = asyncio.get_running_loop()
        self._link.attempted = attempted = loop.create_future()
        self._running = loop.create_task(self._link.run())
        await asyncio.wait([attempted], timeout=START_SECONDS)
        error = attempted.result() if attempted.done() else None
        if error is not None and self._connector.is_hopeless(error):
            await self._end()
            raise StartupError(f"--topics-url: {self._where}: {describe(error)}") from None

    def publish(self, publication: Publication) -> None:
        """Take it to the others."""
        self.send(publication)

    def send(self, publication: Publication, answered: Callable[[Any], None] | None = None) -> bool:
        """As `publish`; False where there is no room. `answered` gets what Redis says: a number, or an exception."""
        message = publication.message
        if not self._sender.has_room(len(message)):
            return False
        channel = self._names.of_topic(publication.topic)
        sequence, first = self._outgoing.next(publication.topic)
        data = envelope.encode(Envelope(message, publication.key, self._outgoing.origin, sequence, first))
        self._sender.send(Command((self._publish, channel, data), len(data), answered))
        return True

    def subscribe(self, topic: str) -> None:
        """There is a subscriber here now."""
        self._receiver.subscribe(self._names.of_topic(topic))

    def unsubscribe(self, topic: str) -> None:
        """There is none any more."""
        self._receiver.unsubscribe(self._names.of_topic(topic))
        self._incoming.forget(topic)

    def counted(self, topic: str, subscribers: int) -> None:
        """Not needed: whoever wants to know asks."""

    async def presence(self, topic: str) -> int:
        """How many subscribers the topic has in all processes."""
        return (await self.audience(topic)).subscribers

    async def audience(self, topic: str) -> Audience:
        """Who is subscribed, in all processes. One that does not answer in a second counts as having nobody.

        While Redis is away, these are those of this process.
        """
        others: Audience | None = None
        if self._link.up:
            channel = self._names.of_topic(topic)
            others = await self._questions.ask(lambda number, expect: self._tell(channel, ASK, number, answered=expect))
        own = self._local.subscribers(topic)
        found = others or Audience(0, 0)
        return Audience(own + found.subscribers, (own > 0) + found.processes)

    def descriptors(self) -> list[int]:
        """The descriptors of the connections to Redis."""
        return self._connector.descriptors()

    async def stop(self) -> None:
        """End, when Redis has what was published or a moment has passed."""
        if self._running is not None:
            await self._sender.flush(STOP_SECONDS)
            if self._link.up and self._has_subscribers:
                gone: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                if self._tell(self._everybody, BYE, answered=gone.set_result):
                    await asyncio.wait([gone], timeout=BYE_SECONDS)
        self._missed.tell()
        await self._end()

    async def _end(self) -> None:
        tasks = [*self._tasks]
        if self._running is not None:
            tasks.append(self._running)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def coming(self, topic: str) -> asyncio.Future[Any] | None:
        """What to wait for until what others publish to `topic` comes here; while Redis is away, for nothing."""
        beginning = self._beginning_of(topic)
        if beginning is None or beginning.done() or not self._link.up:
            return None
        return asyncio.ensure_future(asyncio.wait([beginning], timeout=START_SECONDS))

    def _beginning_of(self, topic: str) -> asyncio.Future[None] | None:
        """Done when the subscription of this process has begun; None where it has."""
        return self._receiver.confirmed(self._names.of_topic(topic))

    async def confirmed(self, topic: str) -> None:
        """Wait until what is published to `topic`, to which there is a subscriber, comes here."""
        await self._receiver.confirmed(self._names.of_topic(topic))

    @property
    def connected(self) -> bool:
        """Whether a message goes round: from here to Redis, and from there to here."""
        return self._link.round and not self._sender.stuck

    def tables(self) -> dict[str, int]:
        """How many entries each table has: for tests of what is left of what has gone."""
        return {
            "sender": self._sender.tables(),
            "receiver": self._receiver.tables(),
            "questions": len(self._questions),
            "marks": len(self._marks),
            "tasks": len(self._tasks),
            "numbers": self._incoming.size(),
        }

    # The link.

    def send_probe(self, number: int, sent: Callable[[], None], answered: Callable[[Any], None]) -> None:
        """Let a probe go round; and say now and then that this process is there."""
        data = redis_control.encode(self._outgoing.origin, PROBE, number)
        if not self._sender.tell(Command((self._publish, self._own, data), len(data), answered, sent=sent)):
            answered(ConnectionError("too much waits to be told"))
        now = time.monotonic()
        if self._link.up and now - self._said_here >= HERE_SECONDS:
            self._say_here(self._everybody)
            self._said_here = now

    def ask_role(self, answered: Callable[[Any], None]) -> None:
        """Ask Redis what it is."""
        if not self._sender.tell(Command(("HELLO", "2"), 0, answered)):
            answered(None)  # it is asked again

    async def check(self) -> None:
        """The probe has shown all that is needed."""

    def take_leave(self) -> None:
        """Publish nothing more here, and let the others look whether they should stay."""
        self._sender.hold()
        self._tell(self._everybody, LOOK)

    def came_up(self, began: float, was_away: bool) -> None:
        """Let publications wait until the others are back."""
        if began and self._must_wait():
            self._roll.call(time.monotonic() - (time.time() - began))
        if began:
            self._missed.since(began)
        self._start(self._assemble, began, was_away)

    def _must_wait(self) -> bool:
        """Whether what is published while others are away is lost for them."""
        return True

    def went_down(self) -> None:
        """What was to be done over the connections ends."""
        for task in self._tasks:
            task.cancel()
        self._said_here = float("-inf")

    def _start(self, run: Callable[..., Awaitable[None]], *arguments: Any) -> asyncio.Task[None]:
        """A task that ends with the link; one that fails is logged, and the link begins again with all of them."""
        task = asyncio.get_running_loop().create_task(self._guarded(run, *arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, run: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        try:
            await run(*arguments)
        except self._connector.errors as error:
            logger.debug("Topics: a question to %s failed: %s", self._where, error)  # the link says so
        except Exception as error:
            self._link.fail(error)

    async def _assemble(self, began: float, was_away: bool) -> None:
        """Wait until the others are back, or had as long as one may need; then go on, and ask what was missed."""
        self._say_here(self._everybody)  # to who is there already; who comes later says so by itself
        if began or self._has_subscribers:
            self._tell(self._everybody, ROLL)
        since = time.monotonic()
        if began and self._must_wait():
            await self._roll.wait(2 * self._connector.timeout + 2 * LONGEST_DELAY)
            if was_away and (rest := SETTLE_SECONDS - (time.monotonic() - since)) > 0:
                await asyncio.sleep(rest)
        if self._roll.missing:
            logger.warning(
                "Topics: %s not back after %.1f s; publishing without them",
                counted(self._roll.missing, "other process is", "other processes are"),
                time.monotonic() - since,
            )
            self._roll.give_up()
        if began:
            logger.warning(
                "Topics: %s is back; outage from %s to %s, %s waited, %d dropped",
                self._where,
                stamp(began),
                stamp(time.time()),
                counted(self._sender.waiting(), "publication"),
                self.counts.dropped - self._link.dropped_before,
            )
        self._sender.release()
        if began:
            await self._ask_what_was_missed()

    async def _ask_what_was_missed(self) -> None:
        topics = [topic for each in self._receiver.channels if (topic := self._names.topic(each)) is not None]
        for start in range(0, len(topics), SYNC_TOPICS):
            while not self._tell(self._everybody, SYNC, topics[start : start + SYNC_TOPICS]):
                await asyncio.sleep(self._link.beat)

    def _say_here(self, channel: bytes) -> None:
        if self._has_subscribers and self._link.up:
            self._tell(channel, HERE)

    # What goes out.

    def _tell(
        self, channel: bytes, word: str, value: Any = 1, subscribers: int | None = None, answered: Any = None
    ) -> bool:
        data = redis_control.encode(self._outgoing.origin, word, value, subscribers)
        return self._sender.tell(Command((self._publish, channel, data), len(data), answered))

    def _take_marks(self, most: int) -> list[Command]:
        """The last numbers of topics, behind the last publications."""
        found: list[Command] = []
        while self._marks and len(found) < most:
            topic = next(iter(self._marks))
            del self._marks[topic]
            last = self._outgoing.last(topic)
            if last is not None:
                data = redis_control.encode(self._outgoing.origin, MARK, last)
                found.append(Command((self._publish, self._names.of_topic(topic), data), len(data)))
        return found

    # What comes in.

    def _take(self, channel: bytes, data: bytes) -> None:
        try:
            topic = self._names.topic(channel)
            found = envelope.decode(data)
            if found.control:
                self._told(topic, found)
            elif topic is None:
                raise EnvelopeError("a publication where none belongs")
            else:
                self._deliver(topic, found)
        except Exception as error:
            self._bad(channel, error)

    def _deliver(self, topic: str, found: Envelope) -> None:
        origin = found.origin
        if origin == self._outgoing.origin:
            return
        if origin and self._is_old(topic, found):
            return
        self.counts.received += 1
        self._local.deliver(Publication(topic, found.message, found.key))

    def _is_old(self, topic: str, found: Envelope) -> bool:
        """Whether its number has come before; what is missing before it is noted."""
        missing = self._incoming.take(topic, found.origin, found.sequence, found.first)
        if missing == DUPLICATE:
            return True
        if missing == LATE:
            self._missed.came_late()
        elif missing:
            self._missed.add(topic, found.origin, missing)
        return False

    def _bad(self, channel: bytes, error: Exception) -> None:
        self.counts.bad += 1
        name = channel.decode(errors="backslashreplace")
        self._log.log(time.monotonic(), logging.WARNING, "Topics: no publication, on channel %.100r: %s", name, error)

    def _told(self, topic: str | None, found: Envelope) -> None:
        """Another process, or this one, tells something."""
        told = redis_control.read(found)
        if told is None:
            return
        word, origin = told.word, found.origin
        if word == PROBE:
            if origin == self._outgoing.origin:
                self._link.came(told.value)
        elif word == ASK and origin == self._outgoing.origin:
            self._questions.take(told.value, 0)  # who asks knows what is here
        elif word == ASK:
            subscribers = 0 if topic is None else self._local.subscribers(topic)
            self._tell(self._names.of_process(origin), ANSWER, told.value, subscribers)
        elif word == ANSWER:
            self._questions.take(told.value, told.subscribers)
        elif origin == self._outgoing.origin:
            pass  # we know
        elif word == LOOK:
            self._link.look()
        elif word == ROLL:
            self._say_here(self._names.of_process(origin))
        elif word == HERE:
            self._roll.here(origin, time.monotonic())
        elif word == BYE:
            self._roll.left(origin)
        elif word == SYNC:
            for each in told.topics:
                if self._outgoing.last(each) is not None:
                    self._marks[each] = None
            self._sender.look()
        elif word == MARK and topic is not None:
            missing = self._incoming.mark(topic, origin, told.value)
            if missing:
                self._missed.add(topic, origin, missing)
