"""Workers and their supervisor: real processes, real signals, real connections."""

from __future__ import annotations

import http.client
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import trustme
from serving import PATIENCE, SUPPORT, ServerProcess, run_process, serve_process
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


def test_the_supervisor_says_where_it_serves_holds_the_sockets_and_imports_little(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    addresses = ("--bind", f"unix:{path}", "--bind", "127.0.0.1:0", "--loop", "asyncio")
    with serve_process("worker_apps:app", *addresses, env={"WEB_CONCURRENCY": "3"}) as process:
        process.wait_for_line("3 workers serve")
        assert process.output.count("running on") == 2
        assert process.output.count("Pages of any site") == 1
        assert sorted(pids(process)) == sorted(living(process))
        maps = Path(f"/proc/{process.popen.pid}/maps").read_text()
        assert "uvloop" not in maps
        assert "http1_handler" not in maps
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(REQUEST)
            assert answer_of(client) in pids(process)
        assert process.stop() == 0
        assert process.output.count("Finished server process") == 3
    assert not path.exists()


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


def test_clients_that_come_at_once_when_a_service_starts_are_spread_evenly() -> None:
    with serve_process("worker_apps:app", "--workers", "2") as process, ExitStack() as stack:
        clients = []
        for _ in range(100):  # the second worker still starts
            client = stack.enter_context(closing(socket.create_connection((process.host, process.port), PATIENCE)))
            client.sendall(REQUEST)
            clients.append(client)
        counts = Counter(map(answer_of, clients))
        assert max(counts.values()) <= 1.25 * 50, counts
        stack.close()
        assert process.stop() == 0


def test_tls_connections_are_accepted_in_turn_too(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with serve_workers(2, "--ssl-certfile", str(tmp_path / "both.pem")) as process, ExitStack() as stack:
        stack.enter_context(closing(socket.create_connection((process.host, process.port)))).sendall(b"no TLS\r\n\r\n")
        clients = []
        for _ in range(40):
            plain = socket.create_connection((process.host, process.port), PATIENCE)
            client = stack.enter_context(closing(context.wrap_socket(plain, server_hostname="127.0.0.1")))
            client.sendall(REQUEST)
            clients.append(client)
        counts = Counter(map(answer_of, clients))
        assert len(counts) == 2
        assert max(counts.values()) <= 1.25 * 20, counts
        stack.close()
        assert process.stop() == 0
        assert "Traceback" not in process.output


# Ending


def test_ctrl_c_drains_all_workers() -> None:
    with serve_workers(2) as process, ExitStack() as stack:
        clients = [stack.enter_context(connect(process.ws_url)) for _ in range(6)]
        for pid in living(process):  # the terminal tells them all
            os.kill(pid, signal.SIGINT)
        process.signal(signal.SIGINT)
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
            process.wait_for_line("Waiting for 1 connection to close")
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
        ("process_apps:fails_at_startup", "Error: Application startup failed: the database is away"),
        (
            "process_apps:missing",
            "Error: APP: module 'process_apps' has no attribute 'missing'; it has 'app', 'slow', 'stuck'",
        ),
    ],
)
def test_an_application_that_cannot_start_is_said_once_and_exits_3(app: str, line: str) -> None:
    with run_process(app, "--workers", "4", "--port", "0") as process:
        assert process.wait() == 3
        assert [each for each in process.output.splitlines() if not each.startswith("INFO:")] == [line]


def test_a_callable_cannot_be_served_by_workers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        fastws.run(lambda scope, receive, send: None, workers=2)
    assert exit.value.code == 2
    expected = "--workers (or WEB_CONCURRENCY): needs APP as module:attribute, since each process imports it by itself"
    assert capsys.readouterr().err == f"Error: {expected}\n"


