"""--transport: who moves the bytes is the operator's choice, and a server that cannot do it says so."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from process_apps import echo
from serving import serve
from websockets.sync.client import connect

from fastws.config import Config
from fastws.config.effects import without_effect
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
    assert transport_of(Config("a:b"), secure=False) == "loop"


def test_tls_has_the_loop_s_and_says_so(tmp_path: Path) -> None:
    assert transport_of(Config("a:b"), secure=True) == "loop"
    config = Config("a:b", transport="loop", ssl_certfile=tmp_path / "c.pem")
    assert [line for line in without_effect(config) if "--transport" in line]
    assert prepare(Config("process_apps:app"), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))[2] is not None
