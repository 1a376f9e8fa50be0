"""Quart: WebSockets, their refusal, sessions, streams."""

from __future__ import annotations

import httpx
from served import Served, refusal
from websockets.sync.client import connect

APP = "quart_app"


def test_websocket(served: Served) -> None:
    with connect(served.ws + "/ws") as websocket:
        assert websocket.response is not None
        assert websocket.response.headers["x-hello"] == "there"
        for message in ("text", b"bytes"):
            websocket.send(message)
            assert websocket.recv() == message


def test_websockets_that_publish(served: Served) -> None:
    with connect(served.ws + "/publish") as first, connect(served.ws + "/publish") as second:
        assert first.ping().wait(15)
        second.send("one")
        assert second.recv() == "one"
        first.send("two")
        assert second.recv() == "two"


def test_websocket_that_is_refused(served: Served) -> None:
    failed = refusal(served.ws + "/refused")
    assert failed.status_code == 401
    assert failed.body == b"not you"


def test_http_and_sessions(served: Served) -> None:
    with httpx.Client() as client:
        assert client.get(served.http + "/").json() == {"ready": [True], "visits": 1}
        assert client.get(served.http + "/").json() == {"ready": [True], "visits": 2}


def test_request_body(served: Served) -> None:
    assert httpx.post(served.http + "/echo", content=b"x" * 500_000).content == b"x" * 500_000


def test_streaming(served: Served) -> None:
    assert httpx.get(served.http + "/stream").text == "0\n1\n2\n"
