import asyncio
import socket
from collections.abc import Callable

from fastws.connection import Connection, Stream
from fastws.loop_core import LoopCore

class SocketServer:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        factory: Callable[[], Connection],
        state: LoopCore,
        gate: Callable[[], float] | None = None,
    ) -> None: ...
    @property
    def sockets(self) -> tuple[socket.socket, ...]: ...
    def is_serving(self) -> bool: ...
    def close(self) -> None: ...

class SocketTransport(Stream): ...
