"""A Starlette application that uses what its users use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

seen: dict[str, Any] = {"background": [], "streams_left": 0}


class State(TypedDict):
    answer: int


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    yield {"answer": 42}


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-stamp"] = request.url.path
        return response


async def state(request: Request) -> Response:
    return JSONResponse({"answer": request.state.answer, "seen": seen})


async def background(request: Request) -> Response:
    word = request.path_params["word"]

    async def later() -> None:
        await asyncio.sleep(0)
        seen["background"].append(word)

    return PlainTextResponse("accepted", status_code=202, background=BackgroundTask(later))


async def stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[str]:
        for i in range(5):
            yield f"{i}\n"
            await asyncio.sleep(0)

    return StreamingResponse(chunks(), media_type="text/plain")


async def endless(request: Request) -> Response:
    async def chunks() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick\n"
                await asyncio.sleep(0.01)
        finally:
            seen["streams_left"] += 1

    return StreamingResponse(chunks(), media_type="text/plain")


async def upload(request: Request) -> Response:
    async with request.form() as form:
        file = form["file"]
        assert not isinstance(file, str)
        content = await file.read()
        return JSONResponse({"name": file.filename, "size": len(content), "note": form["note"]})


async def body(request: Request) -> Response:
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
    except ClientDisconnect:
        raise
    return JSONResponse({"size": size})


async def file(request: Request) -> Response:
    return FileResponse(__file__)


async def error(request: Request) -> Response:
    raise RuntimeError("on purpose")


class Echo(WebSocketEndpoint):
    encoding = None

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept(
            subprotocol="v2" if "v2" in websocket.scope["subprotocols"] else None, headers=[(b"x-hello", b"there")]
        )

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        if isinstance(data, str):
            await websocket.send_text(data)
        else:
            await websocket.send_bytes(data)


async def json_echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_json():
        await websocket.send_json({"got": message, "answer": websocket.state.answer})


async def denied(websocket: WebSocket) -> None:
    await websocket.send_denial_response(JSONResponse({"detail": "not you"}, status_code=401))


async def refused(websocket: WebSocket) -> None:
    await websocket.close(4000)


async def closes(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close(4001, "enough")


async def tells_code(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        await websocket.receive_text()
    except WebSocketDisconnect as left:
        seen["left"] = [left.code, left.reason]


async def fails(websocket: WebSocket) -> None:
    await websocket.accept()
    raise RuntimeError("on purpose")


async def pushes(websocket: WebSocket) -> None:
    """Receive in one task and send in another, as chat servers do."""
    await websocket.accept()
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def reader() -> None:
        async for text in websocket.iter_text():
            queue.put_nowait(text)
        queue.put_nowait("")

    task = asyncio.create_task(reader())
    while text := await queue.get():
        await websocket.send_text(text.upper())
    await task


app = Starlette(
    lifespan=lifespan,
    middleware=[Middleware(Stamp), Middleware(GZipMiddleware, minimum_size=100_000)],
    routes=[
        Route("/state", state),
        Route("/background/{word}", background, methods=["POST"]),
        Route("/stream", stream),
        Route("/endless", endless),
        Route("/upload", upload, methods=["POST"]),
        Route("/body", body, methods=["POST"]),
        Route("/file", file),
        Route("/error", error),
        WebSocketRoute("/echo", Echo),
        WebSocketRoute("/json", json_echo),
        WebSocketRoute("/denied", denied),
        WebSocketRoute("/refused", refused),
        WebSocketRoute("/closes", closes),
        WebSocketRoute("/tells-code", tells_code),
        WebSocketRoute("/fails", fails),
        WebSocketRoute("/pushes", pushes),
    ],
)
