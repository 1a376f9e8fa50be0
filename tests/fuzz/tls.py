"""The target `tls`: as `sockets`, over TLS. The client also cuts its records anywhere, and sends ones that are none.

Input: a byte whose last bit is for TLS 1.2, and the operations of `sockets`; a client's end is with close_notify or
without. What is asked for over and above: our close_notify is behind the last byte (RFC 8446 section 6.1), and what
nobody has encrypted ends the connection. With the second bit of that byte the client leaves in its handshake, whose
first message is changed and cut by what follows; that is one failure, and nothing of it stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from pathlib import Path
from typing import Any

from tls_bench import TlsClient, client_context, server_context, tls_benched

from fuzz import sockets
from fuzz.sockets import Ends, piece, play

SPOILT = 11
"""The operation that sends a record which nobody has encrypted; where it does not, the loop turns."""

TURNS = 100_000
"""Of the loop, that the end of a handshake takes at most."""

with tempfile.TemporaryDirectory() as folder:
    SERVER = server_context(Path(folder))
CLIENTS = [client_context(ssl.TLSVersion.TLSv1_3), client_context(ssl.TLSVersion.TLSv1_2)]


class TlsEnds(Ends):
    """A client whose TLS is in memory, the connection of the server, and what each has sent and got."""

    def __init__(self, client: TlsClient, connection: Any) -> None:
        super().__init__(client.sock, connection)
        self.tls = client
        self.wire = b""
        """Records, or parts of them, that the client has still to send."""
        self.said_goodbye = False

    async def do(self, what: int, size: int, waits: bool) -> None:
        if what == SPOILT and size % 7 == 0 and not self.client_ended:
            self.cut = self.client_ended = True
            with contextlib.suppress(BlockingIOError, ConnectionError):
                self.client.send(b"\x17\x03\x03" + bytes([size % 3, size % 40]) + bytes(size % 800))
        else:
            await super().do(what, size, waits)

    def send(self, size: int) -> None:
        if len(self.wire) < 1 << 18:
            self.wire += self.tls.sealed(piece(self.to_server, size))
            self.to_server += size
        self.flush(size)

    def flush(self, size: int) -> None:
        """Send records that wait: one time in three all, else so many bytes that one of them is cut."""
        sent = self.client.send(self.wire[: len(self.wire) if size % 3 == 0 else 1 + size % 700])
        self.wire = self.wire[sent:]

    def end_client(self, size: int) -> None:
        self.client_ended = True
        if size % 2:
            with contextlib.suppress(ssl.SSLError):  # the other end's is not there
                self.tls.tls.unwrap()
            self.wire += self.tls.outgoing.read()
        self.flush(0)
        if not self.wire:
            super().end_client(size)

    async def send_rest(self) -> None:
        while self.wire:
            with contextlib.suppress(BlockingIOError):
                self.flush(0)
            await asyncio.sleep(0)

    def taken(self, data: bytes) -> None:
        if data:
            self.tls.incoming.write(data)
        else:
            assert self.cut or self.said_goodbye, "an end without close_notify"
        try:
            while not self.said_goodbye:
                more = self.tls.tls.read(1 << 16)
                self.said_goodbye = not more
                self.got += more
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.said_goodbye = True
        except ssl.SSLError:  # an alert
            if not self.cut:
                raise


def run(data: bytes) -> None:
    if data:
        sockets.complete(half(data) if data[0] & 2 else both(data))


async def half(data: bytes) -> None:
    """Begin a handshake as `data` says, and leave."""
    async with tls_benched(SERVER, None) as made:
        client = TlsClient(await made.plain(), CLIENTS[data[0] & 1])
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
        message = bytearray(client.outgoing.read())
        for at, change in zip(data[1:40:2], data[2:40:2], strict=False):
            message[(at * 7 if change % 2 else at) % len(message)] ^= change
        for cut in (*data[40:45], len(message)):
            with contextlib.suppress(BlockingIOError, ConnectionError):
                client.sock.send(message[:cut])
            del message[:cut]
            await asyncio.sleep(0)
        if len(data) % 2:  # the other half leave the answer unread, which resets the connection
            with contextlib.suppress(BlockingIOError, ConnectionError):
                client.sock.recv(1 << 16)
        client.sock.close()
        turns = 0
        while not made.failures or made.state.opening:
            turns += 1
            assert turns < TURNS, "a handshake that is never given up"
            await asyncio.sleep(0)
        assert len(made.failures) == 1
        assert not made.connections


async def both(data: bytes) -> None:
    async with tls_benched(SERVER, None) as made:
        await play(made, [TlsEnds(*await made.shake(CLIENTS[data[0] & 1])) for _ in range(2)], data[1:])


def seeds() -> list[bytes]:
    """Inputs to begin with."""
    return [bytes([at % 4]) + each for at, each in enumerate(sockets.seeds() * 2)]
