"""Proxies with the configurations of docs/deployment: what goes through, and what fastws knows of clients.

Each of them has the same tests with a client of HTTP/1.1; where HTTP/2 is spoken on either side there are more.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from http2_client import Http2Client
from proxies import Certificates, free_port, started
from rolling_deploy import CONFIGURATIONS
from serving import PATIENCE, ServerProcess, serve_process
from taking_turns import for_threads
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fastws.observe import control_client

pytestmark = pytest.mark.deploy

THREADS = os.cpu_count() or 1
"""Of a proxy, by default; each has connections of its own to a server."""

PLAIN = ("--forwarded-allow-ips", "127.0.0.1")
# Here clients have a trusted address too: that they are not believed is to be seen.
PROXY = ("--proxy-protocol", "--proxy-allow-ips", "127.0.0.1", "--no-proxy-headers")

NAMED = {
    "option httpchk GET /readyz": "option httpchk\n    http-check send meth GET uri /readyz ver HTTP/2 hdr Host fastws"
}
"""HTTP/2 has no request without a host."""

# Configuration, replacements in it, arguments of fastws, whether fastws speaks TLS.
SETUPS: dict[str, tuple[str, dict[str, str], tuple[str, ...], bool]] = {
    "nginx": ("nginx.conf", {}, PLAIN, False),
    "nginx, re-encrypted": ("nginx-reencrypt.conf", {}, PLAIN, True),
    "haproxy": ("haproxy.cfg", {}, PLAIN, False),
    "haproxy, re-encrypted": ("haproxy-reencrypt.cfg", {}, PLAIN, True),
    "haproxy, HTTP/2": ("haproxy-h2.cfg", {}, PLAIN, False),
    "haproxy, HTTP/2, re-encrypted": (
        "haproxy-reencrypt.cfg",
        {"default-server ssl": "http-reuse always\n    default-server ssl alpn h2 check-alpn h2 ws h2", **NAMED},
        PLAIN,
        True,
    ),
    "envoy, HTTP/2": ("envoy.yaml", {}, PLAIN, False),
    "haproxy, PROXY version 2 with TLS's TLV": ("haproxy-tcp.cfg", {}, PROXY, False),
    "haproxy, PROXY version 2 before TLS": ("haproxy-passthrough.cfg", {}, PROXY, True),
    "haproxy, PROXY version 1 before TLS": (
        "haproxy-passthrough.cfg",
        {"send-proxy-v2 ": "send-proxy "},
        PROXY,
        True,
    ),
}


HTTP2 = [name for name in SETUPS if "HTTP/2" in name]
"""Those with HTTP/2 between proxy and server."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def setup(name: str, certificates: Certificates, *more: str) -> Iterator[tuple[int, ssl.SSLContext, ServerProcess]]:
    """The port of a proxy before one fastws, what a client trusts, and the server, which has `more` arguments."""
    configuration, replaced, arguments, tls = SETUPS[name]
    arguments += more
    if tls:
        arguments = (*arguments, "--ssl-certfile", str(certificates.inside))
    with ExitStack() as stack:
        process = stack.enter_context(serve_process("deploy_app:app", *arguments))
        address = f"127.0.0.1:{process.port}"
        port = stack.enter_context(started(configuration, certificates, (address, address), replaced))
        trusted = for_threads(ssl.create_default_context(cafile=certificates.authority))
        trusted.check_hostname = "passthrough" not in configuration  # the certificate is then the server's own
        yield port, trusted, process


def get(port: int, trusted: ssl.SSLContext, path: str = "/scope", **headers: str) -> tuple[int, bytes]:
    client = http.client.HTTPSConnection("localhost", port, context=trusted, timeout=PATIENCE)
    try:
        client.request("GET", path, headers=headers)
        response = client.getresponse()
        return response.status, response.read()
    finally:
        client.close()


