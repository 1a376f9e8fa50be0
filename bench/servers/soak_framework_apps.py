"""What bench/soak_frameworks.py wears out: frameworks' own ways to stream, to read a body, and to notice who has left.

Each function makes an application, for --factory; each has /page, /events, an endless stream, and /upload.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

PAUSE = 0.005
"""Seconds between two events of a stream."""


def sse() -> Any:
    """sse-starlette, whose streams ask at each step whether the client is there."""
    from sse_starlette import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    async def page(request: Request) -> Response:
        return PlainTextResponse("Hello, world!")

    async def events(request: Request) -> Response:
        async def steps() -> AsyncIterator[dict[str, str]]:
            while not await request.is_disconnected():
                yield {"data": str(time.time())}
                await asyncio.sleep(PAUSE)

        return EventSourceResponse(steps())

    async def upload(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    routes = [Route("/page", page), Route("/events", events), Route("/upload", upload, methods=["POST"])]
    return Starlette(routes=routes)


def fastapi() -> Any:
    """FastAPI: streams that are cancelled, bodies whose reader raises when the client leaves."""
    from fastapi import FastAPI, Request, WebSocket
    from fastapi.responses import StreamingResponse

    # FastAPI reads annotations as text, in the names of the module.
    globals().update(Request=Request, WebSocket=WebSocket, StreamingResponse=StreamingResponse)

    app = FastAPI()

    @app.get("/page")
    async def page() -> dict[str, str]:
        return {"hello": "world"}

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def steps() -> AsyncIterator[str]:
            while True:
                yield f"data: {time.time()}\n\n"
                await asyncio.sleep(PAUSE)

        return StreamingResponse(steps(), media_type="text/event-stream")

    async def upload(request: Request) -> dict[str, int]:
        return {"size": sum([len(part) async for part in request.stream()])}

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    app.add_api_route("/upload", upload, methods=["POST"])
    app.add_api_websocket_route("/ws", echo)
    return app


def django() -> Any:
    """Django: views in threads, streams, and its own task that listens for the client's leaving."""
    import django as package
    from django.conf import settings

    settings.configure(SECRET_KEY="for a soak", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, LOGGING_CONFIG=None)
    package.setup()

    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse("Hello, world!")

    async def events(request: HttpRequest) -> StreamingHttpResponse:
        async def steps() -> AsyncIterator[str]:
            while True:
                yield f"data: {time.time()}\n\n"
                await asyncio.sleep(PAUSE)

        return StreamingHttpResponse(steps(), content_type="text/event-stream")

    def upload(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(len(request.body)))

    globals()["urlpatterns"] = [path("page", page), path("events", events), path("upload", csrf_exempt(upload))]
    return get_asgi_application()
