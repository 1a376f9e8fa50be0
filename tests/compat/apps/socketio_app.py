"""A python-socketio server: rooms, acknowledgements, polling and WebSocket transports and the upgrade between them."""

from __future__ import annotations

from typing import Any

import socketio

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
app = socketio.ASGIApp(server)


@server.event
async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
    if auth == {"token": "wrong"}:
        raise ConnectionRefusedError("not you")
    await server.save_session(sid, {"auth": auth})


@server.event
async def echo(sid: str, data: Any) -> Any:
    return data


@server.event
async def join(sid: str, room: str) -> None:
    await server.enter_room(sid, room)


@server.event
async def say(sid: str, data: dict[str, str]) -> None:
    await server.emit("said", data["text"], room=data["room"])


@server.event
async def transport(sid: str) -> str:
    name: str = server.transport(sid)
    return name
