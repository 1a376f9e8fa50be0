"""A live dashboard: figures of this machine, twice a second, to whoever looks.

Each viewer gets the history once and then snapshots. There are no queues: a viewer who is busy sending waits for
nothing but its own socket, and goes on with the newest snapshot, so that a slow one skips some and is never behind.
A viewer may ask for fewer: the text message `5` means every fifth snapshot.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

HERE = Path(__file__).parent
INTERVAL = 0.5  # seconds
HISTORY = 240  # snapshots that a newcomer gets: two minutes
EVERY = range(1, 21)  # what a viewer may ask for


class Feed:
    """The newest snapshots, numbered, and a way to wait for one that somebody has not seen."""

    def __init__(self) -> None:
        self.history: deque[dict[str, float]] = deque(maxlen=HISTORY)
        self.newest = ""
        self.number = 0
        self.viewers = 0
        self._changed = asyncio.Event()

    def publish(self, **figures: float) -> None:
        self.number += 1
        self.history.append({"number": self.number, **figures})
        self.newest = json.dumps(self.history[-1])  # once, for all viewers
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def reach(self, number: int) -> int:
        """Wait until there is a snapshot `number`; returns the number of the newest."""
        while self.number < number:
            await self._changed.wait()
        return self.number


feed = Feed()


async def measure() -> None:
    """Publish a snapshot every INTERVAL, for ever."""
    loop = asyncio.get_running_loop()
    traffic, before = psutil.net_io_counters(), loop.time()
    psutil.cpu_percent()  # the first answer means nothing
    while True:
        due = loop.time() + INTERVAL
        await asyncio.sleep(INTERVAL)
        now, traffic_then = loop.time(), traffic
        traffic = psutil.net_io_counters()
        feed.publish(
            at=time.time(),
            cpu=psutil.cpu_percent(),  # percent of all cores since the last call
            memory=psutil.virtual_memory().percent,
            received=(traffic.bytes_recv - traffic_then.bytes_recv) / (now - before),  # bytes a second
            sent=(traffic.bytes_sent - traffic_then.bytes_sent) / (now - before),
            late=max(0.0, now - due) * 1000,  # ms by which the event loop came too late to this
            viewers=feed.viewers,
        )
        before = now


async def view(websocket: WebSocket) -> None:
    """One viewer, from the handshake to the end of the connection."""
    await websocket.accept()
    every = 1

    async def write() -> None:
        seen = feed.number
        await websocket.send_text(json.dumps({"history": list(feed.history)}))
        while True:
            seen = await feed.reach(seen + every)
            await websocket.send_text(feed.newest)

    writer = asyncio.create_task(write())
    feed.viewers += 1
    try:
        while (event := await websocket.receive())["type"] == "websocket.receive":
            asked = event.get("text") or ""
            if not (asked.isascii() and asked.isdigit() and len(asked) < 4 and int(asked) in EVERY):
                await websocket.close(1008, f"expected a number from {EVERY[0]} to {EVERY[-1]}")
                break
            every = int(asked)
    finally:
        feed.viewers -= 1
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    measuring = asyncio.create_task(measure())
    try:
        yield
    finally:
        measuring.cancel()
        with suppress(asyncio.CancelledError):
            await measuring


app = Starlette(
    lifespan=lifespan,
    routes=[
        WebSocketRoute("/ws", view),
        Route("/{path:path}", StaticFiles(directory=HERE / "page", html=True, follow_symlink=True)),
    ],
)
