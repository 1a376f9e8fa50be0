"""Server-sent events with sse-starlette, which must learn at once when a client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

left: list[str] = []


async def few(request: Request) -> Response:
    async def events() -> AsyncIterator[dict[str, str]]:
        for i in range(3):
            yield {"event": "number", "data": str(i)}

    return EventSourceResponse(events())


async def silent(request: Request) -> Response:
    """Says one thing and then waits for ever: only the client's leaving ends it."""

    async def events() -> AsyncIterator[dict[str, str]]:
        try:
            yield {"data": "hello"}
            await asyncio.Event().wait()
        finally:
            left.append("silent")

    return EventSourceResponse(events(), ping=3600)


async def told(request: Request) -> Response:
    return JSONResponse(left)


app = Starlette(routes=[Route("/few", few), Route("/silent", silent), Route("/left", told)])
