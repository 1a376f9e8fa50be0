"""Workers and their supervisor: real processes, real signals, real connections."""

from __future__ import annotations

import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from serving import PATIENCE, ServerProcess, run_process, serve_process
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import fastws

pytestmark = pytest.mark.deploy

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def serve_workers(
    count: int, *options: str, app: str = "worker_apps:app", env: dict[str, str] | None = None
) -> Iterator[ServerProcess]:
    """`count` workers, all of which serve; what they are asked for is not logged."""
    arguments = (app, "--workers", str(count), "--no-access-log", *options)
    with serve_process(*arguments, env=env) as process:
        process.wait_for_line(f"{count} workers? serves?")
        yield process
        if process.popen.poll() is None:
            process.stop()


def get(process: ServerProcess, path: str = "/") -> int:
    """The process that answers."""
    with closing(http.client.HTTPConnection(process.host, process.port, timeout=PATIENCE)) as client:
        client.request("GET", path, headers={"Connection": "close"})
        response = client.getresponse()
        assert response.status == 200
        return int(response.read())


def pids(process: ServerProcess) -> list[int]:
    """The workers that have started until now, oldest first."""
    return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", process.output)]


def living(process: ServerProcess) -> list[int]:
    """The workers whose processes are there."""
    children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def answer_of(client: socket.socket) -> int:
    """The process that answers on a connection that stays open."""
    data = b""
    while not (match := re.search(rb"\r\n\r\n(\d+)$", data)) or b"content-length: %d" % len(match[1]) not in data:
        part = client.recv(4096)
        assert part
        data += part
    return int(match[1])


# Serving


def test_the_supervisor_says_once_where_it_serves_and_ends_with_0() -> None:
    with serve_workers(3) as process:
        assert process.output.count("running on") == 1
        assert len(set(pids(process))) == 3
        assert sorted(pids(process)) == sorted(living(process))
        assert process.stop() == 0
        assert process.output.count("Finished server process") == 3


def test_web_concurrency_is_the_number_of_workers() -> None:
    with serve_process("worker_apps:app", env={"WEB_CONCURRENCY": "2"}) as process:
        process.wait_for_line("2 workers serve")
        assert process.stop() == 0


def test_the_supervisor_imports_no_event_loop_and_no_application() -> None:
    with serve_workers(2) as process:
        maps = Path(f"/proc/{process.popen.pid}/maps").read_text()
        assert "uvloop" not in maps
        assert "http_connection" not in maps


