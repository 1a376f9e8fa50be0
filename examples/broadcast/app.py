"""What one says all hear, whatever worker or machine they are connected to: over Redis Pub/Sub.

Each process has one subscription and passes on what comes to its own clients. What a client says goes by Redis even to
others of the same process, so that all hear the same in the same order. While Redis is away, clients are told so and
what they say is refused. Pub/Sub keeps nothing: what others said meanwhile is lost. Who reads too slowly gets 1013.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

HERE = Path(__file__).parent
WORKER = f"worker {os.getpid()}"
CHANNEL = "broadcast"
TEXT = 1000  # characters of a message
OUTBOX = 200  # messages that wait for a slow client
LONGEST_PAUSE = 5.0  # seconds between two attempts to reach Redis

logger = logging.getLogger("fastws.error")  # the server has set it up
redis = Redis.from_url(
    os.environ.get("REDIS_URL", "redis://127.0.0.1:6379?socket_keepalive=yes"),
    socket_connect_timeout=5.0,
    retry=Retry(NoBackoff(), 0),  # a connection that comes back unnoticed would hide what was lost
)


class Client:
    """What waits to be sent to one client."""

    def __init__(self) -> None:
        self._outbox: asyncio.Queue[str] = asyncio.Queue(OUTBOX)
        self._is_too_slow = False

    def tell(self, text: str) -> None:
        self._is_too_slow = self._is_too_slow or self._outbox.full()
        if not self._is_too_slow:
            self._outbox.put_nowait(text)

    async def write(self, websocket: WebSocket) -> None:
        """Send what waits, as fast as the client reads; end with the first message that there was no room for."""
        while not (self._is_too_slow and self._outbox.empty()):
            await websocket.send_text(await self._outbox.get())
        await websocket.close(1013, "you read too slowly")


class Clients:
    """The clients of this process, and whether it hears Redis."""

    def __init__(self) -> None:
        self.hears = False
        self._clients: set[Client] = set()

    def join(self, client: Client) -> None:
        client.tell(json.dumps({"you are on": WORKER, "redis": self.hears}))
        self._clients.add(client)

    def leave(self, client: Client) -> None:
        self._clients.discard(client)

    def publish(self, text: str) -> None:
        for client in self._clients:
            client.tell(text)

    def change(self, hears: bool) -> None:
        if hears != self.hears:
            self.hears = hears
            self.publish(json.dumps({"redis": hears}))


clients = Clients()


async def listen() -> None:
    """Publish what Redis says, for ever; come back when the connection is lost, with pauses that grow and differ."""
    attempt = 0
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(CHANNEL)
                async for message in channel.listen():
                    if message["type"] == "message":
                        clients.publish(message["data"].decode())
                    elif message["type"] == "subscribe":
                        attempt = 0
                        clients.change(True)
                        logger.info("Listening to Redis")
        except (RedisError, OSError) as error:
            pause = random.uniform(0.05, min(LONGEST_PAUSE, 0.1 * 2**attempt))
            attempt = min(attempt + 1, 10)
            if clients.hears:
                logger.warning("Redis is lost, and what others publish until it is back: %s", error)
            clients.change(False)
            await asyncio.sleep(pause)


async def serve(websocket: WebSocket) -> None:
    """One client, from the handshake to the end of the connection."""
    await websocket.accept()
    client = Client()
    clients.join(client)
    writer = asyncio.create_task(client.write(websocket))
    try:
        while (event := await websocket.receive())["type"] == "websocket.receive":
            text = (event.get("text") or "").strip()[:TEXT]
            try:
                await redis.publish(CHANNEL, json.dumps({"by": WORKER, "text": text}))
            except (RedisError, OSError):
                client.tell(json.dumps({"refused": text}))
    finally:
        clients.leave(client)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    listening = asyncio.create_task(listen())
    try:
        yield
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await redis.aclose()


app = Starlette(
    lifespan=lifespan,
    routes=[
        WebSocketRoute("/ws", serve),
        Route("/{path:path}", StaticFiles(directory=HERE / "page", html=True, follow_symlink=True)),
    ],
)
