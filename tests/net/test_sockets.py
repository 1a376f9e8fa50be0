"""The compiled transport of plain sockets, on real ones: what asyncio promises of a transport, on both event loops.

What a connection makes of it is tested in test_connection.py on a fake transport, and by all tests that start a server.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wire
from echo_app import app as echo
from serving import serve
from socket_bench import LOOPS, PATIENCE, Run, bench


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine on a loop of each kind."""
    loop = LOOPS[request.param]()
    yield loop.run_until_complete
    loop.close()


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
            sent = connection.fill()
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
