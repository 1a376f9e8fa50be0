"""Applications for the tests of processes: each ends, or does not end, in a way that a server must survive."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from process_apps import app
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def exits(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Call sys.exit for "/exit" and for each WebSocket."""
    if scope["type"] == "websocket" or scope.get("path") == "/exit":
        raise SystemExit(7)
    await app(scope, receive, send)


async def never_cancelled(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return await app(scope, receive, send)
    print("begun", flush=True)
    await refuse_to_end()


async def refuse_to_end() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


async def blocks(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Block the event loop.

    With nothing between the word and the block: on Python 3.14 a signal that comes behind `print` is noticed only when
    `time.sleep` has ended.
    """
    if scope["type"] == "lifespan":
        return await app(scope, receive, send)
    os.write(1, b"begun\n")
    time.sleep(3600)


async def blocks_in_finally(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Block the event loop when cancelled."""
    if scope["type"] == "lifespan":
        return await app(scope, receive, send)
    print("begun", flush=True)
    try:
        await asyncio.sleep(3600)
    finally:
        time.sleep(3600)


async def hangs_in_a_thread(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return await app(scope, receive, send)
    print("begun", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)


class Worst(BaseException):
    pass


async def worst_at_startup(scope: dict[str, Any], receive: Any, send: Any) -> None:
    raise Worst("at startup")


@contextlib.asynccontextmanager
async def _lifespan(starlette: Starlette) -> AsyncIterator[None]:
    when = os.environ["FAULT"]
    if when == "startup":
        raise ValueError("mine")
    if when == "startup hangs":
        print("hanging", flush=True)
        await asyncio.sleep(3600)
    task = asyncio.current_task()
    assert task is not None
    if when == "serving":
        asyncio.get_running_loop().call_later(0.05, task.cancel)
    try:
        yield
    except asyncio.CancelledError:
        if when != "serving":
            raise
        raise ValueError("mine") from None
    if when == "shutdown":
        raise ValueError("mine")
    if when == "shutdown hangs":
        print("hanging", flush=True)
        await asyncio.sleep(3600)


framework = Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok"))], lifespan=_lifespan)
"""A Starlette application whose lifespan has the fault that $FAULT names."""


async def raises(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return await app(scope, receive, send)
    raise ValueError("a fault")
