"""Starlette and FastAPI applications, unmodified: what their authors rely on works when fastws serves them.

Nothing here knows fastws: the applications are written as for any server, and the clients are httpx and websockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import re
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, UploadFile
from fastapi import WebSocket as FastAPIWebSocket
from fastapi import WebSocketException as FastAPIWebSocketException
from serving import PATIENCE, Serving, serve
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import WebSocketEndpoint
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as websocket_connect

told: queue.Queue[Any] = queue.Queue()
"""What happened inside the applications, in order."""


@pytest.fixture(autouse=True)
def _nothing_is_left_over() -> Iterator[None]:
    yield
    assert told.empty(), told.get_nowait()


def tell() -> Any:
    return told.get(timeout=PATIENCE)


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """What fastws has logged at `level` and above; clients in this process have loggers of their own."""
    records = [record for record in caplog.records if record.name.startswith("fastws") and record.levelno >= level]
    return [record.getMessage() for record in records]


def connect(url: str, **options: Any) -> Any:
    return websocket_connect(url, proxy=None, **options)


# --------------------------------------------------------------------------------------- a Starlette application


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"greeting": "hello from the lifespan", "visits": []}


async def hello(request: Request) -> Response:
    request.state.visits.append(request.client.port if request.client else 0)
    return JSONResponse({"greeting": request.state.greeting, "visits": len(request.state.visits)})


async def background(request: Request) -> Response:
    async def later(text: str) -> None:
        await asyncio.sleep(0)
        told.put(text)

    return PlainTextResponse("accepted", 202, background=BackgroundTask(later, "done in the background"))


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        for number in range(100):
            yield f"part {number}\n"
            if number % 10 == 0:
                await asyncio.sleep(0)

    return StreamingResponse(parts(), media_type="text/plain")


async def endless_parts() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 1000
        await asyncio.sleep(0)


class Endless:
    """An endpoint that is an ASGI application, to see how the framework's response ends."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await StreamingResponse(endless_parts(), media_type="text/event-stream")(scope, receive, send)
        finally:
            told.put("the stream has ended")


async def wait_for_disconnect(request: Request) -> Response:
    told.put("waiting")
    while not await request.is_disconnected():
        await asyncio.sleep(0.001)
    told.put("disconnected")
    return Response(status_code=204)


async def upload_is_cut(request: Request) -> Response:
    try:
        async for _ in request.stream():
            told.put("a part")
    except ClientDisconnect:
        told.put("disconnected")
    return Response(status_code=204)


async def form(request: Request) -> Response:
    async with request.form() as fields:
        upload: Any = fields["file"]
        content = await upload.read()
        return JSONResponse({"name": upload.filename, "size": len(content), "note": fields["note"]})


async def teapot(request: Request) -> Response:
    raise StarletteHTTPException(418, "short and stout", headers={"x-pot": "tea"})


async def broken(request: Request) -> Response:
    raise RuntimeError("a mistake of the application")


async def cookies(request: Request) -> Response:
    response = PlainTextResponse(request.cookies.get("seen", "nothing"))
    response.set_cookie("seen", "yes")
    response.set_cookie("twice", "yes")
    return response


async def chat(websocket: WebSocket) -> None:
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol="chat.v2" if "chat.v2" in offered else None, headers=[(b"x-room", b"blue")])
    with contextlib.suppress(WebSocketDisconnect):
        await websocket.send_json({"greeting": websocket.state.greeting, "query": dict(websocket.query_params)})
        async for text in websocket.iter_text():
            await websocket.send_text(f"you said {text}")
    told.put("left")


