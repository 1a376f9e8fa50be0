"""The application that bench/soak.py wears out: one path for each way to end, and /state, which says what is left."""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastws.net.loop_state import LoopState

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LARGE = bytes(1 << 20)
FORK = multiprocessing.get_context("fork")
CHILDREN: list[Any] = []
_shared: list[LoopState] = []


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Serve as the last part of the path says."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    path = scope["path"]
    if path == "/raise":
        raise ValueError("a fault")
    if path == "/exit":
        raise SystemExit(1)
    if path == "/cancel":
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
    elif scope["type"] == "websocket":
        await websocket(path, receive, send)
    else:
        await http(path, receive, send)


async def http(path: str, receive: Receive, send: Send) -> None:
    while (event := await receive())["type"] == "http.request" and event["more_body"]:
        pass
    if path == "/fork":
        fork()
    body = LARGE if path == "/large" else state() if path == "/state" else b"Hello, world!"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    for begin in range(0, len(body), 65536):
        part = body[begin : begin + 65536]
        await send({"type": "http.response.body", "body": part, "more_body": begin + 65536 < len(body)})


async def websocket(path: str, receive: Receive, send: Send) -> None:
    await receive()
    if path == "/hang":
        await receive()
        return
    if path == "/deny":
        await send({"type": "websocket.close"})
        return
    if path == "/denial":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no, ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"never"})
        return
    await send({"type": "websocket.accept"})
    if path == "/return":
        return
    if path == "/close":
        await send({"type": "websocket.close", "code": 4000, "reason": "enough"})
        return
    while (event := await receive())["type"] == "websocket.receive":
        if path == "/fault":
            raise ValueError("a fault")
        if path == "/left":  # a task that outlives the WebSocket
            asyncio.get_running_loop().create_task(wait_for_the_end(receive))
            return
        await send({**event, "type": "websocket.send"})


async def wait_for_the_end(receive: Receive) -> None:
    await receive()


def fork() -> None:
    """Have one child more, that lives on beside the connections it was forked among; of ten the oldest is ended."""
    child = FORK.Process(target=time.sleep, args=(600.0,))
    child.start()
    CHILDREN.append(child)
    if len(CHILDREN) > 10:
        end(CHILDREN.pop(0))


def end(child: Any) -> None:
    child.terminate()
    child.join(10.0)
    if child.exitcode != -signal.SIGTERM:
        raise RuntimeError(f"a child has exited with {child.exitcode}")
    child.close()


def state() -> bytes:
    """What the server holds now, once children are ended and garbage is collected."""
    while CHILDREN:
        end(CHILDREN.pop())
    gc.collect()
    objects = gc.get_objects()
    if not _shared:
        _shared.extend(each for each in objects if isinstance(each, LoopState))
    [shared] = _shared
    held = {
        "connections": len(shared.connections) - 1,  # without the one that asks
        "calls": len(shared.tasks - {asyncio.current_task()}),  # which is not among them in its first step
        "tasks": len(asyncio.all_tasks()) - 1,
        "objects": len(objects),
        # Counted here: a client learns of an end before its descriptor is closed.
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
    return json.dumps(held).encode()
