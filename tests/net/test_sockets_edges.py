"""Plain sockets where bytes, descriptors, urgent data and errors come in ways that epoll tells of once only."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from socket_bench import LOOPS, PATIENCE, Bench, Recorder, Run, bench

RESET = struct.pack("ii", 1, 0)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine on a loop of each kind."""
    loop = LOOPS[request.param]()
    yield loop.run_until_complete
    loop.close()


def unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path / "socket"))
    listener.listen()
    return listener


async def arrives(connection: Recorder, data: bytes) -> None:
    await asyncio.wait_for(connection.until(lambda: len(connection.data) >= len(data)), PATIENCE)
    assert connection.data == data


@pytest.mark.parametrize("inline", [False, True])
def test_bytes_behind_urgent_data(run: Run, inline: bool) -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, inline)  # a connection inherits it
        async with bench(listener) as b:
            client, connection = await b.connect()
            expected = b""
            for number in range(12):  # from the fourth on, what a connection that is busy alone sends is read unasked
                client.send(b"before")
                client.send(b"!", socket.MSG_OOB)
                client.send(b"behind")
                expected += b"before!behind" if inline else b"beforebehind"
                if number % 3 or not inline:  # else a second mark makes the first one data
                    await arrives(connection, expected)
            await arrives(connection, expected)

    run(main())


@pytest.mark.slow
def test_bytes_behind_descriptors(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(unix_listener(tmp_path)) as b:
            client, connection = await b.connect()
            gc.collect()  # what others have left is not closed in between
            before = len(os.listdir("/proc/self/fd"))
            expected = b""
            for number in range(12):
                client.send(b"before")
                socket.send_fds(client, [b"with"], [0, 1])
                client.send(b"behind")
                expected += b"beforewithbehind"
                if number % 3:
                    await arrives(connection, expected)
            await arrives(connection, expected)
            assert len(os.listdir("/proc/self/fd")) == before

    run(main())


def test_bytes_of_several_writers_whose_credentials_are_asked_for(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        listener = unix_listener(tmp_path)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        async with bench(listener) as b:
            client, connection = await b.connect()
            client.send(b"before")
            child = os.fork()
            if not child:
                client.send(b"child's")
                os._exit(0)
            os.waitpid(child, 0)
            client.send(b"behind")
            await arrives(connection, b"beforechild'sbehind")

    run(main())


def reset(b: Bench, client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    b.clients.remove(client)


def test_a_reset_ends_a_connection_that_is_paused(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            assert connection.transport is not None
            connection.transport.pause_reading()
            reset(b, client)
            error = await asyncio.wait_for(asyncio.shield(connection.lost), PATIENCE)
            assert isinstance(error, ConnectionResetError)

    run(main())


def test_what_came_before_a_reset_is_read_before_a_paused_connection_ends(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            _, other = await b.connect()
            assert connection.transport is not None
            connection.transport.pause_reading()
            client.send(b"the last words")
            await asyncio.sleep(0)
            reset(b, client)
            b.clients[0].send(b"?")  # when it is there, the reset was told of, too
            await arrives(other, b"?")
            assert not connection.lost.done()
            transport = connection.transport
            assert transport is not None
            transport.resume_reading()
            await asyncio.wait_for(asyncio.shield(connection.lost), PATIENCE)
            assert connection.data == b"the last words"

    run(main())


def test_a_unix_peer_that_is_gone_ends_a_connection_that_is_paused(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(unix_listener(tmp_path)) as b:
            client, connection = await b.connect()
            assert connection.transport is not None
            connection.transport.pause_reading()
            client.close()
            b.clients.remove(client)
            await asyncio.wait_for(asyncio.shield(connection.lost), PATIENCE)
            assert connection.calls == ["eof"]

    run(main())


def test_where_epoll_fails_a_connection_ends_and_does_not_wait(run: Run) -> None:
    async def main() -> None:
        before = pollers()
        async with bench() as b:
            _, connection = await b.connect()
            (poller,) = pollers() - before
            nothing = os.open(os.devnull, os.O_RDONLY)
            kept = os.dup(poller)
            os.dup2(nothing, poller)  # so that epoll_ctl says EINVAL
            try:
                assert connection.transport is not None
                connection.transport.write(bytes(1 << 24))
                error = await asyncio.wait_for(asyncio.shield(connection.lost), PATIENCE)
            finally:
                os.dup2(kept, poller)
                os.close(kept)
                os.close(nothing)
            assert isinstance(error, OSError)

    run(main())


def pollers() -> set[int]:
    """The descriptors of epoll sets of this process."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if "eventpoll" in os.readlink(f"/proc/self/fd/{name}"):
                found.add(int(name))
        except OSError:
            pass
    return found


def test_a_connection_that_cannot_be_opened_costs_itself_only(run: Run) -> None:
    async def main() -> None:
        async with bench() as b:
            told: list[dict[str, object]] = []
            b.loop.set_exception_handler(lambda loop, context: told.append(context))
            make, faults = b.make, iter([RuntimeError("no connection"), None, RuntimeError("nor this one")])

            def made() -> Recorder:
                fault = next(faults, None)
                if fault is not None:
                    raise fault
                return make()

            b.make = made  # type: ignore[method-assign]
            clients = [socket.create_connection(b.address) for _ in range(5)]
            b.server.accept_waiting()
            assert len(b.connections) == 3
            assert [str(each["exception"]) for each in told] == ["no connection", "nor this one"]
            for client in clients:
                client.close()

    run(main())


@pytest.mark.parametrize("wrong", [None, "text", bytearray(b"x"), 1, [None], [b"good", None], ["text"]], ids=repr)
@pytest.mark.slow
def test_what_is_no_bytes_is_refused_and_nothing_is_written(run: Run, wrong: object) -> None:
    async def main() -> None:
        async with bench() as b:
            client, connection = await b.connect()
            transport = connection.transport
            assert transport is not None
            for backlog in (False, True):
                if backlog:
                    transport.write(bytes(1 << 24))
                size = transport.get_write_buffer_size()
                with pytest.raises(TypeError):
                    transport.writelines(wrong)  # type: ignore[arg-type]
                with pytest.raises(TypeError):
                    transport.write(wrong)  # type: ignore[arg-type]
                assert transport.get_write_buffer_size() == size
            assert len(await b.read(client, 1 << 24)) == 1 << 24

    run(main())
