"""Starting, listening and stopping, with real sockets, real signals and real processes."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from process_apps import Asgi2, app
from serving import PATIENCE, SUPPORT, begin, run_process, serve, serve_process
from taking_turns import for_threads
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import fastws
from fastws.errors import ConfigError, StartupError
from fastws.net import accepting
from fastws.net.tls import server_context


class UnixConnection(http.client.HTTPConnection):
    """A client of a Unix domain socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def get(client: http.client.HTTPConnection, path: str = "/") -> str:
    """The body of a response, over a connection that is then closed."""
    with closing(client):
        client.request("GET", path)
        response = client.getresponse()
        assert response.status == 200
        return response.read().decode()


def client(server: Any) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(server.host.strip("[]"), server.port, timeout=PATIENCE)


def ended(*arguments: str, **environment: str) -> tuple[int, list[str]]:
    """The exit status of a process that ends by itself, and the lines of its errors."""
    with run_process(*arguments, env=environment) as process:
        status = process.wait()
        return status, [line for line in process.output.splitlines() if not line.startswith("INFO:")]


# Starting


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_startup_lines_name_process_address_engine_and_loop(loop: str) -> None:
    with serve_process("process_apps:app", "--loop", loop, "--ws", "none") as process:
        assert get(client(process)) == "ok"
        assert process.stop() == 0
        # The client's connection may not have been seen to close yet.
        lines = [line for line in process.output.splitlines() if "to close (CTRL" not in line]
    assert lines[0].startswith(f"INFO:     Started server process [{process.popen.pid}], fastws {fastws.__version__} ")
    ours = accepting.SocketServer is not None and os.environ.get("FASTWS_TRANSPORT") != "loop"
    transport = "sockets" if ours else "loop"
    assert lines[1:5] == [
        f"INFO:     WebSocket engine none, HTTP/1.1 and HTTP/2, event loop {loop}, transport {transport}",
        "INFO:     Waiting for application startup.",
        "INFO:     Application startup complete.",
        f"INFO:     fastws running on http://127.0.0.1:{process.port} (Press CTRL+C to quit)",
    ]
    assert lines[5].startswith("INFO:     127.0.0.1:")
    assert lines[5].endswith('"GET / HTTP/1.1" 200 OK')
    assert lines[6:] == [
        "INFO:     Shutting down",
        "INFO:     Waiting for application shutdown.",
        "the application shuts down",
        "INFO:     Application shutdown complete.",
        f"INFO:     Finished server process [{process.popen.pid}]",
    ]


def test_the_environment_configures_the_command() -> None:
    with serve_process(
        env={"FASTWS_APP": "process_apps:factory", "FASTWS_FACTORY": "1", "FASTWS_WS": "none"}
    ) as process:
        assert "WebSocket engine none" in process.output
        assert get(client(process)) == "ok"


def test_a_function_without_parameters_is_a_factory() -> None:
    with serve_process("process_apps:factory") as process:
        assert get(client(process)) == "ok"


def test_an_asgi_2_application() -> None:
    with serve(Asgi2) as server:
        assert get(client(server)) == "2.0"


def test_a_websocket_from_the_command_line(tmp_path: Path) -> None:
    with serve_process("process_apps:app") as process, connect(process.ws_url + "/chat?room=1") as websocket:
        websocket.send("hello")
        assert websocket.recv() == "hello"
        process.wait_for_line(r'"WebSocket /chat\?room=1" \[accepted\]')
        websocket.close(4001, "enough")
        process.wait_for_line(
            r'"WebSocket /chat\?room=1" \[closed 4001 "enough" after \d+\.\d{3} s, '
            r"in 1 message 5 bytes, out 1 message 5 bytes\]"
        )


def test_a_busy_port_is_one_line_and_the_application_is_not_started() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as busy:
        port = str(busy.getsockname()[1])
        status, lines = ended("process_apps:hangs_at_startup", "--port", port)
    expected = f"cannot listen on 127.0.0.1:{port}: the port is in use; end the other server or choose another --port"
    assert lines == [f"Error: {expected}"]
    assert status == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen everywhere")
def test_a_privileged_port_is_one_line() -> None:
    limit = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if limit == 0:
        pytest.skip("this system has no privileged ports")
    status, lines = ended("process_apps:app", "--port", str(limit - 1))
    assert len(lines) == 1
    assert "no permission" in lines[0]
    assert status == 3


