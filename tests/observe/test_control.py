"""The control socket: what `fastws status`, `close` and `drain` show and do, for one server and for several workers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from process_apps import echo
from serving import PATIENCE, serve, serve_process
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fastws.cli.control import COMMANDS
from fastws.cli.main import main
from fastws.errors import StartupError
from fastws.observe import control_client
from fastws.observe.metrics_exchange import MetricsExchange


@contextmanager
def controlled(path: Path, **options: Any) -> Iterator[tuple[Any, str]]:
    """A server with a control socket, and the value of --control-socket."""
    base = str(path / "control")
    with serve(echo, control_socket=base, lifespan="off", **options) as serving:
        yield serving, base


def fastws(*arguments: str, base: str, status: int = 0) -> str:
    """What the command prints."""
    result = CliRunner().invoke(main, [arguments[0], "--control-socket", base, *arguments[1:]])
    assert result.exit_code == status, result.output
    return result.output


def rows(*arguments: str, base: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in fastws(*arguments, "--json", "--seconds", "0", base=base).splitlines()]


def test_the_socket_is_its_user_s_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with controlled(tmp_path) as (_, base):
            [path] = tmp_path.iterdir()
            assert str(path) == f"{base}.{os.getpid()}"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


def test_stale_sockets_are_removed_and_others_are_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    stale, other = tmp_path / f"control.{ended.pid}", tmp_path / "control.d"
    own = tmp_path / f"control.{os.getpid()}"
    for path in (stale, own):  # left by a process with our id, which is gone too
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    other.touch()
    living = tmp_path / "control.1"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(living))
        sock.listen()
        with controlled(tmp_path) as (_, base):
            assert {path.name for path in tmp_path.iterdir()} == {"control.1", "control.d", own.name}
            assert control_client.workers(base).keys() == {1, os.getpid()}
    assert {path.name for path in tmp_path.iterdir()} == {"control.1", "control.d"}


def test_status_of_a_server(tmp_path: Path) -> None:
    with controlled(tmp_path) as (serving, base), connect(serving.ws_url, compression=None) as client:
        for _ in range(3):
            client.send("héllo")
            client.recv()
        [status] = rows("status", base=base)
        assert {name: status[name] for name in ("worker", "state", "websockets", "connections", "requests")} == {
            "worker": os.getpid(),
            "state": "serving",
            "websockets": 1,
            "connections": 1,
            "requests": 0,
        }
        assert (status["messages_in"], status["bytes_in"], status["messages_out"], status["bytes_out"]) == (
            3,
            18,
            3,
            18,
        )
        assert status["engine"] in ("cython", "websockets")
        assert status["uptime"] >= 0
        assert status["messages_in_rate"] > 0
        table = fastws("status", "--seconds", "0.01", base=base).splitlines()
        assert table[0].split()[:4] == ["worker", "state", "up", "engine"]
        assert table[1].startswith(f"{os.getpid()}")
        assert f"{status['engine']}, {status['loop']}" in table[1]
        assert " 0%" in table[1] or "%" in table[1]


def test_status_goes_on_while_somebody_watches(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fastws", "status", "--watch", "--seconds", "0.1"]
    with controlled(tmp_path) as (_, base):
        watching = subprocess.Popen(
            [*command, "--control-socket", base], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert watching.stdout is not None
        for _ in range(2):
            assert watching.stdout.readline().split()[:3] == ["worker", "state", "up"]
            assert watching.stdout.readline().startswith(f"{os.getpid()} ")
            assert watching.stdout.readline() == "\n"
    lines = iter(watching.stdout.readline, "")
    assert any(line == f"--control-socket: no server listens on {base}.PID\n" for line in lines)
    with controlled(tmp_path):
        assert any(line.startswith(f"{os.getpid()} ") for line in lines)
        watching.send_signal(signal.SIGINT)
        assert watching.communicate(timeout=PATIENCE)[1] == ""
    assert watching.returncode == 0


def test_who_watches_what_is_not_there_is_told(tmp_path: Path) -> None:
    said = fastws("status", "--watch", base=str(tmp_path / "none"), status=1)
    assert said == f"Error: --control-socket: no server listens on {tmp_path}/none.PID\n"


def test_connections(tmp_path: Path) -> None:
    with controlled(tmp_path, request_id_header="x-id") as (serving, base):  # noqa: SIM117  # the server first
        with (
            connect(serving.ws_url + "/chat%1B%5B31m", compression=None) as client,
            socket.create_connection((serving.host, serving.port)) as idle,
            socket.create_connection((serving.host, serving.port)) as busy,
        ):
            client.send("abc")
            client.recv()
            idle.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert idle.recv(1000)
            busy.sendall(b"GET /late HTTP/1.1\r\nHost: test\r\n\r\n")
            while not any(row["state"] == "request" for row in rows("status", "--connections", base=base)):
                pass
            found = rows("status", "--connections", base=base)
            assert [(row["kind"], row["state"]) for row in found] == [
                ("websocket", "open"),
                ("http", "idle"),
                ("http", "request"),
            ]
            websocket, _, request = found
            assert websocket["client"] == "{}:{}".format(*client.local_address)
            assert (websocket["messages_in"], websocket["bytes_out"], websocket["queue_messages"]) == (1, 3, 0)
            assert websocket["path"].startswith("/chat")
            assert len(websocket["request_id"]) == 32
            assert request["path"] == "/late"
            assert [row["id"].partition("-")[0] for row in found] == [str(os.getpid())] * 3
            table = fastws("status", "--connections", "--seconds", "0", base=base)
            assert len(table.splitlines()) == 4
            assert "\x1b" not in table


def test_close_a_websocket_and_a_request(tmp_path: Path) -> None:
    with controlled(tmp_path) as (serving, base):
        with connect(serving.ws_url) as one, connect(serving.ws_url) as other:
            first, second = (row["id"] for row in rows("status", "--connections", base=base))
            assert fastws("close", first, "--code", "4001", "--reason", "by hand", base=base) == f"closed {first}\n"
            with pytest.raises(ConnectionClosed, match=r"4001 .*by hand"):
                one.recv(PATIENCE)
            output = fastws("close", first, base=base, status=1)
            assert output == f"Error: there is no connection {first}\n"
            output = fastws("close", second, "--code", "1005", "--reason", "x", base=base, status=1)
            assert "cannot be sent" in output
            other.send("still here")
            assert other.recv(PATIENCE) == "still here"
        with socket.create_connection((serving.host, serving.port)) as busy:
            busy.sendall(b"GET /late HTTP/1.1\r\nHost: test\r\n\r\n")
            while not (found := [row["id"] for row in rows("status", "--connections", base=base) if row["path"]]):
                pass
            fastws("close", found[0], base=base)
            busy.settimeout(PATIENCE)
            assert busy.recv(1000) == b""
        assert "there is no worker 1; " in fastws("close", "1-1", base=base, status=1)
        assert "there is no worker nonsense; " in fastws("close", "nonsense", base=base, status=1)


def test_drain_ends_the_server_gracefully(tmp_path: Path) -> None:
    with controlled(tmp_path) as (serving, base), connect(serving.ws_url) as client:
        assert fastws("drain", base=base) == f"draining {os.getpid()}\n"
        with pytest.raises(ConnectionClosed, match="1012"):
            client.recv(PATIENCE)
        serving.stop()
        output = fastws("status", base=base, status=1)
        assert output == f"Error: --control-socket: no server listens on {base}.PID\n"


def test_what_is_no_request_gets_an_error(tmp_path: Path) -> None:
    with controlled(tmp_path) as (_, base):
        [path] = control_client.workers(base).values()
        for request in ({"do": "dance"}, {}):
            with pytest.raises(
                control_client.ControlError, match="do is one of status, connections, close, publish, drain"
            ):
                list(control_client.ask(path, request))
        with pytest.raises(control_client.ControlError, match="the code must be a number"):
            list(control_client.ask(path, {"do": "close", "id": "x", "code": "y"}))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(path)
            sock.sendall(b"nonsense\n[]\n")
            answers = sock.makefile()
            assert [json.loads(answers.readline())["ok"] for _ in range(2)] == [False, False]
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(b"x" * 100_000)  # no line: it is not kept
                assert sock.recv(1000) == b""


def test_a_place_where_no_socket_can_be(tmp_path: Path) -> None:
    with (
        pytest.raises(StartupError, match=r"--control-socket: cannot listen on .*none/x.*: No such file"),
        serve(echo, control_socket=tmp_path / "none" / "x"),
    ):
        pass


def test_commands_do_not_hide_applications() -> None:
    assert set(COMMANDS) == {"status", "close", "drain"}
    for command in COMMANDS:
        result = CliRunner().invoke(main, [command, "--help"])
        assert result.exit_code == 0
        assert f"Usage: fastws {command}" in result.output
    with_app = CliRunner().invoke(main, ["status:app", "--port", "x"])
    assert with_app.output.startswith("Error: --port: must be")


@pytest.mark.deploy
def test_workers_are_seen_drained_and_summed(tmp_path: Path) -> None:
    base = str(tmp_path / "control")
    directory = tmp_path / "metrics"
    metrics = ("--metrics-path", "/metrics", "--metrics-dir", str(directory))
    arguments = ("--workers", "2", *metrics, "--control-socket", base, "--lifespan", "off")
    with serve_process("process_apps:echo", *arguments) as process:
        process.wait_for_line("2 workers serve")
        workers = [row["worker"] for row in rows("status", base=base)]
        assert len(workers) == 2
        for _ in range(20):
            with urllib.request.urlopen(process.http_url + "/", timeout=PATIENCE) as response:
                assert int(response.read()) in workers

        def total() -> tuple[float, float, float]:
            with urllib.request.urlopen(process.http_url + "/metrics", timeout=PATIENCE) as response:
                found = dict(line.rsplit(" ", 1) for line in response.read().decode().splitlines() if line[0] != "#")
            names = ('fastws_http_requests_total{method="GET",status="2xx"}', "fastws_workers")
            return float(found.get(names[0], 0)), float(found[names[1]]), float(found["fastws_workers_started_total"])

        while total() != (20, 2, 2):
            pass
        assert fastws("drain", str(workers[0]), base=base) == f"draining {workers[0]}\n"
        process.wait_for_line(rf"Worker \[{workers[0]}\] has ended")
        while total() != (20, 2, 3):  # nothing that the first worker had counted is lost
            pass
        published = MetricsExchange(directory)  # each second: what has happened since dies with who is killed
        while sum(published.others().get("fastws_http_requests_total", {}).values()) < 20:
            pass
        published.close()
        os.kill(workers[1], signal.SIGKILL)
        while total() != (20, 2, 4):
            pass
        now = workers
        while len(now) != 2 or {*workers} & {*now}:  # a worker's control socket comes after its metrics
            now = [row["worker"] for row in rows("status", base=base)]
        assert process.stop() == 0
    assert [path for path in tmp_path.iterdir() if path.name.endswith(str(now[0]))] == []
