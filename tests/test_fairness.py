"""An application that sends and sends, and waits for nothing else, neither starves others nor outlives its peer."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving import PATIENCE, Serving, serve
from websockets.sync.client import connect

ended: queue.Queue[str] = queue.Queue()
"""How each endless application ended."""


async def endless(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/quick":
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        again = {"type": "websocket.send", "text": "again"}
    else:
        await send({"type": "http.response.start", "status": 200})
        again = {"type": "http.response.body", "body": b"again", "more_body": True}
    try:
        while True:
            await send(again)
    except OSError as error:
        ended.put(type(error).__name__)
        raise


@pytest.fixture
def serving(engine: str) -> Iterator[Serving]:
    with serve(endless, ws=engine) as serving:
        yield serving


def assert_others_are_served(serving: Serving) -> None:
    assert httpx.get(f"{serving.http_url}/quick", trust_env=False, timeout=PATIENCE).status_code == 204


def test_websocket_whose_peer_vanishes(serving: Serving) -> None:
    with connect(f"{serving.ws_url}/", proxy=None) as peer:
        assert peer.recv(PATIENCE) == "again"
        peer.close_socket()
    assert ended.get(timeout=PATIENCE) == "ClientDisconnected"
    assert_others_are_served(serving)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_response_whose_peer_vanishes(serving: Serving, method: str) -> None:
    with socket.create_connection((serving.host, serving.port), PATIENCE) as peer:
        peer.sendall(f"{method} / HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        assert peer.recv(12) == b"HTTP/1.1 200"
    assert ended.get(timeout=PATIENCE) == "ClientDisconnected"
    assert_others_are_served(serving)


def test_others_are_served_while_a_peer_reads_as_fast_as_it_can(serving: Serving) -> None:
    with socket.create_connection((serving.host, serving.port), PATIENCE) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert peer.recv(12) == b"HTTP/1.1 200"
        done = threading.Event()

        def read() -> None:
            while not done.is_set() and peer.recv(1 << 20):
                pass

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for _ in range(3):
                assert_others_are_served(serving)
        finally:
            done.set()
            reader.join(PATIENCE)
    assert ended.get(timeout=PATIENCE) == "ClientDisconnected"
