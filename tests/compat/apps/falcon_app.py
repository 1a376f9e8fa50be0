"""A Falcon application: WebSockets and HTTP."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.asgi


class Echo:
    async def on_get(self, request: Any, response: Any) -> None:
        response.media = {"hello": "world"}

    async def on_websocket(self, request: Any, websocket: Any) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except falcon.WebSocketDisconnected:
            pass


app = falcon.asgi.App()
app.add_route("/echo", Echo())
