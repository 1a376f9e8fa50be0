import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import final

from fastws.net._poller import Poller
from fastws.net.connection import Connection
from fastws.net.handshakes import Handshakes
from fastws.net.loop_core import LoopCore

@final
class SocketServer(Poller):
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        factory: Callable[[], Connection],
        state: LoopCore,
        gate: Callable[[], float] | None = None,
        handshakes: Handshakes | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None: ...
    @property
    def sockets(self) -> tuple[socket.socket, ...]: ...
    def descriptors(self) -> list[int]: ...
    def is_serving(self) -> bool: ...
    def accept_waiting(self) -> None: ...
    def close(self) -> None: ...
