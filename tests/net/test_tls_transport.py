"""TLS on our own sockets: the same promises as in plain, byte by byte, and nothing of one connection in another's."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from socket_bench import LOOPS, PATIENCE, Recorder, Run
from tls_bench import TlsBench, TlsClient, client_context, tls_bench

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
GARBAGE = b"\x17\x03\x03\x00\x20" + bytes(32)
"""A record that nobody has encrypted."""


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine on a loop of each kind."""
    loop = LOOPS[request.param]()
    yield loop.run_until_complete
    loop.close()


@VERSIONS
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.slow
def test_a_handshake_and_records_in_pieces(run: Run, tmp_path: Path, version: ssl.TLSVersion, step: int) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls(version, step)
            assert not b.state.opening
            assert connection.transport.get_extra_info("ssl_object").version() == client.tls.version()
            expected = b""
            for size in (1, 64, 16384, 16385, 100_000):
                data = random.Random(size).randbytes(size if step > 1 else min(size, 1000))
                expected += data
                await client.send(data, step)
                await connection.until(lambda wanted=expected: connection.data == wanted)
                assert connection.data == expected
                connection.transport.write(data)
                assert await client.read(len(data)) == data
            connection.transport.writelines([b"a" * 10, b"", b"b"] * 1000)
            assert await client.read(11_000) == (b"a" * 10 + b"b") * 1000

    run(main())


