"""Applications for the tests of workers: they say in which process they run, and do what a supervisor must notice."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

_hoard: list[bytearray] = []


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the process' id, or do what the path says first; echo WebSocket messages behind the id."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    pid = str(os.getpid())
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": f"{pid} {event['text']}"})
        return
    await _do(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(pid))]})
    await send({"type": "http.response.body", "body": pid.encode()})


async def _do(path: str) -> None:
    if path == "/block":
        time.sleep(600)
    elif path == "/busy":  # all of a core for two seconds, but the loop turns
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            turn = time.monotonic() + 0.2
            while time.monotonic() < turn:
                pass
            await asyncio.sleep(0)
    elif path == "/hoard":
        _hoard.append(bytearray(b"x") * (64 << 20))
    elif path == "/version":
        print("version", os.environ.get("VERSION"), flush=True)


async def dies_young(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve for a moment."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await asyncio.sleep(0.01)
    os._exit(7)


async def fails_from_the_second_on(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`app`, which cannot start where the file $MARK is there."""
    if scope["type"] == "lifespan" and os.path.exists(os.environ["MARK"]):
        sys.exit(5)
    await app(scope, receive, send)
