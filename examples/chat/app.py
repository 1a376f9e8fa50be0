"""Chat rooms: who is in a room sees what everybody there says, and nobody waits for a slow one.

A client opens `/ws?room=<room>&name=<name>` and sends what it says as plain text. It gets JSON: `hello` with the last
messages, `said`, `joined` and `left`, and `missed` where it read too slowly and messages were dropped for it.

Rooms live in this process: run one worker. `../broadcast` reaches several by Redis.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

HERE = Path(__file__).parent
ROOMS = 1000  # at once; a room is there while somebody is in it
MEMBERS = 500  # of a room
TEXT = 1000  # characters of a message
HISTORY = 50  # messages that a newcomer sees
OUTBOX = 100  # messages that wait for a slow member; then the oldest are dropped
PACE = 0.05  # seconds between two messages of one member; who sends faster waits, not the others


class Member:
    """Somebody in a room, and what waits to be sent to them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.missed = 0
        self._outbox: asyncio.Queue[str] = asyncio.Queue(OUTBOX)

    def tell(self, text: str) -> None:
        """Put `text` into the outbox, never waiting."""
        if self._outbox.full():
            self._outbox.get_nowait()
            self.missed += 1
        self._outbox.put_nowait(text)

    async def write(self, websocket: WebSocket) -> None:
        """Send what comes into the outbox, as fast as the client reads."""
        while True:
            text = await self._outbox.get()
            if self.missed:
                missed, self.missed = self.missed, 0
                await websocket.send_text(json.dumps({"type": "missed", "count": missed}))
            await websocket.send_text(text)


class Room:
    """Its members, and the last that was said."""

    def __init__(self) -> None:
        self.members: set[Member] = set()
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY)

    def publish(self, **event: Any) -> None:
        """Tell all members; the JSON is written once."""
        text = json.dumps(event)
        for member in self.members:
            member.tell(text)

    def join(self, member: Member) -> None:
        """Add a member, who is told first what there is."""
        member.tell(json.dumps({"type": "hello", "history": list(self.history)}))
        self.members.add(member)
        self.publish(type="joined", name=member.name, here=len(self.members))

    def leave(self, member: Member) -> None:
        self.members.discard(member)
        self.publish(type="left", name=member.name, here=len(self.members))

    def say(self, member: Member, text: str) -> None:
        message = {"name": member.name, "text": text, "at": time.time()}
        self.history.append(message)
        self.publish(type="said", **message)


rooms: dict[str, Room] = {}


def refusal(name: str, room: str) -> tuple[str, int] | None:
    """Why somebody cannot come in, with an HTTP status."""
    if not (0 < len(name) <= 30 and 0 < len(room) <= 30):
        return "a name and a room have 1 to 30 characters", 400
    if room not in rooms and len(rooms) >= ROOMS:
        return "there are too many rooms", 503
    if room in rooms and len(rooms[room].members) >= MEMBERS:
        return "the room is full", 503
    return None


async def chat(websocket: WebSocket) -> None:
    """One member in one room, from the handshake to the end of the connection."""
    name, key = (websocket.query_params.get(field, "").strip() for field in ("name", "room"))
    if (refused := refusal(name, key)) is not None:
        await websocket.send_denial_response(PlainTextResponse(*refused))
        return
    await websocket.accept()
    member, room = Member(name), rooms.setdefault(key, Room())
    room.join(member)
    writer = asyncio.create_task(member.write(websocket))
    try:
        while (event := await websocket.receive())["type"] == "websocket.receive":
            text = (event.get("text") or "").strip()[:TEXT]
            if not text:
                await websocket.close(1008, "say something, as text")
                break
            room.say(member, text)
            await asyncio.sleep(PACE)
    finally:
        room.leave(member)
        if not room.members:
            del rooms[key]
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


app = Starlette(
    routes=[
        WebSocketRoute("/ws", chat),
        Route("/{path:path}", StaticFiles(directory=HERE / "page", html=True, follow_symlink=True)),
    ]
)
