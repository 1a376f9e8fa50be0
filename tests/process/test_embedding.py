"""A server in somebody else's program: its loop, its cancellations, its descriptors, its files."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from serving import PATIENCE, SUPPORT, WITHOUT_EXTENSION
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import fastws
from fastws.net import listeners

ENGINE: dict[str, Any] = {"ws": "websockets"} if WITHOUT_EXTENSION else {}


async def answer(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass


def program(text: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **({"FASTWS_WS": "websockets"} if WITHOUT_EXTENSION else {})}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        cwd=SUPPORT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * PATIENCE,
    )


async def started(server: fastws.Server, serving: asyncio.Future[None]) -> int:
    while not server.started and not serving.done():
        await asyncio.sleep(0.001)
    return int(server.servers[0].sockets[0].getsockname()[1])


# Running loops.


@pytest.mark.parametrize("how", ["run", "server", "workers"])
def test_run_in_a_running_loop_says_what_to_write(how: str) -> None:
    async def main() -> None:
        runs: dict[str, Callable[[], None]] = {
            "server": fastws.Server(fastws.Config(answer)).run,
            "run": functools.partial(fastws.run, "process_apps:app"),
            "workers": functools.partial(fastws.run, "process_apps:app", workers=2),
        }
        with pytest.raises(RuntimeError, match=r"`await fastws\.Server\(fastws\.Config\(app\)\)\.serve\(\)`"):
            runs[how]()

    asyncio.run(main())


# Cancellation.


def test_a_cancelled_serve_closes_websockets_with_1012_and_blames_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastws.error")
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            seen.append((await receive())["type"])
            await asyncio.sleep(0.01)
            await send({"type": "lifespan.shutdown.complete"})
            seen.append("cleaned up")
            return
        await receive()
        await send({"type": "websocket.accept"})
        seen.append((await receive())["code"])

    async def main() -> None:
        server = fastws.Server(fastws.Config(app, port=0, log_config=None, drain_delay=60.0, **ENGINE))
        serving = asyncio.ensure_future(server.serve())
        async with connect(f"ws://127.0.0.1:{await started(server, serving)}") as client:
            serving.cancel("why")
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(client.recv(), PATIENCE)
            assert client.close_code == 1012
            with pytest.raises(asyncio.CancelledError):
                await serving
        assert serving.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert seen == [1012, "lifespan.shutdown", "cleaned up"]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_whoever_is_cancelled_again_and_again_still_ends_in_order() -> None:
    async def main() -> None:
        server = fastws.Server(fastws.Config(answer, port=0, log_config=None, **ENGINE))
        serving = asyncio.ensure_future(server.serve())
        async with connect(f"ws://127.0.0.1:{await started(server, serving)}") as client:
            while not serving.done():
                serving.cancel()  # as anyio's scopes do
                await asyncio.sleep(0)
            await client.wait_closed()
            assert client.close_code == 1012
        assert serving.cancelled()

    asyncio.run(main())


def test_a_serve_that_is_cancelled_while_the_application_starts_cancels_it() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            seen.append("starts")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main() -> None:
        serving = asyncio.ensure_future(fastws.Server(fastws.Config(app, port=0, log_config=None)).serve())
        while not seen:
            await asyncio.sleep(0.001)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(main())
    assert seen == ["starts", "cancelled"]


# The end during a start.


def test_a_startup_that_is_told_to_exit_is_finished_and_shut_down() -> None:
    seen = []
    go_on: list[asyncio.Event] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        go_on.append(asyncio.Event())
        seen.append((await receive())["type"])
        await go_on[0].wait()
        await send({"type": "lifespan.startup.complete"})
        seen.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})

    async def main() -> None:
        server = fastws.Server(fastws.Config(app, port=0, log_config=None))
        serving = asyncio.ensure_future(server.serve())
        while not seen:
            await asyncio.sleep(0.001)
        server.should_exit = True
        await asyncio.sleep(0.01)
        assert not serving.done()
        go_on[0].set()
        await serving
        assert not server.started

    asyncio.run(main())
    assert seen == ["lifespan.startup", "lifespan.shutdown"]


def test_a_second_word_hurries_a_startup_that_hangs() -> None:
    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        server = fastws.Server(fastws.Config(hangs, port=0, log_config=None))
        serving = asyncio.ensure_future(server.serve())
        await asyncio.sleep(0.01)
        server.should_exit = True
        server.force_exit = True
        await asyncio.wait_for(serving, 2.0)

    asyncio.run(main())


# Descriptors and files.


@pytest.mark.parametrize("option", ["fd", "bind"])
def test_the_descriptor_of_the_program_stays_open(option: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as own:
        options: Any = {"fd": own.fileno()} if option == "fd" else {"bind": [f"fd://{own.fileno()}"]}

        async def main() -> None:
            server = fastws.Server(fastws.Config(answer, log_config=None, **ENGINE, **options))
            serving = asyncio.ensure_future(server.serve())
            assert await started(server, serving) == own.getsockname()[1]
            server.should_exit = True
            await serving

        for _ in range(2):
            asyncio.run(main())
        assert stat.S_ISSOCK(os.fstat(own.fileno()).st_mode)
        assert own.getsockname()[1]


def test_what_a_command_line_names_is_the_servers_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as own:
        descriptor = os.dup(own.fileno())
        with listeners.bound(fastws.Config(answer, fd=descriptor), adopt=True) as [sock]:
            assert sock.fileno() == descriptor
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_descriptor_that_is_refused_stays_open() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        with pytest.raises(Exception, match="not for streams"), listeners.bound(fastws.Config(answer, fd=own.fileno())):
            pass
        assert stat.S_ISSOCK(os.fstat(own.fileno()).st_mode)


@pytest.mark.parametrize(("given", "mode"), [(None, 0o760), ("600", 0o600), ("666", 0o666)])
def test_a_prepared_unix_socket_keeps_its_mode_unless_one_is_given(given: Any, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with closing(socket.socket(socket.AF_UNIX)) as prepared:
        prepared.bind(str(path))
    path.chmod(0o760)
    with listeners.bound(fastws.Config(answer, uds=path, uds_mode=given)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_unix_socket_is_for_everybody(tmp_path: Path) -> None:
    with listeners.bound(fastws.Config(answer, uds=tmp_path / "x.sock")):
        assert stat.S_IMODE((tmp_path / "x.sock").stat().st_mode) == 0o666


# Signals of the program.

TWO = """
import asyncio, os, signal, fastws
from process_apps import app

