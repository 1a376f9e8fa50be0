"""Topics end to end: applications of Starlette and FastAPI on fastws and, by the fallback, on uvicorn; real clients."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import wire
from fastapi import BackgroundTasks, FastAPI
from fastapi import WebSocket as FastAPIWebSocket
from serving import PATIENCE, serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as websocket_connect

from fastws.topics import (
    presence_topic,
    publish,
    publish_from,
    publish_nowait,
    subscribe,
    subscribed,
    subscribers,
    unsubscribe,
)

# ------------------------------------------------------------------------------------------------------ an application


async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    async with subscribed(websocket, "room"):
        await websocket.send_text("in")
        async for text in websocket.iter_text():
            if text == "leave":
                await unsubscribe(websocket, "room")
                await websocket.send_text("left")
            elif text == "slow":
                await subscribe(websocket, "room", slow="latest", limit=100_000)
                await websocket.send_text("subscribed")
            else:
                await publish_from(websocket, "room", text, exclude_self=text.startswith("not me"))


async def named(websocket: WebSocket) -> None:
    """As a client in a path is called; it is told who else comes and goes."""
    await websocket.accept()
    async with (
        subscribed(websocket, presence_topic("named")),
        subscribed(websocket, "named", announce=websocket.path_params["name"]),
    ):
        async for text in websocket.iter_text():
            await publish("named", text)


async def post(request: Request) -> Response:
    how, text = request.path_params["how"], (await request.body()).decode()
    if how == "thread":
        thread = threading.Thread(target=publish_nowait, args=("room", text))
        thread.start()
        await asyncio.to_thread(thread.join)
    elif how == "bytes":
        await publish("room", text.encode())
    else:
        await publish("room", text)
    return JSONResponse({"subscribers": await subscribers("room")})


app = Starlette(
    routes=[
        WebSocketRoute("/room", room),
        WebSocketRoute("/named/{name}", named),
        Route("/post/{how}", post, methods=["POST"]),
    ]
)


@contextlib.contextmanager
def serve_uvicorn(application: Any) -> Iterator[tuple[str, int]]:
    uvicorn = pytest.importorskip("uvicorn")
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_config=None, ws="wsproto", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


@contextlib.contextmanager
def serving(server: str, application: Any = app) -> Iterator[tuple[str, int]]:
    if server == "uvicorn":
        with serve_uvicorn(application) as address:
            yield address
    else:
        with serve(application, ws=server) as running:
            yield running.host, running.port


SERVERS = ["engine", "uvicorn"] if importlib.util.find_spec("uvicorn") else ["engine"]


@pytest.fixture(params=SERVERS)
def address(request: pytest.FixtureRequest, engine: str) -> Iterator[tuple[str, int]]:
    if request.param == "uvicorn" and engine != "websockets":
        pytest.skip("once is enough")
    with serving(engine if request.param == "engine" else request.param) as found:
        yield found


@contextlib.contextmanager
def join(address: tuple[str, int]) -> Iterator[ClientConnection]:
    host, port = address
    with websocket_connect(f"ws://{host}:{port}/room", proxy=None, open_timeout=PATIENCE) as client:
        assert client.recv(PATIENCE) == "in"
        yield client


def say(address: tuple[str, int], how: str, text: str) -> int:
    host, port = address
    request = urllib.request.Request(f"http://{host}:{port}/post/{how}", data=text.encode())
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        found: int = json.load(response)["subscribers"]
        return found


def receive(client: ClientConnection, number: int) -> list[Any]:
    return [client.recv(PATIENCE) for _ in range(number)]


def test_a_room(address: tuple[str, int]) -> None:
    assert say(address, "task", "nobody is there") == 0
    with join(address) as one, join(address) as two, join(address) as three:
        assert say(address, "task", "hello") == 3
        assert say(address, "thread", "from a thread") == 3
        say(address, "bytes", "as bytes")
        for client in (one, two, three):
            assert receive(client, 3) == ["hello", "from a thread", b"as bytes"]
        one.send("not me: hello")
        one.send("all: hello")
        assert receive(one, 1) == ["all: hello"]
        assert receive(two, 2) == ["not me: hello", "all: hello"]
        two.send("leave")
        assert receive(two, 1) == ["left"]
        one.send("last")
        assert receive(one, 1) == ["last"]
        assert receive(three, 3) == ["not me: hello", "all: hello", "last"]
        assert say(address, "task", "end") == 2
    deadline = time.monotonic() + PATIENCE
    while say(address, "task", "is anybody there?"):
        assert time.monotonic() < deadline


def test_who_comes_and_goes_is_told(address: tuple[str, int]) -> None:
    host, port = address
    url = f"ws://{host}:{port}/named/"
    with websocket_connect(url + "alice") as alice:
        assert told(alice) == ("join", "alice")
        with websocket_connect(url + "bob") as bob:
            assert told(alice) == told(bob) == ("join", "bob")
            bob.send("hello")
            assert receive(alice, 1) == receive(bob, 1) == ["hello"]
        assert told(alice) == ("leave", "bob")


def told(client: ClientConnection) -> tuple[str, str]:
    event = json.loads(client.recv(PATIENCE))
    assert event["topic"] == "named"
    return event["event"], event["who"]


def test_order_of_several_publishers(address: tuple[str, int]) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(join(address)) for _ in range(4)]
        for number in range(50):
            for index, client in enumerate(clients):
                client.send(f"{index} {number}")
        for client in clients:
            found = [text.split() for text in receive(client, 200)]
            for index in range(4):
                assert [int(number) for sender, number in found if int(sender) == index] == list(range(50))


# ------------------------------------------------------------------------------------------------------- slow readers


def stalled(address: tuple[str, int]) -> socket.socket:
    """A raw client with a small receive buffer, which reads nothing behind its handshake and first message."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.settimeout(PATIENCE)
    found.connect(address)
    found.sendall(wire.handshake().replace(b"/chat?room=1", b"/room"))
    head = b""
    while not head.endswith(b"\x81\x02in"):
        head += found.recv(1)
    return found


