"""FastAPI: dependencies, rooms, validation, background tasks, uploads, server-sent events."""

from __future__ import annotations

import json

import httpx
import pytest
from polling import eventually
from served import Served, refusal
from websockets.sync.client import connect

APP = "fastapi_app"


def test_websocket_with_a_dependency(served: Served) -> None:
    with connect(served.ws + "/items/7?token=secret") as websocket:
        websocket.send("hello")
        assert json.loads(websocket.recv()) == {"item": 7, "text": "hello"}


@pytest.mark.parametrize("path", ["/items/7", "/items/seven?token=secret"])
def test_websocket_that_a_dependency_refuses(served: Served, path: str) -> None:
    assert refusal(served.ws + path).status_code == 403


def test_websocket_rooms(served: Served) -> None:
    with connect(served.ws + "/rooms/a") as first, connect(served.ws + "/rooms/a") as second:
        second.send("one")  # both are members when it comes back
        assert second.recv() == first.recv() == "one"
        first.send("two")
        assert second.recv() == first.recv() == "two"


def test_validation(served: Served) -> None:
    assert httpx.post(served.http + "/items", json={"name": "a", "price": 2}).status_code == 201
    assert httpx.post(served.http + "/items", json={"name": "a"}).status_code == 422


def test_background_tasks(served: Served) -> None:
    httpx.post(served.http + "/items", json={"name": "later", "price": 2})
    eventually(lambda: "later" in httpx.get(served.http + "/done").json())


def test_upload(served: Served) -> None:
    assert httpx.post(served.http + "/upload", files={"file": b"x" * 2_000_000}).json() == {"size": 2_000_000}


def test_event_stream(served: Served) -> None:
    with httpx.stream("GET", served.http + "/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert [line for line in response.iter_lines() if line] == ["data: 0", "data: 1", "data: 2"]


def test_endpoint_in_a_thread(served: Served) -> None:
    assert httpx.get(served.http + "/thread").json() == {"thread": True}


def test_documentation_pages(served: Served) -> None:
    assert httpx.get(served.http + "/openapi.json").json()["info"]["title"] == "FastAPI"
