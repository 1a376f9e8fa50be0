"""Falcon: WebSockets and HTTP."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from conftest import Served
from websockets.sync.client import connect

Serve = Callable[..., Served]


def test_websocket(serve: Serve) -> None:
    with connect(serve("falcon_app").ws + "/echo") as websocket:
        websocket.send("hello")
        assert websocket.recv() == "hello"


def test_http(serve: Serve) -> None:
    assert httpx.get(serve("falcon_app").http + "/echo").json() == {"hello": "world"}
