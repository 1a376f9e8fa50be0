"""The pages and the scripts that the docs show, in Chromium: what a new user sees who follows them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, chromium
from doc_blocks import blocks
from serving import serve, serve_process
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

pytestmark = pytest.mark.slow

SHOWN = {f"{block.page}:{block.title}": block.text for block in blocks() if block.title}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_quick_start_is_a_chat_that_outlives_a_restart(browser: Browser, tmp_path: Path) -> None:
    for name in ("chat.py", "chat.html"):
        (tmp_path / name).write_text(SHOWN[f"docs/quickstart.md:{name}"])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listener = str(listening.fileno())
        with serve_process("chat:app", "--fd", listener, cwd=tmp_path, pass_fds=(listening.fileno(),)) as server:
            url = "http://{}:{}".format(*listening.getsockname())
            ada, bob = browser.open(url), browser.open(url)
            browser.wait(lambda: browser.text("#state") == "connected", "bob's page is connected")
            browser.choose(ada)
            browser.wait(lambda: browser.text("#state") == "connected", "ada's page is connected")
            browser.find("#text").send_keys("hello\n")
            browser.choose(bob)
            browser.wait(lambda: browser.text("#messages") == "hello", "bob reads what ada said")
            assert server.stop() == 0
            browser.wait(lambda: "closed (1012)" in browser.text("#state"), "the page knows of the restart")
        with serve_process("chat:app", "--fd", listener, cwd=tmp_path, pass_fds=(listening.fileno(),)):
            for tab in (ada, bob):
                browser.choose(tab)
                browser.wait(lambda: browser.text("#state") == "connected", "the page came back")
            browser.find("#text").send_keys("again\n")
            browser.choose(ada)
            browser.wait(lambda: browser.text("#messages").endswith("again"), "ada reads what bob said")
    browser.close_tabs()


def page_of(script: str, **files: str) -> list[Route]:
    """Routes of a page with a module script, and of the files that it imports."""
    html = f"<!DOCTYPE html><meta charset=utf-8><p id=log></p><script type=module>{script}</script>"

    def script_route(name: str, text: str) -> Route:
        async def answer(request: Any) -> Response:
            return Response(text, media_type="text/javascript")

        return Route(f"/{name}", answer)

    async def page(request: Any) -> Response:
        return HTMLResponse(html)

    return [Route("/", page), *(script_route(f"{name}.js", text) for name, text in files.items())]


def test_lasting_socket_comes_back_until_it_is_told_to_stay_away(browser: Browser) -> None:
    codes = iter((1012, 1011, 4401))

    async def room(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close(next(codes))

    script = """
        import { LastingSocket } from "/lasting.js"
        const log = text => (document.querySelector("#log").textContent += text + " ")
        const socket = new LastingSocket(`ws://${location.host}/room`, {
          baseMs: 1,
          onmessage: log,
          onstate: (state, event) => {
            log(event ? state + event.code : state)
            if (state !== "closed") socket.send("said")
          },
        })
        socket.send("first")
    """
    lasting = SHOWN["docs/recipes/reconnecting.md:lasting-socket.js"]
    with serve(Starlette(routes=[*page_of(script, lasting=lasting), WebSocketRoute("/room", room)])) as serving:
        browser.open(serving.http_url)
        browser.wait(lambda: "closed4401" in browser.text("#log"), "the page stays away after 4401")
        said = browser.text("#log").split()
        states = ["open", "first", "waiting1012", "open", "waiting1011", "open", "closed4401"]
        assert [each for each in said if each != "said"] == states
        assert said.count("said") == 2
    browser.close_tabs()


def test_page_uploads_a_file_in_pieces(browser: Browser, tmp_path: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "shown"}
    exec(SHOWN["docs/recipes/uploads.md:uploads.py"], namespace)
    namespace["DIRECTORY"] = tmp_path
    script = """
        import { upload } from "/upload.js"
        const file = new File([new Uint8Array(1000000).fill(7)], "seven.bin")
        const seen = []
        upload(`ws://${location.host}/upload`, file, share => seen.push(share), { pieceBytes: 65536, ahead: 2 })
          .then(() => (document.querySelector("#log").textContent = JSON.stringify(seen)))
    """
    routes = page_of(script, upload=SHOWN["docs/recipes/uploads.md:upload.js"])
    with serve(Starlette(routes=[*routes, *namespace["app"].routes])) as serving:
        browser.open(serving.http_url)
        browser.wait(lambda: browser.text("#log") != "", "the page has sent the file")
        seen = json.loads(browser.text("#log"))
    assert (seen[0], seen[-1], len(seen)) == (0, 1, 17)
    assert (tmp_path / "seven.bin").read_bytes() == bytes([7]) * 1_000_000
    browser.close_tabs()
