"""--transport: who moves the bytes is the operator's choice, and a server that cannot do it says so."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
from process_apps import echo
from serving import PATIENCE, serve
from taking_turns import for_threads
from websockets.sync.client import connect

from fastws.config import Config
from fastws.errors import ConfigError
from fastws.net import accepting
from fastws.net.accepting import LoopServer, transport_of
from fastws.process.preparing import prepare

BUILT = accepting.SocketServer is not None
LOOPS = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])


@LOOPS
@pytest.mark.parametrize("transport", ["auto", "loop", *(["sockets"] if BUILT else [])])
def test_both_ways_serve(loop: str, transport: str) -> None:
    options: dict[str, Any] = {"loop": loop, "transport": transport, "lifespan": "off", "ws_max_size": "2MiB"}
    with serve(echo, **options) as serving:
        [server] = serving.server.servers
        assert isinstance(server, LoopServer) is (transport == "loop" or not BUILT)
        with connect(serving.ws_url, max_size=None) as client:
            for size in (0, 1, 126, 70_000, 1_000_000):
                client.send(bytes(size))
                assert client.recv() == bytes(size)
        serving.stop()


def test_what_is_not_built_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "SocketServer", None)
    with pytest.raises(ConfigError, match=r"^--transport: sockets is not built here: it needs Linux"):
        prepare(Config("process_apps:app", transport="sockets"), None)
    assert transport_of(Config("a:b")) == "loop"


@LOOPS
@pytest.mark.parametrize("transport", ["loop", *(["sockets"] if BUILT else [])])
@pytest.mark.parametrize("proxy", [False, True], ids=["direct", "proxied"])
def test_both_ways_serve_tls(loop: str, transport: str, proxy: bool, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = tmp_path / "both.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    context = for_threads(ssl.create_default_context())
    authority.configure_trust(context)
    options: dict[str, Any] = {"loop": loop, "transport": transport, "lifespan": "off", "ssl_certfile": certificate}
    if proxy:
        options |= {"proxy_protocol": True, "proxy_allow_ips": ["127.0.0.1"]}
    with serve(echo, **options) as serving:
        [server] = serving.server.servers
        assert isinstance(server, LoopServer) is (transport == "loop")
        for _ in range(3):
            sock = socket.create_connection((serving.host, serving.port), PATIENCE)
            if proxy:
                sock.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n")
            with connect(serving.ws_url, max_size=None, ssl=context, sock=sock) as client:
                for size in (0, 1, 126, 70_000, 1_000_000):
                    client.send(bytes(size))
                    assert client.recv() == bytes(size)
        if proxy:  # a client that does not mean TLS, and one that leaves
            for sent in (b"PROXY UNKNOWN\r\n" + bytes(100), b"PROXY UNKNOWN\r\n"):
                with socket.create_connection((serving.host, serving.port), PATIENCE) as sock:
                    sock.sendall(sent)
            while sum(serving.server._state.tls_failures.values()) < 2:
                time.sleep(0.01)
        serving.stop()
