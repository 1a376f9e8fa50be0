"""The WebSocket session: what an ASGI application sees of one WebSocket, on any engine.

Here are its states and what an application may send in each, the handshake among them. The rest of it is in one file
for each concern, a class on the one before, so that a connection has one object of it all:

- inbox.py: what waits for the application, and reading that is put off;
- outbox.py: what is written, in which order and when;
- lifetime.py: what time does, pings and idleness and age;
- closing.py: the close handshake.

`Session` has no coroutines: those are in application.py, which is always interpreted, since some libraries accept only
native coroutines. This module is compiled by Cython where the extension was built (session.pxd), else interpreted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastws.asgi.closing import Closing
from fastws.asgi.http2_cycle import Http2Opening
from fastws.asgi.observer import APPLICATION, Observer
from fastws.asgi.opening import EARLY_BYTES, Opening
from fastws.asgi.responder import Responder, not_allowed
from fastws.asgi.states import SENDABLE, State
from fastws.asgi.traffic import Traffic
from fastws.errors import ApplicationError, ClientDisconnected, RequestError
from fastws.http.head import RequestHead
from fastws.http.http2_head import HTTP2
from fastws.net.channel import NEVER, Channel
from fastws.websocket.handshake import UpgradeRequest
from fastws.websocket.rate_limit import RateLimit

if TYPE_CHECKING:
    from fastws.asgi.subscriber import Topics
    from fastws.net.loop_state import LoopState

CONNECTING = State.CONNECTING
DENYING = State.DENYING
OPEN = State.OPEN
CLOSING = State.CLOSING
CLOSED = State.CLOSED


class Session(Closing):
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
        Closing._prepare(self, connection, state)
        self.task: asyncio.Task[None] | None = None
        self._opening: Opening | None
        if head.http_version is not HTTP2:
            self._opening = Opening(scope, head, upgrade, early_data)
        else:
            self._opening = Http2Opening(scope, head, upgrade, early_data)
        self._connect_received: bool = False
        if observer is not None:
            self._traffic = Traffic(observer, scope, state)
        connection.pause_reading_after(EARLY_BYTES - len(early_data))

    # What the connection calls.

    def _early_received(self, data: bytes) -> None:
        if self.state is CONNECTING and self._opening is not None:
            self._opening.early += data  # delivered in order after the accept

    def connection_lost(self) -> None:
        try:
            if self.subscriber is not None:
                self.subscriber.leave()
            end = self._queued_end()
            if end is not None:
                self._finish(end)
        finally:
            if self.state is not CLOSED:
                self._set_ended()
            if self.engine is not None:
                self.engine.receive_eof()
                self._watch_context(False)
            if self._opening is not None and self._opening.responder is not None:
                self._opening.responder.disconnected()
            self._wake()
            self._log_closed()

    # What the application's receive() calls.

    def _next_event(self) -> dict[str, Any] | None:
        if not self._connect_received:
            self._connect_received = True
            return {"type": "websocket.connect"}
        if self._queue is not None:
            event = self._next_message()
            if event is not None:
                return event
            end = self._queued_end()
            assert end is not None
            self._finish(end)
        if self.state is CLOSED or (self.state is CLOSING and self._closed_by_app):
            return self._disconnect_event()
        if self._retiring:
            self._retire()
        self._application_waits()
        return None

    # What the application's send() calls.

    def _send_event(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        if self.state is OPEN and event.get("type") == "websocket.send":
            return self._send_message(event)
        return self._send_other(event)

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
        if type(opening) is Opening:  # the usual one, without a call
            connection.write(response)
        else:
            opening.answer(connection, response)
        self._begin_lifetime()
        self._watch_context(True)
        config = shared.config
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

    def _refuse_late(self) -> None:
        assert self._opening is not None
        request = self._opening.shown(self.shared)
        self._refuse(RequestError(504, "The application did not answer the handshake in time."))
        message = "The application did not accept or close a WebSocket within --ws-handshake-timeout."
        self.shared.warn(message, request=request)

    def _refuse(self, error: RequestError) -> None:
        """Answer the handshake with an error, and close: a proxy may already treat the connection as a tunnel."""
        assert self._opening is not None
        self.state = CLOSED
        self._opening.refuse(error, self.connection, self.shared)
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
        responder: Responder = opening.responder
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

    # Who observes it.

    def traffic(self) -> Traffic | None:
        """What went over it, where somebody observes that."""
        return self._traffic

    def _log_opened(self, status: int) -> None:
        if self._traffic is not None:
            self._traffic.opened(status)