def test_a_failed_startup_is_shown_whatever_the_level_of_the_log() -> None:
    status, lines = ended("process_apps:missing", "--log-level", "critical")
    assert lines == ["Error: APP: module 'process_apps' has no attribute 'missing'; it has 'app', 'slow', 'stuck'"]
    assert status == 3


def test_a_failed_startup_of_the_application_exits_3_with_one_line() -> None:
    status, lines = ended("process_apps:fails_at_startup", "--port", "0")
    assert lines == ["Error: Application startup failed: the database is away"]
    assert status == 3


def test_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this system has no IPv6")
    with serve_process("process_apps:app", "--host", "::1") as process:
        assert process.host == "[::1]"
        assert get(client(process)) == "ok"
        process.wait_for_line(r"\[::1\]:\d+ - ")


def test_a_name_with_several_addresses_gets_one_port() -> None:
    with serve_process("process_apps:app", "--host", "localhost") as process:
        addresses = [line for line in process.output.splitlines() if "running on" in line]
        assert addresses
        for line in addresses:
            assert f":{process.port} " in line
        assert get(client(process)) == "ok"


def test_a_file_descriptor() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        number = sock.fileno()
        with serve_process("process_apps:app", "--fd", str(number), pass_fds=(number,)) as process:
            assert (process.host, process.port) == sock.getsockname()
            assert get(client(process)) == "ok"


def test_a_descriptor_for_datagrams_is_refused() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        number = sock.fileno()
        process = subprocess.run(
            [sys.executable, "-m", "fastws", "process_apps:app", "--fd", str(number)],
            pass_fds=[number],
            capture_output=True,
            text=True,
            cwd=SUPPORT,
            timeout=PATIENCE,
            check=False,
        )
    assert process.returncode == 3
    assert f"--fd: {number} is a socket, but not for streams" in process.stderr


# Unix domain sockets


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with serve_process("process_apps:app", "--uds", str(path)) as process:
        process.wait_for_line(rf"running on unix socket {path} \(")
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert get(UnixConnection(str(path))) == "ok"
        process.wait_for_line(r'unix - "GET / HTTP/1.1" 200')
        assert process.stop() == 0
    assert not path.exists()


