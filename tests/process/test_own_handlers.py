"""Who tells a worker to end: its supervisor, also where SIGTERM is the application's, or is sent to everybody."""

from __future__ import annotations

import os
import signal
from contextlib import closing, suppress

import psutil
import pytest
from serving import begin, serve_process

pytestmark = pytest.mark.slow


def test_the_word_of_the_supervisor_arrives() -> None:
    with serve_process("own_handler_app:app", "--workers", "2") as process:
        process.wait_for_line("2 workers serve")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert process.output.count("the application shuts down") == 2
        assert "told to hurry" not in process.output


def test_workers_end_without_their_supervisor() -> None:
    with serve_process("own_handler_app:app", "--workers", "2") as process:
        process.wait_for_line("2 workers serve")
        process.signal(signal.SIGKILL)
        process.wait()  # until the last of them has closed the output
        assert process.output.count("the application shuts down") == 2


@pytest.mark.parametrize("app", ["own_handler_app:app", "process_apps:stuck"])
def test_the_second_word_of_the_supervisor_hurries(app: str) -> None:
    with serve_process(app, "--workers", "2", "--timeout-graceful-shutdown", "none") as process:
        process.wait_for_line("2 workers serve")
        with closing(begin(process)) as sock:
            process.signal(signal.SIGTERM)
            process.wait_for_line("Waiting for 1 connection to close")
            process.signal(signal.SIGTERM)
            process.wait_for_line("Cutting 1 connection: told to hurry")
            with suppress(ConnectionResetError):
                assert sock.recv(1) == b""
        assert process.wait() == 0


def test_a_sigterm_to_every_process_is_one() -> None:
    """As systemd sends it unless the unit says `KillMode=mixed`, and some containers do."""
    with serve_process("process_apps:slow", "--workers", "2", "--timeout-graceful-shutdown", "none") as process:
        process.wait_for_line("2 workers serve")
        workers = [each.pid for each in psutil.Process(process.popen.pid).children()]
        with closing(begin(process)) as sock:
            for _ in range(3):
                for each in workers:
                    os.kill(each, signal.SIGTERM)
            process.signal(signal.SIGTERM)
            process.wait_for_line("Waiting for 1 connection to close")
            sock.sendall(b"!")
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert process.wait() == 0
        assert process.output.count("the application shuts down") == 2
