"""Applications for the tests of starting and stopping: each does one thing that a server must get right."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any


async def _answer(send: Any, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer "ok" and echo WebSocket messages; print what the lifespan does."""
    if scope["type"] == "http":
        await _answer(send, b"ok")
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})
        print("disconnected with", event["code"], flush=True)
    else:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("the application shuts down", flush=True)
        await send({"type": "lifespan.shutdown.complete"})


async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Print "begun", and answer when the client sends a body."""
    if scope["type"] != "http":
        return await app(scope, receive, send)
    print("begun", flush=True)
    while (event := await receive())["type"] == "http.request" and not event.get("body"):
        pass
    await _answer(send, b"late")


async def stuck(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Never answer a request."""
    if scope["type"] != "http":
        return await app(scope, receive, send)
    print("begun", flush=True)
    await asyncio.get_running_loop().create_future()


async def hangs_at_startup(scope: dict[str, Any], receive: Any, send: Any) -> None:
    print("hanging", flush=True)
    await asyncio.get_running_loop().create_future()


async def hangs_at_shutdown(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("hanging", flush=True)
    await asyncio.get_running_loop().create_future()


async def fails_at_startup(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the database is away"})


async def fails_at_shutdown(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "the queue is not empty"})


async def connects_to_itself_at_startup(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Print what a client gets before the application has started, at the Unix socket $SOCKET."""
    if scope["type"] == "lifespan":
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(os.environ["SOCKET"])
            except ConnectionRefusedError:
                print("refused", flush=True)
            else:
                print("accepted too early", flush=True)
    await app(scope, receive, send)


class Asgi2:
    """An application as ASGI 2 has it."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        assert self.scope["type"] == "http"
        await _answer(send, self.scope["asgi"]["version"].encode())


def factory() -> Any:
    return app


_taken: list[int] = []


async def hoarder(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`app`, which takes all file descriptors that are left when it is asked for /take, and frees them on /free."""
    if scope["type"] == "http" and scope["path"] == "/take":
        with contextlib.suppress(OSError):
            while True:
                _taken.append(os.open(os.devnull, os.O_RDONLY))
    if scope["type"] == "http" and scope["path"] == "/free":
        while _taken:
            os.close(_taken.pop())
    await app(scope, receive, send)


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the process's id, but for "/late", and echo WebSocket messages; no lifespan."""
    if scope["type"] == "http":
        await receive()
        if scope["path"] != "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
        await receive()
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})
