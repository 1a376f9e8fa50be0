"""The compiled transport of plain sockets, on real ones: what asyncio promises of a transport, on both event loops.

What a connection makes of it is tested in test_connection.py on a fake transport, and by all tests that start a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
import wire
from echo_app import app as echo
from serving import serve

from fastws.connection import Connection, Handler
from fastws.loop_core import LoopCore

SocketServer = pytest.importorskip("fastws._sockets").SocketServer

PATIENCE = 20.0


class Shared(LoopCore):
    """What connections share, as far as they need it here."""

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

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has changed that makes `condition` true."""
        while not condition():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), PATIENCE)


class Bench:
    """A server, the connections it has accepted, and clients of it."""

    def __init__(self, listener: socket.socket) -> None:
        self.loop = asyncio.get_running_loop()
        self.state: Any = Shared(self.loop)
        self.connections: list[Recorder] = []
        self.accepted = asyncio.Event()
        listener.setblocking(False)
        self.address = listener.getsockname()
        self.family = listener.family
        self.server = SocketServer(self.loop, listener, self.make, self.state)
        self.clients: list[socket.socket] = []

    def make(self) -> Recorder:
        connection = Recorder(self.state)
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
async def bench(listener: socket.socket | None = None) -> AsyncIterator[Bench]:
    """A bench on `listener`, by default on the loopback address."""
    if listener is None:
        listener = socket.create_server(("127.0.0.1", 0))
    made = Bench(listener)
    try:
        yield made
    finally:
        made.server.close()
        for client in made.clients:
            client.close()
        for connection in made.connections:
            if connection.transport is not None:
                connection.transport.abort()
            await asyncio.wait_for(connection.lost, PATIENCE)


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.SelectorEventLoop], ids=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Run a coroutine on a loop of each kind."""
    loop = request.param()
    yield loop.run_until_complete
    loop.close()


Run = Callable[[Coroutine[Any, Any, None]], None]


def test_bytes_come_and_go(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            for number in range(50):  # alone: what it sends is read without asking epoll
                await b.loop.sock_sendall(client, b"%03d" % number)
                await connection.until(lambda number=number: len(connection.data) == 3 * (number + 1))
                connection.transport.write(b"%03d" % number)
                assert await b.read(client, 3) == b"%03d" % number
            connection.transport.writelines([b"a" * 10, b"", b"b"] * 100)
            assert await b.read(client, 1100) == (b"a" * 10 + b"b") * 100

    run(main())


def test_one_busy_connection_does_not_hide_another(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            (one, busy), (two, other) = await b.connect(), await b.connect()
            for number in range(10):
                await b.loop.sock_sendall(one, b"x")
                await busy.until(lambda number=number: len(busy.data) == number + 1)
            for client in (one, two):
                await b.loop.sock_sendall(client, b"y")
            await other.until(lambda: other.data == b"y")
            await busy.until(lambda: busy.data.endswith(b"y"))

    run(main())


def test_a_slow_reader_gets_everything_in_order(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            connection.transport.set_write_buffer_limits(high=100_000, low=10_000)
            sent = b""
            number = 0
            while "pause" not in connection.calls:
                piece = struct.pack("!I", number) * (1 + number % 3000)
                number += 1
                sent += piece
                connection.transport.write(piece)
            assert connection.transport.get_write_buffer_size() > 100_000
            tail = [struct.pack("!I", each) * 7 for each in range(200)]  # more parts than one sendmsg takes
            connection.transport.writelines(tail)
            sent += b"".join(tail)
            connection.transport.close()  # not before it is sent
            assert connection.transport.is_closing()
            assert await b.read(client, len(sent) + 1) == sent
            assert connection.calls == ["pause", "resume"]
            assert await asyncio.wait_for(connection.lost, PATIENCE) is None

    run(main())


def test_writelines_of_more_than_the_kernel_takes(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            chunks = [bytes([each % 251]) * (each * 977 % 70_000) for each in range(300)]
            connection.transport.writelines(chunks)
            whole = b"".join(chunks)
            assert await b.read(client, len(whole)) == whole
            connection.transport.write_eof()
            assert await b.read(client, 1) == b""

    run(main())


def test_a_pause_keeps_bytes_in_the_kernel(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            other, second = await b.connect()
            connection.transport.pause_reading()
            await b.loop.sock_sendall(client, b"later")
            await b.loop.sock_sendall(other, b"now")
            await second.until(lambda: second.data == b"now")
            await asyncio.sleep(0)
            assert connection.data == b""
            connection.transport.resume_reading()
            await connection.until(lambda: connection.data == b"later")

    run(main())


def test_reading_may_pause_in_the_middle_of_a_flood(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()

            def pause(data: bytes) -> None:
                connection.transport.pause_reading()
                b.loop.call_soon(connection.transport.resume_reading)

            connection.on_data = pause
            await b.loop.sock_sendall(client, bytes(1_000_000))
            client.shutdown(socket.SHUT_WR)
            await connection.until(lambda: "eof" in connection.calls)
            assert connection.data == bytes(1_000_000)

    run(main())


def test_no_more_is_read_than_was_allowed(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            connection.pause_reading_after(3)
            await b.loop.sock_sendall(client, b"abcdef")
            await connection.until(lambda: bool(connection.data))
            await asyncio.sleep(0)
            assert connection.data == b"abc"
            connection.resume_reading()
            await connection.until(lambda: connection.data == b"abcdef")

    run(main())


def test_an_end_of_input_behind_data(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            connection.stays = True
            await b.loop.sock_sendall(client, b"last")
            client.shutdown(socket.SHUT_WR)
            await connection.until(lambda: connection.calls == ["eof"])
            assert connection.data == b"last"
            connection.transport.write(b"answer")
            connection.transport.close()
            assert await b.read(client, 7) == b"answer"
            assert await asyncio.wait_for(connection.lost, PATIENCE) is None

    run(main())


def test_an_end_of_input_ends_a_connection_that_does_not_stay(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            client.close()
            assert await asyncio.wait_for(connection.lost, PATIENCE) is None

    run(main())


@pytest.mark.parametrize("half_closed", [False, True])
def test_a_reset_ends_the_connection(run: Run, half_closed: bool) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            connection.stays = True
            if half_closed:
                client.shutdown(socket.SHUT_WR)
                await connection.until(lambda: connection.calls == ["eof"])
                connection.transport.write(b"unread")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            await asyncio.wait_for(connection.lost, PATIENCE)
            assert isinstance(connection.lost.result(), ConnectionError)

    run(main())


def test_nothing_is_written_after_the_end(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            transport = connection.transport
            transport.write(b"before")
            transport.close()
            transport.write(b"after")
            transport.writelines([b"after"])
            transport.abort()
            transport.write_eof()
            transport.pause_reading()
            transport.resume_reading()
            assert not connection.lost.done()  # in a later turn
            assert await b.read(client, 20) == b"before"
            await asyncio.wait_for(connection.lost, PATIENCE)

    run(main())


def test_one_that_raises_ends_alone(run: Run) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        async with bench() as b:
            b.loop.set_exception_handler(lambda loop, context: told.append(context))
            (one, bad), (two, good) = await b.connect(), await b.connect()

            def fail(data: bytes) -> None:
                raise ValueError("a bug")

            bad.on_data = fail
            for client in (one, two):
                await b.loop.sock_sendall(client, b"data")
            assert isinstance(await asyncio.wait_for(bad.lost, PATIENCE), ValueError)
            await good.until(lambda: good.data == b"data")
            assert [type(each["exception"]) for each in told] == [ValueError]

    run(main())


def test_the_server_closes_and_connections_go_on(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            assert b.server.is_serving()
            assert [each.getsockname() for each in b.server.sockets] == [b.address]
            b.server.close()
            assert not b.server.is_serving()
            assert b.server.sockets == ()
            with pytest.raises(ConnectionRefusedError):
                await b.connect()
            await b.loop.sock_sendall(client, b"data")
            await connection.until(lambda: connection.data == b"data")

    run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "unix"])
def test_names_of_both_ends(run: Run, host: str, tmp_path: Path) -> None:
    async def main() -> None:
        if host == "unix":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(tmp_path / "socket"))
            listener.listen()
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, 0), family=family)
        async with bench(listener) as b:
            client, connection = await b.connect()
            transport = connection.transport
            assert transport.get_extra_info("peername") == client.getsockname()
            assert transport.get_extra_info("sockname") == client.getpeername()
            sock = transport.get_extra_info("socket")
            assert sock.fileno() >= 0
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            if host != "unix":
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert transport.get_extra_info("ssl_object", 1) == 1

    run(main())


def test_a_burst_of_connections_loses_none(run: Run) -> None:
    async def main() -> None:
        async with bench(socket.create_server(("127.0.0.1", 0), backlog=300)) as b:
            clients = [socket.socket() for _ in range(200)]
            b.clients += clients
            for client in clients:
                client.setblocking(False)
            await asyncio.gather(*(b.loop.sock_connect(client, b.address) for client in clients))
            for client in clients:
                await b.loop.sock_sendall(client, b"x")
            while len(b.connections) < 200 or not all(each.data for each in b.connections):
                await asyncio.sleep(0)

    run(main())


LARGE_MESSAGES = [
    "a" * 70_000,
    bytes(range(256)) * 3_000,
    "ascii and then ä" * 30_000,
    "€" * 200_000,
    b"x" * (1 << 20),
    "z" * (66_560 + 65_536 - 14),
    b"",
    b"small",
]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_large_frames_in_pieces_of_any_size(loop: str) -> None:
    chance = random.Random(loop)
    with serve(echo, lifespan="off", loop=loop) as serving, wire.Client(serving) as client:
        client.open()
        for message in LARGE_MESSAGES * 2:
            opcode, payload = (1, message.encode()) if isinstance(message, str) else (2, message)
            cut = chance.randrange(len(payload) + 1)
            parts = [payload] if chance.random() < 0.5 else [payload[:cut], payload[cut:]]
            stream = b"".join(
                wire.frame(0 if i else opcode, part, fin=i == len(parts) - 1) for i, part in enumerate(parts)
            )
            stream += wire.frame(1, b"behind")
            while stream:
                size = chance.choice((1, 14, 100, 65_535, 66_560, 200_000, 700_000))
                client.send(stream[:size])
                stream = stream[size:]
            answer = client.frame()
            assert (answer.opcode, answer.payload) == (opcode, payload)
            assert client.frame().payload == b"behind"


def test_text_in_a_large_frame_that_is_not_utf8() -> None:
    with serve(echo, lifespan="off") as serving:
        for bad in (b"a" * 300_000 + b"\xff" + b"a" * 300_000, b"a" * 600_000 + b"\xe2\x82"):
            with wire.Client(serving) as client:
                client.open()
                client.send(wire.frame(1, bad))
                assert client.frame().payload[:2] == (1007).to_bytes(2, "big")


def test_memory_for_a_large_frame_comes_with_its_bytes() -> None:
    with serve(echo, lifespan="off", ws_max_size=1 << 30) as serving, wire.Client(serving) as client:
        client.open()
        client.send(b"\x82\xff" + (1 << 30).to_bytes(8, "big") + b"abcd")
        tracemalloc.start()
        try:
            client.send(bytes(100_000))
            client.send(wire.frame(9, b""))  # is payload, too
            with wire.Client(serving) as other:  # answered behind what was read
                other.open()
                other.send(wire.text("done"))
                assert other.frame().payload == b"done"
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 9 * 110_000 + (1 << 20)
