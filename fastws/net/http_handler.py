"""What a version of HTTP, below, and those who serve its requests, above, know of each other.

An `HttpHandler` makes requests of what a peer sends, and a `Gateway` answers each of them by an `Exchange`; the layer
of ASGI is one. A handler of another version of HTTP stands beside that of HTTP/1.1, and nobody above it is told.

The module is compiled by Cython where the extension was built (http_handler.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from fastws.net.channel import Channel, Handler, show_address
from fastws.net.loop_core import LoopCore

if TYPE_CHECKING:
    from fastws.errors import RequestError
    from fastws.http.head import RequestHead
    from fastws.websocket.handshake import UpgradeRequest

NEW_SECONDS = 1.0
"""How long, at shutdown, the first request of a connection may still begin to arrive."""


class Exchange(Protocol):
    """One request and its response, as the HTTP handler sees it."""

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

    def ended(self) -> bool:
        """Whether the call of the application is over."""

    def disconnected(self) -> None:
        """The peer is gone, or no longer worth an answer."""


class HttpHandler(Handler):
    """The HTTP of a connection, of whatever version."""

    def __init__(self, connection: Channel, state: LoopCore) -> None:
        self.connection = connection
        self.state = state
        # What ASGI calls client and server, once a request has asked.
        self.addresses: tuple[Any, Any] | None = None
        # Whether the client came over TLS to the proxy, which has told so.
        self.tls_at_proxy: bool = False

    def client(self) -> str:
        """Who the peer is, for the log: what a PROXY header said, or the socket."""
        return show_address(self.connection.peer_address() if self.addresses is None else self.addresses[0])

    def exchange(self) -> Exchange | None:
        """The request that is being answered."""
        raise NotImplementedError

    def refuse(self, error: RequestError) -> None:
        """Answer a connection, that has just been accepted, with `error` whatever it asks for, and close it."""
        raise NotImplementedError

    # What an exchange calls.

    def response_completed(self, exchange: Exchange, keep_alive: bool) -> None:
        """The response of `exchange` is written; go on with the next request, or close."""
        raise NotImplementedError

    def update_reading(self) -> None:
        """Read, or stop reading, by what waits: some of the request's body was taken."""
        raise NotImplementedError


class Gateway(Protocol):
    """What serves requests: the ASGI layer, which this layer does not know."""

    def exchange(self, http: HttpHandler, head: RequestHead) -> Exchange:
        """Make the exchange that answers `head`."""

    def websocket(self, http: HttpHandler, head: RequestHead, upgrade: UpgradeRequest, early_data: bytes) -> Handler:
        """Begin the WebSocket that `head` asks for; `early_data` came behind the request."""

    def bind(self, state: Any) -> None:
        """Learn the state that is shared: a `LoopState`."""

    def offer_websockets(self, extension: str, value: dict[str, Any]) -> None:
        """Tell the application of each WebSocket that there is `extension`."""
