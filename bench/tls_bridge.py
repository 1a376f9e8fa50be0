"""A bridge for clients that speak no TLS to a server that does: `python bench/tls_bridge.py PORT` prints its own port.

Each client that connects gets a connection of TLS to the server, from the client's own address. Bytes are carried as
they are. The end of one side is the end of the other: FIN and close_notify, and a reset is a reset. What one side does
not take is not read from the other, and kernels hold little of it. Ends when its standard input does.

asyncio's own TLS has no end of one direction, and forgets what the server has said where that takes no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

READ_SIZE = 65536
RESET = struct.pack("ii", 1, 0)
NAME = "127.0.0.1"


@contextlib.contextmanager
def tls_bridged(port: int) -> Iterator[int]:
    """The port of a bridge to the server on `port`, in a process of its own, while the block runs."""
    command = [sys.executable, str(Path(__file__)), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()


def prepared(sock: socket.socket) -> socket.socket:
    """`sock`, for the loop: quick, and with small buffers."""
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, READ_SIZE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Secure:
    """TLS over a socket, as its client. Its two directions end apart."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=NAME)
        self._sending = asyncio.Lock()

    async def shake(self) -> None:
        """Do the handshake."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._take()
            else:
                await self._flush()
                return

    async def read(self) -> bytes:
        """Some of what the server says; nothing where it has ended that."""
        while True:
            try:
                return self._tls.read(READ_SIZE)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._take()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def write(self, data: bytes) -> None:
        """Send `data`, when the server takes it."""
        while data:
            data = data[self._tls.write(data) :]
            await self._flush()

    async def end(self) -> None:
        """Say that there is no more."""
        with contextlib.suppress(ssl.SSLError):  # the server's own word is not there
            self._tls.unwrap()
        await self._flush()
        self.sock.shutdown(socket.SHUT_WR)

    async def _take(self) -> None:
        data = await self._loop.sock_recv(self.sock, READ_SIZE)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._outgoing.read():
                await self._loop.sock_sendall(self.sock, data)


async def send(near: socket.socket, far: Secure) -> None:
    """What the client says, as long as the server takes it: what that has answered is of interest all the same."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await loop.sock_recv(near, READ_SIZE):
            await far.write(data)
        await far.end()
        return
    while await loop.sock_recv(near, READ_SIZE):
        pass


async def answer(near: socket.socket, far: Secure) -> None:
    """What the server says."""
    loop = asyncio.get_running_loop()
    while data := await far.read():
        await loop.sock_sendall(near, data)
    near.shutdown(socket.SHUT_WR)


async def bridge(port: int, context: ssl.SSLContext, near: socket.socket, address: str) -> None:
    """One client's connection."""
    with near, prepared(socket.socket()) as sock:
        failed = True
        with contextlib.suppress(OSError):
            sock.bind((address, 0))
            await asyncio.get_running_loop().sock_connect(sock, (NAME, port))
            far = Secure(sock, context)
            await far.shake()
            ways = [asyncio.ensure_future(way(near, far)) for way in (send, answer)]
            done, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
            failed = any(each.exception() for each in done)
            for each in rest:
                each.cancel()
            if rest:
                await asyncio.wait(rest)
        if failed:
            for each in (near, sock):
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


async def serve(port: int) -> None:
    """Serve until standard input ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    listener = prepared(socket.create_server((NAME, 0), backlog=4096))
    bridges: set[asyncio.Task[None]] = set()

    async def accept() -> None:
        while True:
            near, address = await loop.sock_accept(listener)
            task = loop.create_task(bridge(port, context, prepared(near), address[0]))
            bridges.add(task)
            task.add_done_callback(bridges.discard)

    accepting = loop.create_task(accept())
    print(listener.getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    accepting.cancel()


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    asyncio.run(serve(int(sys.argv[1])))
