"""Real sockets before a `SocketServer`, and connections that keep what they are told of: for its tests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from fastws.config import Config
from fastws.net.channel import Handler
from fastws.net.connection import Connection
from fastws.net.loop_core import LoopCore

SocketServer = pytest.importorskip("fastws.net._sockets").SocketServer

PATIENCE = 20.0

Run = Callable[[Coroutine[Any, Any, None]], None]

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.SelectorEventLoop}


class Shared(LoopCore):
    """What connections share, as far as they need it here."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, Config("app:app"), None, None, secure=False, on_error=None)

    def connection_opened(self, connection: Connection) -> None:
        pass

    def connection_closed(self, connection: Connection) -> None:
        pass


class Recording(Handler):
    """The handler of a `Recorder`, which it tells."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def data_received(self, data: memoryview) -> None:
        self.recorder.take(bytes(data))


class Recorder(Connection):
    """A connection that keeps what it is told of, with hooks."""

    def __init__(self, state: Any) -> None:
        super().__init__(state)
        self.handler = Recording(self)
        self.data = b""
        self.calls: list[str] = []
        self.lost: asyncio.Future[BaseException | None] = state.loop.create_future()
        self.changed = asyncio.Event()
        self.stays = False
        self.on_data: Callable[[bytes], None] = lambda data: None

    def take(self, data: bytes) -> None:
        self.data += data
        self.changed.set()
        self.on_data(data)

    def eof_received(self) -> bool:
        if "eof" not in self.calls:
            self.calls.append("eof")
            self.changed.set()
        return self.stays

    def connection_lost(self, exc: BaseException | None = None) -> None:
        if not self.lost.done():
            self.lost.set_result(exc)
        self.transport = None

    def pause_writing(self) -> None:
        self.calls.append("pause")
        self.changed.set()

    def resume_writing(self) -> None:
        self.calls.append("resume")
        self.changed.set()

    def fill(self) -> bytes:
        """Write pieces of many sizes until there are too many; returns them."""
        self.transport.set_write_buffer_limits(high=100_000, low=10_000)  # type: ignore[union-attr]
        sent = b""
        number = 0
        while "pause" not in self.calls:
            piece = struct.pack("!I", number) * (1 + number % 3000)
            number += 1
            sent += piece
            self.transport.write(piece)  # type: ignore[union-attr]
        return sent

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has changed that makes `condition` true."""
        while not condition():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), PATIENCE)


class Bench:
    """A server, the connections it has accepted, and clients of it."""

    def __init__(self, listener: socket.socket, gate: Callable[[], float] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.state: Any = Shared(self.loop)
        self.connections: list[Recorder] = []
        self.accepted = asyncio.Event()
        listener.setblocking(False)
        self.address = listener.getsockname()
        self.family = listener.family
        self.server = self.serve(listener, gate)
        self.clients: list[socket.socket] = []

    def serve(self, listener: socket.socket, gate: Callable[[], float] | None) -> Any:
        """The server on `listener`."""
        return SocketServer(self.loop, listener, lambda: self.make(), self.state, gate)

    def make(self) -> Recorder:
        return self.made(Recorder(self.state))

    def made(self, connection: Recorder) -> Recorder:
        """Keep a new connection, and tell who waits for it."""
        self.connections.append(connection)
        self.accepted.set()
        return connection

    async def connect(self) -> tuple[socket.socket, Recorder]:
        """A client, non-blocking, and the connection that the server has made for it."""
        client = socket.socket(self.family)
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.clients.append(client)
        count = len(self.connections)
        await self.loop.sock_connect(client, self.address)
        while len(self.connections) == count:
            self.accepted.clear()
            await asyncio.wait_for(self.accepted.wait(), PATIENCE)
        connection = self.connections[count]
        return client, connection

    async def end(self) -> None:
        """Let go of all, and wait for the ends of connections."""
        self.server.close()
        for client in self.clients:
            client.close()
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.abort()
            await asyncio.wait_for(connection.lost, PATIENCE)

    async def read(self, client: socket.socket, size: int) -> bytes:
        """Exactly `size` bytes, or less where the stream ends."""
        data = b""
        while len(data) < size:
            more = await asyncio.wait_for(self.loop.sock_recv(client, size - len(data)), PATIENCE)
            if not more:
                break
            data += more
        return data


@contextlib.asynccontextmanager
async def bench(listener: socket.socket | None = None, gate: Callable[[], float] | None = None) -> AsyncIterator[Bench]:
    """A bench on `listener`, by default on the loopback address."""
    if listener is None:
        listener = socket.create_server(("127.0.0.1", 0))
    made = Bench(listener, gate)
    try:
        yield made
    finally:
        await made.end()
