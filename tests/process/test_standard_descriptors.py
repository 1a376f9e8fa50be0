"""Servers that are started with standard input, output and error closed."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from serving import PATIENCE, SUPPORT, WITHOUT_EXTENSION

from fastws.net.standard_descriptors import open_standard_descriptors

pytestmark = pytest.mark.slow

CLOSED = """
import os, sys
os.close(0), os.close(1), os.close(2)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("kind", ["command", "workers", "run"])
def test_a_server_with_closed_standard_descriptors_serves_and_ends(kind: str, loop: str, tmp_path: Path) -> None:
    port = free_port()
    command = ["-m", "fastws", "process_apps:app", "--port", str(port), "--loop", loop]
    if kind == "workers":
        command += ["--workers", "2"]
    elif kind == "run":
        command = ["-c", f"import fastws, process_apps; fastws.run(process_apps.app, port={port}, loop={loop!r})"]
    environment = {**os.environ, **({"FASTWS_WS": "websockets"} if WITHOUT_EXTENSION else {})}
    process = subprocess.Popen([sys.executable, "-c", CLOSED, *command], cwd=SUPPORT, env=environment)
    try:
        deadline = time.monotonic() + PATIENCE
        for _ in range(3):  # a second request hung where a worker's memory was its standard output
            while True:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
                try:
                    connection.request("GET", "/")
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None, "it has ended"
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            with closing(connection):
                assert connection.getresponse().read() == b"ok"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


CHECK = """
import os
from fastws.net.standard_descriptors import open_standard_descriptors
for closed in ((0,), (1,), (0, 2), (0, 1, 2)):
    saved = {each: os.dup(each) for each in closed}
    for each in closed:
        os.close(each)
    open_standard_descriptors()
    found = [os.readlink(f"/proc/self/fd/{each}") for each in closed]
    inherited = [os.get_inheritable(each) for each in closed]
    for each, old in saved.items():
        os.dup2(old, each)
    assert found == ["/dev/null"] * len(closed), found
    assert all(inherited)
print("as they should be")
"""


def test_those_that_are_closed_lead_to_the_null_device() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("as they should be\n", "")


def test_those_that_are_open_stay_as_they_are() -> None:
    before = [os.fstat(each) for each in range(3)]
    open_standard_descriptors()
    assert [(each.st_dev, each.st_ino) for each in before] == [
        (each.st_dev, each.st_ino) for each in map(os.fstat, range(3))
    ]
