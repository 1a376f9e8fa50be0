"""Clients of HTTP/2 that we did not write, over real sockets: curl, nghttp, h2load, httpx, Node.js, Chromium.

That all goes over one connection is seen from the server: by the port that its clients have.
"""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import trustme
import wire
from browser import chromium
from http2_peer import connect_fields
from needed import needed
from serving import PATIENCE, Serving, serve

NEEDED = pytest.mark.skipif(shutil.which("h2load") is None, reason="nghttp2-client is not installed")


PAGE = """<!DOCTYPE html><meta charset=utf-8><title>page</title><p id=log></p><script type=module>
const asked = Array.from({ length: 10 }, async (_, number) => {
  const response = await fetch("/", { method: "POST", body: "x".repeat(number) })
  return (await response.text()) === `2 ${number}`
})
const echoed = Array.from({ length: 20 }, (_, number) => new Promise(resolve => {
  const socket = new WebSocket(`wss://${location.host}/`)
  socket.onopen = () => socket.send(`hello ${number}`)
  socket.onmessage = event => resolve(event.data === `hello ${number}`)
  socket.onerror = () => resolve(false)
}))
const count = all => all.filter(Boolean).length
const [answers, echoes] = [count(await Promise.all(asked)), count(await Promise.all(echoed))]
document.querySelector("#log").textContent = `${answers} answers, ${echoes} echoes`
</script>"""

NODE = shutil.which("node")
WS = Path(__file__).parents[1] / "node_modules" / "ws"


class Seen:
    """`app`, and what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            self.calls.append((scope["type"], scope["http_version"], scope["client"][1]))
        await app(scope, receive, send)

    def ports(self) -> set[int]:
        """The ports of all clients."""
        return {port for _, _, port in self.calls}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({**event, "type": "websocket.send"})
        return
    if scope["type"] != "http":
        return
    if scope["path"] == "/page":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        return await send({"type": "http.response.body", "body": PAGE.encode()})
    size, more = 0, True
    while more:
        event = await receive()
        size, more = size + len(event["body"]), event["more_body"]
    body = bytes(3_000_000) if scope["path"] == "/big" else f"{scope['http_version']} {size}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def plain() -> Iterator[Serving]:
    with serve(app) as serving:
        yield serving


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def secure(tmp_path: Path, seen: Seen) -> Iterator[tuple[Serving, str]]:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with serve(seen, ssl_certfile=tmp_path / "both.pem") as serving:
        yield serving, str(tmp_path / "ca.pem")


def run(*command: str, **options: Any) -> str:
    command = (needed(command[0]), *command[1:])
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE, **options).stdout


def test_curl_with_prior_knowledge(plain: Serving, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{plain.port}/"
    assert run("curl", "-sS", "--http2-prior-knowledge", url) == "2 0"
    assert run("curl", "-sS", "--http2", url) == "1.1 0"  # it asks for an upgrade, which is not made
    (tmp_path / "upload").write_bytes(bytes(2_000_000))
    upload = ("-sS", "--http2-prior-knowledge", "-T", str(tmp_path / "upload"))
    assert run("curl", *upload, url) == "2 2000000"
    size = run(
        "curl", "-sS", "--http2-prior-knowledge", "-o", str(tmp_path / "big"), "-w", "%{size_download}", url + "big"
    )
    assert size == "3000000"


def test_curl_over_tls(secure: tuple[Serving, str]) -> None:
    serving, ca = secure
    url = f"https://127.0.0.1:{serving.port}/"
    assert run("curl", "-sS", "--cacert", ca, url) == "2 0"
    assert run("curl", "-sS", "--cacert", ca, "--http1.1", url) == "1.1 0"


@NEEDED
def test_nghttp_with_a_body_and_trailers(plain: Serving, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(bytes(100_000))
    url = f"http://127.0.0.1:{plain.port}/"
    assert run("nghttp", "-d", str(tmp_path / "upload"), "--trailer", "x-sum: 1", url) == "2 100000"


@NEEDED
def test_h2load_with_a_hundred_streams(plain: Serving) -> None:
    said = run("h2load", "-n", "2000", "-c", "4", "-m", "100", f"http://127.0.0.1:{plain.port}/")
    assert "2000 succeeded, 0 failed, 0 errored" in said


def test_httpx(secure: tuple[Serving, str]) -> None:
    serving, ca = secure
    with httpx.Client(http2=True, verify=ssl.create_default_context(cafile=ca)) as client:
        for _ in range(3):
            response = client.post(f"https://127.0.0.1:{serving.port}/", content=bytes(300_000))
            assert response.http_version == "HTTP/2"
            assert response.text == "2 300000"
        assert len(client.get(f"https://127.0.0.1:{serving.port}/big").content) == 3_000_000


@pytest.mark.skipif(NODE is None or not WS.exists(), reason="nodejs or npm's ws is not installed")
def test_node_with_requests_and_websockets_on_one_session(secure: tuple[Serving, str], seen: Seen) -> None:
    serving, ca = secure
    script = Path(__file__).parent / "node" / "http2_client.cjs"
    told = json.loads(run(str(NODE), str(script), f"https://127.0.0.1:{serving.port}", ca))
    assert told == {
        "enableConnectProtocol": True,
        "get": "2 0",
        "post": "2 1000000",
        "big": 3_000_000,
        "many": 50,
        "echoed": 20,
        "pong": "here",
        "closed": [4321, "node is done"],
        "other": "still here",
    }
    assert [kind for kind, _, _ in seen.calls].count("websocket") == 20
    assert len(seen.ports()) == 1


@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="chromium-driver is not installed")
@pytest.mark.slow
def test_chromium_with_a_page_and_twenty_websockets_on_one_connection(secure: tuple[Serving, str], seen: Seen) -> None:
    serving, _ = secure
    with chromium("--ignore-certificate-errors") as browser:
        browser.open(f"https://127.0.0.1:{serving.port}/page")
        browser.wait(lambda: browser.text("#log"), "the page is not done")
        assert browser.text("#log") == "10 answers, 20 echoes"
    websockets = [call for call in seen.calls if call[0] == "websocket"]
    assert len(websockets) == 20
    assert {version for _, version, _ in seen.calls} == {"2"}
    assert len(seen.ports()) == 1


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_twenty_websockets_on_one_connection(loop: str, engine: str) -> None:
    with serve(app, loop=loop, ws=engine) as serving, socket.create_connection(("127.0.0.1", serving.port)) as sock:
        sock.settimeout(PATIENCE)
        client = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        )
        client.initiate_connection()
        streams = [1 + 2 * i for i in range(20)]
        for stream in streams:
            client.send_headers(stream, connect_fields())
        sock.sendall(client.data_to_send())
        bodies = dict.fromkeys(streams, b"")
        ended: set[int] = set()
        while len(ended) < len(streams):
            data = sock.recv(65536)
            assert data, "the connection has ended"
            for event in client.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    assert dict(event.headers)[b":status"] == b"200"
                    client.send_data(event.stream_id, wire.text(f"hello {event.stream_id}") + wire.close(1000))
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    ended.add(event.stream_id)
                    client.end_stream(event.stream_id)
            sock.sendall(client.data_to_send())
        for stream in streams:
            assert wire.read_frames(bodies[stream]) == [*wire.messages(f"hello {stream}"), wire.closing(1000)]
