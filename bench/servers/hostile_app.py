"""The application that `hostile.py` attacks a server through: one that echoes, one that offers too much, slow ones.

/           echo on WebSocket, hello world on HTTP: what others use meanwhile
/offer      sends 256 MiB as fast as the server lets it, on WebSocket and on HTTP
/slow       accepts and receives nothing until somebody asks for /wake; HTTP: does not read the body until then
/undecided  does not accept the WebSocket until then
/upload     reads the body of a request
"""

from __future__ import annotations

import asyncio

from apps import Message, Receive, Send
from apps import app as ordinary

OFFERED = 4096
PIECE = bytes(65536)

_awake: asyncio.Event | None = None


def awake() -> asyncio.Event:
    """What slow ones wait for; made anew by each /wake."""
    global _awake
    if _awake is None:
        _awake = asyncio.Event()
    return _awake


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Serve the paths above."""
    global _awake
    path = scope.get("path")
    if path == "/offer":
        await offer(scope, receive, send)
    elif path == "/slow":
        await slow(scope, receive, send)
    elif path == "/undecided":
        await awake().wait()
        await ordinary({**scope, "path": "/"}, receive, send)
    elif path == "/wake":
        awake().set()
        _awake = None
        await ordinary(scope, receive, send)
    elif path == "/upload":
        while (await receive()).get("more_body"):
            pass
        await ordinary(scope, receive, send)
    else:
        await ordinary(scope, receive, send)


async def offer(scope: Message, receive: Receive, send: Send) -> None:
    """Send 256 MiB."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(OFFERED):
            await send({"type": "websocket.send", "bytes": PIECE})
    else:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(OFFERED):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body"})


async def slow(scope: Message, receive: Receive, send: Send) -> None:
    """Do nothing until /wake, then take what is there to its end."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
    await awake().wait()
    if scope["type"] == "websocket":
        while (await receive())["type"] == "websocket.receive":
            pass
    else:
        await ordinary(scope, receive, send)
