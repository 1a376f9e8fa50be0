"""What the connections of one event loop share: the receive buffer, the clock, the cork, the compressors, the limits.

One `LoopState` serves one loop in one thread and is never a module's global, so that several servers can live in one
process. It is also where a server's shutdown reaches its connections.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from fastws.config.http_versions import speaks_http2
from fastws.errors import RequestError
from fastws.http.forwarded import TrustedPeers
from fastws.net.channel import show_address
from fastws.net.client_counts import ClientCounts
from fastws.net.connection import Connection
from fastws.net.descriptors import first_kept, last_refused, lowest_free
from fastws.net.forking import descriptor_of
from fastws.net.http1_handler import Http1Handler
from fastws.net.http2_handler import Http2Handler
from fastws.net.http_handler import Gateway, HttpHandler
from fastws.net.loop_core import LoopCore
from fastws.net.proxy_preamble import ProxyPreamble
from fastws.net.sweep import SHORTEST_INTERVAL, Sweep, sweep_interval
from fastws.websocket.deflate import Deflaters
from fastws.websocket.deflate_backends import load_backend

if TYPE_CHECKING:
    from fastws.config import Config
    from fastws.http.proxy_protocol import Address
    from fastws.websocket.engine import Engine

DRAIN_INTERVAL = 0.1
"""Seconds between two sweeps in a drain, at most."""

DRAIN_SWEEPS = 50
"""In how many steps the ends of connections are spread over the window of a drain."""

_NO_DESCRIPTORS = RequestError(
    503,
    "The server is at its limit of connections.",
    ((b"retry-after", b"5"),),
    log_hint="The limit of open files (ulimit -n) is reached, except for those kept for the application: raise it, "
    "or bound the connections of a client (--limit-connections-per-client).",
)


class ServerProtocol(Connection, asyncio.BufferedProtocol):
    """A `Connection` as asyncio's own loop knows it: by its base class. uvloop goes by the methods."""

    __slots__ = ()


