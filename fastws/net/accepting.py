"""Who accepts the connections of a listening socket and moves their bytes.

Sockets are our own business where `fastws.net._sockets` was built, on Linux: a message then costs no Python call
between the event loop and the connection. Other systems and pure installs have the event loop's transports, which do
the same. Connections cannot tell one from the other.

What the kernel has accepted is served: a connection that waits when listening ends is taken first, and one whose TLS
handshake is under way then may finish it.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol, TypeAlias

from fastws.config import Config
from fastws.errors import ConfigError
from fastws.net import handshakes
from fastws.net.descriptors import ACCEPT_FAILED, NO_DESCRIPTOR
from fastws.net.loop_state import LoopState

try:
    from fastws.net._sockets import SocketServer
except ImportError:  # not built here
    SocketServer = None  # type: ignore[assignment, misc]

SOCKETS: Final = "sockets"
LOOP: Final = "loop"

RETRY_SECONDS: Final = 1.0
"""When to try again after accepting has failed, most likely because the process had no descriptor left."""
MAX_LAST_ACCEPTS: Final = 4096
"""Connections that are taken from the kernel's queue when listening ends."""


Gate: TypeAlias = Callable[[], float]
"""Asked before each accept: seconds for which to look away from a connection that waits; 0 to accept it."""


class Accepting(Protocol):
    """What accepts connections: an `asyncio.Server` or a `SocketServer`."""

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets."""

    def accept_waiting(self) -> None:
        """Accept what waits in the kernel's queue, which is lost with the last socket of a listener."""

    def close(self) -> None:
        """Accept no more; connections go on."""

    def descriptors(self) -> list[int]:
        """What was opened for this, but for connections that the state knows."""


def transport_of(config: Config) -> str:
    """Who moves the bytes of connections: ``sockets`` or ``loop``, as --transport has them.

    Raises ConfigError where the option asks for what is not built here.
    """
    if config.transport == SOCKETS and SocketServer is None:
        raise ConfigError("--transport: sockets is not built here: it needs Linux and fastws's compiled modules")
    return SOCKETS if SocketServer is not None and config.transport != LOOP else LOOP


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
    sock.listen(backlog)
    begins_with = tls if state.proxies is None else None  # else it comes behind the PROXY header
    if SocketServer is not None and transport_of(state.config) == SOCKETS:
        shaking = None if tls is None else handshakes.Handshakes(state, handshake_timeout)
        return SocketServer(loop, sock, state.new_connection, state, gate, shaking, begins_with)
    more: dict[str, Any] = {}
    if begins_with is not None:
        more = {"ssl": begins_with, "ssl_handshake_timeout": handshake_timeout}
    return LoopServer(state, sock, gate, more)


class LoopServer:
    """Accepts for the loop's transports, whose own servers know neither a gate nor an end that loses nothing."""

    def __init__(self, state: LoopState, sock: socket.socket, gate: Gate | None, arguments: dict[str, Any]) -> None:
        self._state = state
        self._loop = state.loop
        self._sock: socket.socket | None = sock
        self._gate = gate
        self._arguments = arguments
        self._opening: dict[asyncio.Task[None], socket.socket] = {}
        self._loop.add_reader(sock, self._on_readable)

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
            self._loop.call_later(handshakes.LAST_HANDSHAKE_SECONDS, self._give_up)

    def descriptors(self) -> list[int]:
        """The listening socket, and those of TLS handshakes that are under way."""
        return [each.fileno() for each in (*self.sockets, *self._opening.values())]

    def accept_waiting(self) -> None:
        """Accept what waits, whatever the gate would say."""
        for _ in range(MAX_LAST_ACCEPTS):
            if not self._accept_one():
                return

    def _on_readable(self) -> None:
        """Accept one: what it becomes counts for the next one, to the gate and to the limits."""
        if self._gate is not None and self._sock is not None and (seconds := self._gate()):
            self._look_away(seconds)
        else:
            self._accept_one()

    def _accept_one(self) -> bool:
        """Accept a connection; false where none waits, or none can be had for a while."""
        if self._sock is None:
            return False
        try:
            connection, _ = self._sock.accept()
        except BlockingIOError:
            return False
        except (InterruptedError, ConnectionAbortedError):
            return True  # the client is gone
        except OSError as error:
            message = ACCEPT_FAILED if error.errno in NO_DESCRIPTOR else "Accepting a connection failed"
            self._loop.call_exception_handler({"message": message, "exception": error})
            self._look_away(RETRY_SECONDS)
            return False
        if self._arguments and not self._state.admits(connection.fileno()):
            connection.close()
            return True
        connection.setblocking(False)
        task = self._loop.create_task(self._open(connection))
        self._opening[task] = connection
        self._state.opening.add(task)
        self._state.tasks.add(task)  # the server ends behind it
        task.add_done_callback(functools.partial(self._opened, connection))
        return True

    def _opened(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            connection.close()
        self._opening.pop(task, None)
        self._state.opened(task)
        self._state.end_task(task)

    def _give_up(self) -> None:
        for task in self._opening:
            task.cancel()

    def _look_away(self, seconds: float) -> None:
        assert self._sock is not None
        self._loop.remove_reader(self._sock)
        self._loop.call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        if self._sock is not None:
            self._loop.add_reader(self._sock, self._on_readable)

    async def _open(self, connection: socket.socket) -> None:
        peer = None
        with suppress(OSError):
            peer = connection.getpeername()
        try:
            await self._loop.connect_accepted_socket(self._state.new_connection, connection, **self._arguments)
        except (OSError, asyncio.TimeoutError) as error:  # a TLS handshake that failed is the client's business
            self._state.tls_failed(error, peer)
            connection.close()
