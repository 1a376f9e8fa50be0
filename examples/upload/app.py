"""Uploads over a WebSocket: with progress, and going on where a lost connection left them.

    client                                      server
    {"name", "size", "id": from before or ""} ->
                                              <- {"id", "offset", "block", "window"}
    blocks of bytes, from `offset` on         ->
                                              <- {"offset"}: so much is on disk
    {"checksum"}, when all are                ->
                                              <- {"done": true} or {"failed": why}

All blocks but the last have `block` bytes. A client has at most `window` bytes under way that are not on disk yet, so
that its progress is true and nobody gathers what the other cannot take. The checksum is the SHA-256 of the blocks'
SHA-256s, which a browser can compute without holding the file.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect
from store import BLOCK, NoRoom, Store, Upload

HERE = Path(__file__).parent
WINDOW = 4 * BLOCK
IDLE = 60.0  # seconds in which a client must send something
SLOW_DISK = float(os.environ.get("SLOW_DISK", "0"))  # seconds a block, to see how clients wait for a slow one

store = Store(Path(os.environ.get("UPLOADS", "uploads")), quota=int(os.environ.get("UPLOADS_QUOTA", 2**30)))


class Refused(Exception):
    """The client breaks the rules above; the text is the reason of Close 1008."""


class Left(Exception):
    """The client is gone."""


async def receive(websocket: WebSocket) -> dict[str, Any] | bytes:
    """The next message: a JSON object, or a block. Raises Left, and Refused for anything else."""
    try:
        event = await asyncio.wait_for(websocket.receive(), IDLE)
        if event["type"] == "websocket.disconnect":
            raise Left
        data: bytes | None = event.get("bytes")
        message: object = json.loads(event["text"]) if data is None else data
    except (asyncio.TimeoutError, ValueError, RecursionError):
        raise Refused("expected a JSON object or a block, soon") from None
    if not isinstance(message, dict | bytes):
        raise Refused("expected a JSON object or a block")
    return message


async def open_upload(websocket: WebSocket) -> tuple[str, Upload | None]:
    """The name and the upload that the first message is for; no upload where it is finished."""
    first = await receive(websocket)
    match first:
        case {"name": str(name), "size": int(size), "id": str(id)} if size >= 0:
            if store.is_finished(id):
                return name, None
            upload = store.find(id)
            return name, upload if upload is not None and upload.size == size else store.begin(size)
    raise Refused("expected name, size and id")


async def fill(upload: Upload, name: str, websocket: WebSocket) -> bool:
    """Take blocks until all are there, and compare checksums. Another connection may take the upload over meanwhile."""
    async with upload.lock:  # a block of a connection that was lost may still be on its way to the disk
        upload.holder = websocket
        beginning = {"id": upload.id, "offset": upload.offset, "block": BLOCK, "window": WINDOW}
    await websocket.send_text(json.dumps(beginning))
    while True:
        message = await receive(websocket)
        async with upload.lock:
            if upload.holder is not websocket or store.find(upload.id) is not upload:
                raise Refused("another connection goes on with it")
            match message:
                case {"checksum": str(checksum)} if upload.offset == upload.size:
                    is_right = checksum == await asyncio.to_thread(upload.checksum)
                    store.finish(upload, name) if is_right else store.discard(upload)
                    return is_right
                case bytes() if len(message) == min(BLOCK, upload.size - upload.offset) > 0:
                    await asyncio.sleep(SLOW_DISK)
                    await upload.append(message)
                case _:
                    raise Refused("expected the next block, or the checksum after the last")
        await websocket.send_text(json.dumps({"offset": upload.offset}))


async def take(websocket: WebSocket) -> None:
    """One upload, or a part of it, from the handshake to the end of the connection."""
    await websocket.accept()
    upload = None
    try:
        name, upload = await open_upload(websocket)
        is_right = upload is None or await fill(upload, name, websocket)
        outcome = {"done": True} if is_right else {"failed": "what arrived has another checksum"}
        await websocket.send_text(json.dumps(outcome))
        await websocket.close()
    except (Refused, NoRoom) as refused:
        await websocket.close(1008, str(refused))
    except (Left, WebSocketDisconnect):
        pass
    finally:
        if upload is not None and upload.holder is websocket:
            upload.holder, upload.used = None, time.time()


app = Starlette(
    routes=[
        WebSocketRoute("/ws", take),
        Route("/{path:path}", StaticFiles(directory=HERE / "page", html=True, follow_symlink=True)),
    ]
)