@pytest.mark.parametrize("name", SETUPS)
def test_http_and_websockets_through_a_proxy(name: str, certificates: Certificates) -> None:
    with setup(name, certificates) as (port, trusted, process):
        status, body = get(port, trusted, **{"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http"})
        assert status == 200
        scope: dict[str, Any] = json.loads(body)
        assert scope["client"][0] == "127.0.0.1"
        assert scope["client"][1] != process.port
        assert scope["scheme"] == "https"
        assert scope["host"].startswith("localhost")
        assert scope["http_version"] == ("2" if name in HTTP2 else "1.1")

        large = "x" * 300_000
        with connect(f"wss://localhost:{port}/echo", ssl=trusted, compression=None, max_size=None) as websocket:
            for text in ("hello", "wörld", large):
                websocket.send(text)
                assert websocket.recv(PATIENCE) == text
            websocket.send(b"\0\xff")
            assert websocket.recv(PATIENCE) == b"\0\xff"
            websocket.send("scope")
            known = json.loads(websocket.recv(PATIENCE))
            assert (known["scheme"], known["client"][0]) == ("wss", "127.0.0.1")
            assert known["http_version"] == scope["http_version"]
            websocket.ping().wait(PATIENCE)
            websocket.close(4001, "enough")
        process.wait_for_line("closed with 4001 enough")

        with connect(f"wss://localhost:{port}/echo", ssl=trusted) as websocket:  # compressed
            websocket.send("y" * 10_000)
            assert websocket.recv(PATIENCE) == "y" * 10_000
            websocket.send("close")
            with pytest.raises(ConnectionClosed) as caught:
                websocket.recv(PATIENCE)
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4002, "as asked")


@pytest.mark.parametrize("name", SETUPS)
def test_what_is_sent_piece_by_piece_arrives_so(name: str, certificates: Certificates) -> None:
    with setup(name, certificates) as (port, trusted, _):
        client = http.client.HTTPSConnection("localhost", port, context=trusted, timeout=PATIENCE)
        client.request("GET", "/stream")
        response = client.getresponse()
        assert response.read1() == b"data: 1\n\n"
        assert get(port, trusted, "/more")[0] == 200
        assert response.read() == b"data: 2\n\n"
        client.close()


@pytest.mark.parametrize("name", [name for name in SETUPS if "PROXY" not in name])
def test_the_health_of_a_server_is_not_for_everybody(name: str, certificates: Certificates) -> None:
    with setup(name, certificates) as (port, trusted, process):
        for path in "/readyz", "/livez":
            assert get(port, trusted, path)[0] == 404
            local = http.client.HTTPConnection("127.0.0.1", process.port, timeout=PATIENCE)
            if not SETUPS[name][3]:
                local.request("GET", path)
                assert local.getresponse().status == 200
            local.close()


def carriers(control: Path) -> Counter[str]:
    """How many WebSockets each connection to the server carries."""
    [worker] = control_client.workers(str(control)).values()
    known = [each["connection"] for each in control_client.ask(worker, {"do": "connections"}) if "connection" in each]
    return Counter(each["id"].partition(".")[0] for each in known if each["kind"] == "websocket")


@pytest.mark.parametrize("name", HTTP2)
def test_websockets_of_many_clients_share_connections(name: str, certificates: Certificates, tmp_path: Path) -> None:
    control = tmp_path / "control"
    with setup(name, certificates, "--control-socket", str(control)) as (port, trusted, _), ExitStack() as stack:
        url = f"wss://localhost:{port}/echo"
        websockets = [stack.enter_context(connect(url, ssl=trusted)) for _ in range(50)]
        for number, websocket in enumerate(websockets):
            websocket.send(str(number))
        assert [websocket.recv(PATIENCE) for websocket in websockets] == [str(number) for number in range(50)]
        carried = carriers(control)
        assert sum(carried.values()) == 50
        assert len(carried) <= 2 * THREADS
        websockets[0].close_socket()  # one that vanishes costs no other
        for websocket in websockets[1:]:
            websocket.send("still here")
        assert {websocket.recv(PATIENCE) for websocket in websockets[1:]} == {"still here"}


@pytest.mark.parametrize("name", HTTP2)
def test_a_proxy_opens_more_connections_where_the_server_allows_few_streams(
    name: str, certificates: Certificates, tmp_path: Path
) -> None:
    control = tmp_path / "control"
    options = ("--control-socket", str(control), "--http2-max-concurrent-streams", "8")
    with setup(name, certificates, *options) as (port, trusted, _), ExitStack() as stack:
        url = f"wss://localhost:{port}/echo"
        websockets = [stack.enter_context(connect(url, ssl=trusted)) for _ in range(50)]
        for websocket in websockets:
            websocket.send("hello")
        assert {websocket.recv(PATIENCE) for websocket in websockets} == {"hello"}
        carried = carriers(control)
        assert sum(carried.values()) == 50
        assert max(carried.values()) <= 8


