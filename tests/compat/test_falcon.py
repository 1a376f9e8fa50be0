"""Falcon: WebSockets and HTTP."""

from __future__ import annotations

import httpx
from served import Serve
from websockets.sync.client import connect


def test_websocket(serve: Serve) -> None:
    with connect(serve("falcon_app").ws + "/echo") as websocket:
        websocket.send("hello")
        assert websocket.recv() == "hello"


def test_http(serve: Serve) -> None:
    assert httpx.get(serve("falcon_app").http + "/echo").json() == {"hello": "world"}