def test_options_that_cannot_be_passed_to_workers_are_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Here:
        def __fspath__(self) -> str:
            return str(tmp_path)

    with pytest.raises(SystemExit) as exit:
        fastws.run("worker_apps:app", workers=2, port=0, app_dir=Here(), log_config=None)
    assert exit.value.code == 3
    assert [record.message.partition(": Can")[0] for record in caplog.records if record.levelname == "ERROR"] == [
        "--workers: an option cannot be passed to another process"
    ]


def test_workers_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "serve.py").write_text(
        "import fastws\n\nprint('the script runs', flush=True)\n"
        "fastws.run('beside:app', port=0, workers=2, headers=[('x-a', 'b')])\n"
    )
    (tmp_path / "beside.py").write_text("from worker_apps import app\n")
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "serve.py")],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
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
        victim = living(process)[0]
        os.kill(victim, signal.SIGTERM)  # somebody else ends one
        process.wait_for_line(
            rf"Worker \[{victim}\] ends, although the supervisor has not told it to; starting another one"
        )
        wait_for_lines(process, "2 workers serve", 3)
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
        process.wait_for_line(r"exited with 7 after serving for \d+ s; starting another now")
        process.wait_for_line(r"exited with 7 after serving for \d+ s; starting another in 0\.1 s")
        process.wait_for_line(r"exited with 7 after serving for \d+ s; starting another in 0\.2 s")
        assert process.stop() in (0, 1)  # 1 where one dies while it is told to end


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
            wait_for_lines(process, "SIGTTOU: 1 worker is wanted now", 1)
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


def test_a_restart_reads_the_configuration_anew_and_where_it_fails_the_old_workers_go_on(tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / ".env"
    file.write_text(f"VERSION=1\nMARK={mark}\n")
    with serve_workers(2, "--env-file", str(file), app="worker_apps:fails_from_the_second_on") as process:
        old = living(process)
        get(process, "/version")
        process.wait_for_line("version 1")
        mark.touch()
        process.signal(signal.SIGHUP)
        process.wait_for_line(r"The new worker \[\d+\] exited with \d before it served: the old ones go on")
        assert sorted(living(process)) == sorted(old)
        assert get(process) in old
        mark.unlink()
        file.write_text(f"VERSION=2\nMARK={mark}\n")
        process.signal(signal.SIGHUP)
        process.wait_for_line("All workers were replaced")
        assert not set(old) & set(living(process))
        get(process, "/version")
        process.wait_for_line("version 2")
        assert process.stop() == 0


@pytest.mark.parametrize(
    ("options", "path", "line"),
    [
        (("--limit-max-requests", "3"), "/", r"successor after 3 requests"),
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


def test_workers_share_their_metrics_in_a_directory_of_the_supervisors(tmp_path: Path) -> None:
    with serve_workers(2, "--metrics-path", "/metrics", env={"TMPDIR": str(tmp_path)}) as process:
        with closing(http.client.HTTPConnection(process.host, process.port, timeout=PATIENCE)) as client:
            client.request("GET", "/metrics")
            text = client.getresponse().read().decode()
        assert re.search(r"^fastws_workers 2\.0$", text, re.MULTILINE)
        assert [each.name.rpartition("-")[0] for each in tmp_path.glob("*metrics*")] == ["fastws-metrics"]
        assert process.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_long_name_of_the_temporary_directory_leaves_room_for_sockets(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    with serve_workers(2, env={"TMPDIR": str(long)}) as process:
        assert get(process)
        assert list(long.iterdir()) == []
        assert process.stop() == 0


def test_a_worker_that_is_drained_through_its_control_socket_is_replaced(tmp_path: Path) -> None:
    control = str(tmp_path / "control")
    with serve_workers(2, "--control-socket", control) as process:
        victim = living(process)[0]
        subprocess.run([sys.executable, "-m", "fastws", "drain", str(victim), "--control-socket", control], check=True)
        process.wait_for_line(rf"Worker \[\d+\] takes over from \[{victim}\], which drains")
        process.wait_for_line(rf"Worker \[{victim}\] has ended")
        assert process.stop() == 0
