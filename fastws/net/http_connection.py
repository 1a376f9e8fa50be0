"""HTTP/1.1 on one connection: bytes to requests, and requests to answers, in order.

httptools parses; this module decides what happens around it: where a head ends, keep-alive, pipelining, the hand-over
to a WebSocket session, and what a peer gets that breaks the rules. It knows nothing of ASGI: an `Exchange` answers a
request, and the connection tells it of the body and of the peer's leaving.

The parser is given exactly one message at a time: a head as soon as it is whole and its raw bytes have passed
`scan_head`, then its body. What lies behind a message stays unparsed until the response is complete, and reading stops,
so that a flood of pipelined requests costs its sender and not us, and an upgrade waits its turn by itself.

The module is compiled by Cython where the extension was built (http_connection.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from fastws.errors import RequestError
from fastws.http.framing import error_response
from fastws.http.head import RequestHead, plain_head, read_request
from fastws.http.head_scan import parse_failure, read_request_line, scan_head
from fastws.http.pages import METHODS, Page, PageResponse, encode_page
from fastws.net.channel import NEVER, Channel, Handler
from fastws.websocket.handshake import UpgradeRequest, check_origin, read_upgrade

if TYPE_CHECKING:
    from fastws.net.loop_state import LoopState

BODY_HIGH_WATER = 65536
"""Bytes of request body that may wait for the application before reading stops."""

DISCARD_BYTES = 262144
"""How much of a request body nobody wanted is read and thrown away before the connection is closed instead."""

REPEATED_HEAD_BYTES = 1024
"""Heads up to this size are remembered where they come again, in `LoopState.heads`."""

CHUNK_OVERHEAD_BYTES = 12
"""Framing bytes that each chunk of a body may have before they count towards the limit on the head."""

NEW_SECONDS = 1.0
"""How long, at shutdown, the first request of a connection may still begin to arrive."""

IDLE_SECONDS = 0.25
"""How long, at shutdown, the next request of a connection that idles may still begin to arrive."""

LINGER_SECONDS = 5.0
"""How long a peer may still send behind our last response, and how long it may take none of what waits for it."""


TLS_SECONDS = 1.0
"""How long, at shutdown, a peer that has got everything over TLS may take to say that it ends, too."""


class Exchange(Protocol):
    """One request and its response, as the connection sees it."""

    def response_started(self) -> bool:
        """Whether anything of the response has been written."""

    def body_received(self, data: bytes) -> None:
        """A piece of the request body."""

    def body_completed(self) -> None:
        """The request body is whole; not called where the head promises none."""

    def body_waiting(self) -> int:
        """Bytes of the request body that nobody has taken yet."""

    def waits_for_continue(self) -> bool:
        """Whether the peer may wait for a 100 (Continue) before it sends the body."""

    def half_closed(self) -> None:
        """The peer sends no more, but may still read."""

    def disconnected(self) -> None:
        """The peer is gone, or no longer worth an answer."""


class HttpConnection(Handler):
    """The HTTP handler of a connection, until an upgrade replaces it."""

    def __init__(self, connection: Channel, state: LoopState) -> None:
        self.connection = connection
        self.state = state
        # Read state: the request that is arriving.
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._raw_head: bytes = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: RequestHead | None = None
        self._stash: bytes = b""
        self._in_body: bool = False
        self._body_left: int = 0
        self._body_bytes: int = 0
        self._framing_bytes: int = 0
        self._discarded: int = 0
        self._tail_open: bool = False
        self._muted: bool = False
        # What ASGI calls client and server, once a request has asked.
        self.addresses: tuple[Any, Any] | None = None
        # Whether the client came over TLS to the proxy, which has told so.
        self.tls_at_proxy: bool = False
        # Write state: the request that is being answered.
        self._current: Exchange | None = None
        self._upgrade: UpgradeRequest | None = None
        self._page: Page | None = None
        self._eof: bool = False
        self._closing: bool = False
        connection.deadline = state.now + state.timeout_request_head

    # What the connection calls.

    def data_received(self, data: memoryview) -> None:
        if self._closing:
            return
        if self._stash:
            self._parse(self._stash + bytes(data))
        elif self._in_body and self._body_left >= len(data):
            self._feed_body(data)
            self.update_reading()
        else:
            if self._current is None:
                deadline = self.state.now + self.state.timeout_request_head
                if self.connection.deadline > deadline:
                    self.connection.deadline = deadline
            self._parse(bytes(data))

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
            self._fail(RequestError(408, "The request head did not arrive in time."))
        else:
            self._close()

    def exchange(self) -> Exchange | None:
        """The request that is being answered."""
        return self._current

    def refuse(self, error: RequestError) -> None:
        """Answer a connection, that has just been accepted, with `error` whatever it asks for, and close it."""
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
        """The response of `exchange` is written; go on with the next request, or close."""
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
            self._parse(stash)
            if self._stash and self._current is None:
                self.connection.deadline = self.state.now + self.state.timeout_request_head
        if self.state.shutting_down:
            self.shut_down()
        self.update_reading()

    def update_reading(self) -> None:
        """Read, or stop reading, by what waits."""
        current = self._current
        if current is not None and (self._stash or current.body_waiting() > BODY_HIGH_WATER):
            self.connection.pause_reading()
        elif self.connection.allowance >= 0:
            if self.connection.reading_paused:
                self.connection.last_seen = self.state.now  # nobody was late meanwhile but us
            self.connection.resume_reading()

    # Bytes to requests.

    def _parse(self, data: bytes) -> None:
        """Parse `data` up to the end of a request whose response is not complete, and stash the rest."""
        position = 0
        length = len(data)
        self._stash = b""
        if length <= REPEATED_HEAD_BYTES and self._current is None and not self._in_body:
            head = self.state.heads.found.get(data)
            if head is not None:
                self._repeat(head)
                return
        while position < length and not self._closing:
            if self._in_body:
                end = self._body_end(data, position)
                self._feed_body(data if end - position == length else data[position:end])
                position = end
                continue
            if self._current is not None:
                self._stash = data[position:] if position else data
                break
            try:
                end = scan_head(data, position, self.state.limits)
                if end < 0:
                    self._stash = data[position:] if position else data
                    break
                raw = data if end - position == length else data[position:end]
                self._feed_head(raw)
            except RequestError as error:
                self._fail(error, data.startswith(b"HEAD ", position))
                return
            position = end
            if len(raw) <= REPEATED_HEAD_BYTES and self._current is not None:
                self._remember(raw)
            if self._upgrade is not None:
                self._begin_websocket(data[position:])
                return
            if self._page is not None:
                timeout = self.state.config.timeout_request_head if position < length else None
                if not self._answer_page(timeout):
                    self._stash = data[position:]
                    self._end()
                    return
        self.update_reading()

    def _repeat(self, head: RequestHead) -> None:
        """Begin to answer a request whose head, byte by byte, has come before and brought no body and no upgrade.

        The parser does not see it: between two requests it is where it was before the first.
        """
        self._head = head
        try:
            self._begin(head)
        except RequestError as error:
            self._fail(error, head.method == "HEAD")
            return
        if self.connection.reading_paused:
            self.update_reading()

    def _remember(self, raw: bytes) -> None:
        """Keep the request that has just begun for when its head, `raw`, comes again."""
        head = self._head
        assert head is not None
        if not self._in_body and b"upgrade" not in head.fields and self.state.heads.keep(raw, head):
            head.headers = head.headers.copy()  # the application has the list, and may change it
            head.repeated = True

    def _feed_head(self, data: bytes) -> None:
        """Parse `data`, a whole head, and begin to answer it. Raises RequestError."""
        parser = self._parser
        assert parser is not None
        self._headers = []
        self._raw_head = data
        try:
            parser.feed_data(data)
        except HttpParserUpgrade:
            if self._upgrade is None:
                self._resume_behind_refused_upgrade()
        except HttpParserCallbackError as error:
            if isinstance(error.__context__, RequestError):
                raise error.__context__ from None
            raise
        except HttpParserError as error:
            raise parse_failure(str(error), parser.get_http_version()) from None

    def _feed_body(self, data: bytes | memoryview) -> None:
        """Parse `data`, a part of the body that does not reach beyond its end."""
        head = self._head
        parser = self._parser
        assert head is not None
        assert parser is not None
        try:
            parser.feed_data(data)
        except HttpParserCallbackError:
            raise
        except HttpParserError:
            self._fail(RequestError(400, "The request body is malformed."))
            return
        config = self.state.config
        if config.limit_request_body is not None and self._body_bytes > config.limit_request_body:
            self._fail(RequestError(413, "The request body is too large."))
            return
        if self._in_body and head.chunked:
            self._framing_bytes += len(data)
            if self._framing_bytes > config.limit_request_head:
                self._fail(RequestError(431, "The framing of the request body is too long."))
        if self._discarded > DISCARD_BYTES and not self._closing:
            self._linger()

    def _body_end(self, data: bytes, position: int) -> int:
        """Where to stop so that the parser is never given a byte behind the body.

        A chunked body can only end with an empty line, so each of those is a stop; one that began in the bytes before
        is met by going on byte by byte.
        """
        head = self._head
        assert head is not None
        if not head.chunked:
            return min(len(data), position + self._body_left)
        if self._tail_open:
            end = position + 1
        else:
            found = data.find(b"\r\n\r\n", position)
            end = found + 4 if found >= 0 else len(data)
        self._tail_open = data[end - 1] in b"\r\n"
        return end

    def _resume_behind_refused_upgrade(self) -> None:
        """Go on with HTTP behind the head of a request whose upgrade we do not make (RFC 9110 section 7.8).

        httptools would take what follows for another protocol. A new parser is brought to the same place by a head that
        has the same framing, and whose callbacks are ignored: nothing inside the body can be read as a request.
        """
        head = self._head
        assert head is not None
        self._parser = HttpRequestParser(self)
        if head.has_body:
            self._parser.feed_data(plain_head(head))
        self._muted = False

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # else it is a trailer field, which ASGI has no place for
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._muted:
            return
        parser, state, headers = self._parser, self.state, self._headers
        assert parser is not None
        self._headers = []
        raw, self._raw_head = self._raw_head, b""
        method, target, version = read_request_line(raw)
        head = read_request(method, target, version, headers, state.limits)
        self._head = head
        if state.engine is not None:
            self._upgrade = read_upgrade(head)
            if self._upgrade is not None:
                if state.allowed_origins is not None:
                    check_origin(head, state.allowed_origins)
                if state.max_websockets is not None and state.websockets >= state.max_websockets:
                    state.counts.refused_websockets += 1
                    raise _at_limit("The server is at its limit of WebSockets.")
                state.requests_total += 1
                if state.requests_total == state.last_request:
                    state.at_last_request()
                return
        if head.path in state.pages and head.method in METHODS:
            self._page = state.pages[head.path]
            self._begin_body(head)
            return
        self._begin(head)

    def _begin(self, head: RequestHead) -> None:
        """Begin to answer the request of `head` by the application. Raises RequestError."""
        state = self.state
        if state.max_requests is not None and state.requests >= state.max_requests:
            state.counts.refused_requests += 1
            raise _at_limit("The server is at its limit of requests.")
        limit = state.limit_request_body
        if limit is not None and head.content_length is not None and head.content_length > limit:
            raise RequestError(413, "The request body is too large.")
        state.requests_total += 1
        if state.requests_total == state.last_request:
            state.at_last_request()
        self.connection.deadline = NEVER
        if not head.repeated:
            self._begin_body(head)
            if self._in_body and state.config.timeout_request_body is not None:
                self.connection.deadline = state.now + state.config.timeout_request_body
        self._current = state.application.exchange(self, head)

    def _begin_body(self, head: RequestHead) -> None:
        """Expect the body that `head` promises, if any."""
        self._in_body = head.has_body
        self._body_left = head.content_length or 0
        self._body_bytes = 0
        self._framing_bytes = 0
        self._tail_open = False
        self._discarded = 0
        # On an upgrade httptools reports the end of the message next, body or not.
        assert self._parser is not None
        self._muted = self._parser.should_upgrade()

    def on_body(self, data: bytes) -> None:
        size = len(data)
        self._body_left -= size
        self._body_bytes += size
        self._framing_bytes -= size
        limit = self.state.limit_request_body
        if limit is not None and self._body_bytes > limit:
            return  # whoever feeds the parser sees it too
        if self._current is not None:
            self._current.body_received(data)
        else:
            self._discarded += size

    def on_chunk_header(self) -> None:
        self._framing_bytes -= CHUNK_OVERHEAD_BYTES

    def on_message_complete(self) -> None:
        if self._in_body and not self._muted:
            self._in_body = False
            if self._current is not None:
                self._current.body_completed()

    # Ends.

    def _answer_page(self, timeout: float | None) -> bool:
        """Answer the request from a page of the server's own; a body that follows is dropped.

        False if the connection ends with that. Else it stays for --timeout-keep-alive, or `timeout` seconds.
        """
        page, head, state, connection = self._page, self._head, self.state, self.connection
        assert page is not None
        assert head is not None
        self._page = None
        try:
            response = page(head)
        except Exception as error:
            state.log_application_error("Exception in a page of the server", error)
            response = PageResponse(500, (), b"Internal Server Error\n")
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
        connection.handler = self.state.application.websocket(self, head, upgrade, early_data)

    def _fail(self, error: RequestError, head_only: bool = False) -> None:
        """Refuse the request that is arriving, and close."""
        kind = "Invalid HTTP request received" if error.status < 500 else "HTTP request refused"
        if error.log_hint:
            self.state.warn("%s", error.log_hint, kind=error.detail)
        else:
            self.state.warn(kind + ": %s", error.detail)
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
            self.state.counts.error(error.status, self._upgrade is not None)
            self.connection.write(error_response(error, self.state.head_lines, head_only=head_only))

    def _close(self) -> None:
        self.connection.close()
        self._await_close()

    def _linger(self) -> None:
        """Close, but let a peer that still sends read our last response first (RFC 9112 section 9.6)."""
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


def _at_limit(detail: str) -> RequestError:
    return RequestError(503, detail, ((b"retry-after", b"5"),))
