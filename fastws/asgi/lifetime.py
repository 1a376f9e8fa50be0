"""What time does to one WebSocket: pings, the end of its idleness, its greatest age, a drain, the end of its end.

There is one deadline at a time, `Channel.deadline`, which the loop's sweep looks at: the earliest of those that hold
in the state of the WebSocket. Keepalive counts the peer's silence only, never ours: where it is we who do not read, or
bytes that it takes from a full buffer, it is there.

What an end looks like is left to who has a `Lifetime` (closing.py, session.py). This module is compiled by Cython where
the extension was built (lifetime.pxd), else interpreted.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from fastws.asgi.observer import SERVER
from fastws.asgi.outbox import Outbox
from fastws.asgi.states import State
from fastws.net.channel import NEVER, Channel
from fastws.websocket.events import Ping, Pong

if TYPE_CHECKING:
    from fastws.net.loop_state import LoopState

SILENT = -1.0
"""`Channel.last_seen` since a ping that nothing has answered: the clock is too coarse to tell by the time."""

AGE_JITTER = 0.1
"""Part of --ws-max-age, at random, by which a WebSocket ends earlier."""

MAX_PONGS = 32
"""How many of the Pings in one read are answered."""

CONNECTING = State.CONNECTING
DENYING = State.DENYING
OPEN = State.OPEN
CLOSED = State.CLOSED


class Lifetime(Outbox):
    """The deadlines of a WebSocket, from its handshake on. Times are those of the loop's coarse clock, in seconds."""

    def _prepare(self, connection: Channel, state: LoopState) -> None:
        Outbox._prepare(self, connection, state)
        config = state.config
        # While it is open: the next ping, when the last one was sent, and how long no message may go.
        self._ping_due: float = NEVER
        self._pinged: float = 0.0
        self._idle_timeout: float = NEVER if config.ws_idle_timeout is None else config.ws_idle_timeout
        # When we end it: at its greatest age, or in the window of a drain. Behind the end: until when the application
        # may go on to take what is queued.
        self._end_due: float = NEVER
        connection.deadline = state.now + config.ws_handshake_timeout

    # What is left to others.

    def _refuse_late(self) -> None:
        """The application has not answered the handshake in time."""
        raise NotImplementedError

    def _time_out(self) -> None:
        """The peer has answered no ping."""
        raise NotImplementedError

    def _retire(self) -> None:
        """Its time is over: end it, so that the client may come again."""
        raise NotImplementedError

    def _send_close(self, code: int, reason: str, by: str = SERVER) -> None:
        """Send our Close, and wait for the peer's."""
        raise NotImplementedError

    # What calls at a time.

    def _begin_lifetime(self) -> None:
        """The WebSocket is open from now on."""
        connection, shared = self.connection, self.shared
        config = shared.config
        connection.last_seen = shared.now
        self._last_message = shared.now
        self._ping_due = self._next_ping()
        if config.ws_max_age is not None:
            self._end_due = shared.now + config.ws_max_age * (1.0 - AGE_JITTER * random.random())
        connection.deadline = min(self._ping_due, shared.now + self._idle_timeout, self._end_due)

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
            self._refuse_late()
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

    # Idleness and keepalive.

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

    # The end of an end.

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
