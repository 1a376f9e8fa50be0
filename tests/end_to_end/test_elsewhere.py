"""The server on a Python that has what Windows has: no uvloop, Unix sockets, fork, epoll, or handlers in a loop.

tests/support/elsewhere makes such a Python of this one. It stands for systems on which these tests do not run.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from serving import SUPPORT, serve_process
from websockets.sync.client import connect

pytestmark = pytest.mark.slow

ELSEWHERE = {"PYTHONPATH": str(SUPPORT / "elsewhere")}
OF_LINUX = {"_poller", "_sockets", "_tls_transport", "_transport", "_writing", "_zlib"}
"""Compiled modules that are built on Linux alone."""


def test_python_lacks_what_these_tests_are_about() -> None:
    code = """
import asyncio, os, select, signal, socket
for module, name in ((socket, "AF_UNIX"), (os, "fork"), (select, "epoll"), (signal, "SIGHUP")):
    assert not hasattr(module, name), name
for name in ("uvloop", "fcntl", "resource"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise AssertionError(name)
try:
    asyncio.new_event_loop().add_signal_handler(signal.SIGINT, print)
except NotImplementedError:
    print("lacks them")
"""
    result = subprocess.run([sys.executable, "-c", code], env=ELSEWHERE, capture_output=True, text=True, check=False)
    assert result.stdout == "lacks them\n", result.stderr


def test_it_serves_and_ends() -> None:
    with serve_process("echo_app:app", env=ELSEWHERE) as server:
        server.wait_for_line(r"event loop asyncio, transport loop")
        with urllib.request.urlopen(f"http://{server.host}:{server.port}/path") as response:
            assert response.read() == b"/path"
        with connect(f"{server.ws_url}/", max_size=None) as client:
            for message in ("text", b"bytes", "x" * (1 << 20)):
                client.send(message)
                assert client.recv() == message
            server.popen.send_signal(signal.SIGTERM)
            server.wait_for_line("Application shutdown complete|Finished server process")
        assert server.popen.wait() == 0


def test_every_module_is_imported_but_those_of_other_systems() -> None:
    """gunicorn needs fcntl itself."""
    code = """
import importlib, pkgutil, fastws
for each in pkgutil.walk_packages(fastws.__path__, "fastws."):
    try:
        importlib.import_module(each.name)
    except (Exception, SystemExit) as error:
        print(each.name)
"""
    result = subprocess.run([sys.executable, "-c", code], env=ELSEWHERE, capture_output=True, text=True, check=True)
    failed = set(result.stdout.split())
    compiled_here = {name for name in failed if name.rpartition(".")[2] in OF_LINUX}
    assert failed - compiled_here <= {
        *("fastws.gunicorn.worker", "fastws.workers", "fastws.process.freezing.hook-fastws"),
        "fastws._codec",  # where nothing is compiled, and nobody asks for it
        "fastws.websocket.engines.cython",
    }


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--workers", "2"], "--workers"),
        (["--reload"], "--reload"),
        (["--uds", "socket"], "--uds"),
        (["--bind", "unix:socket"], "--bind"),
        (["--control-socket", "socket"], "--control-socket"),
        (["--topics-dir", "topics"], "--topics-dir"),
    ],
)
def test_what_needs_another_system_is_refused_in_a_line(arguments: list[str], option: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fastws", "echo_app:app", *arguments]
    result = subprocess.run(command, cwd=tmp_path, env=ELSEWHERE, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith(f"Error: {option}")
    assert line.endswith("needs Linux or macOS; this system has one process, which listens to TCP")
