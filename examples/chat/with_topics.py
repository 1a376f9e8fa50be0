"""The chat rooms in the fewest lines: `fastws with_topics:app`. A room is a topic, and the server does the rest.

It frames and compresses a message once for all who are in a room, and keeps what waits for a slow member, here the
newest MiB of it. It reaches the members on all its workers, and with `--topics-url redis://...` those of other servers:
`../cluster` runs two. Who comes and goes is told, too, on the presence topic of the room. What the rooms of app.py
have beside that, a history, is not here.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from fastws.topics import presence_topic, publish_from, subscribed, subscribers

SERVER = os.environ.get("SERVER") or f"worker {os.getpid()}"


async def chat(websocket: WebSocket) -> None:
    name, room = (websocket.query_params.get(field, "").strip()[:30] for field in ("name", "room"))
    if not name or not room:
        return await websocket.send_denial_response(PlainTextResponse("a name and a room are missing", 400))
    await websocket.accept()
    topic = f"room {room}"
    member = subscribed(websocket, topic, slow="drop-oldest", announce=name)
    async with subscribed(websocket, presence_topic(topic)), member:
        hello = {"type": "hello", "server": SERVER, "here": await subscribers(topic), "history": []}
        await websocket.send_text(json.dumps(hello))
        while (event := await websocket.receive())["type"] == "websocket.receive":
            if text := (event.get("text") or "").strip()[:1000]:
                said = {"type": "said", "name": name, "text": text, "at": time.time(), "server": SERVER}
                await publish_from(websocket, topic, json.dumps(said))


page = StaticFiles(directory=Path(__file__).parent / "page", html=True, follow_symlink=True)
app = Starlette(routes=[WebSocketRoute("/ws", chat), Route("/{path:path}", page)])