def test_connections_that_stay_are_spread_evenly() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        with serve_workers(4) as process, ExitStack() as stack:
            clients = []
            for _ in range(2000):
                client = stack.enter_context(closing(socket.create_connection((process.host, process.port), PATIENCE)))
                client.sendall(REQUEST)
                clients.append(client)
            counts = Counter(map(answer_of, clients))
            assert sum(counts.values()) == 2000
            assert len(counts) == 4
            assert max(counts.values()) <= 1.25 * 500, counts
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("options", [("--loop", "asyncio"), ("--loop", "uvloop")])
def test_unix_sockets_are_shared_too(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = tmp_path / "x.sock"
    arguments = ("--workers", "2", "--bind", f"unix:{path}", "--bind", "127.0.0.1:0", *options)
    with serve_process("worker_apps:app", *arguments) as process:
        process.wait_for_line("2 workers serve")
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(REQUEST)
            assert answer_of(client) in pids(process)
        assert process.stop() == 0
    assert not path.exists()


# Ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_all_workers(number: signal.Signals) -> None:
    with serve_workers(2) as process, ExitStack() as stack:
        clients = [stack.enter_context(connect(process.ws_url)) for _ in range(6)]
        if number == signal.SIGINT:  # as a terminal sends it: to the workers too
            for pid in living(process):
                os.kill(pid, number)
        process.signal(number)
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(PATIENCE)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert process.wait() == 0
        assert "told to hurry" not in process.output


def test_a_second_signal_hurries_the_workers() -> None:
    with serve_workers(2, app="process_apps:stuck") as process:
        client = socket.create_connection((process.host, process.port), PATIENCE)
        with closing(client):
            client.sendall(REQUEST)
            process.wait_for_line("^begun")
            process.signal(signal.SIGTERM)
            process.wait_for_line("Waiting for 1 connections to close")
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
            assert "told to hurry" in process.output


def test_workers_drain_when_their_supervisor_is_gone() -> None:
    with serve_workers(2) as process, connect(process.ws_url) as client:
        process.popen.kill()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        process.wait()  # for the end of all output, which the workers hold
        assert process.output.count("The supervisor is gone; shutting down") == 2
        assert process.output.count("Finished server process") == 2


# Starting


@pytest.mark.parametrize(
    ("app", "line"),
    [
        ("process_apps:fails_at_startup", "ERROR:    Application startup failed: the database is away"),
        ("process_apps:missing", "ERROR:    APP: module 'process_apps' has no attribute 'missing'"),
    ],
)
def test_an_application_that_cannot_start_is_said_once_and_exits_3(app: str, line: str) -> None:
    with run_process(app, "--workers", "4", "--port", "0") as process:
        assert process.wait() == 3
        assert [each for each in process.output.splitlines() if not each.startswith("INFO:")] == [line]


def test_a_port_in_use_is_one_line_and_exits_3() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as busy:
        port = str(busy.getsockname()[1])
        with run_process("worker_apps:app", "--workers", "2", "--port", port) as process:
            assert process.wait() == 3
            assert "the port is in use" in process.output
            assert pids(process) == []


def test_a_callable_cannot_be_served_by_workers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        fastws.run(lambda scope, receive, send: None, workers=2)
    assert exit.value.code == 2
    expected = "--workers (or WEB_CONCURRENCY): needs APP as module:attribute, since each process imports it by itself"
    assert capsys.readouterr().err == f"Error: {expected}\n"


def test_workers_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "serve.py").write_text(
        "import fastws\n\nprint('the script runs', flush=True)\n"
        "fastws.run('beside:app', port=0, workers=2, headers=[('x-a', 'b')])\n"
    )
    (tmp_path / "beside.py").write_text("from worker_apps import app\n")
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "serve.py")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert any("2 workers serve" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "the script runs\n"
        assert process.wait(PATIENCE) == 0


# Dying


def test_a_killed_worker_is_replaced_while_the_others_serve() -> None:
    with serve_workers(2) as process, ExitStack() as stack:
        clients = [stack.enter_context(connect(process.ws_url)) for _ in range(4)]
        served_by = []
        for client in clients:
            client.send("a")
            served_by.append(int(str(client.recv(PATIENCE)).split()[0]))
        victim = served_by[0]
        os.kill(victim, signal.SIGKILL)
        process.wait_for_line(
            rf"Worker \[{victim}\] was killed by SIGKILL after serving for \d+ s; starting another now"
        )
        for client, pid in zip(clients, served_by, strict=True):
            if pid != victim:
                client.send("b")
                assert client.recv(PATIENCE) == f"{pid} b"
        wait_for_lines(process, "2 workers serve", 2)
        assert victim not in living(process)
        assert len(living(process)) == 2
        assert process.stop() == 0


def wait_for_lines(process: ServerProcess, text: str, count: int) -> None:
    """Wait until `text` was printed so often."""
    done = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if process.output.count(text) >= count:
            return
        done.wait(0.02)
    raise AssertionError(f"not {count} times {text!r} in:\n{process.output}")


def test_workers_that_die_young_are_started_again_after_growing_delays() -> None:
    with serve_process("worker_apps:dies_young", "--workers", "2") as process:
        process.wait_for_line(r"exited with 7 after serving for 0 s; starting another now")
        process.wait_for_line(r"exited with 7 after serving for 0 s; starting another in 0\.[45]")
        process.wait_for_line(r"exited with 7 after serving for 0 s; starting another in (1|0\.9)")
        assert process.stop() == 0


def test_a_stuck_event_loop_is_noticed_shown_and_replaced_and_a_busy_one_is_not() -> None:
    with serve_workers(2, "--timeout-worker-healthcheck", "1") as process:
        get(process, "/busy")
        assert "has not turned" not in process.output
        with closing(socket.create_connection((process.host, process.port), PATIENCE)) as client:
            client.sendall(REQUEST.replace(b"/ ", b"/block ", 1))
            line = process.wait_for_line(r"The event loop of worker \[(\d+)\] has not turned for \d")
            process.wait_for_line(r'worker_apps\.py", line \d+ in _do')
            process.wait_for_line(rf"Worker \[{line[1]}\] was killed by SIGABRT")
            wait_for_lines(process, "2 workers serve", 2)
            assert get(process) != int(line[1])
        assert process.stop() == 0


# Replacing


def test_more_and_fewer_workers() -> None:
    with serve_workers(2) as process, ExitStack() as stack:
        clients = [stack.enter_context(connect(process.ws_url)) for _ in range(2)]
        process.signal(signal.SIGTTIN)
        process.wait_for_line("3 workers serve")
        process.signal(signal.SIGTTOU)
        ended = process.wait_for_line(r"Worker \[(\d+)\] is one too many; it drains")
        process.wait_for_line(rf"Worker \[{ended[1]}\] has ended")
        assert len(living(process)) == 2
        for client in clients:  # the one without connections has ended
            client.send("a")
            assert client.recv(PATIENCE)
        for _ in range(3):
            process.signal(signal.SIGTTOU)
            wait_for_lines(process, "SIGTTOU: 1 workers are wanted now", 1)
        assert get(process) in pids(process)  # one stays
        assert process.stop() == 0


def test_a_rolling_restart_refuses_nobody_and_drains_everybody() -> None:
    with serve_workers(2) as process, connect(process.ws_url) as client:
        old = pids(process)
        failures: list[BaseException] = []
        answered: Counter[int] = Counter()
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                try:
                    answered[get(process)] += 1
                except BaseException as error:
                    failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            process.signal(signal.SIGHUP)
            process.wait_for_line("All workers were replaced")
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert failures == []
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        new = living(process)
        assert not set(old) & set(new)
        assert len(new) == 2
        assert set(answered) >= set(new)
        # Each was ready before the one that it replaced was told to end.
        lines = process.output.splitlines()
        for successor, predecessor in re.findall(r"Worker \[(\d+)\] takes over from \[(\d+)\]", process.output):
            over = next(n for n, line in enumerate(lines) if f"[{successor}] takes over from [{predecessor}]" in line)
            assert any(f"Finished server process [{predecessor}]" in line for line in lines[over:])
        assert process.stop() == 0


def test_a_restart_that_fails_leaves_the_old_workers(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with serve_workers(2, app="worker_apps:fails_from_the_second_on", env={"MARK": str(mark)}) as process:
        old = living(process)
        mark.touch()
        process.signal(signal.SIGHUP)
        process.wait_for_line(r"The new worker \[\d+\] exited with \d before it served: the old ones go on")
        assert sorted(living(process)) == sorted(old)
        assert get(process) in old
        mark.unlink()
        process.signal(signal.SIGHUP)
        process.wait_for_line("All workers were replaced")
        assert not set(old) & set(living(process))
        assert process.stop() == 0


def test_a_restart_reads_the_environment_file_anew(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("VERSION=1\nFASTWS_SERVER_HEADER=0\n")
    with serve_workers(2, "--env-file", str(file)) as process:
        get(process, "/version")
        process.wait_for_line("version 1")
        file.write_text("VERSION=2\n")
        process.signal(signal.SIGHUP)
        process.wait_for_line("All workers were replaced")
        get(process, "/version")
        process.wait_for_line("version 2")
        assert process.stop() == 0


@pytest.mark.parametrize(
    ("options", "path", "line"),
    [
        (("--limit-max-requests", "3"), "/", r"successor after 3 requests"),
        (("--limit-worker-lifetime", "1"), "/", r"successor after 1 s of life"),
        (("--limit-worker-memory", "90"), "/hoard", r"successor after \d+ MiB of memory"),
    ],
)
def test_a_worker_that_reached_a_limit_is_replaced_before_it_drains(
    options: tuple[str, ...], path: str, line: str
) -> None:
    with serve_workers(2, *options) as process:
        for _ in range(5):
            get(process, path)
        process.wait_for_line(line)
        old = process.wait_for_line(r"Worker \[\d+\] takes over from \[(\d+)\], which drains")
        process.wait_for_line(rf"Worker \[{old[1]}\] has ended")
        assert get(process)
        assert process.stop() == 0


def test_a_worker_that_somebody_else_ends_is_replaced() -> None:
    with serve_workers(2) as process:
        victim = living(process)[0]
        os.kill(victim, signal.SIGTERM)
        process.wait_for_line(rf"Worker \[{victim}\] ends, though not told so by the supervisor; starting another")
        wait_for_lines(process, "2 workers serve", 2)
        assert process.stop() == 0
