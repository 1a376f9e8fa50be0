"""A Litestar application: handlers and listeners of WebSockets, channels, streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from litestar import Litestar, WebSocket, get, post, websocket, websocket_listener
from litestar.channels import ChannelsPlugin
from litestar.channels.backends.memory import MemoryChannelsBackend
from litestar.exceptions import NotAuthorizedException
from litestar.response import ServerSentEvent, Stream


@get("/")
async def hello() -> dict[str, str]:
    return {"hello": "world"}


@post("/items")
async def items(data: dict[str, int]) -> dict[str, int]:
    return {name: 2 * value for name, value in data.items()}


@get("/stream")
async def stream() -> Stream:
    async def parts() -> AsyncIterator[str]:
        for i in range(3):
            yield f"{i}\n"

    return Stream(parts())


@get("/events")
async def events() -> ServerSentEvent:
    async def parts() -> AsyncGenerator[str, None]:
        for i in range(3):
            yield str(i)

    return ServerSentEvent(parts())


@websocket("/raw")
async def raw(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_data():
        await socket.send_data(text)


@websocket_listener("/listener")
async def listener(data: dict[str, int]) -> dict[str, int]:
    return {"sum": sum(data.values())}


@websocket("/refused")
async def refused(socket: WebSocket) -> None:
    raise NotAuthorizedException("not you")


app = Litestar(
    [hello, items, stream, events, raw, listener, refused],
    plugins=[ChannelsPlugin(MemoryChannelsBackend(), channels=["news"], create_ws_route_handlers=True)],
)
