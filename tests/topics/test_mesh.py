"""The bus between workers of one machine: buses of one process here, each with its own files and streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from redis_server import until
from topics_locals import FakeLocal

from fastws.errors import StartupError
from fastws.net.event_loop import new_event_loop, run_in
from fastws.topics.bus import Publication
from fastws.topics.mesh import Mesh
from fastws.topics.mesh_frames import BYTES, COUNT, TEXT, Frame, FrameReader, encode

BUFFER = 1 << 20


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path: a Unix socket's has 107 bytes at the most."""
    with tempfile.TemporaryDirectory(prefix="fastws-mesh-") as path:
        yield Path(path)


Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine function in a loop of each kind."""

    def run(test: Callable[[], Awaitable[None]]) -> None:
        async def limited() -> None:
            await asyncio.wait_for(test(), 30)

        run_in(new_event_loop(request.param), limited())

    return run


async def joined(directory: Path, count: int, buffer: int = BUFFER) -> list[tuple[Mesh, FakeLocal]]:
    """So many workers, which know each other."""
    workers = []
    for _ in range(count):
        mesh, local = Mesh(directory, buffer), FakeLocal()
        await mesh.start(local)
        workers.append((mesh, local))
    return workers


async def stop(workers: list[tuple[Mesh, FakeLocal]]) -> None:
    for mesh, _ in workers:
        await mesh.stop()


def test_frames_come_as_they_went_whole_and_byte_by_byte() -> None:
    frames = [
        Frame(TEXT, "röom", None, "héllo"),
        Frame(BYTES, "x" * 255, "", b"\x00\xff"),
        Frame(TEXT, "room", "kéy", ""),
        Frame(COUNT, "", None, b""),
    ]
    data = b"".join(
        encode(kind, topic, message.encode() if isinstance(message, str) else message, key)
        for kind, topic, key, message in frames
    )
    assert list(FrameReader().feed(data)) == frames
    reader = FrameReader()
    assert [frame for byte in data for frame in reader.feed(bytes([byte]))] == frames
    with pytest.raises(ValueError, match="shorter"):
        list(FrameReader().feed(b"\x00\x00\x00\x05\x01\xff\xff\x00\x00"))


def test_publications_reach_every_other_worker_in_order_and_once(directory: Path, run: Run) -> None:
    async def test() -> None:
        workers = await joined(directory, 3)
        for mesh, local in workers:
            local.add(mesh, "room")
        for number in range(1000):
            for index, (mesh, _) in enumerate(workers):
                mesh.publish(Publication("room", f"{index} {number}", f"k{number}"))
            if number % 100 == 0:
                await asyncio.sleep(0)
        for index, (mesh, local) in enumerate(workers):
            await until(lambda local=local: len(local.got) == 2000)
            for other in {0, 1, 2} - {index}:
                theirs = [each for each in local.got if str(each.message).startswith(f"{other} ")]
                assert [each.message for each in theirs] == [f"{other} {number}" for number in range(1000)]
                assert [each.key for each in theirs] == [f"k{number}" for number in range(1000)]
            assert (mesh.counts.sent, mesh.counts.received, mesh.counts.dropped) == (2000, 2000, 0)
        big = b"\xff" * 500_000
        workers[0][0].publish(Publication("room", big))
        await until(lambda: workers[2][1].got[-1].message == big)
        await stop(workers)
        assert list(directory.iterdir()) == []

    run(test)


def test_a_subscription_counts_at_once_and_workers_without_one_get_nothing(directory: Path, run: Run) -> None:
    async def test() -> None:
        (one, _), (two, local) = workers = await joined(directory, 2)
        one.publish(Publication("room", "too early"))
        local.add(two, "room")
        one.publish(Publication("room", "now"))  # in the same turn of the loop
        await until(lambda: local.got)
        local.remove(two, "room")
        one.publish(Publication("room", "too late"))
        local.add(two, "other")
        one.publish(Publication("other", "last"))
        await until(lambda: len(local.got) == 2)
        assert [each.message for each in local.got] == ["now", "last"]
        assert one.counts.sent == 2
        await stop(workers)

    run(test)


def test_presence_of_all_workers(directory: Path, run: Run) -> None:
    async def test() -> None:
        workers = await joined(directory, 3)
        (one, first), (two, second), (three, _) = workers
        assert await one.presence("room") == 0
        first.add(one, "room", 2)
        second.add(two, "room", 5)
        for mesh in (one, two, three):
            assert await mesh.presence("room") == 7
        assert await three.audience("room") == (7, 2)
        await two.stop()
        await until(lambda: len(one._streams) == 1)
        assert await three.audience("room") == (2, 1)
        await stop([workers[0], workers[2]])

    run(test)


def test_a_worker_that_does_not_read_delays_nobody_and_the_log_has_what_it_lost(
    directory: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """A peer that is stuck: it has subscribed to everything, and reads from nobody."""

    async def test() -> None:
        workers = await joined(directory, 2, 65_536)
        (one, _), (two, local) = workers
        local.add(two, "room")
        (directory / "99-stuck.topics").write_bytes(b"\x01" * 65_536)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(directory / "99-stuck.sock"))
        listener.listen()
        with socket.socket(socket.AF_UNIX) as hello:
            hello.connect(str(next(each for each in directory.glob("*.sock") if one.name in each.name)))
            hello.sendall(encode(0, "", b"99-stuck"))
            await until(lambda: len(one._streams) == 2 and one._streams["99-stuck"].transport is not None)
            sent = 0
            while not one.counts.dropped or sent < 1000:
                one.publish(Publication("room", "x" * 1000))
                sent += 1
                await asyncio.sleep(0)
            await until(lambda: len(local.got) == sent)
            assert await asyncio.wait_for(one.presence("room"), 5) == 1  # it does not wait for ever
            stuck, _ = listener.accept()
            with stuck:
                received = b""
                stuck.setblocking(False)
                while len(list(_frames(received))) < 1 + sent - one.counts.dropped:
                    try:
                        received += stuck.recv(65_536)
                    except BlockingIOError:
                        await asyncio.sleep(0.001)
                await until(lambda: f"Topics: {one.counts.dropped} publications" in caplog.text)
        assert "did not reach worker [99]" in caplog.text
        listener.close()
        os.unlink(directory / "99-stuck.sock")
        await stop(workers)

    run(test)


def _frames(data: bytes) -> list[Frame]:
    return [each for each in FrameReader().feed(data) if isinstance(each, Frame) and each.kind != COUNT]


def test_files_of_a_worker_that_was_killed_are_removed(directory: Path, run: Run) -> None:
    async def test() -> None:
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(directory / "1-dead.sock"))
        (directory / "1-dead.topics").write_bytes(bytes(65_536))
        workers = await joined(directory, 2)
        assert not list(directory.glob("1-dead*"))
        workers[1][1].add(workers[1][0], "room")
        workers[0][0].publish(Publication("room", "hello"))
        await until(lambda: workers[1][1].got)
        await stop(workers)

    run(test)


def test_the_directory_must_be_its_user_s_alone(directory: Path, run: Run) -> None:
    async def test() -> None:
        before = os.umask(0)
        try:
            mesh = Mesh(directory / "new" / "er", BUFFER)
            await mesh.start(FakeLocal())
            assert stat.S_IMODE((directory / "new" / "er").stat().st_mode) == 0o700
            await mesh.stop()
            (directory / "open").mkdir(0o755)
        finally:
            os.umask(before)
        with pytest.raises(StartupError, match=r"--topics-dir: .*nobody else may open it"):
            await Mesh(directory / "open", BUFFER).start(FakeLocal())
        with pytest.raises(StartupError, match="--topics-dir: cannot use .*" + "long"):
            await Mesh(directory / ("long" * 40), BUFFER).start(FakeLocal())

    run(test)


@pytest.mark.parametrize(
    ("nonsense", "ends"),
    [
        (b"\x00\x00\x00\x05\x01\xff\xff\x00\x00", True),  # shorter than its topic
        (b"\xff\xff\xff\xff\x01\x00\x04\x00\x00", True),  # four gigabytes
        (encode(9, "", b""), False),
        (encode(TEXT, "room", b"\xff"), False),
        (encode(BYTES, "room", b"").replace(b"room", b"\xff\xfe\xfd\xfc"), False),
        (encode(BYTES, "room", b"", "key").replace(b"key", b"\xff\xfe\xfd"), False),
        (encode(TEXT, "room", b"\xed\xa0\x80"), False),  # a lone surrogate
        (encode(COUNT, "room", b"123"), False),
        (encode(0, "", b"../../etc/1-x"), False),
        (encode(0, "", b"\xff"), False),
    ],
)
def test_nonsense_from_a_peer_costs_itself(
    directory: Path, run: Run, nonsense: bytes, ends: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes behind it is used, where it is known where that begins."""

    async def test() -> None:
        workers = await joined(directory, 2)
        (one, _), (two, local) = workers
        local.add(two, "room")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(directory / f"{two.name}.sock"))
            client.sendall(nonsense + encode(TEXT, "room", b"behind it"))
            client.setblocking(False)
            if ends:
                with contextlib.suppress(ConnectionResetError):
                    assert await asyncio.get_running_loop().sock_recv(client, 10) == b""
            else:
                await until(lambda: local.messages == ["behind it"])
        await until(lambda: two.counts.bad == 1)
        one.publish(Publication("room", "hello"))
        await until(lambda: local.messages[-1:] == ["hello"])
        assert two.counts.bad == 1
        assert ("cannot use what another worker has sent" if ends else "no publication, from a worker") in caplog.text
        await stop(workers)

    run(test)


