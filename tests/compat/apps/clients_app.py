"""An echo for clients: `/echo` answers each message, closes when it is told "close", and `/left` tells of the ends."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

Event = dict[str, Any]
left: list[list[Any]] = []


async def app(scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]) -> None:
    if scope["type"] == "http":
        body = json.dumps(left).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "chat" if "chat" in scope["subprotocols"] else None})
        while (event := await receive())["type"] == "websocket.receive":
            if event.get("text") == "close":
                await send({"type": "websocket.close", "code": 4001, "reason": "asked to"})
            else:
                await send({**event, "type": "websocket.send"})
        left.append([scope["path"], event["code"], event.get("reason") or ""])
