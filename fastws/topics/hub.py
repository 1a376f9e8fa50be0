"""The topics of one process: who has subscribed to what, and publications on their way to them.

A server has one hub, on its loop. It frames nothing and writes nothing by itself: a publication becomes an `Outgoing`,
and each `Member` of the topic takes it from there. What a bus brings from other processes goes the same way.

Compiled by Cython where the extension was built (hub.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, cast

from fastws.asgi.states import State
from fastws.errors import ApplicationError
from fastws.net.channel import next_turn_of
from fastws.topics.audience import Audience
from fastws.topics.backlog import LATEST, Backlog, Policy
from fastws.topics.bus import Bus, Publication, ResumingBus
from fastws.topics.events import (
    describe_presence,
    presence_topic,
    read_announced,
    read_exclude_self,
    read_key,
    read_last_id,
    read_message,
    read_policy,
    read_topic,
)
from fastws.topics.member import Member, Topic, Turn
from fastws.topics.outgoing import Kind, Outgoing
from fastws.topics.running import enter, leave

if TYPE_CHECKING:
    from fastws.asgi.session import Session
    from fastws.net.loop_state import LoopState

EXTENSION = "fastws.topics"
VERSION = 1
"""What `scope["extensions"]["fastws.topics"]["version"]` says."""

PUBLICATIONS_A_TURN = 64
"""Publications after which a publisher waits for a turn of the loop."""


SHARED_POLICIES = 256


class Hub:
    """The subscribers of one server; connections of `state` find it as `state.topics`."""

    def __init__(self, state: LoopState, bus: Bus | None = None) -> None:
        config = state.config
        self.id = uuid.uuid4().hex
        self.shared = state
        self.counts = state.counts
        self.bus = bus
        self._kinds: dict[Any, Kind] = {}
        self._turn = Turn(state, self._kinds)
        self._topics: dict[str, Topic] = {}
        self._policies: dict[Policy, Policy] = {}
        self._backlog_limit: int = config.topics_backlog
        self._policy = self._shared_policy(Policy(config.topics_slow, config.topics_backlog))
        self._most_topics: int = config.topics_per_connection
        state.topics = self
        state.application.offer_websockets(EXTENSION, {"version": VERSION})

    async def start(self) -> None:
        """Reach other processes, where there is a bus, and be found by `fastws.topics.publish`."""
        if self.bus is not None:
            await self.bus.start(self)
        enter(self.shared.loop, self)

    async def stop(self) -> None:
        """Be found no more. Idempotent."""
        if leave(self) and self.bus is not None:
            await self.bus.stop()

    # What subscribes and publishes: connections, the application, the bus.

    def subscribe(self, session: Session, name: str, policy: Policy | None = None, who: str | None = None) -> None:
        """Subscribe the open `session` to the topic; where it has before, `policy` is what changes.

        That it joins, and later that it leaves, is published to `presence_topic(name)` where it is given a name, `who`.

        Raises ApplicationError for more topics than a connection may have.
        """
        member: Member | None = session.subscriber  # type: ignore[assignment]  # there are no others
        if member is None:
            member = Member(self, self._turn, session, self._kind(session))
        topic = self._topics.get(name)
        chosen = self._policy if policy is None else self._shared_policy(policy)
        if chosen.slow == LATEST:
            session.connection.keep_little_unsent()
        if topic is not None and member in topic.members:
            topic.members[member] = chosen
            return
        if len(member.topics) >= self._most_topics:
            raise ApplicationError(
                f"The connection has {len(member.topics)} subscriptions, as many as --topics-per-connection allows."
            )
        first = topic is None
        if topic is None:
            topic = self._topics[name] = Topic(name)
        topic.members[member] = chosen
        member.topics.append(topic)
        session.subscriber = member
        self.counts.subscriptions += 1
        self.counts.topics = len(self._topics)
        if self.bus is not None:
            if first:
                self.shared.run_own(self.bus.subscribe, name)
            self.shared.run_own(self.bus.counted, name, len(topic.members))
        if who is not None:
            topic.names[member] = who
            self._announce("join", name, who)

    def unsubscribe(self, session: Session, name: str) -> None:
        """End the subscription of `session` to the topic, if it has one."""
        member: Member | None = session.subscriber  # type: ignore[assignment]  # there are no others
        topic = self._topics.get(name)
        if member is None or topic is None or member not in topic.members:
            return
        member.topics.remove(topic)
        if member.backlog is not None:
            member.backlog.drop(name)
        self._remove(member, topic)
        if not member.topics:
            member.settle()
            session.subscriber = None

    def remove(self, member: Member) -> None:
        """End all subscriptions of `member`, whose connection ends."""
        topics, member.topics = member.topics, []
        for topic in topics:
            self._remove(member, topic)
        member.session.subscriber = None

    def publish(self, topic: str, message: str | bytes, key: str | None = None, sender: int = 0) -> int:
        """Send `message` to all subscribers of `topic` but the connection with the number `sender`.

        How many they are in this process; 0 where the bus brings it. Raises UnicodeEncodeError for text with lone
        surrogates.
        """
        self.counts.published += 1
        self._turn.messages += 1
        bus = self.bus
        if bus is None:
            return self._fan_out(topic, Outgoing(message, key), sender)
        outgoing = Outgoing(message, key)  # raises before anybody gets it
        self.shared.run_own(bus.publish, Publication(topic, message, key, self.id, sender))
        return 0 if bus.ordered_by_bus else self._fan_out(topic, outgoing, sender)

    def deliver(self, publication: Publication) -> int:
        """Give `publication` to the subscribers of this process; how many they are. Never raises, never waits."""
        sender = publication.sender if publication.origin == self.id else 0
        try:
            message = Outgoing(publication.message, publication.key)
            if publication.id is None:
                return self._fan_out(publication.topic, message, sender)
            return self._fan_out(publication.topic, message, sender, Outgoing(_with_id(publication), publication.key))
        except UnicodeEncodeError:
            return 0  # no hub has sent that

    def wait_for_turn(self) -> asyncio.Future[None] | None:
        """What a publisher must wait for before it publishes more, if anything: everybody else's turn."""
        if self._turn.messages < PUBLICATIONS_A_TURN:
            return None
        self._turn.messages = 0
        return next_turn_of(self.shared.loop)

    def subscribers(self, topic: str) -> int:
        """How many connections of this process have subscribed to `topic`."""
        found = self._topics.get(topic)
        return 0 if found is None else len(found.members)

    async def audience(self, topic: str) -> Audience:
        """How many connections have subscribed to `topic`, in how many processes."""
        if self.bus is not None:
            return await self.bus.audience(topic)
        own = self.subscribers(topic)
        return Audience(own, int(own > 0))

    async def presence(self, topic: str) -> int:
        """How many connections have subscribed to `topic`, in all processes."""
        return self.subscribers(topic) if self.bus is None else await self.bus.presence(topic)

    def topics(self) -> list[str]:
        """The topics that have subscribers in this process."""
        return list(self._topics)

    # What sessions call with events of the application.

    def subscribe_event(self, session: Session, event: dict[str, Any]) -> asyncio.Future[None] | None:
        name, policy, last_id = read_topic(event), read_policy(event, self._policy), read_last_id(event)
        who = read_announced(event)
        bus = self.bus
        if last_id is None or bus is None or not bus.ordered_by_bus:
            self.subscribe(session, name, policy, who)
            coming: asyncio.Future[None] | None = None if bus is None else self.shared.run_own(bus.coming, name)
            return coming
        resuming = cast(ResumingBus, bus)
        coroutine = self._resume(resuming, session, name, policy, last_id, who)
        task: asyncio.Task[None] = self.shared.run_own(self.shared.loop.create_task, coroutine)
        return task

    async def _resume(
        self, bus: ResumingBus, session: Session, name: str, policy: Policy, last_id: str, who: str | None
    ) -> None:
        """Subscribe `session` when it was given what was published after `last_id`."""

        def ready(publications: list[Publication]) -> None:
            if session.state is not State.OPEN:
                return
            self.subscribe(session, name, policy, who)
            member = cast(Member, session.subscriber)
            topic = self._topics[name]
            for each in publications:
                message = Outgoing(_with_id(each) if policy.ids else each.message, each.key)
                try:
                    dropped = member.deliver(message, topic, policy)
                except Exception as error:
                    self._end(member, error)
                    return
                if dropped:
                    self.counts.drop(policy.slow, dropped)

        await bus.resume(name, last_id, ready)

    def unsubscribe_event(self, session: Session, event: dict[str, Any]) -> None:
        self.unsubscribe(session, read_topic(event))

    def publish_event(self, session: Session, event: dict[str, Any]) -> asyncio.Future[None] | None:
        topic, message, key = read_topic(event), read_message(event), read_key(event)
        self.publish(topic, message, key, session.connection.number if read_exclude_self(event) else 0)
        return self.wait_for_turn()

    # What members call.

    def new_backlog(self) -> Backlog:
        """For a member that has become slow."""
        return Backlog(self._backlog_limit)

    def _fan_out(self, name: str, message: Outgoing, sender: int, with_id: Outgoing | None = None) -> int:
        topic = self._topics.get(name)
        if topic is None:
            return 0
        ending: list[tuple[Member, Exception]] | None = None
        for member, policy in topic.members.items():
            if member.number == sender:
                continue
            try:
                if with_id is not None and policy.ids:
                    dropped = member.deliver(with_id, topic, policy)
                else:
                    dropped = member.deliver(message, topic, policy)
            except Exception as error:  # of one subscriber: the others get the message
                if ending is None:
                    ending = []
                ending.append((member, error))
                continue
            if dropped:
                self.counts.drop(policy.slow, dropped)
        count = len(topic.members)
        if ending is not None:
            for member, reason in ending:
                try:
                    self._end(member, reason)
                except Exception as error:
                    self.shared.give_up(member.session.connection, error)
        return count

    def _end(self, member: Member, error: Exception) -> None:
        """End the connection of a member that could not be given a publication."""
        if isinstance(error, OverflowError):
            self.counts.closed_slow += 1
            member.session.close(1013, "too slow")
        else:
            self.shared.log_application_error("A publication cannot be sent", error)
            member.session.close(1011, "Internal Error")

    def _remove(self, member: Member, topic: Topic) -> None:
        del topic.members[member]
        self.counts.subscriptions -= 1
        if not topic.members:
            del self._topics[topic.name]
            self.counts.topics = len(self._topics)
        if self.bus is not None:
            try:
                if not topic.members:
                    self.shared.run_own(self.bus.unsubscribe, topic.name)
                self.shared.run_own(self.bus.counted, topic.name, len(topic.members))
            except Exception as error:  # the other topics of a connection that ends are left, too
                self.shared.log_application_error("Exception in the bus of topics", error)
        if topic.names:
            who = topic.names.pop(member, None)
            if who is not None:
                self._announce("leave", topic.name, who)

    def _announce(self, event: str, name: str, who: str) -> None:
        """Publish who has joined or left the topic: soon, since a fan-out may be what ended a subscription."""
        shared = self.shared
        message = describe_presence(event, name, who)
        shared.loop.call_soon(self.publish, presence_topic(name), message, context=shared.context)

    def _kind(self, session: Session) -> Kind | None:
        """What the frames of `session` have in common with others'."""
        engine = session.engine
        assert engine is not None
        deflater = engine.deflater
        if deflater is not None and deflater.context_takeover:
            return None
        kind = self._kinds.get(deflater)
        if kind is None:
            kind = self._kinds[deflater] = Kind(deflater)
        return kind

    def _shared_policy(self, policy: Policy) -> Policy:
        """One object for all subscriptions with the same policy, if there are few different ones."""
        if len(self._policies) >= SHARED_POLICIES:
            return self._policies.get(policy, policy)
        return self._policies.setdefault(policy, policy)


def _with_id(publication: Publication) -> str | bytes:
    """The message behind its id and a blank."""
    message = publication.message
    return f"{publication.id} {message}" if isinstance(message, str) else f"{publication.id} ".encode() + message
