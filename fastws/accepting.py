"""Who accepts the connections of a listening socket and moves their bytes.

Plain sockets are our own business where `fastws._sockets` was built, on Linux: a message then costs no Python call
between the event loop and the connection. TLS, other systems and pure installs have the event loop's transports, which
do the same. Connections cannot tell one from the other.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, Protocol

from fastws.loop_state import LoopState

try:
    from fastws._sockets import SocketServer
except ImportError:  # not built here
    SocketServer = None  # type: ignore[assignment, misc]


class Accepting(Protocol):
    """What accepts connections: an `asyncio.Server` or a `SocketServer`."""

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets."""

    def close(self) -> None:
        """Accept no more; connections go on."""


async def accept(
    state: LoopState, sock: socket.socket, backlog: int, tls: ssl.SSLContext | None, handshake_timeout: float | None
) -> Accepting:
    """Listen on `sock`, which is bound, and begin to accept on the running loop.

    `backlog` connections may wait in the kernel; with `tls`, its handshake may take `handshake_timeout` seconds. Raises
    OSError where the socket cannot listen.
    """
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    if tls is None and SocketServer is not None:
        sock.listen(backlog)
        return SocketServer(loop, sock, state.new_connection, state)
    more: dict[str, Any] = {}
    if tls is not None and state.proxies is None:  # else it comes behind the PROXY header
        more = {"ssl": tls, "ssl_handshake_timeout": handshake_timeout}
    create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
    # For asyncio, `backlog` is also how often it accepts in a turn of the loop; it goes on when it has run out of
    # descriptors, logging each time. So it is told 1, and the kernel the true number.
    server: Accepting = await create(state.new_connection, sock=sock, backlog=1, **more)
    sock.listen(backlog)
    return server
