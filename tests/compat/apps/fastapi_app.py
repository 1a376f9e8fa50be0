"""A FastAPI application: dependencies, path parameters, errors of WebSockets, server-sent lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, Query, Request, UploadFile, WebSocket, WebSocketException, status
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

done: list[str] = []


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"rooms": {}}


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float


async def token(websocket: WebSocket, token: Annotated[str | None, Query()] = None) -> str:
    if token != "secret":
        raise WebSocketException(code=status.WS_1008_POLICY_VIOLATION)
    return token


@app.websocket("/items/{item_id}")
async def item_socket(websocket: WebSocket, item_id: int, token: Annotated[str, Depends(token)]) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_json({"item": item_id, "text": text})


@app.websocket("/rooms/{name}")
async def room(websocket: WebSocket, name: str) -> None:
    await websocket.accept()
    members: set[WebSocket] = websocket.state.rooms.setdefault(name, set())
    members.add(websocket)
    try:
        async for text in websocket.iter_text():
            for member in list(members):
                await member.send_text(text)
    finally:
        members.discard(websocket)


@app.post("/items", status_code=201)
async def create(item: Item, background: BackgroundTasks) -> Item:
    background.add_task(done.append, item.name)
    return item


@app.get("/done")
async def finished() -> list[str]:
    return done


@app.post("/upload")
async def upload(file: UploadFile) -> dict[str, int]:
    return {"size": len(await file.read())}


@app.get("/events")
async def events(request: Request) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for i in range(3):
            yield f"data: {i}\n\n"
            await asyncio.sleep(0)

    return StreamingResponse(lines(), media_type="text/event-stream")


@app.get("/thread")
def in_a_thread() -> dict[str, bool]:
    return {"thread": True}
