"""Who accepts the connections of a listening socket and moves their bytes.

Plain sockets are our own business where `fastws._sockets` was built, on Linux: a message then costs no Python call
between the event loop and the connection. TLS, other systems and pure installs have the event loop's transports, which
do the same. Connections cannot tell one from the other.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

from fastws.descriptors import ACCEPT_FAILED
from fastws.even_spread import Gate
from fastws.loop_state import LoopState

try:
    from fastws._sockets import SocketServer
except ImportError:  # not built here
    SocketServer = None  # type: ignore[assignment, misc]

RETRY_SECONDS: Final = 1.0
"""When to try again after the process had no descriptor left."""


class Accepting(Protocol):
    """What accepts connections: an `asyncio.Server` or a `SocketServer`."""

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets."""

    def close(self) -> None:
        """Accept no more; connections go on."""


async def accept(
    state: LoopState,
    sock: socket.socket,
    backlog: int,
    tls: ssl.SSLContext | None,
    handshake_timeout: float | None,
    gate: Gate | None = None,
) -> Accepting:
    """Listen on `sock`, which is bound, and begin to accept on the running loop.

    `backlog` connections may wait in the kernel; with `tls`, its handshake may take `handshake_timeout` seconds. A
    `gate` is asked before each accept, where other processes accept on the same socket. Raises OSError where the socket
    cannot listen.
    """
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    if tls is None and SocketServer is not None:
        sock.listen(backlog)
        return SocketServer(loop, sock, state.new_connection, state, gate)
    more: dict[str, Any] = {}
    if tls is not None and state.proxies is None:  # else it comes behind the PROXY header
        more = {"ssl": tls, "ssl_handshake_timeout": handshake_timeout}
    if gate is not None:
        sock.listen(backlog)
        return GatedServer(loop, sock, state.new_connection, gate, more)
    create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
    if sock.family == socket.AF_UNIX and sys.version_info >= (3, 13) and isinstance(loop, asyncio.SelectorEventLoop):
        more["cleanup_socket"] = False  # the file belongs to who has bound it
    # For asyncio, `backlog` is also how often it accepts in a turn of the loop; it goes on when it has run out of
    # descriptors, logging each time. So it is told 1, and the kernel the true number.
    server: Accepting = await create(state.new_connection, sock=sock, backlog=1, **more)
    sock.listen(backlog)
    return server


class GatedServer:
    """Accepts for the loop's transports what its gate admits; the loop's own servers have no gate."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        factory: Callable[[], asyncio.BaseProtocol],
        gate: Gate,
        arguments: dict[str, Any],
    ) -> None:
        self._loop = loop
        self._sock: socket.socket | None = sock
        self._factory = factory
        self._gate = gate
        self._arguments = arguments
        self._opening: set[asyncio.Task[None]] = set()
        loop.add_reader(sock, self._on_readable)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening socket, until it is closed."""
        return () if self._sock is None else (self._sock,)

    def close(self) -> None:
        """Accept no more; connections go on, and others may go on with the socket."""
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._sock.close()
            self._sock = None

    def _on_readable(self) -> None:
        if self._sock is None:
            return
        if seconds := self._gate():
            self._look_away(seconds)
            return
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was quicker, or the client is gone
        except OSError as error:
            self._loop.call_exception_handler({"message": ACCEPT_FAILED, "exception": error})
            self._look_away(RETRY_SECONDS)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._open(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _look_away(self, seconds: float) -> None:
        assert self._sock is not None
        self._loop.remove_reader(self._sock)
        self._loop.call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        if self._sock is not None:
            self._loop.add_reader(self._sock, self._on_readable)

    async def _open(self, connection: socket.socket) -> None:
        self._gate.opening += 1
        try:
            await self._loop.connect_accepted_socket(self._factory, connection, **self._arguments)
        except (OSError, asyncio.TimeoutError):  # a TLS handshake that failed is the client's business
            connection.close()
        finally:
            self._gate.opening -= 1
