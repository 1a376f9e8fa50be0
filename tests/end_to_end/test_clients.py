"""Clients that we did not write, end to end over real sockets: websockets, npm's ws, curl and Chromium.

Each WebSocket client does what it can of: text, binary, a message of 1 MiB, fragments, pings, subprotocols, extra
headers, a close with a code and a reason from either side, a denial, and coming back; on every engine, with
permessage-deflate and without.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import queue
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets.asyncio.client
import websockets.sync.client
from browser import Browser, chromium
from needed import needed, needed_file
from selenium.webdriver.common.keys import Keys
from serving import PATIENCE, Serving, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fastws import demo

pytestmark = pytest.mark.slow

MEBIBYTE = b"0123456789abcdef" * 65536
DEFLATE = pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])


class Application:
    """An echo, a denial and a few HTTP pages; `disconnects` is what the server told of each WebSocket's end."""

    def __init__(self) -> None:
        self.disconnects: queue.Queue[tuple[int, str]] = queue.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        handler = getattr(self, f"{scope['type']}_{scope.get('path', '/')[1:]}", None)
        if handler is not None:
            await handler(scope, receive, send)

    async def websocket_echo(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        subprotocol = "chat" if "chat" in scope["subprotocols"] else None
        headers = [(b"x-served-by", b"test")]
        await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
        while (event := await receive())["type"] == "websocket.receive":
            if event.get("text") == "close":
                await send({"type": "websocket.close", "code": 4001, "reason": "asked to"})
            else:
                await send({**event, "type": "websocket.send"})
        self.disconnects.put((event["code"], event.get("reason", "")))

    async def websocket_deny(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/plain"), (b"x-reason", b"no ticket")]
        await send({"type": "websocket.http.response.start", "status": 402, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"first ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"pay"})

    async def websocket_refuse(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close"})

    async def http_upload(self, scope: Any, receive: Any, send: Any) -> None:
        digest, length, more = hashlib.sha256(), 0, True
        while more:
            event = await receive()
            digest.update(event.get("body", b""))
            length += len(event.get("body", b""))
            more = event.get("more_body", False)
        body = f"{scope['http_version']} {scope['method']} {length} {digest.hexdigest()}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def http_stream(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(5):
            await send({"type": "http.response.body", "body": b"part %d\n" % number, "more_body": True})
        await send({"type": "http.response.body"})


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def serving(application: Application, engine: str) -> Iterator[Serving]:
    with serve(application, ws=engine) as serving:
        yield serving


# -------------------------------------------------------------------------------------------------- websockets


@DEFLATE
def test_websockets_asyncio_client(serving: Serving, application: Application, deflate: bool) -> None:
    options: dict[str, Any] = {"compression": "deflate" if deflate else None, "proxy": None}

    async def main() -> None:
        url = f"{serving.ws_url}/echo"
        async with websockets.asyncio.client.connect(url, subprotocols=["other", "chat"], **options) as socket:
            assert socket.subprotocol == "chat"
            assert socket.response is not None
            assert socket.response.headers["x-served-by"] == "test"
            assert ("sec-websocket-extensions" in socket.response.headers) is deflate
            for message in ("Grüße, 世界", b"\x00\x01\xfe\xff", MEBIBYTE, MEBIBYTE.decode(), "", b""):
                await socket.send(message)
                assert await socket.recv() == message
            await socket.send(["frag", "men", "ts"])
            assert await socket.recv() == "fragments"
            await socket.send([MEBIBYTE[:1], MEBIBYTE[1:100_000], MEBIBYTE[100_000:]])
            assert await socket.recv() == MEBIBYTE
            assert await (await socket.ping(b"x" * 125)) >= 0
            await asyncio.gather(*(socket.send(str(number)) for number in range(500)))
            assert [await socket.recv() for _ in range(500)] == [str(number) for number in range(500)]
            await socket.close(4444, "a reason, Grüße")
        assert (socket.close_code, socket.close_reason) == (4444, "a reason, Grüße")
        assert application.disconnects.get(timeout=PATIENCE) == (4444, "a reason, Grüße")

        async with websockets.asyncio.client.connect(url, **options) as again:
            assert again.subprotocol is None
            await again.send("close")
            with pytest.raises(ConnectionClosed):
                await again.recv()
        assert (again.close_code, again.close_reason) == (4001, "asked to")

        for path, status, body in (("deny", 402, b"first pay"), ("refuse", 403, None)):
            with pytest.raises(InvalidStatus) as denied:
                await websockets.asyncio.client.connect(f"{serving.ws_url}/{path}", **options)
            assert denied.value.response.status_code == status
            assert body is None or denied.value.response.body == body

    asyncio.run(main())


@DEFLATE
def test_websockets_sync_client(serving: Serving, application: Application, deflate: bool) -> None:
    options: dict[str, Any] = {"compression": "deflate" if deflate else None, "proxy": None}
    url = f"{serving.ws_url}/echo"
    with websockets.sync.client.connect(url, subprotocols=["chat"], **options) as socket:
        assert socket.subprotocol == "chat"
        for message in ("Grüße, 世界", b"\x00\x01\xfe\xff", MEBIBYTE, "", b""):
            socket.send(message)
            assert socket.recv(PATIENCE) == message
        socket.send(["frag", "men", "ts"])
        assert socket.recv(PATIENCE) == "fragments"
        assert socket.ping(b"here").wait(PATIENCE)
        socket.close(1000, "done")
    assert application.disconnects.get(timeout=PATIENCE) == (1000, "done")

    with websockets.sync.client.connect(url, **options) as again:
        again.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            again.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "asked to")

    with pytest.raises(InvalidStatus) as denied:
        websockets.sync.client.connect(f"{serving.ws_url}/deny", **options)
    assert (denied.value.response.status_code, denied.value.response.body) == (402, b"first pay")


def test_websockets_client_that_vanishes_is_reported_as_1006(serving: Serving, application: Application) -> None:
    with websockets.sync.client.connect(f"{serving.ws_url}/echo", proxy=None) as socket:
        socket.send("still here")
        assert socket.recv(PATIENCE) == "still here"
        socket.close_socket()
    assert application.disconnects.get(timeout=PATIENCE)[0] == 1006


# ---------------------------------------------------------------------------------------------------- npm's ws


@DEFLATE
def test_node_ws_client(serving: Serving, application: Application, deflate: bool) -> None:
    needed_file(Path(__file__).parents[1] / "node_modules" / "ws", "npm's ws")
    script = Path(__file__).parent / "node" / "ws_client.cjs"
    command = [needed("node", "nodejs"), str(script), serving.ws_url, str(deflate).lower()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert ("permessage-deflate" in seen.pop("extensions")) is deflate
    assert seen == {
        "protocol": "chat",
        "header": "test",
        "text": "Grüße, 世界",
        "binary": "0001feff",
        "mebibyte": True,
        "empty": 0,
        "fragments": "fragments",
        "pong": "between fragments",
        "echoedClose": [4321, "node is done"],
        "serverClose": [4001, "asked to"],
        "denial": [402, "no ticket", "first pay"],
    }
    assert application.disconnects.get(timeout=PATIENCE) == (4321, "node is done")


# -------------------------------------------------------------------------------------------------------- curl


@pytest.fixture
def plain(application: Application) -> Iterator[Serving]:
    """A server for the HTTP tests, which no engine takes part in."""
    with serve(application) as serving:
        yield serving


CONNECTS = re.compile(r"^connects (\d+)$", re.MULTILINE)


def curl(*arguments: str, data: bytes | None = None) -> tuple[bytes, str]:
    """What curl printed, and what it said of the exchange with --verbose; see `connections`."""
    command = [
        needed("curl"),
        "--silent",
        "--show-error",
        "--verbose",
        "--max-time",
        "20",
        "--noproxy",
        "*",
        "--write-out",
        "%{stderr}connects %{num_connects}\\n",
        *arguments,
    ]
    ended = subprocess.run(command, capture_output=True, input=data, timeout=30)
    conversation = ended.stderr.decode().replace("\r", "")
    assert ended.returncode == 0, conversation
    return ended.stdout, conversation


def connections(said: str) -> int:
    """How many connections curl has made: its own count for each URL, since its words for it change."""
    return sum(map(int, CONNECTS.findall(said)))


def digest(data: bytes) -> str:
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


def test_curl_keeps_one_connection_alive(plain: Serving) -> None:
    url = f"{plain.http_url}/stream"
    printed, said = curl(url, url, f"{plain.http_url}/upload")
    stream = b"".join(b"part %d\n" % number for number in range(5))
    assert printed == stream * 2 + f"1.1 GET {digest(b'')}".encode()
    assert said.count("< HTTP/1.1 200") == 3
    assert connections(said) == 1
    assert "transfer-encoding: chunked" in said.lower()


def test_curl_uploads_in_chunks(plain: Serving) -> None:
    printed, said = curl(
        "-H",
        "Transfer-Encoding: chunked",
        "-H",
        "Expect:",
        "--data-binary",
        "@-",
        f"{plain.http_url}/upload",
        data=MEBIBYTE,
    )
    assert printed.decode() == f"1.1 POST {digest(MEBIBYTE)}"
    assert "> transfer-encoding: chunked" in said.lower()


def test_curl_waits_for_100_continue_with_a_big_body(plain: Serving) -> None:
    data = MEBIBYTE * 3
    printed, said = curl(
        "-H", "Expect: 100-continue", "--expect100-timeout", "15", "-T", "-", f"{plain.http_url}/upload", data=data
    )
    assert printed.decode() == f"1.1 PUT {digest(data)}"
    assert "< HTTP/1.1 100 Continue" in said
    assert said.index("100 Continue") < said.index("HTTP/1.1 200")


def test_curl_head_has_headers_and_no_body(plain: Serving) -> None:
    printed, said = curl("--head", f"{plain.http_url}/upload", f"{plain.http_url}/stream")
    assert said.count("< HTTP/1.1 200") == 2
    assert connections(said) == 1
    body = f"1.1 HEAD {digest(b'')}"
    assert f"content-length: {len(body)}".encode() in printed.lower()
    assert b"transfer-encoding" not in printed.lower()


def test_curl_speaks_http_1_0(plain: Serving) -> None:
    printed, said = curl("--http1.0", f"{plain.http_url}/stream", f"{plain.http_url}/upload")
    assert printed == b"part 0\npart 1\npart 2\npart 3\npart 4\n" + f"1.0 GET {digest(b'')}".encode()
    assert "transfer-encoding" not in said.lower()
    assert connections(said) == 2


def test_curl_that_asks_for_http_2_gets_http_1_with_its_body_read_as_a_body(plain: Serving) -> None:
    body = b"GET /stream HTTP/1.1\r\nHost: inside\r\n\r\n"
    printed, said = curl("--http2", "--data-binary", "@-", f"{plain.http_url}/upload", data=body)
    assert "> Upgrade: h2c" in said
    assert printed.decode() == f"1.1 POST {digest(body)}"
    assert said.count("< HTTP/1.1 200") == 1
    assert "101" not in [line.split()[2] for line in said.splitlines() if line.startswith("< HTTP/")]


def test_curl_gets_500_when_the_application_does_not_answer(plain: Serving) -> None:
    _, said = curl(f"{plain.http_url}/nothing")  # the application returns without an answer
    assert "< HTTP/1.1 500" in said


# ---------------------------------------------------------------------------------------------------- Chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_chromium_echoes_on_every_engine(browser: Browser, engine: str) -> None:
    with serve(demo.app, ws=engine) as serving:
        browser.open(serving.http_url)
        browser.wait(lambda: browser.text("#status-text") == "Connected", "the page has not connected")
        browser.wait(lambda: browser.text("#facts"), "the page shows no facts")
        assert "permessage-deflate" in browser.text("#facts")
        for text in ("Grüße, \u4e16\u754c", "again " * 200):
            browser.find("#echo-text").send_keys(text, Keys.ENTER)
            browser.wait(lambda text=text: text.strip() in browser.text("#echo-log"), "no echo came back")
        browser.find("#drop").click()
        browser.wait(lambda: "closed with 1000" in browser.text("#events").replace("\n", " "), "no close was reported")
        browser.wait(lambda: browser.text("#status-text") == "Connected", "the page has not come back")
        assert browser.console() == []
        browser.close_tabs()
