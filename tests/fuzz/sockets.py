"""The target `sockets`: two connections of ours over real sockets, whose ends do whatever an input says.

Input: operations of three bytes, of which connection and what is done, and how much of it. The event loop turns when an
operation says so. Reading is paused at once, by the next data, or after so many bytes, as an application's receive()
does. What the server's end does it does at once, or, as an application that waits, when its next data has been read, so
that what it writes then may be delayed. Whatever is done, each end has a prefix of what the other one has sent, in
order; all of it where nobody has cut the connection; and in the end the connection is lost, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Coroutine, Sequence
from typing import Any

from socket_bench import PATIENCE, Bench, bench

LOOP = asyncio.SelectorEventLoop()
MOST = 60
"""Operations of an input."""
RESET = struct.pack("ii", 1, 0)
SERVERS = (1, 2, 7, 8, 10)
"""Operations of the server's end."""
PATTERN = bytes(range(251))


class Ends:
    """A client, the connection of the server, and what each has sent and got."""

    def __init__(self, client: socket.socket, connection: Any) -> None:
        self.client = client
        self.connection = connection
        self.transport = connection.transport
        self.to_server = self.to_client = 0
        self.got = b""
        self.cut = self.client_ended = self.server_ended = self.pauses = False
        self.allowed: int | None = None
        """Bytes that the connection may still be told of."""
        self.waiting: list[tuple[int, int]] = []
        """What the server's end does when data has come."""
        connection.stays = True  # what a client has still to get comes behind its own end
        connection.on_data = self.took

    def took(self, data: bytes) -> None:
        """The connection has got `data`."""
        if self.allowed is not None:
            self.allowed -= len(data)
            assert self.allowed >= 0, "more than was allowed"
        if self.pauses:
            self.pauses = False
            self.transport.pause_reading()
        if self.waiting:
            self.connection.state.woken = True
            LOOP.call_soon(self.go_on)

    def go_on(self) -> None:
        """Do what has waited for data."""
        waiting, self.waiting = self.waiting, []
        for what, size in waiting:
            self.act(what, size)

    def act(self, what: int, size: int) -> None:
        """Do what the server's end does."""
        if what in (1, 2) and not self.server_ended:
            if what == 1:
                self.transport.write(piece(self.to_client, size))
            else:
                cuts = range(0, size, 1 + size // 70)
                whole = piece(self.to_client, size)
                self.transport.writelines([whole[each : each + cuts.step] for each in cuts])
            self.to_client += size
        elif what == 7 and not self.server_ended and size % 3 == 0:
            self.server_ended = True
            self.transport.write_eof()
        elif what == 8:
            self.transport.set_write_buffer_limits(high=size, low=size // 3)
        elif what == 10 and size % 5 == 0:
            self.cut = self.server_ended = True
            self.transport.abort()

    async def do(self, what: int, size: int, waits: bool) -> None:
        if what == 0 and not self.client_ended:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                self.send(size)
        elif what in SERVERS and waits:
            self.waiting.append((what, size))
        elif what in SERVERS:
            self.act(what, size)
        elif what == 3 and size % 3 == 0:
            self.transport.pause_reading()
        elif what == 3 and size % 3 == 1:
            self.pauses = True
        elif what == 3:
            self.allowed = size
            self.connection.pause_reading_after(size)
        elif what == 4:
            self.resume()
        elif what == 5:
            self.take(size)
        elif what == 6 and not self.client_ended:
            with contextlib.suppress(OSError):
                self.end_client(size)
        elif what == 9 and size % 5 == 0 and not self.cut:  # seldom, since it ends most of what there is to see
            self.cut = self.client_ended = True
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.client.close()
        else:
            for _ in range(1 + size % 3):
                await asyncio.sleep(0)

    def resume(self) -> None:
        """Let the connection read."""
        self.pauses = False
        self.allowed = None
        self.connection.resume_reading()
        self.transport.resume_reading()

    def send(self, size: int) -> None:
        """Let the client send about so much."""
        self.to_server += self.client.send(piece(self.to_server, size))

    def end_client(self, size: int) -> None:
        """Let the client send no more."""
        self.client_ended = True
        self.client.shutdown(socket.SHUT_WR)

    async def send_rest(self) -> None:
        """Let the client send what it has begun to send."""

    def take(self, size: int) -> bool:
        """Let the client read; whether more may come."""
        try:
            data = self.client.recv(size or 1)
        except BlockingIOError:
            return True
        except OSError:
            self.cut = True
            return False
        self.taken(data)
        return bool(data)

    def taken(self, data: bytes) -> None:
        """The client has read `data`, or that there is no more."""
        self.got += data

    async def end(self) -> None:
        """Let everything arrive, and both ends close."""
        self.go_on()
        if not self.cut:
            self.resume()
            await self.send_rest()
            await self.connection.until(lambda: len(self.connection.data) >= self.to_server)
            self.server_ended = True
            self.transport.close()
            while self.take(1 << 16):
                await asyncio.sleep(0)
        else:
            self.transport.abort()
        await asyncio.wait_for(self.connection.lost, PATIENCE)
        self.transport.abort()
        data = self.connection.data
        assert data == piece(0, len(data))
        assert len(data) <= self.to_server
        assert self.got == piece(0, len(self.got))
        assert len(self.got) <= self.to_client
        if not self.cut:
            assert (len(data), len(self.got)) == (self.to_server, self.to_client)


def piece(at: int, size: int) -> bytes:
    """`size` bytes of a pattern, from its byte `at` on."""
    begin = at % len(PATTERN)
    return (PATTERN * (size // len(PATTERN) + 2))[begin : begin + size]


def run(data: bytes) -> None:
    complete(both(data))


def complete(work: Coroutine[Any, Any, None]) -> None:
    """Do `work` on the loop. Raises what the loop would log, too."""
    failures: list[dict[str, Any]] = []
    LOOP.set_exception_handler(lambda loop, context: failures.append(context))
    try:
        LOOP.run_until_complete(work)
    finally:
        for failure in failures:
            raise failure.get("exception") or AssertionError(failure["message"])


async def both(data: bytes) -> None:
    async with bench() as made:
        await play(made, [Ends(*await made.connect()) for _ in range(2)], data)


async def play(made: Bench, pairs: Sequence[Ends], data: bytes) -> None:
    """Let the ends of two connections do what `data` says, and close."""
    made.server.patience = int(data[-1]) % 8 << 30 if data else 0  # nanoseconds: seldom is an application too slow
    for at in range(0, min(len(data), 3 * MOST) - 2, 3):
        ends = pairs[data[at] >> 7]
        if not ends.connection.lost.done():
            await ends.do(
                (data[at] & 63) % 12, data[at + 1] << 8 >> data[at + 2] % 9 | data[at + 2] & 7, bool(data[at] & 64)
            )
    for ends in pairs:
        await ends.end()
        calls = [each for each in ends.connection.calls if each in ("pause", "resume")]
        assert calls == ["pause", "resume"] * (len(calls) // 2) + ["pause"] * (len(calls) % 2)


def seeds() -> list[bytes]:
    """Inputs to begin with."""
    choose = random.Random(1)
    return [
        bytes([first, 200, 0, 11, 0, 2]) + choose.randbytes(3 * choose.choice((5, 20, 50)))
        for first in [*range(12)] * 3
    ]
