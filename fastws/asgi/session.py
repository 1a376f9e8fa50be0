"""The WebSocket session: what an ASGI application sees of one WebSocket, on any engine.

Bytes go to the engine and come back as events; messages wait in a queue until the application takes them. Everything
that is not framing is decided here, once: the states of a WebSocket, keepalive, the close handshake, flow control and
corking.

Two rules shape it. What a peer sent is handled in order: a Close frame, or an error, takes effect when the
application has come back for more after the messages before it, so that it can still answer them. And an output is
written as late as helps and as early as matters: at once when the application sends a first message, together with
others when more messages wait to be answered, and at the latest when the application waits or the loop's turn ends.

`Session` has no coroutines: those are in application.py, which is always interpreted, since some libraries accept only
native coroutines. This module is compiled by Cython where the extension was built (session.pxd), else interpreted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from fastws.asgi.http_cycle import Responder, chain_waiter, not_allowed, plain_event
from fastws.asgi.observer import APPLICATION, CLIENT, SERVER, Observer
from fastws.asgi.opening import EARLY_BYTES, Opening
from fastws.asgi.states import SENDABLE, State, describe_bad_message
from fastws.asgi.subscriber import Subscriber
from fastws.asgi.traffic import Traffic
from fastws.asgi.waiting import REUSED, Waiting
from fastws.errors import ApplicationError, ClientDisconnected, RequestError
from fastws.http.framing import error_response
from fastws.http.head import RequestHead
from fastws.net.channel import NEVER, Channel, Handler
from fastws.websocket.events import Close, Failure, Ping, Pong
from fastws.websocket.handshake import UpgradeRequest
from fastws.websocket.rate_limit import RateLimit

if TYPE_CHECKING:
    from fastws.asgi.subscriber import Topics
    from fastws.net.loop_core import Resumable
    from fastws.net.loop_state import LoopState
    from fastws.websocket.engine import Engine

CORK_BYTES = 65536
"""Bytes of corked output that are written without waiting for more."""

READ_AHEAD_BYTES = 16384
"""Bytes that are still read when the queue has its number of messages, for the Pings and Pongs among them."""

SILENT = -1.0
"""`Channel.last_seen` since a ping that nothing has answered: the clock is too coarse to tell by the time."""

AGE_JITTER = 0.1
"""Part of --ws-max-age, at random, by which a WebSocket ends earlier."""

MAX_PONGS = 32
"""How many of the Pings in one read are answered."""


CONNECTING = State.CONNECTING
DENYING = State.DENYING
OPEN = State.OPEN
CLOSING = State.CLOSING
CLOSED = State.CLOSED


class Session(Handler):
    """One WebSocket between its channel and its application."""

    def __init__(
        self,
        connection: Channel,
        state: LoopState,
        scope: dict[str, Any],
        observer: Observer | None,
        head: RequestHead,
        upgrade: UpgradeRequest,
        early_data: bytes,
    ) -> None:
        config = state.config
        self.connection = connection
        self.shared = state
        self.state: State = CONNECTING
        self.engine: Engine | None = None
        self.task: asyncio.Task[None] | None = None
        self.subscriber: Subscriber | None = None  # where it has subscribed to topics
        self._opening: Opening | None = Opening(head, upgrade, early_data)
        self._connect_received: bool = False
        # Read state. The queue is the list that the engine returned, taken from its head.
        self._queue: list[Any] | None = None
        self._queue_head: int = 0
        self._queue_bytes: int = 0
        self._reading_on: bool = False  # soon, what the engine has put off
        self._waiter: asyncio.Future[None] | None = None
        self._waiting: Waiting | None = None
        self.parked: Resumable | None = None  # who goes on for the waiter
        self._busy: bool = False
        self._max_queue: int = config.ws_max_queue
        self._max_queue_bytes: int = config.ws_max_queue_bytes
        self._rates: RateLimit | None = None
        # Deadlines while the WebSocket is open: the next ping, and what the end of its idleness is counted from.
        self._ping_due: float = NEVER
        self._idle_timeout: float = NEVER if config.ws_idle_timeout is None else config.ws_idle_timeout
        self._last_message: float = state.now
        # When we end it: at its greatest age, or in the window of a drain. Retiring, it waits for the application.
        # Behind the end: until when the application may go on to take what is queued.
        self._end_due: float = NEVER
        self._retiring: bool = False
        # Write state.
        self._direct: bool = True
        self._corked: bool = False
        # Closing state: what `websocket.disconnect` will say, and who began it.
        self._close_code: int = 1006
        self._close_reason: str = ""
        self._close_sent: bool = False
        self._closed_by_app: bool = False
        self._disconnect_received: bool = False
        # Keepalive state: when the last ping was sent.
        self._pinged: float = 0.0
        self._traffic: Traffic | None = None
        if observer is not None:
            self._traffic = Traffic(observer, scope, state)
        connection.deadline = state.now + config.ws_handshake_timeout
        connection.pause_reading_after(EARLY_BYTES - len(early_data))

    # What the connection calls.

    def bytes_received(self, buffer: memoryview, size: int) -> None:
        engine = self.engine
        if engine is None:
            if self.state is CONNECTING and self._opening is not None:
                self._opening.early += bytes(buffer[:size])  # delivered in order after the accept
            return
        self._take(engine.receive_from(buffer, size), size)

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

    def eof_received(self) -> bool:
        # A peer that has closed the WebSocket may still read the answers to what it sent before.
        if self._queued_end() is not None and self.connection.may_half_close():
            return True
        # The transport closes when it has sent what waits: a peer that does not read must not put that off for ever.
        self._set_close_deadline()
        return False

    def connection_lost(self) -> None:
        if self.subscriber is not None:
            self.subscriber.leave()
        end = self._queued_end()
        if end is not None:
            self._finish(end)
        if self.state is not CLOSED:
            self._set_ended()
        if self.engine is not None:
            self.engine.receive_eof()
        if self._opening is not None and self._opening.responder is not None:
            self._opening.responder.disconnected()
        self._wake()
        self._log_closed()

    def on_deadline(self, now: float) -> None:
        state = self.state
        if self.connection.is_closing():
            self._end_closing()
        elif state is OPEN:
            end = self._queued_end()
            if end is not None:
                # The application did not come back for the messages before the peer's Close.
                self._finish(end)
            elif self._end_due <= now:
                self._retire()
            else:
                self._end_idleness(now)
        elif state is CONNECTING or state is DENYING:
            self._refuse(RequestError(504, "The application did not answer the handshake in time."))
            self.shared.warn("The application did not accept or close a WebSocket within --ws-handshake-timeout.")
        else:
            self._end_closing()

    def shut_down(self) -> None:
        """Close at a time within the drain's window; a peer that has closed by itself is left to it."""
        if self.state is OPEN and self._queued_end() is None:
            self._end_due = min(self._end_due, self.shared.drain_due())
            if self._end_due <= self.shared.now:
                self._retire()
            else:
                self.connection.deadline = min(self.connection.deadline, self._end_due)

    def close(self, code: int, reason: str) -> None:
        """The operator closes. Raises ApplicationError for a code or a reason that cannot be sent."""
        if self.state is OPEN:
            self._send_close(code, reason)
        else:
            self.connection.abort()

    def queued(self) -> tuple[int, int]:
        """How many messages wait for the application, and their bytes (of text, characters)."""
        queue = self._queue
        return (0 if queue is None else len(queue) - self._queue_head), self._queue_bytes

    def traffic(self) -> Traffic | None:
        """What went over it, where somebody observes that."""
        return self._traffic

    def waits_in(self) -> asyncio.Future[None] | None:
        """The future that the application waits for an event in, if it does."""
        return self._waiter

    def end_of_turn(self) -> None:
        self._corked = False
        self._direct = True
        self._flush()

    # What the application's receive() calls.

    def next_event(self) -> dict[str, Any] | None:
        """The next event for the application, or None where it must wait for one."""
        return self._next_event()

    def _next_event(self) -> dict[str, Any] | None:
        if not self._connect_received:
            self._connect_received = True
            return {"type": "websocket.connect"}
        queue = self._queue
        if queue is not None:
            item = queue[self._queue_head]
            if type(item) is str:
                self._busy = True
                self._pop(len(item))
                return {"type": "websocket.receive", "text": item}
            if type(item) is bytes:
                self._busy = True
                self._pop(len(item))
                return {"type": "websocket.receive", "bytes": item}
            self._finish(item)
        if self.state is CLOSED or (self.state is CLOSING and self._closed_by_app):
            return self._disconnect_event()
        if self._retiring:
            self._retire()
        self._busy = False
        self._direct = True
        self._flush()
        self.connection.burst = 0  # The loop turns before the application goes on.
        return None

    def wait_for_event(self) -> Awaitable[None]:
        """What to await until `next_event` is worth another call."""
        return self._wait_for_event()

    def _wait_for_event(self) -> Awaitable[None]:
        earlier = self._waiter
        if not REUSED or (earlier is not None and not earlier.done()):
            self.parked = None
            waiter: asyncio.Future[None] = self.shared.loop.create_future()
            self._waiter = chain_waiter(earlier, waiter)
            return waiter
        waiting = self._waiting
        if waiting is None or waiting.busy:
            waiting = self._waiting = Waiting(self.shared.loop.create_future())
        elif waiting.future.done():
            waiting.future = self.shared.loop.create_future()
        self._waiter = waiting.future
        return waiting

    # What the application's send() calls.

    def send_event(self, event: Any) -> asyncio.Future[None] | None:
        """Do what `event` asks; returns a future where the application must wait for the peer to read.

        Raises ApplicationError for an event that is malformed or not allowed now, ClientDisconnected after the end.
        """
        return self._send_event(event if type(event) is dict else plain_event(event))

    def _send_event(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        if self.state is OPEN and event.get("type") == "websocket.send":
            return self._send_message(event)
        return self._send_other(event)

    def _send_message(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        engine = self.engine
        assert engine is not None
        text = event.get("text")
        data = event.get("bytes") if text is None or len(event) > 2 else None
        if self.subscriber is not None:
            self.subscriber.settle()
        if data is None and isinstance(text, str):
            pending = engine.send_text(text)
        elif text is None and isinstance(data, (bytes, bytearray, memoryview)):
            pending = engine.send_bytes(data)
        else:
            raise ApplicationError(describe_bad_message(text, data))
        self._last_message = self.shared.now
        if self._traffic is not None:
            self._traffic.sent(text if data is None else data)
        if self._queue is None and self._direct:
            self._direct = False
            self._flush()
        elif pending >= CORK_BYTES:
            self._flush()
        elif not self._corked:
            self._corked = True
            self.shared.cork(self)
        return self.connection.wait_for_room()

    def _send_other(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        state = self.state
        kind: Any = event.get("type")
        method = SENDABLE[state].get(kind) if isinstance(kind, str) else None
        if method is None:
            if kind == "websocket.publish" and self.engine is not None and not self._closed_by_app:
                return self._publish(event)  # of a message that came before the end: it is for others
            if state is CLOSING and not self._closed_by_app and isinstance(kind, str):
                return self._send_behind_close(kind)
            if state is CLOSED and not self._closed_by_app:
                if self._queue is not None and self.shared.now < self._end_due and isinstance(kind, str):
                    return self._send_behind_close(kind)
                raise ClientDisconnected("the WebSocket is closed, nothing can be sent")
            opening = self._opening
            if kind == "websocket.http.response.body" and opening is not None and opening.responder is not None:
                return None  # as in HTTP, messages after the end of the response are ignored
            raise ApplicationError(not_allowed(kind, state.value, SENDABLE[state]))
        waiter: asyncio.Future[None] | None = getattr(self, method)(event)
        return waiter

    def _send_behind_close(self, kind: str) -> asyncio.Future[None] | None:
        """The application sends behind a Close of the server's own, or behind the end, of which it does not know yet.

        What it sends goes nowhere. An error would keep it from taking the messages that are still to be delivered: it
        gets one when the WebSocket has ended and it has them all, or has not taken them in --ws-close-timeout.
        """
        if kind == "websocket.close":
            self._leave()
            return None
        return self.connection.next_turn()

    def undecided(self) -> bool:
        """Whether the application has neither accepted nor denied the WebSocket to the end."""
        return self.state is CONNECTING or self.state is DENYING

    def end_by_application(self, failed: bool) -> None:
        """The application has returned, or raised where `failed`: close what it left open."""
        if self.state is CONNECTING:
            self._refuse(RequestError(500, "Internal Server Error"))
        elif self.state is DENYING:
            assert self._opening is not None
            assert self._opening.responder is not None
            self._opening.responder.fail()
            self._end_denial(self._opening.responder)
        elif self.state is OPEN:
            if failed:
                self._send_close(1011, "Internal Error", APPLICATION)
            else:
                self._send_close(1000, "", APPLICATION)
        self.task = None
        self._leave()  # a task that the application has left behind may wait

    # The handshake.

    def _accept(self, event: dict[str, Any]) -> None:
        """Answer 101 and open the WebSocket (RFC 6455 section 4.2.2)."""
        shared, connection, opening = self.shared, self.connection, self._opening
        assert opening is not None
        response, self.engine = opening.accept(event, shared)
        self.state = OPEN
        self._opening = None
        connection.write(response)
        connection.last_seen = shared.now
        self._last_message = shared.now
        self._ping_due = self._next_ping()
        config = shared.config
        if config.ws_max_age is not None:
            self._end_due = shared.now + config.ws_max_age * (1.0 - AGE_JITTER * random.random())
        connection.deadline = min(self._ping_due, shared.now + self._idle_timeout, self._end_due)
        if config.ws_limit_message_rate is not None or config.ws_limit_byte_rate is not None:
            self._rates = RateLimit(config.ws_limit_message_rate, config.ws_limit_byte_rate, shared.now)
        self._log_opened(101)
        connection.resume_reading()
        if opening.early:
            self.bytes_received(memoryview(opening.early), len(opening.early))
        if shared.shutting_down:
            self.shut_down()

    def _deny(self, event: dict[str, Any]) -> None:
        """ASGI: `websocket.close` before accept is a 403."""
        self._closed_by_app = True
        self._refuse(RequestError(403, "Forbidden"))

    def _refuse(self, error: RequestError) -> None:
        """Answer the handshake with an error, and close: a proxy may already treat the connection as a tunnel."""
        connection = self.connection
        self.state = CLOSED
        connection.write(error_response(error, self.shared.head_lines))
        self._log_opened(error.status)
        self._end_refused()
        self._wake()

    def _end_refused(self) -> None:
        self.connection.write_eof()
        self._set_close_deadline()

    def _start_denial(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        """The ASGI extension `websocket.http.response`: the application's own response instead of a 101."""
        opening = self._opening
        assert opening is not None
        opening.start_denial(event, self.connection, self.shared)
        self.state = DENYING
        self.connection.resume_reading()
        return None

    def _continue_denial(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        opening = self._opening
        assert opening is not None
        assert opening.responder is not None
        responder = opening.responder
        waiter = opening.continue_denial(event)
        if responder.finished():
            self._end_denial(responder)
        elif responder.response_started():
            self.connection.deadline = NEVER  # a response may last, as in HTTP
        return waiter

    def _end_denial(self, responder: Responder) -> None:
        """The application's response is complete, or will never be."""
        self.state = CLOSED
        self._closed_by_app = True
        self._log_opened(responder.status)
        self._end_refused()
        self._wake()

    # Reading.

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

    def _is_full(self) -> bool:
        queue = self._queue
        return queue is not None and (
            len(queue) - self._queue_head > self._max_queue or self._queue_bytes > self._max_queue_bytes
        )

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
            self.shared.loop.call_soon(self.read_put_off)

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

    def _answer_pings(self, events: list[Any]) -> list[Any]:
        """Answer Pings, drop Pongs; returns what is for the application.

        Of a flood only the newest are answered (RFC 6455 section 5.5.3 asks for no more than one), and a peer that does
        not read its Pongs gets no more of them until it does.
        """
        engine = self.engine
        assert engine is not None
        if self._traffic is not None and any(type(item) is Pong for item in events):
            self._traffic.ponged()
        pings = [item for item in events if type(item) is Ping]
        if pings and self.state is OPEN and not self.connection.writing_paused:
            for ping in pings[-MAX_PONGS:]:
                engine.send_pong(ping.payload)
            self._flush()
        return [item for item in events if type(item) is not Ping and type(item) is not Pong]

    def _queued_end(self) -> Close | None:
        """The peer's Close or failure, where it waits behind messages that the application has not taken."""
        last = None if self._queue is None else self._queue[-1]
        return last if isinstance(last, Close) else None

    def _end_queued(self, item: Close) -> None:
        """The last event of this peer is queued: act on it now, or when the application has come back for more."""
        queue = self._queue
        assert queue is not None
        if self._close_sent or (len(queue) - self._queue_head == 1 and not self._busy):
            self._finish(item)
        else:
            # Half of the time that a peer has to answer our Close: about what it will grant us.
            self.connection.deadline = self.shared.now + self.shared.config.ws_close_timeout / 2

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
        connection = self.connection
        if connection.allowance >= 0 and left * 4 <= self._max_queue and self._queue_bytes * 4 <= self._max_queue_bytes:
            connection.last_seen = self.shared.now
            self._read_on()

    # Topics.

    def _subscribe(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        return self._topics(event).subscribe_event(self, event)

    def _unsubscribe(self, event: dict[str, Any]) -> None:
        self._topics(event).unsubscribe_event(self, event)

    def _publish(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        return self._topics(event).publish_event(self, event) or self.connection.wait_for_room()

    def _topics(self, event: dict[str, Any]) -> Topics:
        topics: Topics | None = self.shared.topics
        if topics is None:
            raise ApplicationError(
                f"The event {event['type']!r} needs the extension 'fastws.topics', which is not there."
            )
        return topics

    def count_sent(self, size: int) -> None:
        """A publication of `size` bytes is sent."""
        if self._traffic is not None:
            self._traffic.sent_size(size)

    def write_frames(self, frames: list[bytes] | None) -> None:
        """Write `frames`, which are others' too, behind what waits to be written."""
        connection, engine = self.connection, self.engine
        assert engine is not None
        self._last_message = self.shared.now
        chunks = engine.data_to_send()
        if chunks and frames:
            chunks.extend(frames)
            frames = chunks
        elif frames is None:
            frames = chunks
        if frames:
            connection.write_all(frames)

    def writing_resumed(self) -> None:
        if self.subscriber is not None:
            self.subscriber.resume()

    # Writing.

    def _flush(self) -> None:
        engine = self.engine
        if engine is not None:
            chunks = engine.data_to_send()
            if chunks:
                self.connection.write_all(chunks)

    # Keepalive.

    def _next_ping(self) -> float:
        interval = self.shared.config.ws_ping_interval
        return NEVER if interval is None else self.connection.last_seen + interval

    def _end_idleness(self, now: float) -> None:
        """Close after --ws-idle-timeout without a message, ping after --ws-ping-interval without a byte."""
        idle_end = NEVER
        if self._idle_timeout < NEVER:
            if self._queue is not None:
                self._last_message = now  # it is the application that is idle
            idle_end = self._last_message + self._idle_timeout
            if idle_end <= now:
                self._send_close(1001, "idle timeout")
                return
        if self._ping_due <= now:
            self._keep_alive(now)
        self.connection.deadline = min(self._ping_due, idle_end, self._end_due)

    def _keep_alive(self, now: float) -> None:
        """Ping a silent peer, and give one up that does not answer (RFC 6455 section 5.5.2)."""
        connection, config, engine = self.connection, self.shared.config, self.engine
        assert engine is not None
        takes = connection.peer_takes()
        if takes or (connection.reading_paused and not connection.writing_paused):
            # The peer has not come to our ping yet, or it is we who do not listen.
            connection.last_seen = now
        elif connection.last_seen == SILENT:
            self._ping_due = self._pinged + (config.ws_ping_timeout or 0.0)
            if self._ping_due <= now:
                self._time_out()
            return
        self._ping_due = self._next_ping()
        if self._ping_due <= now:
            engine.send_ping(b"")
            if self._traffic is not None:
                self._traffic.pinged()
            self._flush()
            connection.peer_takes()
            self._ping_due = now + (config.ws_ping_interval or 0.0)
            if config.ws_ping_timeout is not None:
                connection.last_seen = SILENT
                self._pinged = now
                self._ping_due = min(self._ping_due, now + config.ws_ping_timeout)

    def _time_out(self) -> None:
        """Close 1011 and abort: nobody is there, or nobody reads."""
        self._close_reason = "keepalive ping timeout"
        self.shared.counts.ping_timeouts += 1
        if self._traffic is not None:
            self._traffic.by = SERVER
        engine = self.engine
        if engine is not None and not self.connection.writing_paused:
            engine.send_close(1011, "keepalive ping timeout")
            self._flush()
        self.connection.abort()

    # Closing.

    def _close(self, event: dict[str, Any]) -> None:
        """The application closes (RFC 6455 section 7.1.2)."""
        code = event.get("code")
        reason = event.get("reason")
        code = 1000 if code is None else code
        reason = "" if reason is None else reason
        if not isinstance(code, int) or not isinstance(reason, str):
            raise ApplicationError("'code' of 'websocket.close' must be int, and 'reason' str.")
        self._send_close(code, reason, APPLICATION)
        self._leave()

    def _leave(self) -> None:
        """The application wants no more messages."""
        self._closed_by_app = True
        self._queue = None
        self._read_on()
        self._wake()

    def _retire(self) -> None:
        """Close 1012, "a client may reconnect" (RFC 6455 section 7.4.2 and its registry).

        Behind the application's answers to what it was given: until it comes back for more, or half of the close
        timeout has passed, no more is read and the Close waits. What the peer sends before it answers the Close is
        then still delivered.
        """
        connection, shared = self.connection, self.shared
        if not self._retiring and (self._queue is not None or self._busy):
            self._retiring = True
            connection.pause_reading()
            connection.deadline = shared.now + shared.config.ws_close_timeout / 2
            return
        self._send_close(1012, "Service Restart" if shared.shutting_down else "Maximum Age")
        self._read_on()

    def _send_close(self, code: int, reason: str, by: str = SERVER) -> None:
        """Send our Close and wait for the peer's; what it sent before is still read."""
        engine = self.engine
        assert engine is not None
        if self.subscriber is not None:
            self.subscriber.settle()
        try:
            engine.send_close(code, reason)
        except ValueError as error:
            raise ApplicationError(f"The event 'websocket.close' has a bad code or reason: {error}") from None
        self._flush()
        if self.subscriber is not None:
            self.subscriber.leave()
        self._close_sent = True
        self._retiring = False
        if self._traffic is not None:
            self._traffic.by = by
        self._close_code = code
        self._close_reason = reason
        self.state = CLOSING
        self._set_close_deadline()
        end = self._queued_end()
        if end is not None:
            self._finish(end)

    def _finish(self, item: Close) -> None:
        """Act on the peer's Close or on its breaking of the rules: our last frame, then the end of the connection."""
        queue = self._queue
        if queue is not None and queue[-1] is item:
            queue.pop()
            if len(queue) == self._queue_head:
                self._queue = None
                self._queue_head = 0
        connection, engine = self.connection, self.engine
        assert engine is not None
        if self.subscriber is not None:
            self.subscriber.leave()
        if not self._close_sent:
            self._close_sent = True
            if self._traffic is not None:
                self._traffic.by = CLIENT if type(item) is Close else SERVER
            self._close_code = item.code
            self._close_reason = item.reason
            engine.send_close(item.code, "" if type(item) is Close and item.code == 1005 else item.reason)
        self._flush()
        self._log_closed()
        self._set_ended()
        if type(item) is Failure:
            # The peer may still be sending: let it read our Close before the connection ends (section 7.1.7).
            connection.write_eof()
        else:
            connection.close()
        self._set_close_deadline()
        self._wake()

    def _set_ended(self) -> None:
        """The WebSocket has ended; what is queued may still be taken, for as long as a peer has to answer a Close."""
        self.state = CLOSED
        self._end_due = self.shared.now + self.shared.config.ws_close_timeout

    def _set_close_deadline(self) -> None:
        """Give the peer --ws-close-timeout to read and to answer; again when it has passed and the peer still reads."""
        self.connection.deadline = self.shared.now + self.shared.config.ws_close_timeout
        self.connection.peer_takes()

    def _end_closing(self) -> None:
        """The deadline of an end has passed: cut the peer off unless it still takes what waits for it."""
        if self.connection.peer_takes():
            self._set_close_deadline()
        else:
            self.connection.abort()

    def _disconnect_event(self) -> dict[str, Any]:
        if self._disconnect_received:
            raise ApplicationError("receive() was called again after it had returned 'websocket.disconnect'.")
        self._disconnect_received = True
        return {"type": "websocket.disconnect", "code": self._close_code, "reason": self._close_reason}

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            parked = self.parked
            self.parked = None
            if parked is not None and self.state is OPEN:  # else it is about to end, which is its task's
                self.shared.resume_soon(parked)
            elif not waiter.done():
                waiter.set_result(None)

    # Who observes it.

    def _log_opened(self, status: int) -> None:
        if self._traffic is not None:
            self._traffic.opened(status)

    def _log_closed(self) -> None:
        traffic = self._traffic
        if traffic is not None and self.engine is not None:
            self._traffic = None
            traffic.closed(self._close_code, self._close_reason)
