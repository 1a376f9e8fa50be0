"""A `SocketServer` that speaks TLS, and clients of it that decide about each byte on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trustme
from socket_bench import PATIENCE, Bench, Recorder, SocketServer

from fastws.net.connection import Connection
from fastws.net.handshakes import Handshakes

AUTHORITY = trustme.CA()


def server_context(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    certificate = folder / "both.pem"
    AUTHORITY.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    context.load_cert_chain(certificate)
    return context


def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A client's context that speaks this version alone."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    return context


class TlsClient:
    """A client whose TLS is in memory: what goes over `sock`, and in which pieces, is its user's business."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")
        self.ended = False

    async def shake(self, step: int = 1 << 20) -> None:
        """Do the handshake, sending `step` bytes at a time."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush(step)
                await self.take()
            else:
                await self.flush(step)
                return

    def sealed(self, data: bytes) -> bytes:
        """`data` as records."""
        done = 0
        while done < len(data):
            done += self.tls.write(data[done:])
        return self.outgoing.read()

    async def flush(self, step: int = 1 << 20) -> None:
        """Send what TLS has to say."""
        await self.raw(self.outgoing.read(), step)

    async def raw(self, data: bytes, step: int = 1 << 20) -> None:
        """Send these bytes as they are, `step` at a time."""
        for begin in range(0, len(data), step):
            await asyncio.wait_for(self.loop.sock_sendall(self.sock, data[begin : begin + step]), PATIENCE)

    async def send(self, data: bytes, step: int = 1 << 20) -> None:
        """Send `data`, encrypted."""
        await self.raw(self.sealed(data), step)

    async def take(self) -> None:
        """Wait for bytes of the server's, or its end."""
        data = await asyncio.wait_for(self.loop.sock_recv(self.sock, 1 << 18), PATIENCE)
        if data:
            self.incoming.write(data)
        else:
            self.ended = True
            self.incoming.write_eof()

    async def read(self, size: int) -> bytes:
        """Exactly `size` bytes, or less where the server has said that there are no more (close_notify).

        Raises ssl.SSLEOFError where it has ended the connection without a word.
        """
        data = b""
        while len(data) < size:
            try:
                more = self.tls.read(size - len(data))
            except ssl.SSLWantReadError:
                await self.take()
            except ssl.SSLZeroReturnError:
                break
            else:
                if not more:
                    break
                data += more
        return data

    async def end(self) -> None:
        """Send close_notify, and leave the socket open."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        await self.flush()


class TlsBench(Bench):
    """As `Bench`, over TLS."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext, timeout: float | None) -> None:
        self.context = context
        self.timeout = timeout
        self.failures: list[BaseException] = []
        self.echoes = False
        super().__init__(listener)

    def serve(self, listener: socket.socket, gate: Any) -> Any:
        state = self.state
        state.tls_failed = lambda error, peer: self.failures.append(error)
        state.opened = lambda transport: state.opening.discard(transport)
        self.handshakes = Handshakes(state, self.timeout)
        return SocketServer(
            self.loop, listener, lambda: self.make(), state, gate, handshakes=self.handshakes, tls=self.context
        )

    def make(self) -> Recorder:
        return Told(self)

    async def plain(self) -> socket.socket:
        """A connection of which the server knows nothing yet."""
        client = socket.socket(self.family)
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.clients.append(client)
        await self.loop.sock_connect(client, self.address)
        return client

    async def connect_tls(
        self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, step: int = 1 << 20
    ) -> tuple[TlsClient, Recorder]:
        """A client whose handshake is done, and the connection that the server has made for it."""
        return await self.shake(client_context(version), step)

    async def shake(self, context: ssl.SSLContext, step: int = 1 << 20) -> tuple[TlsClient, Recorder]:
        """The same with a client's context that is there."""
        count = len(self.connections)
        client = TlsClient(await self.plain(), context)
        await client.shake(step)
        while len(self.connections) == count:
            self.accepted.clear()
            await asyncio.wait_for(self.accepted.wait(), PATIENCE)
        return client, self.connections[count]


class Told(Recorder):
    """A connection that its bench learns of when it is made, which is behind the handshake."""

    def __init__(self, owner: TlsBench) -> None:
        super().__init__(owner.state)
        self.owner = owner

    def connection_made(self, transport: Any) -> None:
        Connection.connection_made(self, transport)
        if self.owner.echoes:
            self.on_data = transport.write
        self.owner.made(self)


@contextlib.asynccontextmanager
async def tls_bench(folder: Path, timeout: float | None = PATIENCE) -> AsyncIterator[TlsBench]:
    """A bench on the loopback address, whose handshakes may take `timeout` seconds."""
    async with tls_benched(server_context(folder), timeout) as bench:
        yield bench


@contextlib.asynccontextmanager
async def tls_benched(context: ssl.SSLContext, timeout: float | None = PATIENCE) -> AsyncIterator[TlsBench]:
    """The same with a server's context that is there."""
    bench = TlsBench(socket.create_server(("127.0.0.1", 0)), context, timeout)
    try:
        yield bench
    finally:
        await bench.end()
