"""An application that sends and sends, and waits for nothing else, neither starves others nor outlives its peer."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import wire
from driving import connect as handshake
from fake_loop import FakeServer, on_fake_clock
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


@pytest.mark.slow
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


@on_fake_clock
async def test_the_loop_turns_between_echoes_of_compressed_messages(engine: str) -> None:
    # 64 KiB hold sixty of them, and what is written is as small: each costs as much as 1 MiB.
    turns: list[int] = []
    turn = 0

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            turns.append(turn)
            await send({"type": "websocket.send", "bytes": event["bytes"]})

    peer = await handshake(FakeServer(echo, engine=engine), b"Sec-WebSocket-Extensions: permessage-deflate")
    deflater = zlib.compressobj(wbits=-15)
    compressed = deflater.compress(bytes(1 << 20)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    frame = wire.frame(wire.BINARY, compressed[:-4], rsv1=True)
    peer.transport.feed(frame * 20)
    for turn in range(1, 200):  # noqa: B007  # the application reads it
        await asyncio.sleep(0)
    assert len(turns) == 20
    assert max(turns.count(each) for each in turns) <= 4
