"""The others that a server under attack must go on serving: a program that `hostile.py` runs in a process of its own.

Three clients at a steady, modest rate: `echo` on one WebSocket that stays open, `http` on one connection that is kept
alive, `connect` on a new connection for each request. A line for each answer goes to standard output: the client's
name, when it began (CLOCK_MONOTONIC, seconds), how long it took (milliseconds), and 1, or 0 where there was no right
answer within PATIENCE seconds. It runs until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable

PATIENCE = 5.0
INTERVALS = {"echo": 0.02, "http": 0.02, "connect": 0.05}  # seconds between the end of an answer and the next request
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: others\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
REQUEST = b"GET / HTTP/1.1\r\nHost: others\r\n\r\n"
MESSAGE = b"\x81\x84\x00\x00\x00\x00echo"
ECHO = b"\x81\x04echo"
PING, PONG = 0x89, 0x8A
BODY = b"Hello, world!"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class WrongAnswerError(Exception):
    """The server answered something else than it should."""


class Client:
    """One client; it connects anew after each failure, and `connect` for each request."""

    def __init__(self, name: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.name = name
        self.port = port
        self.tls = tls
        self.streams: Streams | None = None

    async def run(self) -> None:
        """Ask again and again, and print how it went."""
        ask: dict[str, Callable[[], Awaitable[None]]] = {"echo": self.echo, "http": self.http, "connect": self.http}
        while True:
            began = time.monotonic()
            try:
                await asyncio.wait_for(ask[self.name](), PATIENCE)
                right = 1
            except (OSError, EOFError, asyncio.TimeoutError, WrongAnswerError):
                right = 0
            sys.stdout.write(f"{self.name} {began:.6f} {(time.monotonic() - began) * 1000:.3f} {right}\n")
            sys.stdout.flush()
            if not right or self.name == "connect":
                self.disconnect()
            await asyncio.sleep(INTERVALS[self.name])

    def disconnect(self) -> None:
        """Close the connection; the next request opens another."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None

    async def connect(self) -> Streams:
        """The connection, opened where it is not."""
        if self.streams is None:
            self.streams = await asyncio.open_connection(
                "127.0.0.1",
                self.port,
                ssl=self.tls,
                server_hostname="localhost" if self.tls is not None else None,
                local_addr=("127.0.0.2", 0),
            )
            if self.name == "echo":
                reader, writer = self.streams
                writer.write(HANDSHAKE)
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 101 "):
                    raise WrongAnswerError
        return self.streams

    async def echo(self) -> None:
        """Send a message and wait for its echo."""
        reader, writer = await self.connect()
        writer.write(MESSAGE)
        while True:
            first, size = await reader.readexactly(2)
            payload = await reader.readexactly(size)
            if first != PING:
                break
            writer.write(bytes((PONG, 0x80 | size)) + bytes(4) + payload)
        if first != ECHO[0] or payload != ECHO[2:]:
            raise WrongAnswerError

    async def http(self) -> None:
        """Send a request and wait for the whole response."""
        reader, writer = await self.connect()
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or await reader.readexactly(len(BODY)) != BODY:
            raise WrongAnswerError


async def main() -> None:
    """Run the clients until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls", action="store_true", help="speak TLS and trust any certificate")
    arguments = parser.parse_args()
    tls = ssl._create_unverified_context() if arguments.tls else None
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(0, lambda: None if os.read(0, 1) else ended.set())
    tasks = [loop.create_task(Client(name, arguments.port, tls).run()) for name in INTERVALS]
    await ended.wait()
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(main())
