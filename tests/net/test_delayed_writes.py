"""What several connections write in one turn of the loop, which is sent behind the last of their applications.

Applications are played by callbacks of the loop that a connection's bytes ask for, as tasks that they wake.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from socket_bench import LOOPS, PATIENCE, Bench, Recorder, Run, bench
from tls_bench import TlsClient, tls_bench

COUNT = 6

Step = Callable[[int], None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine on a loop of each kind."""
    loop = LOOPS[request.param]()
    yield loop.run_until_complete
    loop.close()


class Crowd:
    """Connections whose bytes come in one turn."""

    def __init__(self, made: Bench, peers: list[tuple[Any, Recorder]]) -> None:
        self.bench = made
        self.patience = 1_000_000_000
        self.clients = [client for client, _ in peers]
        self.connections = [connection for _, connection in peers]

    @property
    def patience(self) -> int:
        """Nanoseconds that an application may take, on average, for its bytes to be delayed."""
        return int(self.bench.server.patience)

    @patience.setter
    def patience(self, nanoseconds: int) -> None:
        self.bench.server.patience = nanoseconds

    @property
    def transports(self) -> list[Any]:
        return [each.transport for each in self.connections]

    async def turn(self, step: Step, count: int = COUNT) -> None:
        """Let `count` connections be read in one turn, and call `step(number)` for each, as an application goes on."""
        loop = self.bench.loop
        done = asyncio.Event()
        left = count

        def go_on(number: int) -> None:
            nonlocal left
            left -= 1
            try:
                step(number)
            finally:
                if not left:
                    done.set()

        def told(number: int) -> Callable[[bytes], None]:
            def on_data(data: bytes) -> None:
                self.bench.state.woken = True
                loop.call_soon(go_on, number)

            return on_data

        for number in range(count):
            self.connections[number].on_data = told(number)
            client = self.clients[number]
            if isinstance(client, TlsClient):
                client.sock.send(client.sealed(b"?"))
            else:
                client.send(b"?")
        await asyncio.wait_for(done.wait(), PATIENCE)

    async def read(self, number: int, size: int) -> bytes:
        """What this client has got, up to `size` bytes."""
        client = self.clients[number]
        if isinstance(client, TlsClient):
            return await client.read(size)
        return await self.bench.read(client, size)

    def got(self, number: int) -> bool:
        """Whether bytes have come for this client that it has not read."""
        client = self.clients[number]
        sock = client.sock if isinstance(client, TlsClient) else client
        try:
            return bool(sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False


@asynccontextmanager
async def crowd(folder: Path, wire: str) -> AsyncIterator[Crowd]:
    if wire == "plain":
        async with bench() as plain:
            yield await ready(Crowd(plain, [await plain.connect() for _ in range(COUNT)]))
    else:
        async with tls_bench(folder) as secure:
            peers = [await secure.connect_tls() for _ in range(COUNT)]
            for client, connection in peers:  # tickets of the handshake are behind us
                connection.transport.write(b"!")
                assert await client.read(1) == b"!"
            yield await ready(Crowd(secure, peers))


async def ready(made: Crowd) -> Crowd:
    """After a turn of all: nobody is taken for the one who is busy, and read before the others."""
    await made.turn(lambda number: None)
    return made


wires = pytest.mark.parametrize("wire", ["plain", "tls"])


@wires
def test_all_is_sent_behind_the_last_in_order(run: Run, tmp_path: Path, wire: str) -> None:
    async def main() -> None:
        async with crowd(tmp_path, wire) as c:
            early = []

            def step(number: int) -> None:
                transport = c.transports[number]
                transport.write(b"%d" % number)
                transport.writelines([b"a", b"", b"b"])
                transport.write(b"c")
                early.append(any(c.got(each) for each in range(COUNT)))
                assert transport.get_write_buffer_size() == 4

            for _ in range(3):  # and again
                await c.turn(step)
                for number in range(COUNT):
                    assert await c.read(number, 4) == b"%dabc" % number
            assert early == [False] * COUNT * 3
            assert [each.get_write_buffer_size() for each in c.transports] == [0] * COUNT

    run(main())


@wires
def test_one_alone_sends_at_once(run: Run, tmp_path: Path, wire: str) -> None:
    async def main() -> None:
        async with crowd(tmp_path, wire) as c:
            early = []

            def step(number: int) -> None:
                c.transports[number].write(b"1")
                early.append(c.got(number))

            await c.turn(step, 1)
            assert early == [True]
            c.transports[1].write(b"2")  # and who writes outside of such a turn
            assert c.got(1)

    run(main())


@wires
def test_much_is_sent_at_once_with_what_was_before_it(run: Run, tmp_path: Path, wire: str) -> None:
    async def main() -> None:
        async with crowd(tmp_path, wire) as c:

            def step(number: int) -> None:
                transport = c.transports[number]
                transport.write(b"first")
                assert not c.got(number)
                transport.write(b"x" * 16384)
                assert c.got(number)
                transport.write(b"last")

            await c.turn(step)
            for number in range(COUNT):
                assert await c.read(number, 5 + 16384 + 4) == b"first" + b"x" * 16384 + b"last"

    run(main())


@wires
@pytest.mark.parametrize("end", ["close", "abort", "write_eof"])
def test_an_end_behind_it_loses_nothing(run: Run, tmp_path: Path, wire: str, end: str) -> None:
    async def main() -> None:
        async with crowd(tmp_path, wire) as c:

            def step(number: int) -> None:
                c.transports[number].write(b"answer %d" % number)
                getattr(c.transports[number], end)()

            connections = list(c.connections)
            await c.turn(step)
            for number in range(COUNT):
                size = len(b"answer 0") + (end != "abort" or wire == "plain")  # TLS has no end of its own there
                assert await c.read(number, size) == b"answer %d" % number
            if end != "write_eof":
                for connection in connections:
                    assert await asyncio.wait_for(connection.lost, PATIENCE) is None

    run(main())


@wires
def test_who_was_slow_lets_nobody_wait(run: Run, tmp_path: Path, wire: str) -> None:
    async def main() -> None:
        async with crowd(tmp_path, wire) as c:
            got: list[int] = []

            def step(number: int) -> None:
                c.patience = 0 if len(got) == 3 else 1_000_000_000  # then the fourth was slow
                c.transports[number].write(b"1")
                got.append(sum(c.got(each) for each in range(COUNT)))

            await c.turn(step)
            assert got == [0, 0, 0, 4, 5, 6]  # now everything is sent, and the rest at once
            for number in range(COUNT):
                await c.read(number, 1)
            got.clear()
            await c.turn(step)  # applications are slow here: nothing is delayed for a while
            assert got == [1, 2, 3, 4, 5, 6]

    run(main())


def test_each_that_is_slow_again_is_remembered_for_twice_as_long(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with crowd(tmp_path, "plain") as c:
            early: list[bool] = []

            def step(number: int) -> None:
                c.transports[number].write(b"1")
                early.append(c.got(number))

            def slow_behind_it(number: int) -> None:
                c.transports[number].write(b"1")
                c.patience = 0  # nobody writes behind this

            async def turn(step: Step) -> None:
                await c.turn(step, 2)
                assert [await c.read(number, 1) for number in range(2)] == [b"1", b"1"]

            async def turns_without_delay() -> int:
                c.patience = 1_000_000_000
                count = 0
                early.clear()
                await turn(step)
                while early[-1]:
                    count += 1
                    await turn(step)
                return count

            await turn(slow_behind_it)
            assert await turns_without_delay() == 64
            await turn(slow_behind_it)
            assert await turns_without_delay() == 128

    run(main())


def test_a_peer_that_is_gone_costs_nobody_else(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with crowd(tmp_path, "plain") as c:
            connections = list(c.connections)

            def step(number: int) -> None:
                c.transports[number].write(b"1")
                if number == COUNT - 1:
                    for gone in (0, 3):
                        c.clients[gone].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        c.clients[gone].close()

            await c.turn(step)
            for number in (1, 2, 4, 5):
                assert await c.read(number, 1) == b"1"
            for gone in (0, 3):
                assert isinstance(await asyncio.wait_for(connections[gone].lost, PATIENCE), ConnectionError)

    run(main())


@wires
def test_a_peer_that_reads_nothing_pauses_who_writes(run: Run, tmp_path: Path, wire: str) -> None:
    async def main() -> None:
        async with crowd(tmp_path, wire) as c:
            c.transports[0].set_write_buffer_limits(high=3000, low=1000)
            sent = 0
            connection = c.connections[0]

            def step(number: int) -> None:
                nonlocal sent
                c.transports[number].write(b"x" * 2500)
                if number == 0:
                    c.transports[number].write(b"x" * 2500)
                    sent += 5000

            turns = 0
            while "pause" not in connection.calls:
                await c.turn(step)
                turns += 1
                for number in range(1, COUNT):
                    assert await c.read(number, 2500) == b"x" * 2500
            assert turns > 5  # the kernel takes more than one of them
            assert await c.read(0, sent) == b"x" * sent
            await connection.until(lambda: "resume" in connection.calls)

    run(main())


def test_an_application_that_raises_costs_nobody_else(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with crowd(tmp_path, "plain") as c:
            raised = []
            c.bench.loop.set_exception_handler(lambda _, context: raised.append(context["exception"]))

            def step(number: int) -> None:
                c.transports[number].write(b"1")
                if number == 2:
                    raise ValueError

            await c.turn(step)
            for number in range(COUNT):
                assert await c.read(number, 1) == b"1"
            assert [type(each) for each in raised] == [ValueError]

    run(main())