def test_nobody_is_accepted_before_the_application_has_started(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    with serve_process("process_apps:connects_to_itself_at_startup", "--uds", path, env={"SOCKET": path}) as process:
        assert "refused" in process.output
        assert get(UnixConnection(path)) == "ok"


@pytest.mark.slow
def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with closing(socket.socket(socket.AF_UNIX)) as stale:
        stale.bind(str(path))
    with serve_process("process_apps:app", "--uds", str(path)):
        status, lines = ended("process_apps:app", "--uds", str(path))
        assert lines == [f"Error: --uds: cannot listen on {path}: another server is listening there"]
        assert status == 3
        assert get(UnixConnection(str(path))) == "ok"


def test_the_socket_of_another_server_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with serve_process("process_apps:app", "--uds", str(path)) as process:
        path.unlink()
        with closing(socket.socket(socket.AF_UNIX)) as other:
            other.bind(str(path))
            assert process.stop() == 0
            assert path.exists()


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files that the options ssl_* take."""
    directory = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(directory / "both.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    (directory / "rubbish.pem").write_text("rubbish")
    subprocess.run(
        ["openssl", "rsa", "-aes128", "-passout", "pass:secret", "-in", "key.pem", "-out", "locked.pem"]
        if b"RSA" in (directory / "key.pem").read_bytes()
        else ["openssl", "ec", "-aes128", "-passout", "pass:secret", "-in", "key.pem", "-out", "locked.pem"],
        cwd=directory,
        check=True,
        capture_output=True,
    )
    return {path.stem: str(path) for path in directory.iterdir()}


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = for_threads(ssl.create_default_context())
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_tls(files: dict[str, str], trusting: ssl.SSLContext, loop: str) -> None:
    with serve_process(
        "process_apps:app", "--ssl-certfile", files["cert"], "--ssl-keyfile", files["key"], "--loop", loop
    ) as process:
        process.wait_for_line(r"running on https://127\.0\.0\.1:")
        assert get(http.client.HTTPSConnection(process.host, process.port, context=trusting)) == "ok"
        with connect(process.ws_url.replace("ws:", "wss:"), ssl=trusting) as websocket:
            websocket.send("secret")
            assert websocket.recv() == "secret"


def test_tls_is_what_security_md_promises(files: dict[str, str]) -> None:
    context = server_context(fastws.Config(app, ssl_certfile=files["both"]))
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


@pytest.mark.parametrize(
    "options",
    [
        {"ssl_certfile": "both"},
        {"ssl_certfile": "cert", "ssl_keyfile": "locked", "ssl_keyfile_password": "secret"},
        {"ssl_certfile": "cert", "ssl_keyfile": "key", "ssl_ciphers": "ECDHE+AESGCM"},
    ],
)
def test_forms_of_certificates(files: dict[str, str], trusting: ssl.SSLContext, options: dict[str, str]) -> None:
    with serve(app, **{name: files.get(value, value) for name, value in options.items()}) as server:
        assert get(http.client.HTTPSConnection(server.host, server.port, context=trusting)) == "ok"


def test_client_certificates(
    files: dict[str, str], trusting: ssl.SSLContext, authority: trustme.CA, tmp_path: Path
) -> None:
    with serve(app, ssl_certfile=files["both"], ssl_ca_certs=files["ca"], ssl_cert_reqs=2) as server:
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            get(http.client.HTTPSConnection(server.host, server.port, context=trusting))
        authority.issue_cert("client@example.org").configure_cert(trusting)
        assert get(http.client.HTTPSConnection(server.host, server.port, context=trusting)) == "ok"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ssl_certfile": "nowhere.pem"}, r"^--ssl-certfile: cannot read nowhere\.pem: No such file or directory$"),
        ({"ssl_certfile": "cert", "ssl_keyfile": "/"}, r"^--ssl-keyfile: cannot read /: Is a directory$"),
        ({"ssl_certfile": "cert"}, r"^--ssl-certfile: cannot use \S+cert\.pem, which must hold the private key too: "),
        ({"ssl_certfile": "rubbish", "ssl_keyfile": "key"}, r"^--ssl-certfile: cannot use \S+rubbish\.pem and \S+: "),
        (
            {"ssl_certfile": "cert", "ssl_keyfile": "locked"},
            r"^--ssl-certfile: cannot use .*: the key is encrypted: give --ssl-keyfile-password$",
        ),
        ({"ssl_certfile": "both", "ssl_ca_certs": "rubbish"}, r"^--ssl-ca-certs: cannot use \S+rubbish\.pem: "),
        ({"ssl_certfile": "both", "ssl_ciphers": "none"}, r"^--ssl-ciphers: [^()]*: 'none'$"),
        ({"ssl_certfile": "both", "ssl_version": 99}, r"^--ssl-version: 99 is no protocol of Python's ssl module$"),
    ],
)
def test_tls_that_cannot_work_fails_hard(files: dict[str, str], options: dict[str, Any], message: str) -> None:
    options = {name: files.get(value, value) for name, value in options.items()}
    server = fastws.Server(fastws.Config(app, port=0, log_config=None, **options))
    with pytest.raises(ConfigError, match=message) as caught:
        asyncio.run(server.serve())
    assert "\n" not in str(caught.value)
    assert not server.started


# Stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.slow
def test_a_signal_closes_websockets_with_1012_and_exits_0(number: signal.Signals, loop: str) -> None:
    with serve_process("process_apps:app", "--loop", loop) as process, connect(process.ws_url) as websocket:
        process.signal(number)
        with pytest.raises(ConnectionClosed) as caught:
            websocket.recv(PATIENCE)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        assert process.wait() == 0
        assert "disconnected with 1012" in process.output
        assert "the application shuts down" in process.output
        assert "Traceback" not in process.output


def test_a_request_that_is_under_way_is_answered_and_new_ones_are_refused() -> None:
    with serve_process("process_apps:slow") as process, closing(begin(process)) as sock:
        process.signal(signal.SIGTERM)
        process.wait_for_line("Waiting for 1 connection to close")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((process.host, process.port), PATIENCE)
        sock.sendall(b"!")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"late")
        assert process.wait() == 0


def test_what_is_left_after_the_graceful_timeout_is_cut() -> None:
    with serve_process("process_apps:stuck", "--timeout-graceful-shutdown", "0.05") as process:
        with closing(begin(process)) as sock:
            process.signal(signal.SIGTERM)
            process.wait_for_line("Cutting 1 connection: --timeout-graceful-shutdown of 0.05 s is over")
            assert process.wait() == 0
            with suppress(ConnectionResetError):
                assert sock.recv(1) == b""
        assert "the application shuts down" in process.output


def test_a_second_signal_hurries() -> None:
    arguments = ("process_apps:stuck", "--timeout-graceful-shutdown", "none")
    with serve_process(*arguments) as process, closing(begin(process)):
        process.signal(signal.SIGINT)
        process.wait_for_line("Waiting for 1 connection to close")
        process.signal(signal.SIGINT)
        process.wait_for_line("Cutting 1 connection: told to hurry")
        assert process.wait() == 0


@pytest.mark.slow
def test_a_signal_ends_an_application_that_hangs_at_startup() -> None:
    with run_process("process_apps:hangs_at_startup", "--port", "0") as process:
        process.wait_for_line("^hanging")
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert "Told to exit during startup" in process.output
        assert "running on" not in process.output
        assert "Traceback" not in process.output


def test_a_second_signal_ends_an_application_that_hangs_at_shutdown() -> None:
    with serve_process("process_apps:hangs_at_shutdown") as process:
        process.signal(signal.SIGTERM)
        process.wait_for_line("^hanging")
        process.signal(signal.SIGTERM)
        process.wait_for_line("Not waiting for the application to shut down")
        assert process.wait() == 0


def test_a_failed_shutdown_of_the_application_exits_1() -> None:
    with serve_process("process_apps:fails_at_shutdown") as process:
        assert process.stop() == 1
        assert "ERROR:    Application shutdown failed: the queue is not empty\n" in process.output


# The Python interface


def test_a_server_in_a_thread_leaves_signals_alone_and_ends_when_told() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with serve(app) as server:
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        assert server.server.started
        assert server.server.servers[0].sockets[0].getsockname() == (server.host, server.port)
        assert get(client(server)) == "ok"
    with pytest.raises(ConnectionRefusedError):
        client(server).connect()


def test_shutdown_waits_for_the_end() -> None:
    async def main() -> None:
        server = fastws.Server(fastws.Config(app, port=0, log_config=None))
        await server.shutdown()  # before it has begun there is nothing to wait for
        serving = asyncio.ensure_future(server.serve())
        await serving
        assert not server.started  # it was told to exit before

        server = fastws.Server(fastws.Config(app, port=0, log_config=None))
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        await server.shutdown()
        assert server.should_exit
        await serving

    asyncio.run(main())


def test_who_runs_a_server_is_told_that_it_started_and_that_its_loop_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.process.server.TICK_SECONDS", 0.001)
    seen: list[str] = []
    enough = asyncio.Event()

    def on_tick() -> None:
        seen.append(f"tick {server.started}")
        if seen.count("tick True") == 3:
            server.should_exit = True

    async def watched(scope: dict[str, Any], receive: Any, send: Any) -> None:
        while seen.count("tick False") < 3:  # it ticks while the application starts
            await asyncio.sleep(0)
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        before = len(seen)
        while len(seen) < before + 3:  # and while it shuts down
            await asyncio.sleep(0)
        await send({"type": "lifespan.shutdown.complete"})

    async def main() -> None:
        await server.serve()
        at_the_end = len(seen)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(enough.wait(), 0.02)
        assert len(seen) == at_the_end

    config = fastws.Config(watched, port=0, log_config=None)
    server = fastws.Server(config, on_started=lambda: seen.append("started"), on_tick=on_tick)
    asyncio.run(main())
    assert seen.count("started") == 1
    assert seen.index("started") < seen.index("tick True")


def test_signal_handlers_are_restored_and_get_what_ended_the_server() -> None:
    seen = []

    def mine(number: int, frame: Any) -> None:
        seen.append((number, signal.getsignal(signal.SIGTERM) is mine))

    async def main() -> None:
        server = fastws.Server(fastws.Config(app, port=0, log_config=None))
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        assert seen == [(signal.SIGTERM, True)]

    before = signal.signal(signal.SIGTERM, mine)
    try:
        asyncio.run(main())
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_cancelling_serve_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"

    async def main() -> None:
        server = fastws.Server(fastws.Config(app, uds=path, log_config=None))
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert not path.exists()


def test_a_failed_startup_raises_from_serve_and_exits_from_run(caplog: pytest.LogCaptureFixture) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as busy:
        config = fastws.Config(app, port=busy.getsockname()[1], log_config=None)
        with pytest.raises(StartupError, match="the port is in use"):
            asyncio.run(fastws.Server(config).serve())
        with pytest.raises(SystemExit) as caught:
            fastws.Server(config).run()
        assert caught.value.code == 3
        with pytest.raises(SystemExit) as caught:
            fastws.run(app, port=busy.getsockname()[1], log_config=None)
        assert caught.value.code == 3
    assert [record.levelname for record in caplog.records].count("ERROR") == 2


def test_run_with_a_wrong_option_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        fastws.run(app, port=-1)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "Error: --port: must be a whole number from 0 to 65535, not -1\n"


def test_run_with_an_option_of_uvicorn_that_is_missing_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        fastws.run("main:app", h11_max_incomplete_event_size=1)
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "Error: h11_max_incomplete_event_size: --limit-request-head bounds the size of a request head\n"
    )


def test_a_port_taken_while_the_application_starts_shuts_it_down_again() -> None:
    seen = []
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))

        async def slow_to_start(scope: Any, receive: Any, send: Any) -> None:
            seen.append((await receive())["type"])
            other.listen()
            await send({"type": "lifespan.startup.complete"})
            seen.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})

        config = fastws.Config(slow_to_start, port=other.getsockname()[1], log_config=None)
        with pytest.raises(StartupError, match=r"^cannot listen on 127\.0\.0\.1:\d+: the port is in use; "):
            asyncio.run(fastws.Server(config).serve())
    assert seen == ["lifespan.startup", "lifespan.shutdown"]


def test_run_serves_from_a_script() -> None:
    script = "import fastws, process_apps; fastws.run(process_apps.app, port=0, access_log=False)"
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, cwd=SUPPORT)
    assert process.stderr is not None
    with process, closing(process.stderr):
        line = next(line for line in process.stderr if "running on" in line)
        connection = http.client.HTTPConnection("127.0.0.1", int(line.split(":")[-1].split()[0]), timeout=PATIENCE)
        assert get(connection) == "ok"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


# Logging


@pytest.fixture
def log_config() -> dict[str, Any]:
    """What a user of uvicorn has, with the loggers and the formatters renamed."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "default": {"()": "fastws.observe.DefaultFormatter", "fmt": "MINE %(levelprefix)s %(message)s"},
            "access": {"()": "fastws.observe.AccessFormatter", "fmt": "MINE %(request_line)s %(status_code)s"},
        },
        "handlers": {
            "default": {"formatter": "default", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
            "access": {"formatter": "access", "class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
        },
        "loggers": {
            "fastws": {"handlers": ["default"], "level": "INFO"},
            "fastws.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
        },
    }


def check_log_file(path: Path) -> None:
    with serve_process("process_apps:app", "--log-config", str(path)) as process:
        assert get(client(process)) == "ok"
        process.wait_for_line(r"^MINE GET / HTTP/1\.1 200 OK$")
        process.wait_for_line(r"^MINE INFO:     fastws running on ")


def test_log_config_in_json(log_config: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(log_config))
    check_log_file(path)


def test_log_config_in_yaml(log_config: dict[str, Any], tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    path = tmp_path / "log.yaml"
    path.write_text(yaml.safe_dump(log_config))
    check_log_file(path)


def test_log_config_in_ini(tmp_path: Path) -> None:
    path = tmp_path / "log.ini"
    path.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=f\n[logger_root]\nlevel=INFO\nhandlers=h\n"
        "[handler_h]\nclass=StreamHandler\nformatter=f\nargs=(sys.stdout,)\n[formatter_f]\nformat=INI %(message)s\n"
    )
    with serve_process("process_apps:app", "--log-config", str(path)) as process:
        process.wait_for_line("^INI fastws running on ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.json", "{", "--log-config: Expecting property name"),
        ("log.json", '{"version": 2}', "--log-config: Unsupported version: 2"),
        (
            "log.json",
            '{"version": 1, "handlers": {"h": {"class": "no.Such"}}}',
            "--log-config: Unable to configure handler 'h': Cannot resolve 'no.Such': No module named 'no'",
        ),
        ("log.ini", "rubbish", "--log-config: "),
        ("log.json", None, "--log-config: cannot read "),
    ],
)
@pytest.mark.slow
def test_a_wrong_log_config_is_one_line(name: str, content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    status, lines = ended("process_apps:app", "--log-config", str(path))
    assert len(lines) == 1
    assert lines[0].startswith(f"Error: {message}")
    assert status == 3


@pytest.mark.slow
def test_colours_and_levels() -> None:
    with run_process("process_apps:app", "--use-colors", "--port", "0") as process:
        process.wait_for_line("\x1b\\[32mINFO\x1b\\[0m:     fastws running on \x1b\\[1mhttp://")
    with run_process("process_apps:stuck", "--log-level", "warning", "--uds", "/nowhere/x") as process:
        process.wait()
        assert "INFO" not in process.output


def test_the_access_log_can_be_turned_off() -> None:
    with serve_process("process_apps:app", "--no-access-log") as process:
        assert get(client(process)) == "ok"
        process.stop()
        assert "GET /" not in process.output


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    yield
    assert [each for each in threading.enumerate() if each.name.startswith("serving")] == []
