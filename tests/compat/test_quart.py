"""Quart: WebSockets, their refusal, sessions, streams."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from conftest import Served
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

Serve = Callable[..., Served]


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve("quart_app")


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
    with pytest.raises(InvalidStatus) as failed, connect(served.ws + "/refused"):
        pass
    assert failed.value.response.status_code == 401
    assert failed.value.response.body == b"not you"


def test_http_and_sessions(served: Served) -> None:
    with httpx.Client() as client:
        assert client.get(served.http + "/").json() == {"ready": [True], "visits": 1}
        assert client.get(served.http + "/").json() == {"ready": [True], "visits": 2}


def test_request_body(served: Served) -> None:
    assert httpx.post(served.http + "/echo", content=b"x" * 500_000).content == b"x" * 500_000


def test_streaming(served: Served) -> None:
    assert httpx.get(served.http + "/stream").text == "0\n1\n2\n"
