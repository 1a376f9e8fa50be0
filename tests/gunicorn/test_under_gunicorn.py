"""gunicorn's worker, under gunicorn itself: each test starts a master with workers of their own."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import itertools
import os
import re
import shutil
import signal
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
import wire
from gunicorn_serving import run_gunicorn, serve_gunicorn
from http2_client import Http2Client
from serving import PATIENCE, SUPPORT, ServerProcess
from taking_turns import for_threads
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect, unix_connect

from fastws.distribution import DISTRIBUTION

pytestmark = pytest.mark.deploy


def get(process: ServerProcess, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and body of a request on a connection of its own."""
    connection = http.client.HTTPConnection(process.host, process.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read().decode()


def lines(process: ServerProcess, pattern: str, count: int) -> list[str]:
    """The groups of `count` lines that match, waiting for them."""
    deadline = time.monotonic() + PATIENCE
    while len(found := re.findall(pattern, process.output)) < count:
        assert time.monotonic() < deadline, f"{count} lines like {pattern!r} are not in:\n{process.output}"
        time.sleep(0.02)
    return found


def serving_elsewhere(process: ServerProcess, than: str) -> str:
    """The pid of a worker that serves and is not `than`, waiting for it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            if (pid := get(process, "/pid")[1]) != than:
                return pid
        assert time.monotonic() < deadline, process.output
        time.sleep(0.02)


def open_raw(process: ServerProcess) -> tuple[socket.socket, str]:
    """A WebSocket that answers nothing, and the pid of its worker."""
    client = socket.create_connection((process.host, process.port), PATIENCE)
    client.sendall(
        b"GET /pid HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    received = b""
    while not (pid := re.search(rb"\r\n\r\n\x81.(\d+)", received)):
        data = client.recv(4096)
        assert data, received
        received += data
    return client, pid[1].decode()


def end_of(websocket: ClientConnection) -> tuple[int, str]:
    """Code and reason with which the server closes, reading what comes before."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            websocket.recv(PATIENCE)
    end = websocket.protocol.close_rcvd
    assert end is not None, "the connection was lost without a Close"
    return end.code, end.reason


def test_serves_and_ends_cleanly(tmp_path: Path) -> None:
    with serve_gunicorn(tmp_path, "--workers", "2") as process:
        lines(process, "fastws running on", 2)
        assert get(process, "/a?b") == (404, "/a")
        with connect(process.ws_url) as websocket:
            websocket.send("hello")
            assert websocket.recv() == "hello"
        assert process.stop() == 0
    assert re.findall(r"(?i)error|warning|traceback|critical|SIGTERM!", process.output) == []
    assert process.output.count("Worker exiting") == 2
    assert process.output.count("Pages of any site") == 1  # of the master, for all


def test_a_variable_that_names_no_option_is_told(tmp_path: Path) -> None:
    """Once, by the master: the worker starts without it."""
    with serve_gunicorn(tmp_path, env={"FASTWS_WS_MAX_SISE": "1"}) as process:
        assert process.stop() == 0
    assert process.output.count("FASTWS_WS_MAX_SISE names no option: did you mean FASTWS_WS_MAX_SIZE?") == 1


def test_entry_point(tmp_path: Path) -> None:
    with serve_gunicorn(tmp_path, worker=f"egg:{DISTRIBUTION}#fastws") as process:
        assert get(process, "/a") == (404, "/a")


def test_hup_starts_a_new_worker_and_tells_the_clients_of_the_old(tmp_path: Path) -> None:
    with serve_gunicorn(tmp_path) as process, connect(f"{process.ws_url}/pid") as websocket:
        before = str(websocket.recv())
        websocket.send("hello")
        assert websocket.recv() == "hello"
        process.signal(signal.SIGHUP)
        assert end_of(websocket)[0] == 1012
        assert serving_elsewhere(process, before) != before
        process.wait_for_line(rf"\[{before}\] .*Worker exiting")
        assert process.stop() == 0
    assert "Traceback" not in process.output


@pytest.mark.skipif(sys.version_info < (3, 11), reason="gunicorn, run by -m, does not find the standard library again")
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_second_master_takes_over_without_a_loss(tmp_path: Path, preload: tuple[str, ...]) -> None:
    pids = tmp_path / "pid"
    arguments = ("--workers", "2", "--pid", str(pids), *preload)
    failed: list[Exception] = []
    stop = threading.Event()

    def ask(process: ServerProcess) -> None:
        while not stop.is_set():
            try:
                get(process, "/a")
            except Exception as error:
                failed.append(error)

    with serve_gunicorn(tmp_path, *arguments, env={"PYTHONSAFEPATH": "1"}) as process, contextlib.ExitStack() as stack:
        lines(process, "fastws running on", 2)
        threads = [threading.Thread(target=ask, args=(process,)) for _ in range(4)]
        for each in threads:
            each.start()
            stack.callback(each.join)
        stack.callback(stop.set)
        websocket = stack.enter_context(connect(process.ws_url))
        process.signal(signal.SIGUSR2)
        lines(process, "fastws running on", 4)
        successor = int(Path(f"{pids}.2").read_text())
        try:
            process.signal(signal.SIGTERM)
            assert end_of(websocket)[0] == 1012
            lines(process, "Worker exiting", 2)
            assert process.popen.wait(PATIENCE) == 0
            assert get(process, "/a")[0] == 404
        finally:
            stop.set()
            for each in threads:
                each.join()
            os.kill(successor, signal.SIGTERM)
        lines(process, "Shutting down: Master", 2)
    assert failed == []


def test_worker_keeps_a_deadline_of_its_own_on_hup(tmp_path: Path) -> None:
    """The master says SIGTERM once a second and never SIGKILL; the client does not answer the Close."""
    with serve_gunicorn(tmp_path, "--graceful-timeout", "3") as process:
        client, pid = open_raw(process)
        with client:
            process.signal(signal.SIGHUP)
            while client.recv(4096):
                pass
        process.wait_for_line(rf"\[{pid}\] .*Cutting 1 connection")
        process.wait_for_line(rf"\[{pid}\] .*Worker exiting")
        assert process.output.count("Shutting down\n") == 1
        assert process.stop() == 0


def test_worker_has_ended_before_the_master_loses_patience(tmp_path: Path) -> None:
    with serve_gunicorn(tmp_path, "--graceful-timeout", "3") as process:
        client, pid = open_raw(process)
        with client:
            process.signal(signal.SIGTERM)
            while client.recv(4096):
                pass
            assert process.wait() == 0
    assert re.search(rf"\[{pid}\] .*Cutting 1 connection", process.output)
    assert re.search(rf"\[{pid}\] .*Application shutdown complete", process.output)
    assert "SIGKILL" not in process.output


def test_connections_are_spread_evenly(tmp_path: Path) -> None:
    with serve_gunicorn(tmp_path, "--workers", "3") as process, contextlib.ExitStack() as stack:
        lines(process, "fastws running on", 3)
        pids = []
        for _ in range(120):
            client, pid = open_raw(process)
            stack.enter_context(client)
            pids.append(pid)
        assert max(map(pids.count, pids)) <= 1.25 * 40


def test_ttin_and_ttou(tmp_path: Path) -> None:
    with serve_gunicorn(tmp_path) as process:
        process.signal(signal.SIGTTIN)
        lines(process, "fastws running on", 2)
        process.signal(signal.SIGTTOU)
        process.wait_for_line("Worker exiting")
        assert get(process, "/a")[0] == 404
        assert process.stop() == 0


HOOKS = """
import sys

def note(text):
    sys.stdout.write(f"hook: {text}\\n")  # at once: the master writes there too

def pre_request(worker, req):
    note(f"pre {req.method} {req.uri} {req.version} {dict(req.headers).get('X-A')}")

def post_request(worker, req, environ, resp):
    note(f"post {environ['RAW_URI']} {resp.status} {resp.sent} {dict(resp.headers).get('x-answer')}")

def post_worker_init(worker): note("init")
def worker_int(worker): note("int")
def worker_abort(worker): note("abort")
def worker_exit(server, worker): note("exit")
"""


def test_a_stuck_loop_is_found_and_replaced(tmp_path: Path) -> None:
    with serve_gunicorn(tmp_path, "--timeout", "2", conf=HOOKS) as process:
        before = get(process, "/pid")[1]
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            assert get(process, "/stuck")[0] == 500
        process.wait_for_line("WORKER TIMEOUT")
        process.wait_for_line("The event loop is stuck in:")
        process.wait_for_line("in get_stuck")
        lines(process, "hook: abort", 1)
        lines(process, "hook: exit", 1)
        assert serving_elsewhere(process, before)
        assert process.stop() == 0


def test_max_requests_counts_websockets(tmp_path: Path) -> None:
    with serve_gunicorn(tmp_path, "--max-requests", "3") as process, connect(f"{process.ws_url}/pid") as websocket:
        before = str(websocket.recv())
        assert get(process, "/pid")[1] == before
        assert get(process, "/pid")[1] == before
        assert end_of(websocket)[0] == 1012
        assert serving_elsewhere(process, before)
        assert process.stop() == 0


def test_term_under_load_loses_no_message(tmp_path: Path) -> None:
    """The application takes all that came before the Close, in order; what it says until then is delivered."""
    received = tmp_path / "received"
    with serve_gunicorn(tmp_path, env={"RECEIVED": str(received)}) as process:
        answers: list[int] = []
        enough = threading.Event()
        with connect(process.ws_url) as websocket:

            def listen() -> None:
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        answers.append(int(websocket.recv()))
                        if len(answers) == 2000:
                            enough.set()

            listener = threading.Thread(target=listen)
            listener.start()
            number = 0
            with contextlib.suppress(ConnectionClosed):
                while True:
                    websocket.send(str(number))
                    number += 1
                    if number == 2000:
                        assert enough.wait(PATIENCE)
                        process.signal(signal.SIGTERM)
            listener.join(PATIENCE)
            assert end_of(websocket)[0] == 1012
        assert process.wait() == 0
    taken = [int(line) for line in received.read_text().split()]
    assert taken == list(range(len(taken)))
    assert answers == taken[: len(answers)]


def test_access_log_is_gunicorns(tmp_path: Path) -> None:
    text = "ACCESS %(h)s [%(r)s] %(s)s %(b)s %({x-a}i)s %({x-answer}o)s %(T)s"
    with serve_gunicorn(tmp_path, "--access-logfile", "-", "--access-logformat", text) as process:
        get(process, "/a?b=c", {"X-A": "mine"})
        with connect(f"{process.ws_url}/chat") as websocket:
            websocket.send("12345")
            websocket.recv()
        with pytest.raises(Exception, match="403"):
            connect(f"{process.ws_url}/denied")
        found = lines(process, "ACCESS (.*)", 3)
        assert found == [
            "127.0.0.1 [GET /a?b=c HTTP/1.1] 404 2 mine yes 0",
            "127.0.0.1 [GET /chat HTTP/1.1] 101 5 - - 0",
            "127.0.0.1 [GET /denied HTTP/1.1] 403 0 - - 0",
        ]
        assert process.stop() == 0


def test_access_log_is_off_by_default_and_reopened_on_usr1(tmp_path: Path) -> None:
    log, error_log = tmp_path / "access.log", tmp_path / "error.log"
    with serve_gunicorn(tmp_path) as process:
        get(process, "/a")
        assert process.stop() == 0
    assert "/a" not in process.output
    with run_gunicorn(tmp_path, "--access-logfile", str(log), "--error-logfile", str(error_log)) as process:
        while not (
            error_log.exists() and (running := re.search(r"running on http://(\S+):(\d+)", error_log.read_text()))
        ):
            time.sleep(0.02)
        process.host, process.port = running[1], int(running[2])
        get(process, "/before")
        while "/before" not in log.read_text():
            time.sleep(0.02)
        log.rename(tmp_path / "old.log")
        process.signal(signal.SIGUSR1)
        while not log.exists() or "/after" not in log.read_text():
            get(process, "/after")
        assert "/before" in (tmp_path / "old.log").read_text()
        assert process.stop() == 0


def test_hooks(tmp_path: Path) -> None:
    with serve_gunicorn(tmp_path, conf=HOOKS) as process:
        get(process, "/a?b", {"X-A": "mine"})
        with connect(f"{process.ws_url}/chat") as websocket:
            websocket.send("12345")
            websocket.recv()
        lines(process, "hook: post", 2)
        process.signal(signal.SIGINT)
        assert process.wait() == 0
    assert re.findall("hook: (.*)", process.output) == [
        "init",
        "pre GET /a?b (1, 1) mine",
        "post /a?b 404 2 yes",
        "pre GET /chat (1, 1) None",
        "post /chat 101 5 None",
        "int",
        "exit",
    ]


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = str(tmp_path / "both.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    client = for_threads(ssl.create_default_context())
    authority.configure_trust(client)
    hook = "def ssl_context(conf, make):\n    c = make()\n    c.minimum_version = c.maximum_version\n    return c\n"
    hook = "import ssl\n" + hook.replace("c.maximum_version", "ssl.TLSVersion.TLSv1_3")
    with serve_gunicorn(tmp_path, "--certfile", certificate, conf=hook) as process:
        with connect(process.ws_url.replace("ws:", "wss:"), ssl=client) as websocket:
            websocket.send("secret")
            assert websocket.recv() == "secret"
        client.set_alpn_protocols(["h2", "http/1.1"])
        plain = socket.create_connection((process.host, process.port), PATIENCE)
        with plain, client.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            has_http2 = importlib.util.find_spec("hpack") is not None
            assert connection.selected_alpn_protocol() == ("h2" if has_http2 else "http/1.1")
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connect(process.ws_url.replace("ws:", "wss:"), ssl=client)
        assert process.stop() == 0


def test_requests_and_websockets_over_http_2(tmp_path: Path) -> None:
    """Over TLS by ALPN and on cleartext by prior knowledge; a drain tells the WebSockets and ends the connection."""
    authority = trustme.CA()
    certificate = str(tmp_path / "both.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    for arguments, context in (((), None), (("--certfile", certificate), trusted)):
        with (
            serve_gunicorn(tmp_path, "--access-logfile", "-", *arguments) as process,
            Http2Client(process.port, context) as client,
        ):
            assert client.request("GET", "/a") == (404, b"/a")
            websockets = [client.websocket("/pid") for _ in range(3)]
            for websocket in websockets:
                assert int(websocket.receive().payload)
                websocket.echo("hello")
            assert client.websocket("/denied").headers[":status"] == "403"
            assert client.request("GET", "/a") == (404, b"/a")
            websockets[0].close(1000)
            process.signal(signal.SIGTERM)
            for websocket in websockets[1:]:
                assert websocket.receive() == wire.closing(1012, "Service Restart")
                websocket.answer_close(1012)
            assert process.wait() == 0
        assert re.findall(r"(?i)error|warning|traceback", process.output) == []
        lines(process, r'"GET /a HTTP/2.0" 404', 2)


def test_certificates_of_fastws_own(tmp_path: Path) -> None:
    authority = trustme.CA()
    for name in ("127.0.0.1", "named.example"):
        authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(tmp_path / name))
    client = ssl.create_default_context()
    authority.configure_trust(client)
    env = {
        "FASTWS_SSL_CERTFILE": str(tmp_path / "127.0.0.1"),
        "FASTWS_SSL_SNI": f"named.example={tmp_path}/named.example",
    }
    with serve_gunicorn(tmp_path, env=env) as process:
        for name in ("127.0.0.1", "named.example"):
            plain = socket.create_connection((process.host, process.port), PATIENCE)
            with plain, client.wrap_socket(plain, server_hostname=name) as connection:
                assert connection.version() == "TLSv1.3"
        assert process.stop() == 0


def test_tls_that_fails_is_never_plain(tmp_path: Path) -> None:
    (tmp_path / "rubbish.pem").write_text("rubbish")
    with run_gunicorn(tmp_path, "--certfile", str(tmp_path / "rubbish.pem")) as process:
        assert process.wait() == 3
    assert "certfile, keyfile or ssl_context: SSLError" in process.output
    assert "running on" not in process.output


def test_unix_socket_outlives_a_worker(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with serve_gunicorn(tmp_path, "--max-requests", "1", bind=f"unix:{path}") as process:
        pids = set()
        while len(pids) < 3:
            with (
                contextlib.suppress(ConnectionError, EOFError, ConnectionClosed),
                unix_connect(path, uri="ws://t/pid") as websocket,
            ):
                pids.add(websocket.recv())
        assert process.stop() == 0
        assert not os.path.exists(path)


def test_reuse_port(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with serve_gunicorn(tmp_path, "--reuse-port", "--workers", "2", bind=f"127.0.0.1:{port}") as process:
        lines(process, "fastws running on", 2)
        assert get(process, "/a")[0] == 404
        assert process.stop() == 0


def touch_until(process: ServerProcess, source: Path, count: int) -> None:
    """Change the file's time until `count` workers have served: who watches it does not see what came before."""
    times = itertools.count(int(time.time()) + 100 * count)
    deadline = time.monotonic() + PATIENCE
    while process.output.count("fastws running on") < count:
        assert time.monotonic() < deadline, process.output
        os.utime(source, (next(times),) * 2)
        time.sleep(0.3)


def test_reload_with_an_open_websocket(tmp_path: Path) -> None:
    shutil.copy(SUPPORT / "echo_app.py", tmp_path / "reloaded_app.py")
    with serve_gunicorn(tmp_path, "--reload", app="reloaded_app:app", cwd=tmp_path) as process:
        with connect(process.ws_url) as websocket:
            websocket.send("hello")
            assert websocket.recv() == "hello"
            source = tmp_path / "reloaded_app.py"
            text = source.read_text()
            source.write_text("def mistake(:\n")
            touch_until(process, source, 2)
            assert end_of(websocket)[0] == 1012
        status, body = get(process, "/a")
        assert status == 500
        assert "def mistake(:" in body
        source.write_text(text.replace('scope["path"].encode()', 'b"new"'))
        touch_until(process, source, 3)
        assert get(process, "/a") == (200, "new")
        assert process.stop() == 0


def test_worker_ends_when_its_master_is_gone(tmp_path: Path) -> None:
    with serve_gunicorn(tmp_path) as process, connect(f"{process.ws_url}/pid") as websocket:
        pid = int(websocket.recv())
        process.signal(signal.SIGKILL)
        assert end_of(websocket)[0] == 1012
        while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
            time.sleep(0.02)
    assert "Parent changed, shutting down" in process.output


# Starts that fail


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"env": {"FASTWS_WS_MAX_SIZE": "big"}},
            "FASTWS_WS_MAX_SIZE: must be a number of bytes such as 65536, 64KiB or 1MB, 1 or more, not 'big'",
        ),
        ({"env": {"FASTWS_PORT": "80"}}, "FASTWS_PORT: gunicorn listens: --bind"),
        ({"worker": "gunicorn_apps.Mistaken"}, "CONFIG: ws_max_sise: no such option: did you mean 'ws_max_size'?"),
        ({"worker": "gunicorn_apps.NoMaster"}, r"CONFIG\['port'\]: gunicorn listens: --bind"),
        ({"app": "gunicorn_apps:wsgi"}, "APP: the application looks like WSGI, not ASGI"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with run_gunicorn(tmp_path, **options) as process:
        assert process.wait() == 3
    assert len(re.findall(message, process.output)) == 1
    assert "Traceback" not in process.output


def test_application_that_fails_at_first_ends_gunicorn_and_later_does_not(tmp_path: Path) -> None:
    failures = tmp_path / "failures"
    options: dict[str, Any] = {"app": "gunicorn_apps:fails_at_startup", "env": {"FAILURES": str(failures)}}
    failures.touch()
    with run_gunicorn(tmp_path, **options) as process:
        assert process.wait() == 3
    assert "the database is away" in process.output
    failures.unlink()
    with serve_gunicorn(tmp_path, "--max-requests", "1", **options) as process:
        failures.touch()
        before = get(process, "/pid")[1]
        process.wait_for_line("the database is away")
        failures.unlink()
        assert serving_elsewhere(process, before)
        assert process.stop() == 0


# Settings


def test_options_of_fastws(tmp_path: Path) -> None:
    own: dict[str, Any] = {"worker": "gunicorn_apps.SmallMessages"}
    with serve_gunicorn(tmp_path, **own) as process, connect(process.ws_url) as websocket:
        websocket.send("x" * 101)
        assert end_of(websocket)[0] == 1009
    own["env"] = {"FASTWS_WS_MAX_SIZE": "200"}
    with serve_gunicorn(tmp_path, **own) as process, connect(process.ws_url) as websocket:
        websocket.send("x" * 101)
        assert websocket.recv() == "x" * 101


def test_limits_and_forwarded_addresses(tmp_path: Path) -> None:
    limits = ["--limit-request-line", "50", "--limit-request-fields", "5", "--limit-request-field_size", "60"]
    with serve_gunicorn(tmp_path, *limits, "--forwarded-allow-ips", "127.0.0.1") as process:
        assert get(process, "/" + "x" * 60)[0] == 414
        assert get(process, "/", {f"x-{number}": "y" for number in range(6)})[0] == 431
        assert get(process, "/", {"x": "y" * 60})[0] == 431
        headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
        assert get(process, "/scope", headers) == (200, "https 192.0.2.7 ")


def test_proxy_protocol_and_scheme_headers(tmp_path: Path) -> None:
    conf = "proxy_protocol = True\nsecure_scheme_headers = {'X-TLS': 'on'}\n"
    with serve_gunicorn(tmp_path, conf=conf) as process:
        with socket.create_connection((process.host, process.port), PATIENCE) as client:
            client.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 80\r\n")
            client.sendall(b"GET /scope HTTP/1.1\r\nHost: t\r\nX-TLS: on\r\nConnection: close\r\n\r\n")
            received = b""
            while data := client.recv(4096):
                received += data
        # The client that the PROXY header names is nobody's proxy: what it says of its scheme is not believed.
        assert received.endswith(b"\r\n\r\nhttp 192.0.2.7 ")
    with serve_gunicorn(tmp_path, conf="secure_scheme_headers = {'X-TLS': 'on'}\n") as process:
        assert get(process, "/scope", {"X-TLS": "on"}) == (200, "https 127.0.0.1 ")
        assert get(process, "/scope", {"X-Forwarded-Proto": "https"}) == (200, "http 127.0.0.1 ")
