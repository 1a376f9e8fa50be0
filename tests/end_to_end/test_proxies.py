"""nginx and HAProxy with the configurations of docs/deployment: what goes through, and what fastws knows of clients."""

from __future__ import annotations

import http.client
import json
import signal
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from proxies import Certificates, started
from serving import PATIENCE, ServerProcess, serve_process
from taking_turns import for_threads
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

pytestmark = pytest.mark.deploy

PLAIN = ("--forwarded-allow-ips", "127.0.0.1")
# Here clients have a trusted address too: that they are not believed is to be seen.
PROXY = ("--proxy-protocol", "--proxy-allow-ips", "127.0.0.1", "--no-proxy-headers")

# Configuration, replacements in it, arguments of fastws, whether fastws speaks TLS.
SETUPS: dict[str, tuple[str, dict[str, str], tuple[str, ...], bool]] = {
    "nginx": ("nginx.conf", {}, PLAIN, False),
    "nginx, re-encrypted": ("nginx-reencrypt.conf", {}, PLAIN, True),
    "haproxy": ("haproxy.cfg", {}, PLAIN, False),
    "haproxy, re-encrypted": ("haproxy-reencrypt.cfg", {}, PLAIN, True),
    "haproxy, PROXY version 2 with TLS's TLV": ("haproxy-tcp.cfg", {}, PROXY, False),
    "haproxy, PROXY version 2 before TLS": ("haproxy-passthrough.cfg", {}, PROXY, True),
    "haproxy, PROXY version 1 before TLS": (
        "haproxy-passthrough.cfg",
        {"send-proxy-v2 ": "send-proxy "},
        PROXY,
        True,
    ),
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def setup(name: str, certificates: Certificates) -> Iterator[tuple[int, ssl.SSLContext, ServerProcess]]:
    """The port of a proxy before one fastws, what a client trusts, and the server."""
    configuration, replaced, arguments, tls = SETUPS[name]
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

        large = "x" * 300_000
        with connect(f"wss://localhost:{port}/echo", ssl=trusted, compression=None, max_size=None) as websocket:
            for text in ("hello", "wörld", large):
                websocket.send(text)
                assert websocket.recv(PATIENCE) == text
            websocket.send(b"\0\xff")
            assert websocket.recv(PATIENCE) == b"\0\xff"
            websocket.send("scope")
            assert json.loads(websocket.recv(PATIENCE))["scheme"] == "wss"
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


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_who_is_behind_a_unix_socket(name: str, certificates: Certificates, tmp_path: Path) -> None:
    configuration = SETUPS[name][0]
    path = tmp_path / "fastws.sock"
    with ExitStack() as stack:
        stack.enter_context(serve_process("deploy_app:app", "--uds", str(path), "--forwarded-allow-ips", "unix"))
        for directory in (path.parent, *path.parent.parents):  # nginx' workers are somebody else
            if directory.stat().st_uid == path.stat().st_uid and directory != Path("/"):
                directory.chmod(directory.stat().st_mode | 0o001)
        address = f"unix:{path}" if name == "nginx" else f"unix@{path}"
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


def test_health_checks_take_a_draining_server_out(certificates: Certificates) -> None:
    """While it still listens: what comes then goes to the other one."""
    with ExitStack() as stack:
        draining, other = (
            stack.enter_context(
                serve_process("deploy_app:app", *PLAIN, "--drain-delay", "30", env={"DEPLOY_NAME": name})
            )
            for name in ("draining", "other")
        )
        addresses = (f"127.0.0.1:{draining.port}", f"127.0.0.1:{other.port}")
        faster = {"inter 1s": "inter 50ms"}
        port = stack.enter_context(started("haproxy.cfg", certificates, addresses, faster))
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
