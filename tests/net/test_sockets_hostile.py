"""The compiled transport of plain sockets under what peers and systems do to it: bad timing, losses, no descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from socket_bench import LOOPS, PATIENCE, Bench, Recorder, Run, SocketServer, bench

RESET = struct.pack("ii", 1, 0)
THREADS = 6
CONNECTIONS = 30
"""Of each thread, one after the other."""
LENGTHS = (0, 1, 7, 900, 5_000, 70_000, 1_200_000)
FATES = ("whole", "whole", "whole", "whole", "close", "reset")


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine on a loop of each kind."""
    loop = LOOPS[request.param]()
    yield loop.run_until_complete
    loop.close()


def stream(number: int) -> bytes:
    """What connection `number` sends: no two are alike, and no two places in one."""
    chance = random.Random(number)
    size = chance.choice(LENGTHS)
    return (struct.pack("!I", number) + chance.randbytes(997) * (size // 997 + 1))[: 4 + size]


class Erratic(Recorder):
    """Echoes what it reads, and reads and ends by chance; `victims` are those that it has ended."""

    def __init__(self, bench: Bench, chance: random.Random, victims: set[Recorder]) -> None:
        super().__init__(bench.state)
        self.bench = bench
        self.chance = chance
        self.victims = victims
        self.pieces: list[bytes] = []
        self.stays = True
        self.ends = 0

    def take(self, data: bytes) -> None:
        chance, loop, transport = self.chance.random(), self.bench.loop, self.transport
        self.pieces.append(data)
        assert transport is not None
        if self.chance.random() < 0.3:
            transport.writelines([data[:3], b"", data[3:]])
        else:
            transport.write(data)
        if chance < 0.1:
            self.pause_reading()
            loop.call_soon(self.resume_reading)
        elif chance < 0.2:
            self.pause_reading()
            loop.call_later(self.chance.random() / 200, self.resume_reading)
        elif chance < 0.3:
            self.pause_reading_after(self.chance.randrange(1, 2000))
            loop.call_later(self.chance.random() / 200, self.resume_reading)
        elif chance < 0.32:  # whoever it is may have an event in the same batch
            victim = self.chance.choice(self.bench.connections[-THREADS:])
            if victim.transport is not None:
                self.victims.add(victim)
                victim.transport.abort()

    def eof_received(self) -> bool:
        self.ends += 1
        if self.chance.random() < 0.5:
            return False  # the transport closes, when all is sent
        assert self.transport is not None
        self.bench.loop.call_soon(self.transport.close)
        return True


def client(address: Any, number: int, chance: random.Random) -> tuple[str, bytes]:
    """One connection of a client: its fate, and what it got."""
    fate, data, echoed = chance.choice(FATES), stream(number), b""
    if fate != "whole":
        data = data[: chance.randrange(len(data) + 1)]
    with socket.create_connection(address, PATIENCE) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # it was ended
            position = 0
            while position < len(data):
                size = chance.choice((1, 2, 100, 1460, 20_000, 100_000, 1_200_000))
                sock.sendall(data[position : position + size])
                position += size
                if chance.random() < 0.3:
                    select.select([], [], [], chance.random() / 500)
                if select.select([sock], [], [], 0)[0]:
                    more = sock.recv(chance.choice((10, 5_000, 100_000)))
                    if not more:
                        break
                    echoed += more
            if fate == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            if fate == "whole":
                sock.shutdown(socket.SHUT_WR)
                while more := sock.recv(100_000):
                    echoed += more
    return fate, echoed


@pytest.mark.parametrize("seed", [1, 2])
def test_each_byte_comes_once_and_in_order_whatever_the_timing(run: Run, seed: int) -> None:
    results: dict[int, tuple[str, bytes]] = {}
    errors: list[BaseException] = []

    def clients(address: Any, thread: int) -> None:
        chance = random.Random(seed * 1000 + thread)
        try:
            for number in range(thread * CONNECTIONS, (thread + 1) * CONNECTIONS):
                results[number] = client(address, number, chance)
        except BaseException as error:
            errors.append(error)

    async def main() -> None:
        chance, victims = random.Random(seed), set[Recorder]()
        async with bench() as b:
            b.make = lambda: b.made(Erratic(b, chance, victims))  # type: ignore[method-assign]
            threads = [threading.Thread(target=clients, args=(b.address, each)) for each in range(THREADS)]
            for each in threads:
                each.start()
            for each in threads:
                await asyncio.wait_for(b.loop.run_in_executor(None, each.join), 60.0)
            assert errors == []
            for connection in b.connections:
                await asyncio.wait_for(connection.lost, PATIENCE)
            served = {}
            for connection in b.connections:
                assert isinstance(connection, Erratic)
                received = b"".join(connection.pieces)
                assert connection.ends <= 1
                if len(received) >= 4:
                    served[struct.unpack("!I", received[:4])[0]] = connection, received
            whole = 0
            for number, (fate, echoed) in results.items():
                sent = stream(number)
                if number not in served:  # it has ended before it said who it is
                    assert fate != "whole" or (len(echoed) < 4 and victims)
                    continue
                found, received = served[number]
                assert sent.startswith(received)
                assert received.startswith(echoed)
                if fate == "whole" and found not in victims:
                    assert (received, found.ends) == (sent, 1)
                    assert echoed == sent
                    whole += 1
            assert whole > THREADS * CONNECTIONS / 3

    run(main())


def test_a_unix_peer_that_is_gone_behind_its_half_close(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        async with bench(listener) as b:
            client, connection = await b.connect()
            connection.stays = True
            client.shutdown(socket.SHUT_WR)
            await connection.until(lambda: connection.calls == ["eof"])
            client.close()
            assert isinstance(await asyncio.wait_for(connection.lost, PATIENCE), ConnectionResetError)

    run(main())


def test_one_that_exits_takes_no_event_of_the_others(run: Run) -> None:
    """The loop may go on, to end in order."""
    server: list[Bench] = []
    kept = contextlib.AsyncExitStack()
    connections: list[Recorder] = []

    def leave(data: bytes) -> None:
        raise SystemExit(7)

    async def begin() -> None:
        b = await kept.enter_async_context(bench())
        server.append(b)
        pairs = [await b.connect() for _ in range(20)]
        connections.extend(connection for _, connection in pairs)
        connections[7].on_data = leave
        for client, _ in pairs:
            client.send(b"x")
        await asyncio.sleep(PATIENCE)

    async def go_on() -> None:
        for connection in connections:
            await connection.until(lambda connection=connection: connection.data == b"x")
        assert isinstance(await asyncio.wait_for(connections[7].lost, PATIENCE), SystemExit)
        await kept.aclose()

    with pytest.raises(SystemExit):
        run(begin())
    run(go_on())


def test_a_connection_that_cannot_be_made_is_closed(run: Run) -> None:
    async def main() -> None:
        told: list[str] = []
        async with bench() as b:
            b.loop.set_exception_handler(lambda loop, context: told.append(str(context["exception"])))
            make = b.make

            def fail_once() -> Recorder:
                b.make = make  # type: ignore[method-assign]
                raise MemoryError("no room")

            b.make = fail_once  # type: ignore[method-assign]
            with socket.create_connection(b.address, PATIENCE) as refused:
                refused.setblocking(False)
                assert await asyncio.wait_for(b.loop.sock_recv(refused, 1), PATIENCE) == b""
            client, connection = await b.connect()
            await b.loop.sock_sendall(client, b"data")
            await connection.until(lambda: connection.data == b"data")
            assert told == ["no room"]

    run(main())


def test_an_error_at_the_end_of_input_ends_the_connection(run: Run) -> None:
    async def main() -> None:
        told: list[BaseException] = []
        async with bench() as b:
            b.loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
            client, connection = await b.connect()

            def fail() -> bool:
                raise ValueError("a bug")

            connection.eof_received = fail  # type: ignore[method-assign]
            for number in range(3):  # alone and busy: it is read without asking epoll
                await b.loop.sock_sendall(client, b"x")
                await connection.until(lambda number=number: len(connection.data) == number + 1)
            client.close()
            assert isinstance(await asyncio.wait_for(connection.lost, PATIENCE), ValueError)
            assert [str(each) for each in told] == ["a bug"]

    run(main())


def test_what_waits_is_accepted_before_listening_ends(run: Run) -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        async with bench(listener, gate=lambda: 60.0) as b:  # somebody else should take them
            clients = [socket.create_connection(b.address, PATIENCE) for _ in range(70)]
            for client in clients:
                client.sendall(b"request")
                client.setblocking(False)
            b.clients += clients
            await asyncio.sleep(0.01)
            assert b.connections == []
            b.server.accept_waiting()
            b.server.close()
            b.server.accept_waiting()  # nothing happens
            for connection in b.connections:
                await connection.until(lambda connection=connection: connection.data == b"request")
                assert connection.transport is not None
                connection.transport.write(b"answer")
            assert [await b.read(client, 6) for client in clients] == [b"answer"] * 70

    run(main())


def test_an_error_of_the_listener_is_told_and_not_again_and_again(run: Run) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        listener = socket.create_server(("127.0.0.1", 0))
        async with bench(listener) as b:
            b.loop.set_exception_handler(lambda loop, context: told.append(context))
            client, connection = await b.connect()
            listener.shutdown(socket.SHUT_RDWR)  # by another process that has it, for one
            while not told:
                await asyncio.sleep(0)
            for _ in range(100):
                await asyncio.sleep(0)
            assert [each["message"] for each in told] == ["Accepting a connection failed"]
            await b.loop.sock_sendall(client, b"data")
            await connection.until(lambda: connection.data == b"data")

    run(main())


def test_descriptors_are_closed_with_their_connections() -> None:
    async def main() -> None:
        async with bench() as b:
            gc.collect()  # what others have left is not closed in between
            before = len(os.listdir("/proc/self/fd"))
            for how in ("abort", "close", "peer") * 5:
                client, connection = await b.connect()
                if how == "peer":
                    client.close()
                else:
                    getattr(connection.transport, how)()
                await asyncio.wait_for(connection.lost, PATIENCE)
                client.close()
            assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(main())
    assert SocketServer is not None