@pytest.mark.parametrize("name", HTTP2)
def test_denials_and_large_bodies_through_http_2(name: str, certificates: Certificates) -> None:
    large = bytes(range(256)) * 20_000
    with setup(name, certificates) as (port, trusted, _):
        client = http.client.HTTPSConnection("localhost", port, context=trusted, timeout=PATIENCE)
        for _ in range(3):
            client.request("POST", "/", large)
            assert client.getresponse().read() == large
        client.request("HEAD", "/")
        assert client.getresponse().status == 200
        client.close()
        with pytest.raises(InvalidStatus) as denied:
            connect(f"wss://localhost:{port}/deny", ssl=trusted)
        assert denied.value.response.status_code == 403


@pytest.mark.parametrize("name", ["haproxy, HTTP/2", "envoy, HTTP/2"])
def test_clients_that_speak_http_2(name: str, certificates: Certificates) -> None:
    """HTTP/2 on both sides: requests, and WebSockets by extended CONNECT (RFC 8441)."""
    with setup(name, certificates) as (port, trusted, _), Http2Client(port, trusted) as client:
        status, body = client.request("GET", "/scope", None, ("x-forwarded-for", "6.6.6.6"))
        scope = json.loads(body)
        assert (status, scope["client"][0], scope["scheme"]) == (200, "127.0.0.1", "https")
        assert client.request("POST", "/", bytes(1_000_000)) == (200, bytes(1_000_000))
        websockets = [client.websocket("/echo") for _ in range(20)]
        for number, websocket in enumerate(websockets):
            assert websocket.headers[":status"] == "200"
            websocket.echo(f"hello {number}")
        websockets[0].echo("x" * 300_000)
        assert websockets[0].scope()["scheme"] == "wss"
        for websocket in websockets:
            websocket.close(1000)
        assert client.websocket("/deny").headers[":status"] == "403"
        assert client.request("GET", "/")[0] == 200


def test_nginx_speaks_http_2_with_browsers_and_1_1_with_servers(certificates: Certificates) -> None:
    """It has no extended CONNECT: a browser opens a connection of HTTP/1.1 for its WebSockets."""
    with ExitStack() as stack:
        process = stack.enter_context(serve_process("deploy_app:app", *PLAIN))
        address = f"127.0.0.1:{process.port}"
        port = stack.enter_context(started("nginx.conf", certificates, (address, address)))
        trusted = ssl.create_default_context(cafile=certificates.authority)
        client = stack.enter_context(Http2Client(port, trusted))
        for _ in range(3):
            status, body = client.request("GET", "/scope")
            assert (status, json.loads(body)["http_version"]) == (200, "1.1")
        assert client.request("POST", "/", bytes(1_000_000)) == (200, bytes(1_000_000))
        assert not client.may_connect()
        trusted.set_alpn_protocols(["http/1.1"])
        with connect(f"wss://localhost:{port}/echo", ssl=for_threads(trusted)) as websocket:
            websocket.send("hello")
            assert websocket.recv(PATIENCE) == "hello"


@pytest.mark.parametrize("name", ["nginx", "haproxy", "haproxy, HTTP/2"])
def test_who_is_behind_a_unix_socket(name: str, certificates: Certificates, tmp_path: Path) -> None:
    configuration = SETUPS[name][0]
    path = tmp_path / "fastws.sock"
    with ExitStack() as stack:
        stack.enter_context(serve_process("deploy_app:app", "--uds", str(path), "--forwarded-allow-ips", "unix"))
        for directory in (path.parent, *path.parent.parents):  # nginx' workers are somebody else
            if directory.stat().st_uid == path.stat().st_uid and directory != Path("/"):
                directory.chmod(directory.stat().st_mode | 0o001)
        address = f"unix:{path}" if "nginx" in name else f"unix@{path}"
        port = stack.enter_context(started(configuration, certificates, (address, address)))
        trusted = for_threads(ssl.create_default_context(cafile=certificates.authority))
        scope = json.loads(get(port, trusted)[1])
        assert (scope["client"][0], scope["scheme"]) == ("127.0.0.1", "https")