MESSAGE = 20_000
"""Bytes of a message: so many of them fill what the kernel buffers for a connection that nobody reads."""


@pytest.mark.slow
def test_a_stalled_reader_delays_nobody(address: tuple[str, int]) -> None:
    with stalled(address) as slow, join(address) as publisher, join(address) as reader:
        slow.sendall(wire.text("slow"))
        for number in range(300):  # 6 MB: no kernel has as much room
            publisher.send(f"{number:<{MESSAGE}}")
            assert int(str(publisher.recv(PATIENCE))) == int(str(reader.recv(PATIENCE))) == number
        found = numbers(slow, 299)
        assert found == sorted(found)
        assert len(found) < 300  # of those that came too late, the latest


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system cannot be told")
def test_where_the_latest_is_wanted_the_system_takes_little(engine: str) -> None:
    with serve(app, ws=engine) as running:
        address = running.host, running.port
        with stalled(address) as slow, join(address) as publisher:
            slow.sendall(wire.text("slow"))
            for number in range(60):  # 1.2 MB, which it would have room for
                publisher.send(f"{number:<{MESSAGE}}")
                publisher.recv(PATIENCE)
            assert len(numbers(slow, 59)) < 20


def numbers(slow: socket.socket, last: int) -> list[int]:
    """The numbers of the messages that it gets, to the `last`."""
    found: list[int] = []
    data = b""
    while not found or found[-1] != last:
        data += slow.recv(65536)
        while (frame := wire.read_frame(data)) is not None:
            data = frame[1]
            if frame[0].payload != b"subscribed":
                found.append(int(frame[0].payload))
    return found


@pytest.mark.slow
def test_a_reader_that_is_too_slow_is_closed(engine: str) -> None:
    with serve(app, ws=engine, topics_backlog=100_000, ws_close_timeout=1) as running:
        address = running.host, running.port
        with stalled(address) as slow, join(address) as publisher:
            sent = 0
            while sent < 10 or say(address, "task", "x") == 2:
                sent += 1
                assert sent < 1000
                publisher.send("y" * MESSAGE)
                while len(publisher.recv(PATIENCE)) < MESSAGE:
                    pass
            data = b""
            while piece := slow.recv(65536):
                data += piece
            frames = []
            while (frame := wire.read_frame(data)) is not None:
                frames.append(frame[0])
                data = frame[1]
            assert frames[-1] == wire.closing(1013, "too slow")


# ------------------------------------------------------------------------------------------------------------ FastAPI


def test_fastapi_with_a_background_task(engine: str) -> None:
    api = FastAPI()

    @api.websocket("/room")
    async def chat(websocket: FastAPIWebSocket) -> None:
        await websocket.accept()
        await subscribe(websocket, "room")
        await websocket.send_text("in")
        async for text in websocket.iter_text():
            await publish_from(websocket, "room", text)

    @api.post("/post/{how}")
    def notify(how: str, tasks: BackgroundTasks) -> dict[str, int]:
        tasks.add_task(publish, "room", f"{how}: in the background")
        publish_nowait("room", f"{how}: from a worker thread")
        return {"subscribers": 0}  # a coroutine's to ask

    with serving(engine, api) as address, join(address) as one, join(address) as two:
        say(address, "fastapi", "")
        for client in (one, two):
            assert receive(client, 2) == ["fastapi: from a worker thread", "fastapi: in the background"]
        one.send("hello")
        assert receive(two, 1) == ["hello"]
        assert receive(one, 1) == ["hello"]


def test_a_subscription_ends_where_the_fallback_learns_of_it() -> None:
    """On another server a subscription without `subscribed` goes with its WebSocket object."""
    left = threading.Event()

    async def once(websocket: WebSocket) -> None:
        await websocket.accept()
        await subscribe(websocket, "room")
        await websocket.send_text("in")
        await websocket.receive()
        left.set()

    application = Starlette(routes=[WebSocketRoute("/room", once), Route("/post/{how}", post, methods=["POST"])])
    with serving("uvicorn", application) as address:
        with join(address) as client:
            assert say(address, "task", "hello") == 1
            assert receive(client, 1) == ["hello"]
        assert left.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while say(address, "task", "x"):
            assert time.monotonic() < deadline


def test_the_fallback_closes_who_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.topics.fallback.LIMIT", 100_000)
    with serving("uvicorn") as address, stalled(address) as slow, join(address) as publisher:
        sent = 0
        while sent < 10 or subscribers_now(address) == 2:
            sent += 1
            assert sent < 1000
            publisher.send("y" * MESSAGE)
            while len(publisher.recv(PATIENCE)) < MESSAGE:
                pass
        slow.settimeout(PATIENCE)
        data = slow.recv(65536)
        assert data


def subscribers_now(address: tuple[str, int]) -> int:
    return say(address, "task", "x")


def test_the_end_of_the_server_ends_subscriptions(engine: str) -> None:
    with contextlib.ExitStack() as stack:
        with serving(engine) as address:
            client = stack.enter_context(join(address))
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
