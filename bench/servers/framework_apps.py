"""Routes of Starlette and FastAPI, as most applications have: the echo of apps.py, and a few values as JSON."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def echo(websocket: WebSocket) -> None:
    """Send each text message back until the client leaves."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


async def starlette_item(request: Request) -> JSONResponse:
    """A few values as JSON, one of them of the path."""
    return JSONResponse({"id": int(request.path_params["number"]), "name": "item", "tags": ["a", "b"]})


async def fastapi_item(number: int) -> dict[str, object]:
    """The same."""
    return {"id": number, "name": "item", "tags": ["a", "b"]}


starlette = Starlette(routes=[WebSocketRoute("/", echo), Route("/items/{number}", starlette_item)])
fastapi = FastAPI()
fastapi.websocket("/")(echo)
fastapi.get("/items/{number}")(fastapi_item)
