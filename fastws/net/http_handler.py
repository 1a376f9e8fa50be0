"""What a version of HTTP, below, and those who serve its requests, above, know of each other.

An `HttpHandler` makes requests of what a peer sends, and a `Gateway` answers each of them by an `Exchange`; the layer
of ASGI is one. A handler of another version of HTTP stands beside that of HTTP/1.1, and nobody above it is told.

The module is compiled by Cython where the extension was built (http_handler.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.errors import RequestError
from fastws.http.pages import Page, PageResponse
from fastws.net.channel import Channel, Handler, show_address
from fastws.net.loop_core import LoopCore
from fastws.websocket.handshake import check_origin

if TYPE_CHECKING:
    from fastws.http.head import RequestHead
    from fastws.websocket.handshake import UpgradeRequest

NEW_SECONDS = 1.0
"""How long, at shutdown, the first request of a connection may still begin to arrive."""

BODY_HIGH_WATER = 65536
"""Bytes of request body that may wait for the application before reading stops."""


class Exchange:
    """One request and its response, as the HTTP handler sees it."""

    def response_started(self) -> bool:
        """Whether anything of the response has been written."""
        raise NotImplementedError

    def body_received(self, data: bytes) -> None:
        """A piece of the request body."""
        raise NotImplementedError

    def body_completed(self) -> None:
        """The request body is whole; not called where the head promises none."""
        raise NotImplementedError

    def body_waiting(self) -> int:
        """Bytes of the request body that nobody has taken yet."""
        raise NotImplementedError

    def waits_for_continue(self) -> bool:
        """Whether the peer may wait for a 100 (Continue) before it sends the body."""
        raise NotImplementedError

    def half_closed(self) -> None:
        """The peer sends no more, but may still read."""
        raise NotImplementedError

    def disconnected(self) -> None:
        """The peer is gone, or no longer worth an answer."""
        raise NotImplementedError


class HttpHandler(Handler):
    """The HTTP of a connection, of whatever version."""

    def __init__(self, connection: Channel, state: LoopCore) -> None:
        self._attach(connection, state)

    def _attach(self, connection: Channel, state: LoopCore) -> None:
        """What `__init__` does: a compiled one of another class finds this at once."""
        self.connection = connection
        self.state = state
        # What ASGI calls client and server, once a request has asked.
        self.addresses: tuple[Any, Any] | None = None
        # Whether the client came over TLS to the proxy, which has told so.
        self.tls_at_proxy: bool = False
        # The stream that its request has, with HTTP/2.
        self.stream_id: int = 0

    def client(self) -> str:
        """Who the peer is, for the log: what a PROXY header said, or the socket."""
        return show_address(self.connection.peer_address() if self.addresses is None else self.addresses[0])

    def exchange(self) -> Exchange | None:
        """The request that is being answered."""
        raise NotImplementedError

    def refuse(self, error: RequestError) -> None:
        """Answer a connection, that has just been accepted, with `error` whatever it asks for, and close it."""
        raise NotImplementedError

    # What every version does with a request: let it in or not, and what the log says of one that is refused.

    def _admit(self, head: RequestHead) -> None:
        """Count a request for the application. Raises RequestError: 503 at the server's limit, 413 for its body."""
        state = self.state
        if state.max_requests is not None and state.requests >= state.max_requests:
            state.counts.refused_requests += 1
            raise _at_limit("The server is at its limit of requests.")
        limit = state.limit_request_body
        if limit is not None and head.content_length is not None and head.content_length > limit:
            raise RequestError(413, "The request body is too large.")
        self._count()

    def _admit_websocket(self, head: RequestHead) -> None:
        """Count a handshake. Raises RequestError: 403 for an origin that is not allowed, 503 at the server's limit."""
        state = self.state
        if state.allowed_origins is not None:
            check_origin(head, state.allowed_origins)
        if state.max_websockets is not None and state.websockets >= state.max_websockets:
            state.counts.refused_websockets += 1
            raise _at_limit("The server is at its limit of WebSockets.")
        self._count()

    def _count(self) -> None:
        state = self.state
        state.requests_total += 1
        if state.requests_total == state.last_request:
            state.at_last_request()

    def _page_response(self, page: Page, head: RequestHead) -> PageResponse:
        """What a page of the server's own answers; a fault of it is a 500."""
        try:
            return page(head)
        except Exception as error:
            self.state.log_application_error("Exception in a page of the server", error)
            return PageResponse(500, (), b"Internal Server Error\n")

    def _warn_of(self, error: RequestError, asked: str) -> None:
        """Log a refusal; `asked` is what was asked for, where it is known."""
        message = "Invalid HTTP request received" if error.status < 500 else "HTTP request refused"
        where = f"{error.status}, {self.client()}" + (f", {asked}" if asked else "")
        kind = f"{error.status} {error.detail}"  # each is counted apart
        if error.log_hint:
            self.state.warn("%s (%s)", error.log_hint, where, kind=kind)
        else:
            self.state.warn(message + ": %s (%s)", error.detail, where, kind=kind)

    # What an exchange calls.

    def response_completed(self, exchange: Exchange, keep_alive: bool) -> None:
        """The response of `exchange` is written; go on with the next request, or close."""
        raise NotImplementedError

    def update_reading(self) -> None:
        """Read, or stop reading, by what waits: some of the request's body was taken."""
        raise NotImplementedError


class Gateway:
    """What serves requests: the ASGI layer, which this layer does not know."""

    def exchange(self, http: HttpHandler, head: RequestHead) -> Exchange:
        """Make the exchange that answers `head`."""
        raise NotImplementedError

    def websocket(self, http: HttpHandler, head: RequestHead, upgrade: UpgradeRequest, early_data: bytes) -> Handler:
        """Begin the WebSocket that `head` asks for; `early_data` came behind the request."""
        raise NotImplementedError

    def bind(self, state: Any) -> None:
        """Learn the state that is shared: a `LoopState`."""
        raise NotImplementedError

    def offer_websockets(self, extension: str, value: dict[str, Any]) -> None:
        """Tell the application of each WebSocket that there is `extension`."""
        raise NotImplementedError


def _at_limit(detail: str) -> RequestError:
    return RequestError(503, detail, ((b"retry-after", b"5"),))
