"""A burst of requests on many connections: a few at a time are read and begun, and all of them are answered."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import wire
from serving import PATIENCE, Serving, serve

pytest.importorskip("fastws.net._sockets")

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
AT_A_TIME = 16

released = threading.Event()
begun: list[int] = []
"""How many requests had been read and not answered, each time that the application was called."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})
        return
    begun.append(receive.__self__.shared.requests)
    if scope["path"] == "/hold":
        released.wait(PATIENCE)  # nobody is read meanwhile
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.fixture
def serving() -> Iterator[Serving]:
    released.clear()
    begun.clear()
    with serve(app, transport="sockets", lifespan="off") as serving:
        yield serving


def connect(serving: Serving, stack: ExitStack, count: int) -> list[socket.socket]:
    clients = [
        stack.enter_context(socket.create_connection((serving.host, serving.port), PATIENCE)) for _ in range(count)
    ]
    for client in clients:
        client.settimeout(PATIENCE)
    return clients


def answer(client: socket.socket) -> int:
    """The status of the next response; a 101 or a 204 has no body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        assert more
        data += more
    return int(data[9:12])


def test_a_burst_is_begun_a_few_at_a_time(serving: Serving) -> None:
    with ExitStack() as stack:
        clients = connect(serving, stack, 201)
        for client in clients:
            client.sendall(REQUEST)
            assert answer(client) == 204
        begun.clear()
        clients[0].sendall(REQUEST.replace(b"/ ", b"/hold "))
        for client in clients[1:]:
            client.sendall(REQUEST)
        released.set()
        assert [answer(client) for client in clients] == [204] * 201
    assert len(begun) == 201
    assert max(begun) <= AT_A_TIME


def test_messages_beside_a_burst_are_all_answered(serving: Serving) -> None:
    with ExitStack() as stack:
        talkers = connect(serving, stack, 100)
        askers = connect(serving, stack, 100)
        for client in talkers:
            client.sendall(wire.handshake())
            assert answer(client) == 101
        for _ in range(5):
            for talker, asker in zip(talkers, askers, strict=True):
                talker.sendall(wire.text("a"))
                asker.sendall(REQUEST)
            for talker, asker in zip(talkers, askers, strict=True):
                assert talker.recv(3, socket.MSG_WAITALL) == b"\x81\x01a"
                assert answer(asker) == 204
