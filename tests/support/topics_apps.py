"""An application for the tests of topics in several processes: it does what a client tells it."""

from __future__ import annotations

import json
import os
from typing import Any

from fastws import topics


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Do what each message says: ``["subscribe", topic]``, ``["publish", topic, text]`` or ``["count", topic]``."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        do, topic, *more = json.loads(event["text"])
        answer: Any = do
        if do == "subscribe":
            await send({"type": "websocket.subscribe", "topic": topic, **(more[0] if more else {})})
        elif do == "publish":
            for text in more:
                await send({"type": "websocket.publish", "topic": topic, "text": text, "exclude_self": True})
        elif do == "count":
            answer = await topics.subscribers(topic)
        await send({"type": "websocket.send", "text": json.dumps([os.getpid(), answer])})