def test_proxy_headers_on_a_unix_socket(certificates: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "fastws.sock"
    with ExitStack() as stack:
        stack.enter_context(serve_process("deploy_app:app", "--uds", str(path), "--proxy-protocol"))
        address = f"unix@{path}"
        port = stack.enter_context(started("haproxy-tcp.cfg", certificates, (address, address)))
        trusted = for_threads(ssl.create_default_context(cafile=certificates.authority))
        scope = json.loads(get(port, trusted)[1])
        assert (scope["client"][0], scope["scheme"]) == ("127.0.0.1", "https")


@pytest.mark.parametrize("name", ["haproxy", "haproxy, HTTP/2", "envoy, HTTP/2"])
def test_health_checks_take_a_draining_server_out(name: str, certificates: Certificates) -> None:
    """While it still listens: what comes then goes to the other one."""
    configuration = SETUPS[name][0]
    with ExitStack() as stack:
        draining, other = (
            stack.enter_context(
                serve_process("deploy_app:app", *PLAIN, "--drain-delay", "30", env={"DEPLOY_NAME": name})
            )
            for name in ("draining", "other")
        )
        addresses = (f"127.0.0.1:{draining.port}", f"127.0.0.1:{other.port}")
        faster = {"inter 1s": "inter 50ms"}
        if name.startswith("envoy"):
            faster = {f"{each}interval: 1s": f"{each}interval: 0.05s" for each in (" ", "traffic_")}
        port = stack.enter_context(started(configuration, certificates, addresses, faster))
        trusted = for_threads(ssl.create_default_context(cafile=certificates.authority))
        seen = set()
        while seen != {"draining", "other"}:
            seen.add(json.loads(get(port, trusted)[1])["name"])
        url = f"wss://localhost:{port}/echo"
        with connect(url, ssl=trusted) as first, connect(url, ssl=trusted) as second:
            draining.signal(signal.SIGTERM)
            draining.wait_for_line("Not ready any more")
            in_a_row = 0
            while in_a_row < 20:
                in_a_row = in_a_row + 1 if json.loads(get(port, trusted)[1])["name"] == "other" else 0
            # It still listens, and serves what it has.
            local = http.client.HTTPConnection("127.0.0.1", draining.port, timeout=PATIENCE)
            local.request("GET", "/readyz")
            assert local.getresponse().status == 503
            local.close()
            for websocket in (first, second):
                websocket.send("still here")
                assert websocket.recv(PATIENCE) == "still here"


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_server_is_gone_and_its_proxy_does_not_know(configuration: str, certificates: Certificates) -> None:
    """It has the fewest requests, so that most of them are meant for it: each is answered by the other one."""
    trusted = ssl.create_default_context(cafile=certificates.authority)
    ports = free_port(), free_port()
    rarely = {"inter 1s": "inter 60s"}
    if configuration == "envoy.yaml":
        rarely = {f"{each}interval: 1s": f"{each}interval: 60s" for each in (" ", "traffic_")}
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                serve_process("deploy_app:app", *PLAIN, "--port", str(port), env={"DEPLOY_NAME": str(port)})
            )
            for port in ports
        ]
        addresses = (f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}")
        proxy = stack.enter_context(started(configuration, certificates, addresses, rarely))
        client = http.client.HTTPSConnection("localhost", proxy, timeout=PATIENCE, context=trusted)
        stack.callback(client.close)

        def ask() -> tuple[int, str]:
            client.request("GET", "/")
            answer = client.getresponse()
            body = answer.read()
            return answer.status, json.loads(body)["name"] if answer.status == 200 else ""

        deadline = time.monotonic() + PATIENCE
        names: set[str] = set()
        while len(names) < 2:
            assert time.monotonic() < deadline
            names.add(ask()[1])
            names.discard("")
        servers[0].popen.kill()
        servers[0].popen.wait()
        for _ in range(30):
            stack.enter_context(connect(f"wss://localhost:{proxy}/", ssl=trusted, open_timeout=PATIENCE))
        assert Counter(ask() for _ in range(600)) == {(200, str(ports[1])): 600}
