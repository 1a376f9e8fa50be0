"""The end of one WebSocket: the close handshake (RFC 6455 section 7), from whoever begins it to the last byte.

What a peer sent is handled in order: its Close frame, or its breaking of the rules, takes effect when the application
has come back for more after the messages before it, so that it can still answer them. Our own Close goes out at once,
and what the peer sent before it answers is still delivered.

How long each step may take is in lifetime.py. This module is compiled by Cython where the extension was built
(closing.pxd), else interpreted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.asgi.lifetime import Lifetime
from fastws.asgi.observer import APPLICATION, CLIENT, SERVER
from fastws.asgi.states import State
from fastws.errors import ApplicationError
from fastws.net.channel import Channel
from fastws.websocket.events import Close, Failure

if TYPE_CHECKING:
    from fastws.net.loop_state import LoopState

OPEN = State.OPEN
CLOSING = State.CLOSING


class Closing(Lifetime):
    """What ends an open WebSocket, and what `websocket.disconnect` says of it."""

    def _prepare(self, connection: Channel, state: LoopState) -> None:
        Lifetime._prepare(self, connection, state)
        self._close_code: int = 1006
        self._close_reason: str = ""
        self._close_sent: bool = False
        self._disconnect_received: bool = False

    # What the connection and the operator call.

    def eof_received(self) -> bool:
        # A peer that has closed the WebSocket may still read the answers to what it sent before.
        if self._queued_end() is not None and self.connection.may_half_close():
            return True
        # The transport closes when it has sent what waits: a peer that does not read must not put that off for ever.
        self._set_close_deadline()
        return False

    def close(self, code: int, reason: str) -> None:
        """The operator closes. Raises ApplicationError for a code or a reason that cannot be sent."""
        if self.state is OPEN:
            self._send_close(code, reason)
        else:
            self.connection.abort()

    # Who begins it.

    def _end_queued(self, item: Close) -> None:
        """The last event of this peer is queued: act on it now, or when the application has come back for more."""
        queue = self._queue
        assert queue is not None
        if self._close_sent or (len(queue) - self._queue_head == 1 and not self._busy):
            self._finish(item)
        else:
            # Half of the time that a peer has to answer our Close: about what it will grant us.
            self.connection.deadline = self.shared.now + self.shared.config.ws_close_timeout / 2

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

    def _watch_context(self, watched: bool) -> None:
        """Close 1011 where a compression context that is kept is lost in an exception, out of memory say."""
        assert self.engine is not None
        deflater = self.engine.deflater
        if deflater is not None and deflater.context_takeover:
            deflater.on_lost = self._context_lost if watched else None

    def _context_lost(self) -> None:
        # In the loop's next turn: this is inside of what sends.
        shared = self.shared
        try:
            shared.loop.call_soon(self._end_without_context, context=shared.context)
        except Exception:
            self.connection.abort()

    def _end_without_context(self) -> None:
        if self.state is OPEN:
            self.shared.warn("A WebSocket's compression context was lost in an exception: it is closed with 1011.")
            self._send_close(1011, "Internal Error")

    # How it ends.

    def _finish(self, item: Close) -> None:
        """Act on the peer's Close or on its breaking of the rules: our last frame, then the end of the connection."""
        self._take_end(item)
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

    def _disconnect_event(self) -> dict[str, Any]:
        if self._disconnect_received:
            raise ApplicationError("receive() was called again after it had returned 'websocket.disconnect'.")
        self._disconnect_received = True
        return {"type": "websocket.disconnect", "code": self._close_code, "reason": self._close_reason}

    def _log_closed(self) -> None:
        traffic = self._traffic
        if traffic is not None and self.engine is not None:
            self._traffic = None
            traffic.closed(self._close_code, self._close_reason)