async def disconnecting(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        await websocket.receive_text()
    except WebSocketDisconnect as left:
        told.put((left.code, left.reason))


async def chatty(websocket: WebSocket) -> None:
    """Sends until the client is gone: Starlette turns the server's OSError into WebSocketDisconnect."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_bytes(b"x" * 1000)
            await asyncio.sleep(0)
    except WebSocketDisconnect as left:
        told.put(("gone", left.code))


async def ticket(websocket: WebSocket) -> None:
    if "ticket" not in websocket.query_params:
        await websocket.send_denial_response(JSONResponse({"why": "no ticket"}, 401, headers={"x-why": "ticket"}))
        return
    await websocket.close(1008)


async def closing(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close(4000, "enough")


async def failing(websocket: WebSocket) -> None:
    await websocket.accept()
    raise RuntimeError("a mistake of the application")


class Echo(WebSocketEndpoint):
    encoding = "bytes"

    async def on_receive(self, websocket: WebSocket, data: bytes) -> None:
        await websocket.send_bytes(data[::-1])

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        told.put(close_code)


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-stamp"] = request.url.path
        return response


FILE = b"0123456789" * 50_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    (directory / "big.bin").write_bytes(FILE)
    (directory / "index.html").write_text("<h1>index</h1>")
    return directory


@pytest.fixture(scope="module")
def starlette(files: Path) -> Iterator[Serving]:
    async def download(request: Request) -> Response:
        return FileResponse(files / "big.bin", filename="download.bin")

    pages = (hello, background, stream, wait_for_disconnect, teapot, broken, cookies, download)
    sockets = (chat, disconnecting, chatty, ticket, closing, failing)
    app = Starlette(
        routes=[
            *(Route(f"/{page.__name__}", page) for page in pages),
            *(Route(f"/{page.__name__}", page, methods=["POST"]) for page in (form, upload_is_cut)),
            *(WebSocketRoute(f"/{endpoint.__name__}", endpoint) for endpoint in sockets),
            Route("/endless", Endless()),
            WebSocketRoute("/echo", Echo),
            Mount("/static", StaticFiles(directory=files, html=True)),
            Mount(
                "/stamped", routes=[Route("/hello", hello), Route("/stream", stream)], middleware=[Middleware(Stamp)]
            ),
            Mount(
                "/zipped", routes=[Route("/stream", stream)], middleware=[Middleware(GZipMiddleware, minimum_size=1)]
            ),
        ],
        lifespan=lifespan,
    )
    with serve(app) as serving:
        yield serving


@pytest.fixture
def client(starlette: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=starlette.http_url, trust_env=False, timeout=PATIENCE) as client:
        yield client


STREAMED = "".join(f"part {number}\n" for number in range(100))


def test_lifespan_state_is_shared_by_requests(client: httpx.Client) -> None:
    first, second = client.get("/hello").json(), client.get("/hello").json()
    assert first["greeting"] == second["greeting"] == "hello from the lifespan"
    assert second["visits"] == first["visits"] + 1


def test_background_task_runs_after_the_response(client: httpx.Client) -> None:
    response = client.get("/background")
    assert (response.status_code, response.text) == (202, "accepted")
    assert tell() == "done in the background"


def test_streaming_response_is_chunked_and_whole(client: httpx.Client) -> None:
    response = client.get("/stream")
    assert response.text == STREAMED
    assert response.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in response.headers


def test_stream_ends_when_its_reader_leaves(client: httpx.Client) -> None:
    with client.stream("GET", "/endless") as response:
        assert len(next(response.iter_bytes(5000))) == 5000
    assert tell() == "the stream has ended"


def test_client_that_leaves_is_noticed_while_the_application_works(starlette: Serving) -> None:
    with socket.create_connection((starlette.host, starlette.port)) as peer:
        peer.sendall(b"GET /wait_for_disconnect HTTP/1.1\r\nHost: test\r\n\r\n")
        assert tell() == "waiting"
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # leave with a reset
    assert tell() == "disconnected"


def test_client_that_leaves_in_the_middle_of_an_upload_is_noticed(starlette: Serving) -> None:
    with socket.create_connection((starlette.host, starlette.port)) as peer:
        peer.sendall(b"POST /upload_is_cut HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nabc")
        assert tell() == "a part"
    assert tell() == "disconnected"


def test_form_with_a_file_is_read(client: httpx.Client) -> None:
    response = client.post("/form", files={"file": ("data.bin", FILE)}, data={"note": "a note"})
    assert response.json() == {"name": "data.bin", "size": len(FILE), "note": "a note"}


def test_http_exception_becomes_its_response(client: httpx.Client) -> None:
    response = client.get("/teapot")
    assert (response.status_code, response.text, response.headers["x-pot"]) == (418, "short and stout", "tea")
    assert client.get("/nothing").status_code == 404
    assert client.get("/form").status_code == 405


def test_exception_becomes_500_and_the_next_request_works(client: httpx.Client) -> None:
    response = client.get("/broken")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert client.get("/hello").status_code == 200


def test_several_cookies_are_several_lines(client: httpx.Client) -> None:
    response = client.get("/cookies")
    assert len(response.headers.get_list("set-cookie")) == 2
    assert client.get("/cookies").text == "yes"


def test_static_files_whole_in_part_and_not_modified(client: httpx.Client) -> None:
    whole = client.get("/static/big.bin")
    assert whole.content == FILE
    part = client.get("/static/big.bin", headers={"range": "bytes=5-14"})
    assert (part.status_code, part.content) == (206, FILE[5:15])
    same = client.get("/static/big.bin", headers={"if-none-match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert client.get("/static/").text == "<h1>index</h1>"
    head = client.head("/static/big.bin")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(FILE)))
    assert client.get("/static/%2e%2e/secret").status_code == 404
    assert client.get("/download").headers["content-disposition"] == 'attachment; filename="download.bin"'


def test_base_http_middleware_passes_responses_and_streams(client: httpx.Client) -> None:
    assert client.get("/stamped/hello").headers["x-stamp"] == "/stamped/hello"
    streamed = client.get("/stamped/stream")
    assert (streamed.text, streamed.headers["x-stamp"]) == (STREAMED, "/stamped/stream")


def test_gzip_middleware_compresses_a_stream(client: httpx.Client) -> None:
    response = client.get("/zipped/stream")
    assert (response.text, response.headers["content-encoding"]) == (STREAMED, "gzip")


def test_websocket_route_with_subprotocol_headers_state_and_query(starlette: Serving) -> None:
    with connect(f"{starlette.ws_url}/chat?room=a%20b", subprotocols=["chat.v1", "chat.v2"]) as peer:
        assert peer.subprotocol == "chat.v2"
        assert peer.response.headers["x-room"] == "blue"
        assert peer.recv(PATIENCE) == '{"greeting":"hello from the lifespan","query":{"room":"a b"}}'
        for text in ("hello", "Grüße", "x" * 100_000):
            peer.send(text)
            assert peer.recv(PATIENCE) == f"you said {text}"
    assert tell() == "left"


def test_websocket_endpoint_class(starlette: Serving) -> None:
    with connect(f"{starlette.ws_url}/echo") as peer:
        peer.send(b"abc")
        assert peer.recv(PATIENCE) == b"cba"
        peer.close(3999)
    assert tell() == 3999


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "tab closed"), (4999, "a reason, Grüße")])
def test_close_of_the_client_raises_websocket_disconnect_with_its_code(
    starlette: Serving, code: int, reason: str
) -> None:
    with connect(f"{starlette.ws_url}/disconnecting") as peer:
        peer.close(code, reason)
    assert tell() == (code, reason)


def test_send_to_a_client_that_is_gone_raises_websocket_disconnect(starlette: Serving) -> None:
    with connect(f"{starlette.ws_url}/chatty") as peer:
        assert peer.recv(PATIENCE) == b"x" * 1000
        peer.close_socket()
    assert tell() == ("gone", 1006)


def test_denial_response_reaches_the_client(starlette: Serving) -> None:
    with pytest.raises(InvalidStatus) as denied:
        connect(f"{starlette.ws_url}/ticket")
    response = denied.value.response
    assert (response.status_code, response.body, response.headers["x-why"]) == (401, b'{"why":"no ticket"}', "ticket")


def test_close_before_accept_and_unknown_route_are_403(starlette: Serving) -> None:
    for path in ("ticket?ticket", "nothing"):
        with pytest.raises(InvalidStatus) as denied:
            connect(f"{starlette.ws_url}/{path}")
        assert denied.value.response.status_code == 403


@pytest.mark.parametrize(("path", "code", "reason"), [("closing", 4000, "enough"), ("failing", 1011, None)])
def test_close_of_the_application_reaches_the_client(
    starlette: Serving, path: str, code: int, reason: str | None
) -> None:
    with connect(f"{starlette.ws_url}/{path}") as peer:
        with pytest.raises(ConnectionClosed) as closed:
            peer.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code
        assert reason is None or closed.value.rcvd.reason == reason


@pytest.mark.parametrize("path", ["before_accept", "while_open", "in_clean_up"])
def test_mistakes_that_look_like_a_disconnect_are_logged(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        if path == "before_accept":
            raise WebSocketDisconnect
        await websocket.accept()
        if path == "while_open":
            raise WebSocketDisconnect
        try:
            await websocket.receive_text()
        except WebSocketDisconnect:
            raise KeyError("a mistake in the clean-up") from None

    gone = contextlib.suppress(InvalidStatus, ConnectionClosed)
    with serve(app, lifespan="off") as serving, gone, connect(f"{serving.ws_url}/") as peer:
        if path == "while_open":
            peer.recv(PATIENCE)
    [line] = logged(caplog, logging.ERROR)
    assert re.fullmatch(r'Exception in ASGI application \(127\.0\.0\.1:\d+ - "WebSocket /"\)', line)


# ------------------------------------------------------------------------------------------ a FastAPI application


async def user(websocket: FastAPIWebSocket) -> str:
    """A dependency that refuses, before the route runs."""
    if "token" not in websocket.query_params:
        raise FastAPIWebSocketException(1008, "no token")
    return websocket.query_params["token"]


fastapi = FastAPI()


@fastapi.websocket("/items/{item}")
async def items(websocket: FastAPIWebSocket, item: int, token: str = Depends(user)) -> None:
    await websocket.accept()
    while True:  # without a try: the framework and the server deal with the disconnect
        said = await websocket.receive_json()
        await websocket.send_json({"item": item, "token": token, "said": said})


@fastapi.websocket("/late")
async def late(websocket: FastAPIWebSocket) -> None:
    await websocket.accept()
    raise FastAPIWebSocketException(4003, "after accept")


@fastapi.post("/upload")
async def upload(file: UploadFile) -> dict[str, Any]:
    return {"name": file.filename, "size": len(await file.read())}


@fastapi.get("/items/{item}")
async def read_item(item: int, q: str | None = None) -> dict[str, Any]:
    if item == 0:
        raise HTTPException(404, "no such item")
    return {"item": item, "q": q}


@fastapi.get("/threaded")
def threaded() -> dict[str, str]:
    return {"ran": "in a thread"}


@pytest.fixture(scope="module")
def fastapi_serving() -> Iterator[Serving]:
    with serve(fastapi) as serving:
        yield serving


def test_fastapi_http_routes(fastapi_serving: Serving) -> None:
    with httpx.Client(base_url=fastapi_serving.http_url, trust_env=False, timeout=PATIENCE) as client:
        assert client.get("/items/5", params={"q": "a b"}).json() == {"item": 5, "q": "a b"}
        assert client.get("/items/0").json() == {"detail": "no such item"}
        assert client.get("/items/x").status_code == 422
        assert client.get("/threaded").json() == {"ran": "in a thread"}
        uploaded = client.post("/upload", files={"file": ("data.bin", FILE)})
        assert uploaded.json() == {"name": "data.bin", "size": len(FILE)}
        assert client.get("/openapi.json").json()["info"]["title"] == "FastAPI"


def test_fastapi_websocket_route_with_a_dependency(fastapi_serving: Serving) -> None:
    with connect(f"{fastapi_serving.ws_url}/items/7?token=t") as peer:
        peer.send('{"a": [1, 2]}')
        assert peer.recv(PATIENCE) == '{"item":7,"token":"t","said":{"a":[1,2]}}'
    with pytest.raises(InvalidStatus) as denied:
        connect(f"{fastapi_serving.ws_url}/items/7")
    assert denied.value.response.status_code == 403


def test_clients_that_leave_are_no_errors_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI(routes=[*fastapi.routes, Route("/endless", Endless())])

    @app.websocket("/careless")
    async def careless(websocket: FastAPIWebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text("again")

    with serve(app) as serving:
        with connect(f"{serving.ws_url}/items/7?token=t") as peer:
            peer.send("1")
            peer.recv(PATIENCE)  # and leave with a close, which raises WebSocketDisconnect in the route
        with connect(f"{serving.ws_url}/careless") as peer:
            peer.recv(PATIENCE)
            peer.close_socket()  # leave without one, which raises WebSocketDisconnect from a send
        with httpx.stream("GET", f"{serving.http_url}/endless", trust_env=False) as response:
            next(response.iter_bytes(5000))  # which raises ClientDisconnect
        assert tell() == "the stream has ended"
    assert logged(caplog, logging.WARNING) == []


def test_fastapi_websocket_exception_after_accept_closes_with_its_code(fastapi_serving: Serving) -> None:
    with connect(f"{fastapi_serving.ws_url}/late") as peer:
        with pytest.raises(ConnectionClosed) as closed:
            peer.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4003, "after accept")
