"""What systemd and the server tell each other, with real sockets in systemd's place."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from serving import PATIENCE, SUPPORT, run_process, serve_process

from fastws.net.activation import listen_descriptors
from fastws.process.systemd import Notifier


@pytest.fixture
def notifications(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd listens on."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE)
        yield sock


def told(sock: socket.socket, state: str) -> list[str]:
    """The lines of the first notification that has `state`."""
    while state not in (lines := sock.recv(4096).decode().splitlines()):
        pass
    return lines


def test_sockets_that_systemd_opened_are_served_instead_of_the_address() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        # As systemd does: the first socket is descriptor 3, and LISTEN_PID the process that becomes the server.
        activate = (
            f"import os, sys; os.dup2({sock.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
            "os.execv(sys.executable, [sys.executable, '-m', 'fastws', *sys.argv[1:]])"
        )
        with subprocess.Popen(
            [sys.executable, "-c", activate, "process_apps:app", "--port", "1"],
            pass_fds=(sock.fileno(),),
            env={**os.environ, "LISTEN_FDS": "1"},
            cwd=SUPPORT,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            port = sock.getsockname()[1]
            assert any(f"running on http://127.0.0.1:{port} " in line for line in process.stderr)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("environ", "descriptors"),
    [
        ({}, []),
        ({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}, [3, 4]),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "2"}, []),
        ({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}, []),
    ],
)
def test_sockets_are_for_the_process_that_is_named(environ: dict[str, str], descriptors: list[int]) -> None:
    kept = [number for number in (3, 4) if os.path.exists(f"/proc/self/fd/{number}")]
    inheritable = {number: os.get_inheritable(number) for number in kept}
    assert listen_descriptors(environ) == descriptors
    assert environ == {}
    for number, value in inheritable.items():
        os.set_inheritable(number, value)


def test_a_server_tells_when_it_is_ready_lives_and_stops(notifications: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": notifications.getsockname(), "WATCHDOG_USEC": "200000"}
    with serve_process("process_apps:app", env=environ) as process:
        told(notifications, "READY=1")
        told(notifications, "WATCHDOG=1")
        told(notifications, "WATCHDOG=1")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        told(notifications, "STOPPING=1")


@pytest.mark.deploy
def test_a_supervisor_tells_of_its_restarts_too(notifications: socket.socket, tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": notifications.getsockname(), "WATCHDOG_USEC": "1000000"}
    with serve_process("worker_apps:app", "--workers", "2", env=environ) as process:
        assert "STATUS=2 workers serve" in told(notifications, "READY=1")
        process.wait_for_line("2 workers serve")
        told(notifications, "WATCHDOG=1")
        process.signal(signal.SIGHUP)
        told(notifications, "RELOADING=1")
        told(notifications, "READY=1")
        process.signal(signal.SIGUSR1)
        process.wait_for_line("Opened the log files anew")
        assert process.stop() == 0
        told(notifications, "STOPPING=1")


def test_a_server_that_cannot_start_is_never_ready(notifications: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": notifications.getsockname()}
    with run_process("process_apps:fails_at_startup", "--port", "0", env=environ) as process:
        assert process.wait() == 3
    notifications.setblocking(False)
    with pytest.raises(BlockingIOError):
        notifications.recv(4096)


def test_notifications(notifications: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": notifications.getsockname(), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}
    notifier = Notifier(environ)
    assert environ == {}
    assert notifier.watchdog_seconds is None  # it watches another process
    notifier.alive()
    notifier.ready("4 workers")
    assert notifications.recv(4096) == b"READY=1\nSTATUS=4 workers"
    notifier.status("4 workers")
    notifier.reloading()
    lines = notifications.recv(4096).decode().splitlines()
    assert lines[0] == "RELOADING=1"
    assert lines[1].startswith("MONOTONIC_USEC=")
    notifications.close()
    notifier.stopping()  # nobody listens any more


def test_what_is_said_once_waits_for_room(notifications: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": notifications.getsockname(), "WATCHDOG_USEC": "1000000"})
    for _ in range(1000):  # until the queue is full, and on
        notifier.alive()
    saying = threading.Thread(target=notifier.ready)
    saying.start()
    saying.join(0.1)
    assert saying.is_alive()
    told(notifications, "READY=1")
    saying.join()


def test_an_abstract_socket() -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind("\0fastws-test-" + str(os.getpid()))
        sock.settimeout(PATIENCE)
        Notifier({"NOTIFY_SOCKET": "@" + sock.getsockname()[1:].decode()}).ready()
        assert sock.recv(4096) == b"READY=1"


def test_without_systemd_nothing_is_told() -> None:
    Notifier({}).ready()
