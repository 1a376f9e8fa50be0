"""HTTP/1.1, answered: what a request of one connection gets, in order, and how the connection ends.

`Http1Reader` makes requests of bytes; this module decides what happens around them: keep-alive and pipelining, pages of
the server's own, limits, the hand-over to a WebSocket session, deadlines, and what a peer gets that breaks the rules.
It knows nothing of ASGI: an `Exchange` answers a request, and is told of the body and of the peer's leaving.

The module is compiled by Cython where the extension was built (http1_handler.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastws.errors import HandshakeError, RequestError
from fastws.http.framing import error_response
from fastws.http.head import RequestHead
from fastws.http.head_scan import asked_for
from fastws.http.pages import METHODS, Page, encode_page
from fastws.net.channel import NEVER, Channel
from fastws.net.copying import copied
from fastws.net.http1_reader import Http1Reader, shown
from fastws.net.http_handler import BODY_HIGH_WATER, NEW_SECONDS
from fastws.websocket.handshake import UpgradeRequest, read_upgrade

if TYPE_CHECKING:
    from fastws.net.http_handler import Exchange, Gateway
    from fastws.net.loop_core import LoopCore

IDLE_SECONDS = 0.25
"""How long, at shutdown, the next request of a connection that idles may still begin to arrive."""

LINGER_SECONDS = 5.0
"""How long a peer may still send behind our last response, and how long it may take none of what waits for it."""

HTTP2_LINE = b"PRI * HTTP/2.0\r\n"
"""What HTTP/2 begins with, as HTTP/1.1 reads it (RFC 9113 section 3.4)."""

TLS_SECONDS = 1.0
"""How long, at shutdown, a peer that has got everything over TLS may take to say that it ends, too."""


class Http1Handler(Http1Reader):
    """The HTTP/1.1 of a connection, until an upgrade replaces it."""

    def __init__(self, connection: Channel, state: LoopCore) -> None:
        self._attach(connection, state)
        self._expect_first()
        self._upgrade: UpgradeRequest | None = None
        self._page: Page | None = None
        self._eof: bool = False
        connection.deadline = state.now + state.timeout_request_head

    # What the connection calls.

    def bytes_received(self, buffer: memoryview, size: int) -> None:
        self._take(copied(buffer, size))

    def data_received(self, data: memoryview) -> None:
        self._take(bytes(data))

    def _take(self, data: bytes) -> None:
        if self._closing:
            return
        if self._stash:
            self._parse(self._stash + data)
        elif self._in_body and self._body_left >= len(data):
            self._feed_body(data)
            self.update_reading()
        else:
            if self._current is None:
                deadline = self.state.now + self.state.timeout_request_head
                if self.connection.deadline > deadline:
                    self.connection.deadline = deadline
            self._parse(data)

    def eof_received(self) -> bool:
        self._eof = True
        current = self._current
        if not self._closing and current is not None and self.connection.may_half_close():
            if not self._in_body:
                current.half_closed()
                return True
            # The rest of the body will never come, and the peer may still read that (RFC 9112 section 8).
            self._answer_error(RequestError(400, "The request body ended early."))
        self._await_close()
        return False

    def connection_lost(self) -> None:
        self._closing = True
        self._stash = b""
        self._parser = None
        current, self._current = self._current, None
        if current is not None:
            current.disconnected()

    def on_deadline(self, now: float) -> None:
        if self._closing:
            if self.connection.peer_takes():
                self._await_close()
            else:
                self.connection.abort()
        elif self._current is not None:
            self._await_body(now)
        elif self._stash:
            self._fail(RequestError(408, "The request head did not arrive in time."), asked=asked_for(self._stash))
        else:
            self._close()

    def exchange(self) -> Exchange | None:
        return self._current

    def refuse(self, error: RequestError) -> None:
        self._fail(error)

    def _await_body(self, now: float) -> None:
        """Give up a peer that has sent nothing of its request body for --timeout-request-body, while we listened."""
        connection, timeout = self.connection, self.state.config.timeout_request_body
        connection.deadline = NEVER
        if not self._in_body or timeout is None:
            return
        assert self._current is not None
        if connection.reading_paused or self._current.waits_for_continue():
            connection.last_seen = now
        connection.deadline = connection.last_seen + timeout
        if connection.deadline <= now:
            self._fail(RequestError(408, "The request body did not arrive in time."))

    def shut_down(self) -> None:
        """Close where no request is under way; one whose head has begun to arrive is still answered.

        Idle connections close spread over the drain's window, and not at once: a request may be on its way. The first
        one of a new connection gets a longer moment.
        """
        if self._current is not None or self._closing or self._stash:
            return
        connection = self.connection
        due = self.state.drain_due()
        if self._in_body:
            self._linger()
        else:
            grace = NEW_SECONDS if self._head is None else IDLE_SECONDS
            connection.deadline = min(connection.deadline, max(due, self.state.loop.time() + grace))

    # What an exchange calls.

    def response_completed(self, exchange: Exchange, keep_alive: bool) -> None:
        if self._current is not exchange:
            return
        self._current = None
        if not keep_alive or self._eof:
            self._end()
            return
        # What is left of the body, if anything, is read and dropped, up to a bound.
        self.connection.deadline = self.state.now + self.state.timeout_keep_alive
        stash, self._stash = self._stash, b""
        if stash:
            self.state.run_own(self.parse_rest, stash)
            if self._stash and self._current is None:
                self.connection.deadline = self.state.now + self.state.timeout_request_head
        if self.state.shutting_down:
            self.shut_down()
        self.update_reading()

    def parse_rest(self, data: bytes) -> None:
        """Go on with what has come behind a request: not in the context of the application that has answered it."""
        self._parse(data)

    def update_reading(self) -> None:
        current = self._current
        if current is not None and (self._stash or current.body_waiting() > BODY_HIGH_WATER):
            self.connection.pause_reading()
        elif self.connection.allowance >= 0:
            if self.connection.reading_paused:
                self.connection.last_seen = self.state.now  # nobody was late meanwhile but us
            self.connection.resume_reading()

    # What the reader calls.

    def _serve(self, head: RequestHead) -> None:
        state = self.state
        if head.upgrades and state.engine is not None:
            self._upgrade = read_upgrade(head)
            if self._upgrade is not None:
                self._admit_websocket(head)
                return
        if head.path in state.pages and head.method in METHODS:
            self._page = state.pages[head.path]
            self._begin_body(head)
            return
        self._begin(head)

    def _begin(self, head: RequestHead) -> None:
        state = self.state
        self._admit(head)
        self.connection.deadline = NEVER
        self._begin_body(head)
        if self._in_body and state.config.timeout_request_body is not None:
            self.connection.deadline = state.now + state.config.timeout_request_body
        gateway: Gateway = state.application
        self._current = gateway.exchange(self, head)

    def _goes_on(self, data: bytes, position: int) -> bool:
        if self._upgrade is not None:
            self._begin_websocket(data[position:])
            return False
        if self._page is not None:
            timeout = self.state.config.timeout_request_head if position < len(data) else None
            if not self._answer_page(timeout):
                self._stash = data[position:]
                self._end()
                return False
        return True

    # Ends.

    def _goes_to_http2(self, data: bytes) -> bool:
        """Hand the connection over where it begins with `data`, the preface of HTTP/2; this object is then done."""
        if self._head is None and data.startswith(HTTP2_LINE) and self.state.begin_http2(self.connection, data):
            self._closing = True
            self._parser = None
            self._stash = b""
            return True
        return False

    def _answer_page(self, timeout: float | None) -> bool:
        """Answer the request from a page of the server's own; a body that follows is dropped.

        False if the connection ends with that. Else it stays for --timeout-keep-alive, or `timeout` seconds.
        """
        page, head, state, connection = self._page, self._head, self.state, self.connection
        assert page is not None
        assert head is not None
        self._page = None
        response = self._page_response(page, head)
        # A peer that asks again and again without reading the answers is not served for ever.
        keep_alive = not (state.draining or head.expect_continue or connection.writing_paused)
        data, keep_alive = encode_page(response, head, keep_alive and head.keep_alive, state.head_lines)
        connection.write(data)
        connection.deadline = state.now + (state.config.timeout_keep_alive if timeout is None else timeout)
        return keep_alive

    def _end(self) -> None:
        """The last response is written: close."""
        if self._in_body or self._stash:
            self._linger()
        else:
            self._close()

    def _begin_websocket(self, early_data: bytes) -> None:
        """Hand the connection over to a WebSocket session; this object is done."""
        head, upgrade = self._head, self._upgrade
        assert head is not None
        assert upgrade is not None
        self._closing = True
        self._parser = self._head = self._upgrade = None
        connection = self.connection
        connection.deadline = NEVER
        connection.resume_reading()
        gateway: Gateway = self.state.application
        connection.handler = gateway.websocket(self, head, upgrade, early_data)

    def _fail(self, error: RequestError, head_only: bool = False, asked: str = "") -> None:
        if not asked and self._head is not None and (self._in_body or self._current is not None):
            asked = shown(self._head)
        self._warn_of(error, asked)
        self._answer_error(error, head_only)
        self._linger()

    def _answer_error(self, error: RequestError, head_only: bool = False) -> None:
        """Write `error` where a response can still begin, and end the exchange that waits for more."""
        current, self._current = self._current, None
        started = self._in_body  # and nobody's: its response is complete
        if current is not None:
            started = current.response_started()
            current.disconnected()
        if not started:
            is_handshake = self._upgrade is not None or isinstance(error, HandshakeError)
            self.state.counts.error(error.status, is_handshake)
            self.connection.write(error_response(error, self.state.head_lines, head_only=head_only))

    def _close(self) -> None:
        self.connection.close()
        self._await_close()

    def _linger(self) -> None:
        self._stash = b""
        self.connection.write_eof()
        self._await_close()

    def _await_close(self) -> None:
        """Nothing is served any more; give the peer time to read, again and again while it does."""
        self._closing = True
        connection, state = self.connection, self.state
        connection.peer_takes()
        # What is left of TLS is the peer's own end of it, which nobody needs (RFC 8446 section 6.1).
        is_sent = state.secure and not connection.is_gone() and connection.unsent() == 0
        connection.deadline = state.now + (TLS_SECONDS if is_sent and state.shutting_down else LINGER_SECONDS)
