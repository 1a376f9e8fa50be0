# cython: nonecheck=False
"""The subscriptions of one connection: what its publications are written as, and when.

Publications wait for the end of the loop's turn and leave in one write, behind what the application itself has sent by
then. Where the write buffer is full they go to a backlog instead (`fastws.topics.backlog`), which the connection's
`resume` empties: nobody ever waits for a peer.

Compiled by Cython where the extension was built (member.pxd) and interpreted elsewhere. It is every delivery's way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from fastws.asgi.subscriber import Subscriber
from fastws.topics.backlog import Backlog, Policy
from fastws.topics.outgoing import JOINED_BYTES, Frames, Kind, Outgoing

if TYPE_CHECKING:
    from fastws.asgi.session import Session
    from fastws.net.loop_core import LoopCore

SLICE = 512
"""Members that are written to in one turn of the loop, a millisecond or two; others are served before the next."""


class Home(Protocol):
    """What a member may ask of the hub that it belongs to."""

    def new_backlog(self) -> Backlog:
        """For a member that has become slow."""

    def remove(self, member: Member) -> None:
        """End all subscriptions of `member`, whose connection ends."""


class Turn:
    """The members that have something to write when the loop's turn ends."""

    def __init__(self, shared: LoopCore, kinds: dict[Any, Kind]) -> None:
        self.shared = shared
        self.counts = shared.counts
        self._kinds = kinds
        self._members: list[Member] = []
        self.messages: int = 0
        """Publications since the last end of a turn."""

    def list_member(self, member: Member) -> None:
        """Call `member.flush()` at the end of the turn."""
        if not self._members:
            self.shared.cork(self)
        self._members.append(member)

    def end_of_turn(self) -> None:
        """Write to those that wait: a slice of them, or all that are left."""
        self.messages = 0
        part = self._members
        self._members = part[SLICE:]  # the list may never be empty, and is not to grow for ever
        more = bool(self._members)
        if more:
            self.shared.cork(self)
            part = part[:SLICE]
        for member in part:
            try:
                member.flush()
            except Exception as error:  # of one connection: the others are written to
                context = {"message": "A publication cannot be written", "exception": error}
                self.shared.loop.call_exception_handler(context)
                member.session.connection.abort()
        if more:
            return
        for kind in self._kinds.values():
            kind.forget()

    def give_up(self, error: Exception) -> None:
        """What has raised `error` was nothing of one connection's."""
        self.shared.log_application_error("Exception at the end of a turn of publications", error)


class Topic:
    """A topic that has subscribers, each with what is to be done where it is slow."""

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.members: dict[Member, Policy] = {}
        # Under which name some of them have joined, where that is told to others.
        self.names: dict[Member, str] = {}


class Member(Subscriber):
    """One connection that has subscribed to something."""

    def __init__(self, hub: Home, turn: Turn, session: Session, kind: Kind | None) -> None:
        """`kind` is None where the connection must compress by itself."""
        self._hub = hub
        self._turn = turn
        self.session = session
        self.number: int = session.connection.number
        self.topics: list[Topic] = []
        self._kind = kind
        self._pending: Frames | None = None  # until the end of the turn
        self._listed: bool = False  # with the hub, for the end of the turn
        self.backlog: Backlog | None = None

    def deliver(self, message: Outgoing, topic: Topic, policy: Policy) -> int:
        """Send `message` of `topic` at the end of the turn; how many messages are dropped for it, where it is slow.

        Raises OverflowError where the connection is to be closed instead.
        """
        if self.backlog is not None or self.session.connection.writing_paused:
            return self._keep(message, topic, policy)
        if not self._listed:
            self._listed = True
            self._turn.list_member(self)
        self._append(message)
        return 0

    def flush(self) -> None:
        """Write what waits for the end of the turn, in the engine too: what was settled, or compressed there."""
        self._listed = False
        pending = self._pending
        if pending is None:
            self.session.write_frames(None)
        else:
            self._pending = None
            self.session.write_frames(pending.chunks())

    def settle(self) -> None:
        pending = self._pending
        if pending is not None:
            self._pending = None
            engine = self.session.engine
            assert engine is not None
            for frame in pending.chunks():
                engine.append_frame(frame)

    def resume(self) -> None:
        backlog = self.backlog
        if backlog is None:
            return
        connection = self.session.connection
        size = 0
        while not connection.writing_paused:
            message = backlog.take()
            if message is None:
                self.backlog = None
                break
            self._append(message)
            size += message.size
            if size >= JOINED_BYTES:
                size = 0
                self.flush_now()
        self.flush_now()

    def leave(self) -> None:
        self.settle()
        self.backlog = None
        self._hub.remove(self)

    def waiting(self) -> int:
        return 0 if self.backlog is None else self.backlog.size

    def flush_now(self) -> None:
        """As `flush`, but the hub still has this one in its list."""
        listed = self._listed
        self.flush()
        self._listed = listed

    def _append(self, message: Outgoing) -> None:
        self._turn.counts.topics_delivered += 1
        self.session.count_sent(message.size)
        kind = self._kind
        if kind is None:
            engine = self.session.engine
            assert engine is not None
            text = message.message
            waiting = engine.send_text(text) if isinstance(text, str) else engine.send_bytes(text)
            if waiting >= JOINED_BYTES:
                self.flush_now()
            return
        pending = self._pending
        if pending is None:
            pending = kind.root
        pending = pending.then(kind.frame_of(message))
        self._pending = pending
        if pending.is_full():
            self.flush_now()

    def _keep(self, message: Outgoing, topic: Topic, policy: Policy) -> int:
        backlog = self.backlog
        if backlog is None:
            backlog = self.backlog = self._hub.new_backlog()
        return backlog.add(topic.name, message, policy)
