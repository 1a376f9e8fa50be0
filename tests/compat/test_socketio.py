"""python-socketio: both transports and the upgrade between them, acknowledgements, rooms, refusal."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import socketio
from served import Served

APP = "socketio_app"


@pytest.fixture
def client() -> Iterator[socketio.Client]:
    client = socketio.Client(reconnection=False)
    yield client
    client.disconnect()


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_echo_by_one_transport(served: Served, client: socketio.Client, transport: str) -> None:
    client.connect(served.http, transports=[transport])
    assert client.call("echo", {"a": [1, "ü"]}, timeout=15) == {"a": [1, "ü"]}
    assert client.call("echo", b"\x00\x01", timeout=15) == b"\x00\x01"
    assert client.call("transport", timeout=15) == transport


def test_upgrade_from_polling_to_websocket(served: Served, client: socketio.Client) -> None:
    client.connect(served.http)  # polling first
    assert client.call("echo", "x" * 100_000, timeout=15) == "x" * 100_000
    assert client.call("transport", timeout=15) == "websocket"


def test_rooms(served: Served, client: socketio.Client) -> None:
    said = threading.Event()
    words: list[str] = []

    def on_said(text: str) -> None:
        words.append(text)
        said.set()

    client.on("said", on_said)
    client.connect(served.http, transports=["websocket"])
    client.emit("join", "room")
    client.emit("say", {"room": "room", "text": "hello"})
    assert said.wait(15)
    assert words == ["hello"]


def test_refusal(served: Served, client: socketio.Client) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(served.http, auth={"token": "wrong"})