@pytest.mark.slow
def test_questions_are_bounded_and_nothing_is_left_of_what_has_gone(directory: Path, run: Run) -> None:
    """A worker that is stuck has subscribed, and answers nobody."""

    async def test() -> None:
        workers = await joined(directory, 2)
        (one, _), (two, local) = workers
        before = one.tables(), two.tables(), len(asyncio.all_tasks())
        (directory / "99-stuck.topics").write_bytes(b"\x01" * 65_536)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(directory / "99-stuck.sock"))
            listener.listen()
            with socket.socket(socket.AF_UNIX) as hello:
                hello.connect(str(directory / f"{one.name}.sock"))
                hello.sendall(encode(0, "", b"99-stuck"))
                await until(lambda: len(one._streams) == 2 and one._streams["99-stuck"].transport is not None)
                asked = [asyncio.ensure_future(one.presence("room")) for _ in range(3000)]
                await asyncio.wait([asyncio.ensure_future(one.presence("room"))], timeout=0.01)
                assert len(one._questions) == 1000
                assert one._streams["99-stuck"].waiting() <= 65_536
                for each in asked:
                    each.cancel()  # clients that leave
            os.unlink(directory / "99-stuck.sock")
        for number in range(1000):
            local.add(two, f"{number}")
            local.remove(two, f"{number}")
        await until(lambda: (one.tables(), two.tables(), len(asyncio.all_tasks())) == before)
        await stop(workers)

    run(test)
