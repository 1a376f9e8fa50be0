"""The bus between machines: Redis pub/sub, with one subscription a process and topic.

A topic is a channel, its name behind a prefix. A process never gets its own publications from here: its hub has
delivered them. Publications carry numbers (`fastws.topics.sequences`): one that came twice is delivered once, and one
that did not come is counted, and the log says so. After an outage a process asks the others for their last numbers, for
the ones at the end of a gap.

In a cluster all channels of a prefix are in one slot, and sharded pub/sub (Redis 7) keeps them to the node that has it.

Processes tell each other three things, as JSON in envelopes that are marked as such: on a topic's channel
``{"ask": n}``, which every subscribed process answers on the channel of the one that asked, and ``{"mark": n}``, the
last number; on the channel of all processes ``{"sync": [topics]}``, which asks for marks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any, Final

from fastws.config.redis_url import is_cluster, shown
from fastws.errors import StartupError
from fastws.net.log_limit import LogLimit
from fastws.topics import envelope
from fastws.topics.audience import Audience
from fastws.topics.bus import Local, Publication
from fastws.topics.envelope import Envelope, EnvelopeError
from fastws.topics.losses import BusCounts, Missed
from fastws.topics.redis_connection import Connector, describe
from fastws.topics.redis_receiver import Receiver
from fastws.topics.redis_sender import Command, Sender
from fastws.topics.sequences import DUPLICATE, Incoming, Outgoing

logger: Final = logging.getLogger("fastws.error")

START_SECONDS: Final = 2.0
"""How long a server that starts waits for Redis; then it serves without, and goes on trying."""
STOP_SECONDS: Final = 2.0
"""How long a server that ends waits until Redis has all that was published."""
COUNT_SECONDS: Final = 1.0
"""How long a process has to say how many subscribers it has."""
SYNC_TOPICS: Final = 1000
"""Topics that one message asks about."""
HASH_TAG: Final = re.compile(r"\{[^}]+\}")
"""What decides on the slot of a name in a cluster."""
RESERVED: Final = "\x00"
"""What channels that are no topics begin with, behind the prefix."""


class RedisBus:
    """The bus of one process. Raises ConfigError where redis-py is not installed or cannot read the URL."""

    ordered_by_bus = False

    def __init__(self, url: str, *, password: str | None = None, prefix: str = "fastws:", buffer_bytes: int = 1 << 24):
        """`prefix` is that of the channels; `buffer_bytes` of publications may wait for Redis."""
        self._where = shown(url)
        sharded = is_cluster(url)
        if sharded and not HASH_TAG.search(prefix):
            prefix = f"{{{prefix}}}"  # what is in braces decides on the slot: all channels are in one
        self._prefix = prefix
        self._publish = "SPUBLISH" if sharded else "PUBLISH"
        self._connector = Connector(url, password, prefix)
        self.counts = BusCounts()
        self._outgoing, self._incoming = Outgoing(), Incoming()
        self._missed = Missed(self.counts)
        self._sender = Sender(self._connector, self._where, buffer_bytes, self.counts)
        self._receiver = Receiver(self._connector, self._where, self.counts, self._take, sharded=sharded)
        self._receiver.recovered = self._recovered
        self._sender.away = self._receiver.is_away
        self._log = LogLimit(logger)
        self._tasks: list[asyncio.Task[None]] = []
        self._questions: dict[int, _Question] = {}
        self._last_question = 0
        self._local: Local
        self._everybody = self._channel(RESERVED + "everybody")
        self._own = self._channel(RESERVED + f"{self._outgoing.origin:x}")

    # The bus.

    async def start(self, local: Local) -> None:
        """Connect. Raises StartupError where Redis refuses us; where it is away, it will be there later."""
        self._local = local
        for channel in (self._everybody, self._own):
            self._receiver.subscribe(channel)
        try:
            connection = await asyncio.wait_for(self._connector.connect(), START_SECONDS)
        except self._connector.errors as error:
            if self._connector.is_hopeless(error):
                raise StartupError(f"--topics-url: {self._where}: {describe(error)}") from None
            here = False
        else:
            here = True
            await connection.disconnect(nowait=True)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(each.run()) for each in (self._sender, self._receiver)]
        if here:
            await asyncio.wait([self._receiver.confirmed(self._own)], timeout=START_SECONDS)

    def publish(self, publication: Publication) -> None:
        """Take it to the others."""
        self.send(publication)

    def send(self, publication: Publication, answered: Callable[[Any], None] | None = None) -> bool:
        """As `publish`; False where there is no room. `answered` gets what Redis says: a number, or an exception."""
        message = publication.message
        if not self._sender.has_room(len(message)):
            return False
        channel = self._channel(publication.topic)
        sequence, first = self._outgoing.next(publication.topic)
        data = envelope.encode(Envelope(message, publication.key, self._outgoing.origin, sequence, first))
        self._sender.send(Command((self._publish, channel, data), len(data), answered))
        return True

    def subscribe(self, topic: str) -> None:
        """There is a subscriber here now."""
        self._receiver.subscribe(self._channel(topic))

    def unsubscribe(self, topic: str) -> None:
        """There is none any more."""
        self._receiver.unsubscribe(self._channel(topic))
        self._incoming.forget(topic)

    def counted(self, topic: str, subscribers: int) -> None:
        """Not needed: whoever wants to know asks."""

    async def presence(self, topic: str) -> int:
        """How many subscribers the topic has in all processes."""
        return (await self.audience(topic)).subscribers

    async def audience(self, topic: str) -> Audience:
        """Who is subscribed, in all processes. One that does not answer in a second counts as having nobody."""
        self._last_question += 1
        number = self._last_question
        self._questions[number] = question = _Question(asyncio.get_running_loop().create_future())
        try:
            self._tell(self._channel(topic), {"ask": number}, question.expect)
            await asyncio.wait([question.answered], timeout=COUNT_SECONDS)
        finally:
            del self._questions[number]
        return Audience(question.subscribers, question.processes)

    def descriptors(self) -> list[int]:
        """The descriptors of the connections to Redis."""
        return self._connector.descriptors()

    async def stop(self) -> None:
        """End, when Redis has what was published or a moment has passed."""
        if self._tasks:
            await self._sender.flush(STOP_SECONDS)
        self._missed.tell()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def coming(self, topic: str) -> asyncio.Future[Any] | None:
        """What to wait for until what others publish to `topic` comes here; while Redis is away, for nothing."""
        beginning = self._beginning_of(topic)
        if beginning is None or beginning.done() or not self._receiver.connected:
            return None
        return asyncio.ensure_future(asyncio.wait([beginning], timeout=START_SECONDS))

    def _beginning_of(self, topic: str) -> asyncio.Future[None] | None:
        """Done when the subscription of this process has begun; None where it has."""
        return self._receiver.confirmed(self._channel(topic))

    async def confirmed(self, topic: str) -> None:
        """Wait until what is published to `topic`, to which there is a subscriber, comes here."""
        await self._receiver.confirmed(self._channel(topic))

    @property
    def connected(self) -> bool:
        """Whether others can be reached, both ways."""
        return self._sender.connected and self._receiver.connected

    # What goes out.

    def _channel(self, topic: str) -> bytes:
        return (self._prefix + topic).encode()

    def _tell(self, channel: bytes, what: dict[str, Any], answered: Any = None) -> None:
        data = envelope.encode(Envelope(json.dumps(what), None, self._outgoing.origin, control=True))
        self._sender.send(Command((self._publish, channel, data), len(data), answered, 0))

    def _recovered(self, since: float, was_away: bool) -> None:
        """All channels are subscribed to again; nothing came since then."""
        if was_away:
            self._sender.hold()
        if since:
            self._missed.since(since)
            channels = (each.decode()[len(self._prefix) :] for each in self._receiver.channels)
            topics = [each for each in channels if not each.startswith(RESERVED)]
            for start in range(0, len(topics), SYNC_TOPICS):
                self._tell(self._everybody, {"sync": topics[start : start + SYNC_TOPICS]})

    # What comes in.

    def _take(self, channel: bytes, data: bytes) -> None:
        try:
            topic = channel[len(self._prefix.encode()) :].decode()
            found = envelope.decode(data)
            if found.control:
                self._told(topic, found)
                return
        except (EnvelopeError, ValueError, TypeError, KeyError, AttributeError) as error:
            self._bad(channel, error)
            return
        origin = found.origin
        if origin == self._outgoing.origin:
            return
        if origin:
            missing = self._incoming.take(topic, origin, found.sequence, found.first)
            if missing == DUPLICATE:
                return
            if missing:
                self._missed.add(topic, origin, missing)
        self.counts.received += 1
        self._local.deliver(Publication(topic, found.message, found.key))

    def _bad(self, channel: bytes, error: Exception) -> None:
        self.counts.bad += 1
        name = channel.decode(errors="backslashreplace")
        self._log.log(time.monotonic(), logging.WARNING, "Topics: no publication, on channel %.100r: %s", name, error)

    def _told(self, topic: str, found: Envelope) -> None:
        """Another process asks or answers."""
        what = json.loads(found.message)
        if not isinstance(what, dict):
            raise EnvelopeError("what processes tell each other is an object")
        if "ask" in what:
            subscribers = self._local.subscribers(topic)
            answer = {"answer": what["ask"], "subscribers": subscribers}
            self._tell(self._channel(RESERVED + f"{found.origin:x}"), answer)
        elif "answer" in what:
            question = self._questions.get(what["answer"])
            if question is not None:
                question.take(int(what["subscribers"]))
        elif "sync" in what:
            for each in what["sync"]:
                last = self._outgoing.last(each)
                if last is not None:
                    self._tell(self._channel(each), {"mark": last})
        elif "mark" in what:
            missing = self._incoming.mark(topic, found.origin, int(what["mark"]))
            if missing:
                self._missed.add(topic, found.origin, missing)


class _Question:
    """How many subscribers there are, as far as processes have answered."""

    def __init__(self, answered: asyncio.Future[None]) -> None:
        self.answered = answered
        self.subscribers = self.processes = 0
        self._answers = 0
        self._expected: int | None = None

    def expect(self, receivers: Any) -> None:
        """Redis has given the question to so many."""
        self._expected = receivers if isinstance(receivers, int) else 0
        self._check()

    def take(self, subscribers: int) -> None:
        """One has answered."""
        self._answers += 1
        self.subscribers += subscribers
        self.processes += subscribers > 0
        self._check()

    def _check(self) -> None:
        if self._expected is not None and self._answers >= self._expected and not self.answered.done():
            self.answered.set_result(None)
