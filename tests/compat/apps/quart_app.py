"""A Quart application: WebSockets in their context, sessions, streams, what runs before serving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from quart import Quart, request, session, websocket
from quart import Response as QuartResponse

app = Quart(__name__)
app.secret_key = "for tests"
ready: list[bool] = []
listeners: set[asyncio.Queue[str]] = set()


@app.before_serving
async def begin() -> None:
    ready.append(True)


@app.get("/")
async def hello() -> dict[str, Any]:
    session["visits"] = session.get("visits", 0) + 1
    return {"ready": ready, "visits": session["visits"]}


@app.post("/echo")
async def echo() -> bytes:
    data: bytes = await request.get_data()
    return data


@app.get("/stream")
async def stream() -> QuartResponse:
    async def parts() -> AsyncIterator[str]:
        for i in range(3):
            yield f"{i}\n"

    return QuartResponse(parts())


@app.websocket("/ws")
async def ws() -> None:
    await websocket.accept(headers={"x-hello": "there"})
    while True:
        await websocket.send(await websocket.receive())


@app.websocket("/publish")
async def publish() -> None:
    """What a client sends reaches all, through queues, with a task each for sending and receiving."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    listeners.add(queue)

    async def sending() -> None:
        while True:
            await websocket.send(await queue.get())

    async def receiving() -> None:
        while True:
            text = await websocket.receive()
            for each in listeners:
                each.put_nowait(text)

    try:
        await asyncio.gather(sending(), receiving())
    finally:
        listeners.discard(queue)


@app.websocket("/refused")
async def refused() -> tuple[str, int]:
    return "not you", 401
