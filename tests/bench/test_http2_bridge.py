"""The bridge by which Autobahn's cases run over HTTP/2 (bench/http2_bridge.py) adds nothing and leaves nothing out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import wire
from loose_modules import modules_of
from serving import PATIENCE, serve
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

BENCH = Path(__file__).parents[2] / "bench"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def http2_bridge() -> Iterator[Any]:
    with modules_of(BENCH, "http2_bridge") as (module,):
        yield module


class App:
    """Echoes, and answers `stream` with the number of the stream; `codes` are those of the disconnects."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        assert scope["http_version"] == "2"
        await receive()
        if scope["path"] == "/denied":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)})
        while (event := await receive())["type"] == "websocket.receive":
            text = event.get("text")
            if text == "stream":
                text = str(scope["extensions"]["fastws.http2"]["stream"])
            await send({"type": "websocket.send", "text": text, "bytes": event.get("bytes")})
        self.codes.append(event["code"])

    async def expect(self, code: int) -> None:
        while not self.codes:
            await asyncio.sleep(0.01)
        assert self.codes.pop() == code


@contextlib.asynccontextmanager
async def bridged(module: Any) -> AsyncIterator[tuple[Any, int, App]]:
    app = App()
    with serve(app, ws_max_size=1 << 22) as server:
        async with module.bridged(server.port) as (bridge, port):
            yield bridge, port, app
            assert not bridge.ended


def client(port: int, path: str = "/", **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{port}{path}", proxy=None, max_size=1 << 22, **options)


def test_clients_are_streams_of_one_connection(http2_bridge: Any) -> None:
    async def stream_of(websocket: ClientConnection) -> str:
        await websocket.send("stream")
        return str(await websocket.recv())

    async def run() -> None:
        async with bridged(http2_bridge) as (bridge, port, _), contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(port, subprotocols=["a"])) for _ in range(5)]
            assert [each.subprotocol for each in clients] == ["a"] * 5
            assert [await stream_of(each) for each in clients] == ["1", "3", "5", "7", "9"]
            assert bridge.streams == 5

    asyncio.run(run())


def test_messages_beyond_every_window(http2_bridge: Any) -> None:
    payload = bytes(range(256)) * 4096 * 3

    async def echo(port: int) -> None:
        async with client(port) as websocket:
            await websocket.send(payload)
            assert await websocket.recv() == payload

    async def run() -> None:
        async with bridged(http2_bridge) as (_, port, _):
            await asyncio.gather(*(echo(port) for _ in range(3)))

    asyncio.run(run())


def test_a_refusal_is_passed_on(http2_bridge: Any) -> None:
    async def run() -> None:
        async with bridged(http2_bridge) as (_, port, _):
            with pytest.raises(InvalidStatus) as refused:
                await client(port, "/denied")
            assert refused.value.response.status_code == 403

    asyncio.run(run())


def test_ends_are_passed_on(http2_bridge: Any) -> None:
    """The server's end behind the closing handshake, a client's end without one, and a reset."""

    async def opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        return reader, writer

    async def run() -> None:
        async with bridged(http2_bridge) as (_, port, app):
            reader, writer = await opened(port)
            writer.write(wire.close(1000))
            assert await reader.read() == b"\x88\x02\x03\xe8"
            writer.close()
            await app.expect(1000)
            reader, writer = await opened(port)
            writer.write_eof()
            await app.expect(1006)
            assert await reader.read() == b""
            writer.close()
            _, writer = await opened(port)
            writer.transport.abort()
            await app.expect(1006)

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
