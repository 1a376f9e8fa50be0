"""Prices of an invented market to everybody who looks, where a slow reader still sees the newest.

All have subscribed to one topic, with `slow="latest"`: while a connection does not keep up, the server holds of each
symbol (the key of a message) only the newest message for it. A tab that reads a quarter of what comes sees every fourth
price, but none that is old, and delays nobody.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from fastws.topics import publish, subscribed

HERE = Path(__file__).parent
SYMBOLS = ["ALDER", "BIRCH", "CEDAR", "ELM", "FIR", "HAZEL", "MAPLE", "OAK", "ROWAN", "WILLOW"]
INTERVAL = 0.01  # seconds
CHANGES = 4  # symbols, in each interval
LEVELS = 100  # offers on each side of the book


async def trade() -> None:
    """Publish changes, for ever."""
    prices = {symbol: random.uniform(20, 200) for symbol in SYMBOLS}
    numbers = dict.fromkeys(SYMBOLS, 0)
    while True:
        await asyncio.sleep(INTERVAL)
        for symbol in random.sample(SYMBOLS, CHANGES):
            price = prices[symbol] = max(1.0, prices[symbol] * random.gauss(1, 0.001))
            numbers[symbol] += 1
            levels = [round(price * (1 + side * level / 5000), 2) for side in (-1, 1) for level in range(1, LEVELS + 1)]
            quote = {"symbol": symbol, "price": round(price, 2), "book": levels, "number": numbers[symbol]}
            await publish("prices", json.dumps({**quote, "at": time.time()}), key=symbol)


async def watch(websocket: WebSocket) -> None:
    """One who looks, until they leave."""
    await websocket.accept()
    async with subscribed(websocket, "prices", slow="latest"):
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass  # there is nothing to say


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    trading = asyncio.create_task(trade())
    try:
        yield
    finally:
        trading.cancel()
        with suppress(asyncio.CancelledError):
            await trading


page = StaticFiles(directory=HERE / "page", html=True, follow_symlink=True)
app = Starlette(lifespan=lifespan, routes=[WebSocketRoute("/ws", watch), Route("/{path:path}", page)])
