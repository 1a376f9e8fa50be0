# cython: nonecheck=False
"""What waits for the application of one WebSocket: the messages that came, and the reading that is put off for them.

Bytes go to the engine and come back as events. Messages wait in a queue until the application takes them, and the
peer's end, a Close or a breach of the protocol, waits behind the messages before it. Pings and Pongs wait for nobody.

The queue is bounded by the number of messages and by their bytes. Above, nothing is dropped: reading stops, and goes on
at a quarter. What an engine has put off, since it inflates to too much, is read on when there is room.

What a Ping is answered with and what the peer's end leads to is left to who has an `Inbox` (lifetime.py, closing.py).
This module is compiled by Cython where the extension was built (inbox.pxd), else interpreted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from fastws.asgi.states import State
from fastws.asgi.waiting import REUSED, Waiting
from fastws.net.channel import Channel, Handler
from fastws.net.waiters import Waiters
from fastws.websocket.events import Close, Ping, Pong

if TYPE_CHECKING:
    from fastws.asgi.traffic import Traffic
    from fastws.net.loop_core import Resumable
    from fastws.net.loop_state import LoopState
    from fastws.websocket.engine import Engine
    from fastws.websocket.rate_limit import RateLimit

READ_AHEAD_BYTES = 16384
"""Bytes that are still read when the queue has its number of messages, for the Pings and Pongs among them."""

TRIMMED = 64
"""Places before the head of the queue that are kept, or as many as there are behind it: it may never be empty."""

CONNECTING = State.CONNECTING
OPEN = State.OPEN


class Inbox(Handler):
    """The way in of a WebSocket: the handler of its channel, whose bytes `engine` reads once it is there."""

    def __init__(self, connection: Channel, state: LoopState) -> None:
        self._prepare(connection, state)

    def _prepare(self, connection: Channel, state: LoopState) -> None:
        """What `__init__` does, here and, with more, in classes on this one: compiled, a call of it costs nothing."""
        if None in (connection, state):
            raise TypeError("A WebSocket needs its channel and the state of its loop.")  # nothing looks at that later
        config = state.config
        self.connection = connection
        self.shared = state
        self.state: State = CONNECTING
        self.engine: Engine | None = None
        self.parked: Resumable | None = None  # who goes on for the waiter
        # The queue is the list that the engine returned, taken from its head.
        self._queue: list[Any] | None = None
        self._queue_head: int = 0
        self._queue_bytes: int = 0
        self._max_queue: int = config.ws_max_queue
        self._max_queue_bytes: int = config.ws_max_queue_bytes
        self._waiter: asyncio.Future[None] | None = None
        self._crowd: Waiters | None = None  # who waits beside that one
        self._waiting: Waiting | None = None
        self._rates: RateLimit | None = None
        self._traffic: Traffic | None = None
        self._last_message: float = state.now  # when one went, either way
        self._busy: bool = False  # the application has a message and has not come back for more
        self._reading_on: bool = False  # soon, what the engine has put off
        self._retiring: bool = False  # until the application comes back, no more is read
        self._closed_by_app: bool = False  # it wants no more messages

    # What is left to others.

    def _early_received(self, data: bytes) -> None:
        """Take bytes that came before there was an engine."""
        raise NotImplementedError

    def _answer_pings(self, events: list[Any]) -> list[Any]:
        """Do what the Pings and Pongs in `events` ask for; returns the others."""
        raise NotImplementedError

    def _end_queued(self, item: Close) -> None:
        """The last event of the peer is queued: act on it now, or when the application has come back for more."""
        raise NotImplementedError

    def _finish(self, item: Close) -> None:
        """Act on the peer's Close, or on its breaking of the rules."""
        raise NotImplementedError

    # What the connection calls.

    def bytes_received(self, buffer: memoryview, size: int) -> None:
        engine = self.engine
        if engine is None:
            self._early_received(bytes(buffer[:size]))
            return
        self._take(engine.receive_from(buffer, size), size)

    def data_received(self, data: memoryview) -> None:
        self.bytes_received(data, len(data))

    def wanted(self) -> int:
        return 0 if self.engine is None else self.engine.wanted()

    def place(self) -> int:
        assert self.engine is not None
        return self.engine.place()

    def receive_placed(self, size: int) -> None:
        assert self.engine is not None
        self._take(self.engine.receive_placed(size), size)

    def _take(self, events: list[Any], size: int) -> None:
        """Take what the engine has made of `size` bytes."""
        if self._rates is not None:
            self._limit_rate(events, size)
        if events:
            self._take_events(events)
        if self.engine is not None and self.engine.rest is not None:
            self._put_off()

    def _limit_rate(self, events: list[Any], size: int) -> None:
        """Count a read of `size` bytes; where it is too much, the peer has failed behind what it has sent so far."""
        rates, engine = self._rates, self.engine
        assert rates is not None
        assert engine is not None
        failure = rates.take(len(events), size, self.shared.now)
        if failure is not None:
            self._rates = None
            if not (events and isinstance(events[-1], Close)):
                events.append(failure)
                engine.receive_eof()

    # The queue.

    def _take_events(self, events: list[Any]) -> None:
        """Queue messages, answer what needs no application, and end what the peer ended."""
        size = 0
        controls = ends = False
        for item in events:
            kind = type(item)
            if kind is str or kind is bytes:
                size += len(item)
            elif kind is Ping or kind is Pong:
                controls = True
            else:
                ends = True  # a Close or a Failure, which is the last
        if controls:
            events = self._answer_pings(events)
            if not events:
                return
        last = events[-1]
        if self._traffic is not None:
            self._traffic.received(events)
        if self._closed_by_app:
            # Only the peer's Close is of interest.
            if ends:
                self._finish(last)
            return
        self._last_message = self.shared.now
        self._queue_bytes += size
        if self._queue is None:
            self._queue = events
            waiting = len(events)
        else:
            self._queue.extend(events)
            waiting = len(self._queue) - self._queue_head
        if ends:
            self._end_queued(last)
        elif self._queue_bytes > self._max_queue_bytes:
            self.connection.pause_reading()
        elif waiting > self._max_queue and self.connection.allowance < 0:
            self.connection.pause_reading_after(READ_AHEAD_BYTES)
        self._wake()

    def queued(self) -> tuple[int, int]:
        """How many messages wait for the application, and their bytes (of text, characters)."""
        queue = self._queue
        return (0 if queue is None else len(queue) - self._queue_head), self._queue_bytes

    def next_event(self) -> dict[str, Any] | None:
        """The next event for the application, or None where it must wait for one."""
        return self._next_event()

    def _next_event(self) -> dict[str, Any] | None:
        return self._next_message()

    def _next_message(self) -> dict[str, Any] | None:
        """The event of the first message that waits, which is taken; None where none does, or the peer's end only."""
        queue = self._queue
        if queue is None:
            return None
        item = queue[self._queue_head]
        if type(item) is str:
            event: dict[str, Any] = {"type": "websocket.receive", "text": item}
        elif type(item) is bytes:
            event = {"type": "websocket.receive", "bytes": item}
        else:
            return None
        self._busy = True
        self._pop(len(item))
        return event

    def _pop(self, size: int) -> None:
        """Take the first message, of `size` bytes, from the queue; read on when little is left."""
        queue = self._queue
        assert queue is not None
        queue[self._queue_head] = None
        self._queue_head += 1
        self._queue_bytes -= size
        left = len(queue) - self._queue_head
        if left == 0:
            self._queue = None
            self._queue_head = 0
        elif self._queue_head >= TRIMMED and self._queue_head >= left:
            del queue[: self._queue_head]
            self._queue_head = 0
        connection = self.connection
        if connection.allowance >= 0 and left * 4 <= self._max_queue and self._queue_bytes * 4 <= self._max_queue_bytes:
            connection.last_seen = self.shared.now
            self._read_on()

    def _queued_end(self) -> Close | None:
        """The peer's Close or failure, where it waits behind messages that the application has not taken."""
        last = None if self._queue is None else self._queue[-1]
        return last if isinstance(last, Close) else None

    def _take_end(self, item: Close) -> None:
        """Take `item` out of the queue, if it waits there: it is acted on."""
        queue = self._queue
        if queue is not None and queue[-1] is item:
            queue.pop()
            if len(queue) == self._queue_head:
                self._queue = None
                self._queue_head = 0

    def _is_full(self) -> bool:
        queue = self._queue
        return queue is not None and (
            len(queue) - self._queue_head > self._max_queue or self._queue_bytes > self._max_queue_bytes
        )

    # Reading that was put off.

    def _put_off(self) -> None:
        """Leave the rest of a read for later: for when the queue has room, and not before the loop has turned.

        Compressed, it may be worth a thousand times its bytes; others are served in between.
        """
        self.connection.pause_reading()
        if not self._is_full():
            self._read_on()

    def _read_on(self) -> None:
        """Read again, first what was put off."""
        engine = self.engine
        if self._retiring:
            return
        if engine is None or engine.rest is None:
            self.connection.resume_reading()
        elif not self._reading_on:
            self._reading_on = True
            self.shared.loop.call_soon(self.read_put_off, context=self.shared.context)

    def read_put_off(self) -> None:
        """Read some of what was put off."""
        self._reading_on = False
        engine = self.engine
        assert engine is not None
        if self._is_full() or self.connection.is_gone():
            return
        events = engine.receive_data(b"")
        if self._rates is not None:
            self._limit_rate(events, 0)
        if events:
            self._take_events(events)
        if engine.rest is not None:
            self._put_off()
        elif not self._is_full() and not self._retiring:
            self.connection.resume_reading()

    # Who waits for it.

    def waits_in(self) -> asyncio.Future[None] | None:
        """The future that the application waits for an event in, if it does."""
        return self._waiter

    def wait_for_event(self) -> Awaitable[None]:
        """What to await until there is something to take, or the end of the WebSocket."""
        return self._wait_for_event()

    def _wait_for_event(self) -> Awaitable[None]:
        earlier = self._waiter
        if not REUSED or (earlier is not None and not earlier.done()):
            self.parked = None
            waiter: asyncio.Future[None] = self.shared.loop.create_future()
            if earlier is None or earlier.done():
                self._waiter = waiter
            else:
                if self._crowd is None:
                    self._crowd = Waiters()
                self._crowd.add(waiter)
            return waiter
        waiting = self._waiting
        if waiting is None or waiting.busy:
            waiting = self._waiting = Waiting(self.shared.loop.create_future())
        elif waiting.future.done():
            waiting.future = self.shared.loop.create_future()
        self._waiter = waiting.future
        return waiting

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            parked = self.parked
            self.parked = None
            if parked is not None and self.state is OPEN:  # else it is about to end, which is its task's
                self.shared.resume_soon(parked)
            elif not waiter.done():
                self.shared.wake(waiter)
            if self._crowd is not None:
                crowd, self._crowd = self._crowd, None
                crowd.wake()
