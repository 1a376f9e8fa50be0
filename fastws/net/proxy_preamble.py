"""The first bytes of a connection behind --proxy-protocol: the handler that reads the PROXY header, and TLS behind it.

What the header means is http/proxy_protocol.py's. Here: who may send one, how long that may take, and that not a byte
behind it is read where TLS follows, since the transport that speaks TLS must have them. Afterwards the connection is as
any other, with the addresses that the proxy told.
"""

from __future__ import annotations

import asyncio
import ssl

from fastws.http.proxy_protocol import SHORTEST, ProxyHeader, ProxyProtocolError, read_proxy_header
from fastws.net.channel import NEVER, Handler
from fastws.net.connection import Connection
from fastws.net.http_handler import NEW_SECONDS
from fastws.net.loop_core import LoopCore


class ProxyPreamble(Handler):
    """The handler of `connection` until its header was read and, where `tls` is given, its TLS has begun."""

    def __init__(self, connection: Connection, state: LoopCore, tls: ssl.SSLContext | None) -> None:
        self._connection = connection
        self._state = state
        self._tls = tls
        self._data = b""
        self._header: ProxyHeader | None = None
        self._task: asyncio.Task[None] | None = None
        self._eof = False
        connection.deadline = state.now + state.config.timeout_request_head
        self._read_on(SHORTEST)

    # What the connection calls.

    def data_received(self, data: memoryview) -> None:
        self._data += bytes(data)
        if self._header is not None:
            return  # TLS has brought it before our task has come to it
        try:
            header = read_proxy_header(self._data)
        except ProxyProtocolError as error:
            text, peer = str(error), self._connection.peer_name()
            self._state.warn("A connection did not begin with a valid PROXY header: %s (%s)", text, peer, kind=text)
            self._connection.abort()
            return
        if isinstance(header, int):
            self._read_on(header)
            return
        self._data = self._data[header.size :]
        if self._tls is None:
            self._begin(header)
        else:
            self._header = header
            self._task = asyncio.Task(self._start_tls(header, self._tls), loop=self._state.loop)
            self._state.tasks.add(self._task)

    def eof_received(self) -> bool:
        self._eof = True
        return False

    def connection_lost(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def on_deadline(self, now: float) -> None:
        if not self._state.shutting_down:
            self._state.warn(
                "A connection did not send a whole PROXY header in time (%s)", self._connection.peer_name()
            )
        self._connection.abort()

    def shut_down(self) -> None:
        self._connection.deadline = min(self._connection.deadline, self._state.loop.time() + NEW_SECONDS)

    # Steps.

    def _read_on(self, size: int) -> None:
        """Wait for `size` bytes of the header, and read no more than those where TLS comes behind it."""
        if self._tls is not None:
            self._connection.pause_reading_after(size)

    def _begin(self, header: ProxyHeader) -> None:
        """Hand the connection over to HTTP."""
        connection, data = self._connection, self._data
        self._state.begin_http(connection, header.source, header.destination, header.secure)
        if data and connection.handler is not None:
            connection.handler.data_received(memoryview(data))

    async def _start_tls(self, header: ProxyHeader, tls: ssl.SSLContext) -> None:
        """Go on in TLS."""
        connection, state = self._connection, self._state
        connection.deadline = NEVER
        try:
            await connection.start_tls(tls, state.config.timeout_request_head)
        except OSError as error:  # TLS's own errors are OSErrors
            state.tls_failed(error, header.source or connection.peer_address())
            return
        finally:
            self._end_task()
        if not connection.is_gone() and not self._eof:
            self._begin(header)

    def _end_task(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            self._state.end_task(task)
