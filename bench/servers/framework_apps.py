"""The echo of apps.py as WebSocket routes of Starlette and FastAPI: the same work behind what most applications use."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def echo(websocket: WebSocket) -> None:
    """Send each text message back until the client leaves."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


starlette = Starlette(routes=[WebSocketRoute("/", echo)])
fastapi = FastAPI()
fastapi.websocket("/")(echo)