def test_records_of_one_read_come_together(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls()
            pieces: list[bytes] = []
            connection.on_data = pieces.append
            await client.raw(b"".join(client.sealed(b"%04d" % number) for number in range(100)))
            await connection.until(lambda: len(connection.data) == 400)
            assert connection.data == b"".join(b"%04d" % number for number in range(100))
            assert len(pieces) < 20

    run(main())


def test_frames_of_one_turn_are_one_record(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls()
            await asyncio.sleep(0)
            connection.transport.writelines([b"%03d" % number for number in range(300)])
            data = b""
            records = 0
            while len(data) < 900:
                try:
                    data += client.tls.read(20_000)  # one record's
                    records += 1
                except ssl.SSLWantReadError:
                    await client.take()
            assert data == b"".join(b"%03d" % number for number in range(300))
            assert records == 1

    run(main())


@VERSIONS
@pytest.mark.slow
def test_a_slow_reader_gets_everything_in_order_and_then_the_end(
    run: Run, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls(version)
            sent = connection.fill()
            assert connection.transport.get_write_buffer_size() > 100_000
            tail = [struct.pack("!I", each) * 7 for each in range(2000)]
            connection.transport.writelines(tail)
            sent += b"".join(tail)
            connection.transport.write(large := random.Random(1).randbytes(1 << 20))
            sent += large
            connection.transport.close()  # not before it is sent
            assert connection.transport.is_closing()
            assert await client.read(len(sent) + 1) == sent  # and close_notify behind it
            assert connection.calls[:2] == ["pause", "resume"]
            assert await asyncio.wait_for(connection.lost, PATIENCE) is None

    run(main())


@pytest.mark.slow
def test_what_waits_for_many_is_there_once(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            message = bytes(8 << 20)
            ends = [await b.connect_tls() for _ in range(4)]
            for _, connection in ends:
                connection.transport.write(message)
            # What the kernel has not taken is in the message, but for the records that are on their way.
            waiting = [connection.transport.get_write_buffer_size() for _, connection in ends]
            assert all(size > 1 << 20 for size in waiting)
            for client, _ in ends:
                assert await client.read(len(message)) == message

    run(main())


@VERSIONS
def test_reading_may_pause_at_any_byte(run: Run, tmp_path: Path, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls(version)
            data = random.Random(2).randbytes(300_000)
            allowed = 1
            connection.pause_reading_after(allowed)
            sending = b.loop.create_task(client.send(data))
            choose = random.Random(3)
            while len(connection.data) < len(data):
                await connection.until(lambda allowed=allowed: len(connection.data) >= allowed)
                assert len(connection.data) == allowed
                step = min(choose.choice([1, 5, 100, 16_384, 16_385, 70_000]), len(data) - allowed)
                if not step:
                    break
                allowed += step
                connection.pause_reading_after(step)
            await sending
            assert connection.data == data
            connection.resume_reading()
            await client.send(b"more")
            await connection.until(lambda: connection.data.endswith(b"more"))

    run(main())


def test_what_came_before_the_end_is_read_before_a_paused_connection_ends(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls()
            connection.pause_reading_after(10)
            await client.send(bytes(range(100)))
            await connection.until(lambda: len(connection.data) == 10)
            await client.end()
            client.sock.shutdown(socket.SHUT_WR)
            for _ in range(5):
                await asyncio.sleep(0)
            assert not connection.lost.done()
            connection.resume_reading()
            await asyncio.wait_for(connection.lost, PATIENCE)
            assert connection.data == bytes(range(100))
            assert connection.calls == ["eof"]

    run(main())


@VERSIONS
@pytest.mark.slow
def test_nothing_of_one_connection_gets_into_another(run: Run, tmp_path: Path, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            choose = random.Random(4)

            async def talk(number: int) -> None:
                client = TlsClient(await b.plain(), client_context(version))
                await client.shake(choose.choice([1, 50, 1 << 20]))
                sent = b""
                for _ in range(30):
                    data = struct.pack("!I", number) * choose.choice([1, 10, 3000, 20_000])
                    sent += data
                    await client.send(data, choose.choice([13, 1000, 1 << 20]) if len(data) < 50_000 else 9999)
                    if choose.random() < 0.3:
                        sent = sent[len(await client.read(len(sent))) :]
                assert (await client.read(len(sent))) == sent

            b.echoes = True
            await asyncio.gather(*map(talk, range(12)))

    run(main())


@VERSIONS
def test_the_peer_s_close_notify_is_the_end(run: Run, tmp_path: Path, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls(version)
            await client.raw(client.sealed(b"last") + await ended(client))
            assert await client.read(1) == b""  # ours
            assert await asyncio.wait_for(connection.lost, PATIENCE) is None
            assert (connection.data, connection.calls) == (b"last", ["eof"])

    async def ended(client: TlsClient) -> bytes:
        with contextlib.suppress(ssl.SSLError):
            client.tls.unwrap()
        return client.outgoing.read()

    run(main())


def test_a_peer_that_leaves_without_a_word_is_the_end(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls()
            client.sock.close()
            await asyncio.wait_for(connection.lost, PATIENCE)
            assert connection.calls in (["eof"], [])

    run(main())


def test_half_a_close_keeps_reading(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls()
            connection.transport.write(b"bye")
            connection.transport.write_eof()
            with pytest.raises(RuntimeError):
                connection.transport.write(b"more")
            assert await client.read(100) == b"bye"
            await client.take()
            assert client.ended
            await client.send(b"still here")
            await connection.until(lambda: connection.data == b"still here")
            client.sock.close()
            await asyncio.wait_for(connection.lost, PATIENCE)

    run(main())


@VERSIONS
def test_a_record_that_is_none_ends_the_connection_with_an_alert(
    run: Run, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls(version)
            other, quiet = await b.connect_tls(version)
            await client.raw(client.sealed(b"good") + GARBAGE)
            with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
                await client.read(1)
            assert isinstance(await asyncio.wait_for(connection.lost, PATIENCE), ssl.SSLError)
            await other.send(b"unharmed")
            await quiet.until(lambda: quiet.data == b"unharmed")

    run(main())


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x00\x05hello", bytes(600)])
def test_what_is_no_handshake_is_told_and_is_no_connection(run: Run, tmp_path: Path, sent: bytes) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client = await b.plain()
            await b.loop.sock_sendall(client, sent)
            with contextlib.suppress(ConnectionError):
                while await asyncio.wait_for(b.loop.sock_recv(client, 1000), PATIENCE):
                    pass
            assert [type(error) for error in b.failures] == [ssl.SSLError]
            assert not b.connections
            assert not b.state.opening

    run(main())


def test_who_leaves_in_the_handshake_is_forgotten(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            for part in (0, 10, 1 << 20):
                client = TlsClient(await b.plain(), client_context())
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.tls.do_handshake()
                await client.raw(client.outgoing.read()[:part])
                if part > 10:
                    await client.take()
                client.sock.close()
            while len(b.failures) < 3:
                await asyncio.sleep(0.001)
            assert {type(error) for error in b.failures} == {ConnectionResetError}
            assert not b.state.opening
            assert not b.connections

    run(main())


def test_a_handshake_has_little_time(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path, timeout=0.05) as b:
            silent = [await b.plain() for _ in range(3)]
            for client in silent:
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.wait_for(b.loop.sock_recv(client, 10), PATIENCE) == b""
            assert [type(error) for error in b.failures] == [ConnectionAbortedError] * 3
            assert not b.state.opening

    run(main())


def test_handshakes_are_given_up_when_the_server_is(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client = await b.plain()
            while not b.state.opening:
                await asyncio.sleep(0.001)
            assert set(b.server.descriptors()) >= {b.server.sockets[0].fileno()}
            assert len(b.server.descriptors()) == 3  # the listener, the epoll set, the handshake
            for each in list(b.state.opening):
                each.cancel()
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(b.loop.sock_recv(client, 10), PATIENCE) == b""
            assert not b.state.opening

    run(main())


def test_an_abort_says_nothing(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls()
            connection.transport.abort()
            with pytest.raises((ssl.SSLEOFError, ConnectionError)):
                await client.read(1)

    run(main())


async def openssl(b: TlsBench, *options: str) -> tuple[Any, Recorder]:
    """OpenSSL's own client, and the connection that the server has made for it."""
    command = ("openssl", "s_client", *options, "-connect", f"127.0.0.1:{b.address[1]}")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    while not b.connections:
        b.accepted.clear()
        await asyncio.wait_for(b.accepted.wait(), PATIENCE)
    return process, b.connections[0]


def test_renegotiation_is_refused(tmp_path: Path) -> None:
    """TLS 1.2 lets a client ask for a new handshake at any time, which would cost the server most of the work."""

    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            process, connection = await openssl(b, "-tls1_2")
            process.stdin.write(b"R\n")
            await asyncio.wait_for(process.communicate(), PATIENCE)
            assert process.returncode != 0
            assert connection.data == b""

    asyncio.run(main())


def test_new_keys_in_the_middle(tmp_path: Path) -> None:
    """KeyUpdate (RFC 8446 section 4.6.3): openssl asks for ours, too, which we send before we write on."""

    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            process, connection = await openssl(b)
            for number in range(3):
                process.stdin.write(b"K\n")
                while b"KEYUPDATE" not in await asyncio.wait_for(process.stderr.readline(), PATIENCE):
                    pass
                process.stdin.write(b"hello %d\n" % number)
                await connection.until(lambda number=number: b"hello %d" % number in connection.data)
                connection.transport.write(b"answer %d\n" % number)
                while (line := await asyncio.wait_for(process.stdout.readline(), PATIENCE)) != b"answer %d\n" % number:
                    assert line
            process.stdin.close()
            await asyncio.wait_for(process.communicate(), PATIENCE)

    asyncio.run(main())


def test_a_megabyte_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls()
            data = bytes(1 << 20)
            sending = b.loop.create_task(client.send(data))
            await connection.until(lambda: len(connection.data) == len(data))
            await sending
            connection.transport.write(data)
            assert await client.read(len(data)) == data
            assert connection.transport.get_write_buffer_size() == 0
            quiet, other = await b.connect_tls()
            socket.socket.close(quiet.sock)
            await asyncio.wait_for(other.lost, PATIENCE)

    run(main())


@VERSIONS
@pytest.mark.parametrize("paused", [True, False], ids=["while paused", "in the middle of data"])
def test_our_end_costs_nothing_of_what_the_peer_has_sent(
    run: Run, tmp_path: Path, version: ssl.TLSVersion, paused: bool
) -> None:
    """OpenSSL looks for the peer's end when ours is sent, and gives up where it finds data."""

    async def main() -> None:
        async with tls_bench(tmp_path) as b:
            client, connection = await b.connect_tls(version)
            connection.stays = True
            data = random.Random(1).randbytes(200_000)
            if paused:
                connection.pause_reading_after(20)
            else:
                connection.on_data = lambda data: connection.transport.write_eof()
            sending = asyncio.ensure_future(client.send(data))
            await connection.until(lambda: len(connection.data) >= 20)
            connection.transport.write_eof()
            assert await client.read(1) == b""
            connection.resume_reading()
            await sending
            await connection.until(lambda: len(connection.data) >= len(data))
            assert connection.data == data

    run(main())