class LoopState(LoopCore):
    """The state that all connections of `loop` share; `secure` says whether they are TLS.

    `tls` is what connections begin TLS with behind a PROXY header; without one, listeners do that. `on_error` is told
    of each mistake of the application, logged or not.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        application: Gateway,
        engine: type[Engine] | None,
        *,
        secure: bool,
        tls: ssl.SSLContext | None = None,
        on_error: Callable[[str, BaseException | None], None] | None = None,
    ) -> None:
        super().__init__(loop, config, application, engine, secure, on_error)
        self.tls = tls
        self.tls_failures: dict[str, int] = {}
        """TLS handshakes that failed, by why: "protocol", "timeout", "left"."""
        self._server_line = b"server: fastws\r\n" if config.server_header else b""
        self._date_line = b""
        self._extra_lines = b""
        self._own_date = False
        for name, value in config.default_headers:
            line = b"%b: %b\r\n" % (name, value)
            if name == b"server":
                self._server_line = line
            elif name == b"date":
                self._date_line, self._own_date = line, True
            else:
                self._extra_lines += line
        self.deflaters: Deflaters | None = None
        if config.ws_per_message_deflate:
            self.deflaters = Deflaters(
                config.ws_deflate_window_bits,
                context_takeover=config.ws_deflate_context_takeover,
                threshold=config.ws_deflate_threshold,
                level=config.ws_deflate_level,
                mem_level=config.ws_deflate_memory_level,
                backend=load_backend(config.ws_deflate_backend, context_takeover=config.ws_deflate_context_takeover),
            )
        self.http2 = speaks_http2(config)
        # Whether a connection may be of HTTP/2 before it has brought a byte.
        self._may_choose = config.http == "2" or (self.http2 and secure)
        self._first_kept = first_kept()
        self._last_refused = last_refused(self._first_kept)
        self._other_descriptors = 0
        self._drain_end = 0.0
        self._date_second = -1
        self.clients = ClientCounts(
            config.limit_connections_per_client, config.forwarded_allow_ips if config.proxy_headers else ()
        )
        self.proxies = TrustedPeers(config.proxy_allow_ips, "--proxy-allow-ips") if config.proxy_protocol else None
        self._sweep = Sweep(
            loop,
            self.connections,
            sweep_interval(
                (
                    config.timeout_request_head,
                    config.timeout_keep_alive,
                    config.timeout_request_body,
                    config.timeout_stalled_write,
                    config.ws_ping_interval,
                    config.ws_ping_timeout,
                    config.ws_handshake_timeout,
                    config.ws_close_timeout,
                    config.ws_idle_timeout,
                    config.ws_max_age,
                )
            ),
            self._on_tick,
            self.give_up,
            stalled=self.stalled,
            streams=self.streams,
            stall_timeout=config.timeout_stalled_write,
        )
        self._on_tick(self.now)
        application.bind(self)

    def new_connection(self) -> ServerProtocol:
        """A protocol for an accepted socket: the factory for `loop.create_server`."""
        return ServerProtocol(self)

    def accepted(self) -> int:
        """How many connections there are, those included whose TLS handshakes are under way."""
        return len(self.connections) + len(self.opening)

    # What connections call.

    def connection_opened(self, connection: Connection) -> None:
        self.connections.add(connection)
        self.counts.connections += 1
        connection.number = self.counts.connections
        if self.proxies is not None:
            self._begin_behind_proxy(connection, self.proxies)
            return
        http = self.begin_http(connection)
        transport = connection.transport
        if http is not None and transport is not None and self._other_descriptors + self.accepted() >= self._first_kept:
            # Only now: a transport that has been asked for its socket holds it for as long as it lives.
            descriptor = transport.get_extra_info("socket").fileno()
            if descriptor >= self._first_kept:
                self.counts.refused_descriptors += 1
            if descriptor >= self._last_refused:
                connection.abort()
            elif descriptor >= self._first_kept:
                http.refuse(_NO_DESCRIPTORS)

    def admits(self, descriptor: int) -> bool:
        """Whether a TLS handshake may go on with `descriptor`: not with one of the last, which none is to hold."""
        if descriptor < self._last_refused:
            return True
        self.counts.refused_descriptors += 1
        return False

    def begin_http(
        self,
        connection: Connection,
        source: Address | None = None,
        destination: Address | None = None,
        secure: bool = False,
    ) -> HttpHandler | None:
        """Serve HTTP on `connection`; None where its client has too many of them.

        A proxy may have told its client's address, `source`, the one that it connected to, and that it came over TLS.
        """
        http: HttpHandler
        if self._may_choose and (self.config.http == "2" or _chose_http2(connection)):
            http = Http2Handler(connection, self)
        else:
            http = Http1Handler(connection, self)
        connection.handler = http
        if source is not None:
            http.addresses = source, destination
            http.tls_at_proxy = secure
        if self.shutting_down:
            http.shut_down()
        transport = connection.transport
        if transport is not None and self.config.limit_connections_per_client is not None:
            connection.client = self.clients.enter(transport.get_extra_info("peername") if source is None else source)
            if connection.client is not None and self.clients.over(connection.client):
                self.counts.refused_per_client += 1
                http.refuse(_too_many(connection.client))
                connection.close()  # nothing that it sends is of interest
                return None
        return http

    def begin_http2(self, connection: Any, data: bytes = b"") -> HttpHandler | None:
        """Go on with HTTP/2 on a connection of HTTP/1.1 that has begun with its preface, `data`."""
        if not self.http2:
            return None
        before: Any = connection.handler
        http = Http2Handler(connection, self)
        http.addresses, http.tls_at_proxy = before.addresses, before.tls_at_proxy
        connection.handler = http
        if self.shutting_down:
            http.shut_down()
        http.data_received(memoryview(data))
        return http

    def _begin_behind_proxy(self, connection: Connection, proxies: TrustedPeers) -> None:
        """Read the PROXY header that every connection of a proxy begins with."""
        transport = connection.transport
        assert transport is not None
        peer = transport.get_extra_info("peername")
        host = peer[0] if isinstance(peer, tuple) else None
        if not proxies.trusts(host):
            self.warn("A connection from %s was refused: it is not in --proxy-allow-ips", host or "a unix socket")
            connection.abort()
        elif self._other_descriptors + self.accepted() >= self._first_kept:
            self.counts.refused_descriptors += 1
            connection.abort()
        else:
            connection.handler = ProxyPreamble(connection, self, self.tls)

    def connection_closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if connection.client is not None:
            self.clients.leave(connection.client)
            connection.client = None
        self.wake_when_idle()

    def opened(self, opening: Any) -> None:
        """What was in `opening` is a connection now, or has failed. Idempotent."""
        self.opening.discard(opening)
        self.wake_when_idle()

    def default_lines(self, date: bool, server: bool) -> bytes:
        """Our header lines and the configured ones, with Date and Server where the application has not set them."""
        return (self._date_line if date else b"") + (self._server_line if server else b"") + self._extra_lines

    def tls_failed(self, error: BaseException, peer: Any) -> None:
        """A TLS handshake with `peer` has failed: count it, and log what is more than the leaving of a client."""
        if isinstance(error, ssl.SSLError):
            reason = error.reason or "no TLS"
            text = "plain HTTP on this port, which is for TLS" if reason == "HTTP_REQUEST" else reason
            self.tls_failures["protocol"] = self.tls_failures.get("protocol", 0) + 1
            self.warn("A TLS handshake failed: %s (%s)", text, show_address(peer), kind=f"TLS {reason}")
        elif isinstance(error, (TimeoutError, asyncio.TimeoutError, ConnectionAbortedError)):
            self.tls_failures["timeout"] = self.tls_failures.get("timeout", 0) + 1
            self.warn("A TLS handshake did not end in time (%s)", show_address(peer), kind="TLS timeout")
        else:
            self.tls_failures["left"] = self.tls_failures.get("left", 0) + 1

    # What the server calls.

    def on_request(self, number: int, call: Callable[[], None]) -> None:
        """Call `call()` when the request of this number, counted from 1, has been read."""
        self.last_request = number
        self.at_last_request = call

    def shut_down(self, window: float = 0.0) -> None:
        """Begin to end every connection as soon as what is under way on it allows; more calls change nothing.

        Idle connections and WebSockets get their ends at random times within the next `window` seconds.
        """
        if self.shutting_down:
            return
        self.draining = self.shutting_down = True
        if window > 0.0:
            self._drain_end = self.loop.time() + window
            self._sweep.hasten(max(SHORTEST_INTERVAL, window / DRAIN_SWEEPS))
        self._sweep.hasten(DRAIN_INTERVAL)
        for connection in list(self.connections):
            try:
                if connection.handler is not None:
                    connection.handler.shut_down()
            except Exception as error:
                self.give_up(connection, error)

    def drain_due(self) -> float:
        """When a connection that idles should end, now that the server shuts down: a time; 0.0 is now."""
        left = self._drain_end - self.loop.time()
        return self._drain_end - left * random.random() if left > 0.0 else 0.0

    def lag(self) -> float:
        """By how many seconds the event loop was late of late."""
        return self._sweep.lag()

    async def wait_closed(self) -> None:
        """Wait until no connection, none that is being opened and no task of the application is left."""
        while self.connections or self.tasks or self.opening:
            waiter = self.loop.create_future()
            self.idle_waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self.idle_waiters:
                    self.idle_waiters.remove(waiter)  # it was cancelled

    def descriptors(self) -> Iterator[int]:
        """The descriptors of all connections, as far as they have one."""
        for channel in list(self.connections):
            if isinstance(channel, Connection):
                yield descriptor_of(channel.transport)

    def cut(self) -> None:
        """Cut every connection that is left: the application is told of each as of any that is lost."""
        for connection in list(self.connections):
            try:
                connection.abort()
            except Exception as error:
                self.log_application_error("Exception in the end of a connection", error)

    def abort(self) -> None:
        """Cut every connection that is left and cancel the application's tasks."""
        self.aborted = True
        self.cut()
        for each in list(self.opening):
            each.cancel()
        for task in list(self.tasks):
            task.add_done_callback(self.end_task)  # one that has not begun is cancelled without running a line
            task.cancel()

    def close(self) -> None:
        """Stop the timer; nothing may be open any more."""
        self._sweep.close()

    def _on_tick(self, now: float) -> None:
        self.counts.lag(max(0.0, now - self.now - self._sweep.interval))
        self.now = now
        self.log_limit.tick(now)
        second = int(time.time())
        if second != self._date_second:
            self._date_second = second
            self._other_descriptors = lowest_free() - self.accepted()
            if self.config.date_header and not self._own_date:
                self._date_line = b"date: " + formatdate(second, usegmt=True).encode("ascii") + b"\r\n"
            self.head_lines = self.default_lines(True, True)


def _chose_http2(connection: Connection) -> bool:
    """Whether the client has chosen HTTP/2 in its TLS handshake (RFC 7301)."""
    tls = connection.tls()
    return tls is not None and tls.selected_alpn_protocol() == "h2"


def _too_many(client: str) -> RequestError:
    return RequestError(
        503,
        "There are too many connections from this address.",
        ((b"retry-after", b"5"),),
        log_hint=f"{client} has as many connections as --limit-connections-per-client allows; if it is a proxy, it "
        "belongs in --forwarded-allow-ips.",
    )
