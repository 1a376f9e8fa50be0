"""Applications, and worker classes, for the tests of the gunicorn worker."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, ClassVar

import echo_app

from fastws.workers import FastWSWorker


class SmallMessages(FastWSWorker):
    CONFIG: ClassVar = {"ws_max_size": 100}


class Mistaken(FastWSWorker):
    CONFIG: ClassVar = {"ws_max_sise": 100}


class NoMaster(FastWSWorker):
    CONFIG: ClassVar = {"port": 80}


async def _answer(send: Any, body: str, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-answer", b"yes")]})
    await send({"type": "http.response.body", "body": body.encode()})


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Say what it was asked for: /pid, /scope, /stuck; echo WebSockets and keep what came in the file $RECEIVED."""
    if scope["type"] == "lifespan":
        return await echo_app.app(scope, receive, send)
    if scope["type"] == "websocket":
        return await _websocket(scope, receive, send)
    if scope["path"] == "/pid":
        await _answer(send, str(os.getpid()))
    elif scope["path"] == "/scope":
        await _answer(send, f"{scope['scheme']} {scope['client'] and scope['client'][0]} {scope['root_path']}")
    elif scope["path"] == "/stuck":
        get_stuck()
    else:
        await _answer(send, scope["path"], 404)


def get_stuck() -> None:
    time.sleep(60)


async def _websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] == "/denied":
        return await send({"type": "websocket.close"})
    await send({"type": "websocket.accept"})
    if scope["path"] == "/pid":
        await send({"type": "websocket.send", "text": str(os.getpid())})
    with open(os.environ.get("RECEIVED", os.devnull), "a", buffering=1) as received:
        while (event := await receive())["type"] == "websocket.receive":
            print(event["text"], file=received)
            await send({"type": "websocket.send", "text": event["text"]})


async def fails_at_startup(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Fail, but once for as many workers as the file $FAILURES has characters, where there is one."""
    if scope["type"] != "lifespan":
        return await app(scope, receive, send)
    failures = Path(os.environ["FAILURES"])
    await receive()
    if failures.exists():
        await send({"type": "lifespan.startup.failed", "message": "the database is away"})
    else:
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


def wsgi(environ: Any, start_response: Any) -> Any: ...
