"""One request on a stream of HTTP/2: what it is answered with, and by whom.

It is to a stream what `Http1Handler` is to a connection, for one request: pages of the server's own, limits, errors,
the hand-over to a WebSocket session, deadlines. The module is compiled by Cython where the extension was built
(http2_request.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastws.errors import RequestError
from fastws.http.framing import Framing, frame_response
from fastws.http.header_blocks import field, lines_block, status_field
from fastws.http.http2_frames import CANCEL, INTERNAL_ERROR
from fastws.http.http2_head import Http2Head
from fastws.http.pages import METHODS, Page
from fastws.http.response_head import response_head
from fastws.net.channel import NEVER
from fastws.net.http2_stream import Http2Stream
from fastws.net.http_handler import HttpHandler
from fastws.websocket.handshake import read_connect

if TYPE_CHECKING:
    from fastws.http.head import RequestHead
    from fastws.net.http_handler import Exchange, Gateway

BODY_BYTES = 16384
"""Bytes of request body that may wait for the application before its stream gets no more credit."""

MAX_ASKED = 198
"""How much the log shows of what was asked for, in characters."""

FINISH_SECONDS = 5.0
"""How long a peer may take none of what waits for it behind the end of a response."""


class Http2Request(HttpHandler):
    """Answers the request on `stream`."""

    def __init__(self, stream: Http2Stream) -> None:
        self._take(stream)

    def _take(self, stream: Http2Stream) -> None:
        """What `__init__` does: a compiled one of another class finds this at once."""
        self._attach(stream, stream.state)
        carrier = stream.carrier
        self.addresses = carrier.addresses
        self.tls_at_proxy = carrier.tls_at_proxy
        self.stream = stream
        self.stream_id = stream.stream.stream_id
        self.head: RequestHead | None = None
        self._current: Exchange | None = None
        self._body_bytes: int = 0
        stream.abort_code = INTERNAL_ERROR

    def begin(self, request: Http2Head, ended: bool) -> None:
        """Begin to answer."""
        self.head = request.head
        try:
            if request.protocol is not None:
                self._begin_websocket(request)
            else:
                self._begin(request.head, ended)
        except RequestError as error:
            self.refuse(error)
        self.stream.carrier.addresses = self.addresses  # other requests need not ask again

    def exchange(self) -> Exchange | None:
        return self._current

    def _begin(self, head: RequestHead, ended: bool) -> None:
        state = self.state
        if head.path in state.pages and head.method in METHODS:
            self._answer_page(state.pages[head.path], head)
            return
        self._admit(head)
        state.counts.http2_requests += 1
        if not ended and state.config.timeout_request_body is not None:
            self.connection.deadline = state.now + state.config.timeout_request_body
        gateway: Gateway = state.application
        self._current = gateway.exchange(self, head)
        self.stream.called = True

    def _begin_websocket(self, request: Http2Head) -> None:
        """RFC 8441: what the stream carries from now on is a WebSocket's."""
        state, stream, head = self.state, self.stream, request.head
        if state.engine is None or request.protocol != b"websocket":
            if state.engine is None:
                raise RequestError(501, "There are no WebSockets here.")
            raise RequestError(501, "The only protocol here is websocket.")
        upgrade = read_connect(head)
        self._admit_websocket(head)
        state.counts.http2_websockets += 1
        stream.abort_code = CANCEL
        stream.deadline = NEVER
        gateway: Gateway = state.application
        stream.handler = gateway.websocket(self, head, upgrade, b"")
        stream.called = True

    # What the stream calls.

    def data_received(self, data: memoryview) -> None:
        current = self._current
        if current is None:
            return
        self._body_bytes += len(data)
        limit = self.state.limit_request_body
        if limit is not None and self._body_bytes > limit:
            self.refuse(RequestError(413, "The request body is too large."))
            return
        current.body_received(bytes(data))
        self.update_reading()

    def eof_received(self) -> bool:
        if self._current is not None:
            self.connection.deadline = NEVER
            self._current.body_completed()
        return True

    def connection_lost(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            current.disconnected()

    def on_deadline(self, now: float) -> None:
        connection, current = self.connection, self._current
        timeout = self.state.config.timeout_request_body
        if connection.is_closing():
            if connection.peer_takes():
                connection.deadline = now + FINISH_SECONDS
            else:
                connection.abort()
        elif current is None or timeout is None:
            connection.deadline = NEVER
        else:
            if connection.reading_paused or current.waits_for_continue():
                connection.last_seen = now
            connection.deadline = connection.last_seen + timeout
            if connection.deadline <= now:
                self.refuse(RequestError(408, "The request body did not arrive in time."))

    def shut_down(self) -> None:
        """It is answered to its end."""

    # What an exchange calls.

    def response_completed(self, exchange: Exchange, keep_alive: bool) -> None:
        if self._current is exchange:
            self._current = None
            self._finish()

    def update_reading(self) -> None:
        current = self._current
        if current is not None and current.body_waiting() >= BODY_BYTES:
            self.connection.pause_reading()
        elif self.connection.allowance >= 0:
            self.connection.last_seen = self.state.now
            self.connection.resume_reading()

    # Answers of the server's own.

    def refuse(self, error: RequestError) -> None:
        """Answer with `error` where a response can still begin, else cut the stream; other streams go on."""
        state, head, current = self.state, self.head, self._current
        self._current = None
        asked = "" if head is None else f"{head.method} {head.raw_path.decode('ascii', 'replace')}"
        self._warn_of(error, asked[:MAX_ASKED])
        started = current is not None and current.response_started()
        if current is not None:
            current.disconnected()
        if started:
            self.stream.abort()
            return
        state.counts.error(error.status, head is not None and head.method == "CONNECT")
        self.stream.send_head(error_block(error, state.head_lines))
        self.stream.write_last(error_body(error) if head is None or head.method != "HEAD" else b"")
        self._finish()

    def _answer_page(self, page: Page, head: RequestHead) -> None:
        """Answer from a page of the server's own."""
        state = self.state
        response = self._page_response(page, head)
        lines = response_head(response.status, (*response.headers, (b"content-length", b"%d" % len(response.body))))
        framing, _, _ = frame_response(head.method, "1.1", True, lines)
        self.stream.send_head(status_field(response.status) + lines_block(lines.fields + state.head_lines))
        self.stream.write_last(b"" if framing is Framing.NONE else response.body)
        self._finish()

    def _finish(self) -> None:
        stream = self.stream
        stream.settle()
        stream.finish()
        if not stream.is_gone():  # what waits is for the windows
            stream.peer_takes()
            stream.deadline = self.state.now + FINISH_SECONDS


def error_block(error: RequestError, lines: bytes) -> bytes:
    """The head of an answer to a request that was refused; `lines` are the server's own."""
    body = error_body(error)
    head = status_field(error.status) + field(b"content-type", b"text/plain; charset=utf-8")
    own = b"".join(field(name, value) for name, value in error.headers if name != b"upgrade")
    return head + field(b"content-length", b"%d" % len(body)) + own + lines_block(lines)


def error_body(error: RequestError) -> bytes:
    """What it says."""
    return error.detail.encode("ascii", "replace") + b"\n"
