"""Topics where another server runs the application: the same by a loop in the application, in one process.

What is kept of the promises: order, each message once, nobody waits for a slow reader, and what was asked for such a
reader. What is not: the message is framed and compressed for each subscriber, by a task of its own while it has
something to send, and other processes are not reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastws.net.channel import next_turn_of
from fastws.topics.backlog import CLOSE, Backlog, Policy
from fastws.topics.events import describe_presence, presence_topic
from fastws.topics.outgoing import Outgoing
from fastws.topics.running import enter, hubs

LIMIT: Final = 1_048_576
"""Bytes that may wait for a subscriber: the default of --topics-backlog."""

DEFAULT: Final = Policy(CLOSE, LIMIT)

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Peer:
    """One connection that has subscribed; `send` is its ASGI send."""

    def __init__(self, rooms: Rooms, send: Send, number: int) -> None:
        self._rooms = rooms
        self._send = send
        self.number = number
        self.topics: set[str] = set()
        self.names: dict[str, str] = {}  # under which it has joined some of them
        self._backlog = Backlog(LIMIT)
        self._task: asyncio.Task[None] | None = None

    def deliver(self, topic: str, message: Outgoing, policy: Policy) -> None:
        """Send `message` soon."""
        try:
            self._backlog.add(topic, message, policy)
        except OverflowError:
            self.leave()
            self._backlog = Backlog(LIMIT)
            self._start(self._close())
            return
        if self._task is None:
            self._start(self._deliver())

    def forget(self, topic: str) -> None:
        """The subscription has ended: what waits of it goes nowhere."""
        self._backlog.drop(topic)

    def leave(self) -> None:
        """End all subscriptions."""
        for topic in self.topics:
            self._rooms.remove(self, topic)
        self.topics.clear()

    def _start(self, coroutine: Any) -> None:
        self._task = asyncio.get_running_loop().create_task(coroutine)

    async def _deliver(self) -> None:
        try:
            while (message := self._backlog.take()) is not None:
                name = "text" if isinstance(message.message, str) else "bytes"
                await self._send({"type": "websocket.send", name: message.message})
        except Exception:  # the peer is gone, in whatever words this server says so
            self.leave()
        finally:
            self._task = None

    async def _close(self) -> None:
        with contextlib.suppress(Exception):
            await self._send({"type": "websocket.close", "code": 1013, "reason": "too slow"})


class Rooms:
    """The subscribers of one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._peers: weakref.WeakKeyDictionary[Any, Peer] = weakref.WeakKeyDictionary()
        self._topics: dict[str, dict[Peer, Policy]] = {}
        self._number = 0

    @classmethod
    def of_running_loop(cls) -> Rooms:
        """Those of the running event loop, made where there are none."""
        loop = asyncio.get_running_loop()
        for known, hub in hubs():
            if known is loop and isinstance(hub, cls):
                return hub
        rooms = cls()
        enter(loop, rooms)
        return rooms

    def subscribe(self, websocket: Any, send: Send, topic: str, policy: Policy | None, who: str | None = None) -> None:
        """Subscribe the connection, for as long as the object `websocket` lives; announced, where it is as `who`."""
        peer = self._peers.get(websocket)
        if peer is None:
            self._number += 1
            peer = self._peers[websocket] = Peer(self, send, self._number)
            weakref.finalize(websocket, peer.leave).atexit = False
        if who is not None and topic not in peer.topics:
            peer.names[topic] = who
            self._announce("join", topic, who)
        peer.topics.add(topic)
        self._topics.setdefault(topic, {})[peer] = policy or DEFAULT

    def unsubscribe(self, websocket: Any, topic: str) -> None:
        """End a subscription, if there is one."""
        peer = self._peers.get(websocket)
        if peer is not None and topic in peer.topics:
            peer.topics.discard(topic)
            peer.forget(topic)
            self.remove(peer, topic)

    def number(self, websocket: Any) -> int:
        """What `publish` knows a subscriber by; 0 for one that has not subscribed."""
        peer = self._peers.get(websocket)
        return 0 if peer is None else peer.number

    def remove(self, peer: Peer, topic: str) -> None:
        """Forget a subscription."""
        peers = self._topics.get(topic, {})
        peers.pop(peer, None)
        if not peers:
            self._topics.pop(topic, None)
        who = peer.names.pop(topic, None)
        if who is not None:
            self._announce("leave", topic, who)

    def _announce(self, event: str, topic: str, who: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it this room
            self._loop.call_soon_threadsafe(self.publish, presence_topic(topic), describe_presence(event, topic, who))

    def publish(self, topic: str, message: str | bytes, key: str | None = None, sender: int = 0) -> int:
        """See `fastws.topics.hub.Hub.publish`."""
        outgoing = Outgoing(message, key)
        peers = list(self._topics.get(topic, {}).items())
        for peer, policy in peers:
            if peer.number != sender:
                peer.deliver(topic, outgoing, policy)
        return len(peers)

    async def presence(self, topic: str) -> int:
        """As `subscribers`: nobody else is reached."""
        return self.subscribers(topic)

    def wait_for_turn(self) -> asyncio.Future[None] | None:
        """A publisher lets the subscribers' tasks run."""
        return next_turn_of(asyncio.get_running_loop())

    def subscribers(self, topic: str) -> int:
        """How many connections have subscribed to `topic`."""
        return len(self._topics.get(topic, ()))
