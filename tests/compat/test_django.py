"""Django with Channels: groups over the in-memory layer, users by session, threads, static files."""

from __future__ import annotations

import json

import httpx
from served import Served, refusal
from websockets.sync.client import connect

APP = "django_app"


def test_groups_in_the_memory_layer(served: Served) -> None:
    with connect(served.ws + "/rooms/a") as first, connect(served.ws + "/rooms/a") as second:
        second.send('{"text": "one"}')
        assert json.loads(second.recv()) == json.loads(first.recv()) == {"text": "one", "user": ""}


def test_users_by_session(served: Served) -> None:
    with httpx.Client() as client:
        assert client.get(served.http + "/sign-in/ann").json() == {"user": "ann"}
        assert client.get(served.http + "/who").json() == {"user": "ann", "scheme": "http", "path": "/who"}
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    with connect(served.ws + "/rooms/b", additional_headers={"cookie": cookie}) as websocket:
        websocket.send('{"text": "hello"}')
        assert json.loads(websocket.recv()) == {"text": "hello", "user": "ann"}


def test_consumer_in_a_thread(served: Served) -> None:
    with connect(served.ws + "/sync") as websocket:
        for message in ("text", b"bytes"):
            websocket.send(message)
            assert websocket.recv() == message


def test_consumer_that_refuses(served: Served) -> None:
    assert refusal(served.ws + "/refusing").status_code == 403


def test_origins_are_checked(served: Served) -> None:
    with connect(served.ws + "/sync", origin=f"http://127.0.0.1:{served.port}"):  # type: ignore[arg-type]
        pass


def test_static_files(served: Served) -> None:
    response = httpx.get(served.http + "/static/site.css")
    assert response.text == "body { color: teal }\n"
    assert response.headers["content-type"].startswith("text/css")


def test_streaming(served: Served) -> None:
    assert httpx.get(served.http + "/stream").text == "0\n1\n2\n"
