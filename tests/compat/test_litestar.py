"""Litestar: handlers, listeners, streams, server-sent events."""

from __future__ import annotations

import httpx
from served import Served, refusal
from websockets.sync.client import connect

APP = "litestar_app"


def test_websocket_handler(served: Served) -> None:
    with connect(served.ws + "/raw") as websocket:
        websocket.send("hello")
        assert websocket.recv() == "hello"


def test_websocket_listener(served: Served) -> None:
    with connect(served.ws + "/listener") as websocket:
        websocket.send('{"a": 1, "b": 2}')
        assert websocket.recv() in ('{"sum":3}', b'{"sum":3}')


def test_websocket_that_is_refused(served: Served) -> None:
    assert refusal(served.ws + "/refused").status_code == 403


def test_websocket_that_only_listens_to_a_channel(served: Served) -> None:
    with connect(served.ws + "/news") as websocket:
        assert websocket.ping().wait(15)


def test_http(served: Served) -> None:
    assert httpx.get(served.http + "/").json() == {"hello": "world"}
    assert httpx.post(served.http + "/items", json={"a": 2}).json() == {"a": 4}


def test_streaming(served: Served) -> None:
    assert httpx.get(served.http + "/stream").text == "0\n1\n2\n"


def test_event_stream(served: Served) -> None:
    response = httpx.get(served.http + "/events")
    assert [line for line in response.text.splitlines() if line] == ["data: 0", "data: 1", "data: 2"]
