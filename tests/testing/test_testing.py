"""fastws.testing and the pytest plugin, as the tests of an application use them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import re
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from doc_blocks import blocks
from serving import PATIENCE
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect as connect_async
from websockets.asyncio.client import unix_connect as unix_connect_async
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect, unix_connect

import fastws
from fastws.errors import ApplicationError, ConfigError, StartupError
from fastws.testing import LeakError, RunningServer, running, serve

pytest_plugins = ["pytester"]


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.state.greeting if "greeting" in request.scope["state"] else "hello")


async def broken(request: Request) -> PlainTextResponse:
    raise ValueError("broken on purpose")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def deaf(websocket: WebSocket) -> None:
    """It neither reads nor ends."""
    await websocket.accept()
    await asyncio.Event().wait()


ROUTES = [
    Route("/", hello),
    Route("/broken", broken),
    WebSocketRoute("/echo", echo),
    WebSocketRoute("/deaf", deaf),
]
app = Starlette(routes=ROUTES)


def with_lifespan(lifespan: Any) -> Starlette:
    return Starlette(routes=ROUTES, lifespan=contextlib.asynccontextmanager(lifespan))


def left_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "fastws.testing"]


def test_serves_on_a_free_port_until_the_block_ends() -> None:
    with serve(app) as first, serve(app) as second:
        assert (first.host, first.uds) == ("127.0.0.1", None)
        assert first.port != second.port
        assert first.url == f"http://127.0.0.1:{first.port}"
        assert httpx.get(first.url).text == "hello"
        with connect(f"{second.ws_url}/echo") as client:
            client.send("to the second")
            assert client.recv() == "to the second"
    assert left_threads() == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((first.host, first.port))


def test_a_client_that_is_still_connected_is_told_of_the_end() -> None:
    with contextlib.ExitStack() as stack:
        with serve(app) as server:
            client = stack.enter_context(connect(f"{server.ws_url}/echo"))
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=PATIENCE)
        assert client.protocol.close_code == 1012


def test_options_are_those_of_config(tmp_path: Path) -> None:
    with serve(app, root_path="/api", ws="websockets") as server:
        assert (server.config.root_path, server.config.ws) == ("/api", "websockets")
    with serve("test_testing:app", app_dir=Path(__file__).parent) as server:
        assert httpx.get(server.url).text == "hello"
    with serve(lambda: app) as server:
        assert httpx.get(server.url).text == "hello"
    for wrong in ({"ws_ping_interval": -1}, {"workers": 2}, {"reload": True}):
        with pytest.raises(ConfigError), serve("test_testing:app", **wrong):
            pass
    mistyped = "ws_max_sise: no such option: did you mean 'ws_max_size'?"
    with pytest.raises(ConfigError, match=re.escape(mistyped)), serve(app, ws_max_sise=3):
        pass


def test_options_of_uvicorn_that_ask_for_what_is_so(caplog: pytest.LogCaptureFixture) -> None:
    with serve(app, interface="asgi3") as server:
        assert httpx.get(server.url).text == "hello"
    assert "interface: it has no effect" in caplog.text


def test_unix_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "fastws.sock")
    with serve(app, uds=path) as server:
        assert (server.uds, server.host, server.port) == (path, "", 0)
        assert (server.url, server.ws_url) == ("http://localhost", "ws://localhost")
        with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
            assert client.get(server.url).text == "hello"
        with unix_connect(path, f"{server.ws_url}/echo") as websocket:
            websocket.send("x")
            assert websocket.recv() == "x"
    assert not Path(path).exists()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("given", ["options", "context"])
def test_tls(authority: trustme.CA, tmp_path: Path, given: str) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    arguments: dict[str, Any] = {}
    if given == "context":
        arguments["ssl_context"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(arguments["ssl_context"])
    else:
        path = tmp_path / "server.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
        arguments["ssl_certfile"] = path
    with serve(app, **arguments) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        assert httpx.get(server.url, verify=trusting).text == "hello"
        with connect(f"{server.ws_url}/echo", ssl=trusting) as client:
            client.send("x")
            assert client.recv() == "x"


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")])
def test_urls_lead_to_the_server_wherever_it_listens(host: str, shown: str) -> None:
    with serve(app, host=host) as server:
        assert server.url == f"http://{shown}:{server.port}"
        assert httpx.get(server.url).text == "hello"


def test_lifespan_state_and_its_order() -> None:
    steps: list[str] = []

    async def lifespan(app: Any) -> Any:
        steps.append("up")
        yield {"greeting": "good day"}
        steps.append("down")

    with serve(with_lifespan(lifespan)) as server:
        assert steps == ["up"]
        assert server.state == {"greeting": "good day"}
        assert httpx.get(server.url).text == "good day"
    assert steps == ["up", "down"]


def test_what_startup_raises_the_block_raises() -> None:
    async def lifespan(app: Any) -> Any:
        try:
            raise KeyError("no table")
        except KeyError as error:
            raise RuntimeError("no database") from error
        yield

    with pytest.raises(RuntimeError, match="no database") as caught, serve(with_lifespan(lifespan)):
        pass
    assert isinstance(caught.value.__cause__, KeyError)
    assert left_threads() == []


async def says_no(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "not today"})


def test_a_startup_that_fails_without_raising() -> None:
    with pytest.raises(StartupError, match="not today"), serve(says_no):
        pass
    with pytest.raises(ConfigError, match="there is no module"), serve("no_such_module:app"):
        pass
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match="in use"), serve(app, port=port):
            pass


def test_a_startup_that_hangs() -> None:
    released = threading.Event()

    async def lifespan(app: Any) -> Any:
        await asyncio.to_thread(released.wait)
        yield

    try:
        with pytest.raises(TimeoutError, match="has not started"), serve(with_lifespan(lifespan), timeout=0.05):
            pass
    finally:
        released.set()


def test_what_shutdown_raises_the_block_raises() -> None:
    async def lifespan(app: Any) -> Any:
        yield
        raise RuntimeError("cannot close the database")

    with pytest.raises(RuntimeError, match="cannot close"), serve(with_lifespan(lifespan)):
        pass
    with serve(with_lifespan(lifespan), raise_errors=False):
        pass


def test_errors_of_the_application_are_raised_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="on purpose"), serve(app) as server:
        assert httpx.get(f"{server.url}/broken").status_code == 500
    assert "broken on purpose" in caplog.text


def test_expected_errors_are_taken_by_the_test() -> None:
    with serve(app) as server:
        httpx.get(f"{server.url}/broken")
        (error,) = server.errors
        assert isinstance(error, ValueError)
        server.errors.clear()
    with serve(app, raise_errors=False) as server:
        httpx.get(f"{server.url}/broken")


async def wrong_answers(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/exit":
        raise SystemExit(3)


def test_errors_that_are_no_exceptions() -> None:
    with serve(wrong_answers, lifespan="off") as server:
        assert httpx.get(server.url).status_code == 500
        assert httpx.get(f"{server.url}/exit").status_code == 500
        returned, exited = server.errors
        assert isinstance(returned, ApplicationError)
        assert "without completing" in str(returned)
        assert isinstance(exited.__cause__, SystemExit)
        server.errors.clear()


def test_a_test_that_fails_stays_the_failure_and_tells_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AssertionError) as caught, serve(app) as server:
        assert httpx.get(f"{server.url}/broken").status_code == 200
    said = "\n".join(getattr(caught.value, "__notes__", [])) if sys.version_info >= (3, 11) else caplog.text
    assert "ValueError: broken on purpose" in said


def test_what_had_to_be_cut_is_named() -> None:
    with (
        pytest.raises(LeakError) as caught,
        serve(app, timeout_graceful_shutdown=0.2) as server,
        connect(f"{server.ws_url}/deaf"),
    ):
        pass
    assert "/deaf" in str(caught.value) or "a call of the application" in str(caught.value)
    assert "deaf (" in str(caught.value)
    assert __file__ in str(caught.value)


background: set[asyncio.Task[None]] = set()


async def forgets_a_task(scope: Any, receive: Any, send: Any) -> None:
    async def forgotten() -> None:
        await asyncio.Event().wait()

    background.add(asyncio.create_task(forgotten()))
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


def test_tasks_that_the_application_left_are_named() -> None:
    with pytest.raises(LeakError, match=r"in forgotten \("), serve(forgets_a_task, lifespan="off") as server:
        httpx.get(server.url)
    with serve(forgets_a_task, lifespan="off", check_leaks=False) as server:
        httpx.get(server.url)


def test_nothing_is_left_of_a_server() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for _ in range(3):
            with serve(app) as server, connect(f"{server.ws_url}/echo") as client:
                client.send("x")
                assert client.recv() == "x"
        del server, client
        gc.collect()
    assert left_threads() == []


def test_calls_in_the_servers_loop() -> None:
    async def twice(number: int) -> int:
        assert asyncio.get_running_loop() is server.loop
        return 2 * number

    with serve(app) as server:
        assert server.call(twice, 21) == 42
        assert server.call(len, "abc") == 3
        with pytest.raises(ZeroDivisionError):
            server.call(lambda: 1 // 0)


def test_the_log_stays_as_the_test_has_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastws.error")
    before = list(logging.getLogger("fastws").handlers)
    with serve(app) as server:
        assert f"running on {server.url}" in caplog.text
    assert logging.getLogger("fastws").handlers == before


def in_a_loop(test: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(test(), PATIENCE))


def test_running_shares_the_loop_of_the_test() -> None:
    async def test() -> None:
        arrived = asyncio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            arrived.set()
            await echo(WebSocket(scope, receive, send))

        async with running(application, lifespan="off") as server:
            assert server.loop is asyncio.get_running_loop()
            async with connect_async(f"{server.ws_url}/") as client:
                await arrived.wait()
                await client.send("x")
                assert await client.recv() == "x"

    in_a_loop(test)


def test_running_on_a_unix_socket(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            running(app, uds=tmp_path / "s") as server,
            unix_connect_async(server.uds, f"{server.ws_url}/echo") as client,
        ):
            await client.send("x")
            assert await client.recv() == "x"

    in_a_loop(test)


def test_running_raises_what_serve_raises(tmp_path: Path) -> None:
    async def lifespan(app: Any) -> Any:
        raise RuntimeError("no database")
        yield

    async def starts() -> None:
        async with running(with_lifespan(lifespan)):
            pass

    async def serves() -> None:
        async with running(app) as server, httpx.AsyncClient() as client:
            await client.get(f"{server.url}/broken")

    async def leaves() -> None:
        async with running(app, timeout_graceful_shutdown=0.2) as server, connect_async(f"{server.ws_url}/deaf"):
            pass

    async def forgets() -> None:
        async with running(forgets_a_task, lifespan="off") as server, httpx.AsyncClient() as client:
            await client.get(server.url)

    for test, error, match in (
        (starts, RuntimeError, "no database"),
        (serves, ValueError, "on purpose"),
        (leaves, LeakError, r"in deaf \("),
    ):
        with pytest.raises(error, match=match):
            in_a_loop(test)
    if sys.version_info >= (3, 12):
        with pytest.raises(LeakError, match=r"in forgotten \("):
            in_a_loop(forgets)


def test_tasks_of_the_test_itself_are_nobodys_leak() -> None:
    async def test() -> None:
        async with running(app):
            task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()

    in_a_loop(test)


def test_running_ends_where_the_test_is_cancelled() -> None:
    async def test() -> None:
        seen: list[RunningServer] = []

        async def inner() -> None:
            async with running(app) as server:
                seen.append(server)
                inside.set()
                await asyncio.Event().wait()

        inside = asyncio.Event()
        task = asyncio.create_task(inner())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((seen[0].host, seen[0].port))

    in_a_loop(test)


USERS_TESTS = """
    import anyio
    import httpx
    import pytest
    from fastws.testing import running, serve
    from websockets.sync.client import connect

    async def app(scope, receive, send):
        if scope["type"] == "http":
            if scope["path"] == "/broken":
                raise ValueError("broken on purpose")
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"hello"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (event := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": event["text"]})

    def test_fixture(fastws_server):
        first, second = fastws_server(app), fastws_server(app, root_path="/api")
        assert httpx.get(first.url).text == "hello"
        with connect(second.ws_url) as client:
            client.send("x")
            assert client.recv() == "x"

    def test_error(fastws_server):
        assert httpx.get(fastws_server(app).url + "/broken").status_code == 500

    @pytest.mark.asyncio
    async def test_pytest_asyncio(fastws_server):
        async with running(app) as server, httpx.AsyncClient() as client:
            assert (await client.get(server.url)).text == "hello"
            assert (await client.get(fastws_server(app).url)).text == "hello"

    @pytest.mark.anyio
    @pytest.mark.parametrize("anyio_backend", ["asyncio", ("asyncio", {"use_uvloop": True})])
    async def test_anyio(fastws_server):
        async with running(app) as server, httpx.AsyncClient() as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.get, server.url)
                group.start_soon(client.get, fastws_server(app).url)

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.fixture
    async def server(anyio_backend):
        async with running(app) as server:
            yield server

    @pytest.mark.anyio
    async def test_a_fixture_of_the_users(server):
        async with httpx.AsyncClient() as client:
            assert (await client.get(server.url)).text == "hello"
