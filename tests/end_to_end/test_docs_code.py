"""The code that the pages show: it is compiled, imported and served, and the recipes do what their pages say.

Commands are read by the programs that they name, as far as that can be done without running them: options that do not
exist, extras, and targets of make.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import queue
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import httpx
import pytest
from doc_blocks import ROOT, Block, Command, blocks, commands
from gunicorn.config import Config as GunicornConfig
from needed import needed
from serving import PATIENCE, Serving, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from fastws.config import OPTIONS
from fastws.distribution import DISTRIBUTION

BLOCKS = list(blocks())
COMMANDS = list(commands())
PYTHON = [block for block in BLOCKS if block.language == "python"]
FILES = [block for block in PYTHON if block.title]
SNIPPETS = [block for block in PYTHON if not block.title and block.page not in ("docs/api.md", "docs/testing.md")]
"""What runs by itself: api.md has stubs, and test_testing.py runs the tests of testing.md."""
ENVIRONMENT = {"FASTWS_EXTENSION", "FASTWS_TEST_ENGINES", "FASTWS_APP", "FASTWS_CONFIG"}
ENVIRONMENT |= {option.env for option in OPTIONS}


# ------------------------------------------------------------------------------------------------- every block


def test_info_strings_are_known() -> None:
    known = {"python", "js", "html", "console", "text", "json", "toml", "yaml", "ini", "nginx", "dockerfile", "mermaid"}
    assert {block.language for block in BLOCKS} <= known


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.usefixtures("own_logging")
@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_snippets_run(block: Block) -> None:
    if missing(block):
        pytest.skip(f"{', '.join(missing(block))}: only compiled, as the block says")
    exec(compile(block.text, str(block), "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize("block", FILES, ids=str)
@pytest.mark.slow
def test_programs_are_imported_and_served(block: Block, load: Callable[..., ModuleType]) -> None:
    assert set(missing(block)) <= {"django", "channels"}
    app = getattr(load(block.title, block.page), "app", None)
    if app is not None:
        with serve(app) as serving:
            assert httpx.get(serving.http_url + "/", timeout=PATIENCE).status_code in (200, 404)


def missing(block: Block) -> list[str]:
    return [name for name in block.requires if importlib.util.find_spec(name) is None]


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "js"], ids=str)
def test_javascript_is_read_by_node(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "module.mjs"
    file.write_text(block.text)
    subprocess.run([needed("node", "nodejs"), "--check", file], check=True)


# ----------------------------------------------------------------------------------------------- every command


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.words[0] != "curl"], ids=str)
def test_commands_are_understood(command: Command) -> None:
    assert {name for name in command.environment if name.startswith("FASTWS_")} <= ENVIRONMENT
    program, *words = command.words
    if program.startswith("python"):
        program, *words = as_module(words)
    check = {"fastws": read_fastws, "gunicorn": read_gunicorn, "make": read_make, "pip": read_pip}.get(program)
    if check is not None:  # options of other servers are compared in test_docs.py
        check(words)


def as_module(words: list[str]) -> list[str]:
    if words[0] == "-m":
        return words[1:]
    assert words[0].startswith("-") or (ROOT / words[0]).exists()
    return ["python"]


def read_fastws(words: list[str]) -> None:
    from fastws.cli import main as cli
    from fastws.config.sources import read_config

    if words and words[0] in cli.COMMANDS and "--help" not in words:
        cli.load_command(words[0]).make_context(words[0], words[1:])
    elif words and ":" in " ".join(words):
        context = cli.main.make_context("fastws", list(words))
        read_config(context.params.pop("app"), context.params)
    else:
        with pytest.raises(click.exceptions.Exit):
            cli.main.make_context("fastws", list(words))


def read_gunicorn(words: list[str]) -> None:
    if words != ["..."]:
        GunicornConfig().parser().parse_args(words)


def read_make(words: list[str]) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    assert {word for word in words if "=" not in word} <= targets


def read_pip(words: list[str]) -> None:
    assert words[0] == "install"
    extras = {name for word in words for found in re.findall(r"\[(.*)\]", word) for name in found.split(",")}
    assert extras <= {*(importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or ())}


def test_curls_options_exist() -> None:
    known = subprocess.run([needed("curl"), "--help", "all"], capture_output=True, text=True, check=True).stdout
    options = {word for each in COMMANDS if each.words[0] == "curl" for word in each.words if word.startswith("-")}
    assert {option for option in options if not re.search(rf"(?m)^\s+(-., )?{option}\b", known)} == set()


# ------------------------------------------------------------------------------------------ what the recipes do


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Import a program of the pages by its file's name, fresh, from a directory that has all files of its page."""
    loaded = []

    def load(title: str, page: str = "", **environment: str) -> ModuleType:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        page = page or next(block.page for block in FILES if block.title == title)
        for block in BLOCKS:
            if block.page == page and block.title:
                (tmp_path / block.title).write_text(block.text)
        name = f"shown_{Path(title).stem}"
        spec = importlib.util.spec_from_file_location(name, tmp_path / title)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # Starlette and dataclasses look there
        loaded.append(name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in loaded:
        del sys.modules[name]


def client(serving: Serving, path: str, **options: Any) -> ClientConnection:
    return connect(serving.ws_url + path, proxy=None, open_timeout=PATIENCE, **options)


def refused(serving: Serving, path: str, **options: Any) -> Any:
    with pytest.raises(InvalidStatus) as caught, client(serving, path, **options):
        pass
    return caught.value.response


def code_of(websocket: ClientConnection) -> int:
    """The close code, when everything that came before it was taken."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            websocket.recv(PATIENCE)
    assert websocket.close_code is not None
    return websocket.close_code


def test_authentication_by_cookie(load: Callable[..., ModuleType]) -> None:
    with serve(load("authentication.py").app) as serving:
        cookie = {"Cookie": "session=token-of-ada"}
        with client(serving, "/cookie", additional_headers=cookie, origin="https://example.com") as websocket:
            assert websocket.recv(PATIENCE) == "hello ada"
        assert refused(serving, "/cookie", additional_headers=cookie, origin="https://evil.example").status_code == 403
        answer = refused(serving, "/cookie", origin="https://example.com")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.body == b"Please log in\n"


def test_authentication_by_subprotocol(load: Callable[..., ModuleType]) -> None:
    with serve(load("authentication.py").app) as serving:
        with client(serving, "/subprotocol", subprotocols=["chat", "bearer.token-of-bob"]) as websocket:
            assert websocket.subprotocol == "chat"
            assert websocket.recv(PATIENCE) == "hello bob"
        assert refused(serving, "/subprotocol", subprotocols=["chat", "bearer.wrong"]).status_code == 401


def test_authentication_by_ticket_which_is_good_once(load: Callable[..., ModuleType]) -> None:
    with serve(load("authentication.py").app) as serving:
        assert httpx.post(serving.http_url + "/ticket").status_code == 401
        answer = httpx.post(serving.http_url + "/ticket", headers={"Authorization": "Bearer token-of-ada"})
        ticket = answer.json()["ticket"]
        with client(serving, f"/by-ticket?ticket={ticket}") as websocket:
            assert websocket.recv(PATIENCE) == "hello ada"
        assert refused(serving, f"/by-ticket?ticket={ticket}").status_code == 403


def test_authentication_by_first_message(load: Callable[..., ModuleType]) -> None:
    with serve(load("authentication.py").app) as serving:
        with client(serving, "/message") as websocket:
            websocket.send("token-of-ada")
            assert websocket.recv(PATIENCE) == "hello ada"
            websocket.send("hi")
            assert websocket.recv(PATIENCE) == "ada: hi"
        with client(serving, "/message") as websocket:
            websocket.send("wrong")
            assert code_of(websocket) == 4401


def test_rooms_tell_all_members(load: Callable[..., ModuleType]) -> None:
    module = load("rooms.py")
    with serve(module.app) as serving, client(serving, "/rooms/red?name=ada") as ada:
        assert json.loads(ada.recv(PATIENCE)) == {"joined": "ada", "members": 1}
        with client(serving, "/rooms/blue?name=eve") as eve, client(serving, "/rooms/red?name=bob") as bob:
            assert json.loads(eve.recv(PATIENCE)) == {"joined": "eve", "members": 1}
            for member in (ada, bob):
                assert json.loads(member.recv(PATIENCE)) == {"joined": "bob", "members": 2}
            bob.send("hi")
            for member in (ada, bob):
                assert json.loads(member.recv(PATIENCE)) == {"from": "bob", "text": "hi"}
        assert json.loads(ada.recv(PATIENCE)) == {"left": "bob", "members": 1}
    assert not module.rooms


@pytest.mark.slow
def test_events_come_one_by_one_and_again_to_who_missed_some(load: Callable[..., ModuleType]) -> None:
    module = load("events.py")
    with serve(module.app) as serving:
        url = serving.http_url
        with httpx.stream("GET", f"{url}/events", timeout=PATIENCE) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = response.iter_lines()
            assert next(lines).startswith("retry: ")
            assert next(lines) == ""
            for number in range(2):
                assert httpx.post(f"{url}/say", content=f"{number}\nand more").text == "told\n"
                said = [f"id: {number + 1}", f"data: {number}", "data: and more", ""]
                assert [next(lines) for _ in said] == said
        with httpx.stream("GET", f"{url}/events", headers={"last-event-id": "1"}, timeout=PATIENCE) as response:
            lines = response.iter_lines()
            assert [next(lines) for _ in range(4)][2:] == ["id: 2", "data: 1"]


def test_a_stream_of_who_is_too_slow_ends(load: Callable[..., ModuleType]) -> None:
    module = load("events.py")

    async def read() -> list[str]:
        stream = module.stream(0)
        pieces = [await anext(stream)]
        for number in range(module.WAITING + 1):
            module.tell(str(number))
        return pieces + [piece async for piece in stream]

    pieces = asyncio.run(read())
    assert len(pieces) >= module.WAITING + 1
    assert not module.clients


@pytest.mark.parametrize("title", ["before.py", "after.py"])
def test_a_manager_and_topics_tell_clients_the_same(title: str, load: Callable[..., ModuleType]) -> None:
    with serve(load(title, "docs/recipes/connection-manager.md").app) as serving, client(serving, "/ws/1") as one:
        with client(serving, "/ws/2") as two:
            two.send("hello")
            assert one.recv(PATIENCE) == two.recv(PATIENCE) == "Client #2 says: hello"
        assert one.recv(PATIENCE) == "Client #2 left the chat"


def test_rooms_send_away_who_is_too_slow(load: Callable[..., ModuleType]) -> None:
    module = load("rooms.py")
    module.QUEUE = 1
    with serve(module.app) as serving, client(serving, "/rooms/red") as websocket:
        assert "joined" in str(websocket.recv(PATIENCE))
        serving.call(lambda: [module.say("red", {"number": number}) for number in range(10)])
        assert code_of(websocket) == 1013


def test_ticker_gives_a_late_client_the_newest(load: Callable[..., ModuleType]) -> None:
    module = load("ticker.py")
    with serve(module.app) as serving, client(serving, "/prices") as websocket:
        numbers = [int(websocket.recv(PATIENCE)) for _ in range(3)]
        assert numbers == sorted({*numbers})


def test_worker_pool_answers_all_and_bounds_what_runs(load: Callable[..., ModuleType]) -> None:
    module = load("worker_pool.py")
    running: set[str] = set()
    full = asyncio.Event()
    most = 0
    handle = module.handle

    async def counted(websocket: Any, text: str) -> None:
        nonlocal most
        running.add(text)
        most = max(most, len(running))
        if most >= module.AT_ONCE:
            full.set()
        await full.wait()
        await handle(websocket, text)
        running.discard(text)

    module.handle = counted
    with serve(module.app) as serving, client(serving, "/jobs") as websocket:
        for number in range(20):
            websocket.send(f"job {number}")
        assert {websocket.recv(PATIENCE) for _ in range(20)} == {f"JOB {number}" for number in range(20)}
    assert most == module.AT_ONCE


def test_limits_of_a_user(load: Callable[..., ModuleType]) -> None:
    module = load("limits.py")
    with serve(module.app) as serving, contextlib.ExitStack() as stack:
        websockets = [stack.enter_context(client(serving, "/chat?user=ada")) for _ in range(module.CONNECTIONS)]
        assert refused(serving, "/chat?user=ada").headers["retry-after"] == "10"
        with client(serving, "/chat?user=bob"):
            pass
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100):
                websockets[0].send("spam")
        assert code_of(websockets[0]) == 4429


def test_upload_over_http(load: Callable[..., ModuleType], tmp_path: Path) -> None:
    with serve(load("uploads.py", UPLOADS=str(tmp_path)).app) as serving:
        body = bytes(range(256)) * 4096
        assert httpx.put(serving.http_url + "/upload", content=body).json() == {"size": len(body)}
    assert (tmp_path / "upload.bin").read_bytes() == body


def test_upload_over_a_websocket_goes_on_where_it_was(load: Callable[..., ModuleType], tmp_path: Path) -> None:
    body = bytes(range(256)) * 1024
    begin = json.dumps({"name": "../../picture.png", "size": len(body)})
    with serve(load("uploads.py", UPLOADS=str(tmp_path)).app) as serving:
        with client(serving, "/upload") as websocket:
            websocket.send(begin)
            assert json.loads(websocket.recv(PATIENCE)) == {"offset": 0}
            websocket.send(body[:100_000])
            assert json.loads(websocket.recv(PATIENCE)) == {"offset": 100_000}
        with client(serving, "/upload") as websocket:
            websocket.send(begin)
            assert json.loads(websocket.recv(PATIENCE)) == {"offset": 100_000}
            websocket.send(body[100_000:])
            assert json.loads(websocket.recv(PATIENCE)) == {"offset": len(body)}
            assert code_of(websocket) == 1000
        with client(serving, "/upload") as websocket:
            websocket.send(json.dumps({"name": "..", "size": 1}))
            assert code_of(websocket) == 1008
    assert (tmp_path / "picture.png").read_bytes() == body


def test_shutdown_saves_what_came(load: Callable[..., ModuleType]) -> None:
    module = load("shutdown.py")
    with serve(module.app) as serving, client(serving, "/document") as document, client(serving, "/clock") as clock:
        assert clock.recv(PATIENCE) == "0"
        for number in range(3):
            document.send(f"line {number}")
        assert [document.recv(PATIENCE) for _ in range(3)] == ["1 lines", "2 lines", "3 lines"]
        serving.server.should_exit = True
        assert code_of(document) == 1012
        assert code_of(clock) == 1012
    assert module.saved["document"] == "line 0\nline 1\nline 2"
    assert module.saved["code"] == "1012"
    assert module.saved["shutdown"] == "complete"


def test_own_program_ends(load: Callable[..., ModuleType]) -> None:
    asyncio.run(asyncio.wait_for(load("own_program.py").main(), PATIENCE))


def test_flask_is_served_beside_a_websocket(load: Callable[..., ModuleType]) -> None:
    with serve(load("both.py").app) as serving, client(serving, "/echo") as websocket:
        assert httpx.get(serving.http_url + "/").text == "hello from Flask\n"
        websocket.send("hi")
        assert websocket.recv(PATIENCE) == "hi"


def test_python_client_comes_back_until_it_is_told_to_stay_away(load: Callable[..., ModuleType]) -> None:
    """Closed with 1012 it comes back, refused with 503 too, and after 1000 it ends."""
    module = load("client.py")
    answers: queue.Queue[tuple[str, int]] = queue.Queue()
    for answer in (("one", 1012), ("", 503), ("two", 1006), ("three", 1000)):
        answers.put(answer)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        text, code = answers.get_nowait()
        if code == 503:
            await send({"type": "websocket.http.response.start", "status": 503, "headers": []})
            return await send({"type": "websocket.http.response.body", "body": b""})
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        if code == 1006:
            raise RuntimeError("the client sees 1011")
        await send({"type": "websocket.close", "code": code})

    async def listen(url: str) -> list[Any]:
        module.random.uniform = lambda low, high: 0.0
        return [message async for message in module.listen(url)]

    uniform = module.random.uniform
    try:
        with serve(app, lifespan="off") as serving:
            assert asyncio.run(asyncio.wait_for(listen(serving.ws_url), PATIENCE)) == ["one", "two", "three"]
    finally:
        module.random.uniform = uniform