async def main():
    servers = [fastws.Server(fastws.Config(app, port=0, log_config=None)) for _ in range(2)]
    serving = asyncio.gather(*(each.serve() for each in servers))
    while not all(each.started for each in servers):
        await asyncio.sleep(0.001)
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    print("not reached")

asyncio.run(main())
"""


def test_a_signal_ends_all_servers_of_a_loop_and_then_the_program() -> None:
    done = program(TWO)
    assert done.stdout.count("the application shuts down") == 2
    assert "not reached" not in done.stdout
    assert done.returncode == -signal.SIGTERM


BOT = """
import asyncio, os, signal, fastws
from process_apps import app

async def bot():
    try:
        await asyncio.Event().wait()
    finally:
        print("the bot ends")

async def main():
    server = fastws.Server(fastws.Config(app, port=0, log_config=None, **{options}))
    asyncio.get_running_loop().call_later(0.01, wait, server)
    await asyncio.gather(server.serve(), bot())

def wait(server):
    if server.started:
        os.kill(os.getpid(), signal.{signal})
    else:
        asyncio.get_running_loop().call_later(0.01, wait, server)

{before}
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.run handles SIGINT from 3.11 on")
@pytest.mark.slow
def test_an_interrupt_goes_on_to_the_rest_of_the_program() -> None:
    done = program(BOT.format(signal="SIGINT", before="", options=ENGINE))
    assert done.stdout.splitlines() == ["the application shuts down", "the bot ends", "interrupted"]
    assert done.returncode == 0


@pytest.mark.slow
def test_a_handler_of_the_program_gets_the_signal_when_the_server_has_ended() -> None:
    before = "signal.signal(signal.SIGTERM, lambda *_: (print('handled'), os._exit(7)))"
    done = program(BOT.format(signal="SIGTERM", before=before, options=ENGINE))
    assert (done.stdout.splitlines(), done.returncode) == (["the application shuts down", "handled"], 7)