"""


@pytest.mark.slow
def test_plugin_in_a_users_project(pytester: pytest.Pytester) -> None:
    """With the examples of docs/testing.md, all of which pass."""
    application, *examples = [block.text for block in blocks() if block.page == "docs/testing.md"]
    pytester.makepyfile(test_users=USERS_TESTS, chat=application)
    pytester.makepyfile(**{f"test_example_{number}": text for number, text in enumerate(examples)})
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error::ResourceWarning")
    result.assert_outcomes(passed=6 + sum(text.count("def test_") for text in examples), errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_error*", "*ValueError: broken on purpose*"])


@pytest.mark.slow
def test_plugin_costs_nothing_until_it_is_used() -> None:
    """And fastws itself does not import pytest."""
    code = "import sys, {}; print(*sorted(name for name in sys.modules if name.startswith(('fastws', 'pytest'))))"
    plugin = subprocess.run(
        [sys.executable, "-c", code.format("fastws.testing.pytest_plugin")], capture_output=True, text=True, check=True
    )
    loaded = [name for name in plugin.stdout.split() if name.startswith("fastws")]
    assert loaded == ["fastws", "fastws.testing", "fastws.testing.pytest_plugin"]
    own = subprocess.run(
        [sys.executable, "-c", code.format("fastws.testing.server")], capture_output=True, text=True, check=True
    )
    assert not [name for name in own.stdout.split() if name.startswith("pytest")]


def test_public_names() -> None:
    assert sorted(fastws.testing.__all__) == ["LeakError", "RunningServer", "running", "serve"]
