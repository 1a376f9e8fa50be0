"""--reload: which files count, and that a change restarts the worker whatever its connections do."""

from __future__ import annotations

import http.client
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from serving import PATIENCE, SUPPORT, ServerProcess, run_process, serve_process
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import fastws
from fastws import Config
from fastws.errors import ConfigError
from fastws.process.reloader import ChangeWatcher

APP = """\
from process_apps import app as inner

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"VALUE"})
    else:
        await inner(scope, receive, send)
"""

# What the application does to a Close: it never comes back from its receive.
STUBBORN = (
    APP.replace("        await inner(scope, receive, send)", "        await stuck(scope, receive, send)")
    + """
async def stuck(scope, receive, send):
    import asyncio
    if scope["type"] == "lifespan":
        return await inner(scope, receive, send)
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(APP.replace("VALUE", "first"))
    return tmp_path


@contextmanager
def serve_reloading(project: Path, *options: str) -> Iterator[ServerProcess]:
    env = {"PYTHONPATH": str(SUPPORT), "PYTHONDONTWRITEBYTECODE": "1"}
    with serve_process("main:app", "--reload", "--reload-delay", "0.05", *options, cwd=project, env=env) as process:
        yield process


def body(process: ServerProcess) -> bytes:
    with closing(http.client.HTTPConnection(process.host, process.port, timeout=PATIENCE)) as client:
        client.request("GET", "/")
        return client.getresponse().read()


@pytest.mark.deploy
def test_a_change_closes_websockets_with_1012_and_serves_the_new_code(project: Path) -> None:
    with serve_reloading(project) as process:
        assert body(process) == b"first"
        with connect(process.ws_url) as client:
            (project / "main.py").write_text(APP.replace("VALUE", "other"))
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        process.wait_for_line(r"main\.py changed; restarting")
        assert body(process) == b"other"  # it waited in the queue of the socket meanwhile
        assert process.output.count("running on") == 1
        assert process.stop() == 0


@pytest.mark.deploy
def test_a_websocket_that_does_not_end_is_not_waited_for(project: Path) -> None:
    (project / "main.py").write_text(STUBBORN.replace("VALUE", "first"))
    with serve_reloading(project, "--timeout-graceful-shutdown", "none") as process, connect(process.ws_url):
        (project / "main.py").write_text(APP.replace("VALUE", "other"))
        process.wait_for_line("Shutting down")
        assert body(process) == b"other"
        assert process.stop() == 0


@pytest.mark.deploy
def test_a_syntax_error_is_shown_and_the_next_change_awaited(project: Path) -> None:
    with serve_reloading(project, "--app-dir", ".") as process:
        (project / "main.py").write_text("def broken(:\n")
        process.wait_for_line("SyntaxError")
        process.wait_for_line("exited with 3; waiting for a change of files")
        (project / "main.py").write_text(APP.replace("VALUE", "mends"))
        assert body(process) == b"mends"
        process.signal(signal.SIGINT)
        assert process.wait() == 0


@pytest.mark.deploy
def test_an_application_that_cannot_be_imported_at_first_is_waited_for(project: Path) -> None:
    (project / "main.py").write_text("import nothing_of_that_name\n")
    env = {"PYTHONPATH": str(SUPPORT)}
    arguments = ("main:app", "--reload", "--reload-delay", "0.05", "--workers", "3", "--port", "0")
    with run_process(*arguments, cwd=project, env=env) as process:
        process.wait_for_line("--workers is ignored with --reload")
        process.wait_for_line("waiting for a change of files")
        (project / "main.py").write_text(APP.replace("VALUE", "first"))
        process.wait_for_line("running on http://127.0.0.1:")
        assert process.stop() == 0


def test_an_application_that_is_no_text_cannot_be_reloaded(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        fastws.run(print, reload=True)
    assert exit.value.code == 2
    assert capsys.readouterr().err.startswith("Error: --reload: needs APP as module:attribute, ")


@pytest.mark.parametrize(
    ("options", "path", "counts"),
    [
        ({}, "main.py", True),
        ({}, "package/deep/main.py", True),
        ({}, "page.html", False),
        ({}, ".main.py.swp", False),
        ({}, ".venv/lib/x.py", False),
        ({}, ".#main.py", False),
        ({}, "~main.py", False),
        ({"reload_includes": ["*.html"]}, "page.html", True),
        ({"reload_includes": ["*.html"]}, "main.py", True),
        ({"reload_includes": ["*.html"], "reload_excludes": ["*.py"]}, "main.py", False),
        ({"reload_excludes": ["test_*.py"]}, "test_a.py", False),
        ({"reload_excludes": ["package"]}, "package/main.py", False),
        ({"reload_excludes": ["package"]}, "main.py", True),
        ({"reload_includes": [".env"]}, ".env", True),
    ],
)
def test_files_that_count(
    options: dict[str, list[str]], path: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package").mkdir()
    monkeypatch.chdir(tmp_path)
    watcher = ChangeWatcher(Config("a:b", reload=True, **options))  # type: ignore[arg-type]
    assert watcher.counts(tmp_path.resolve() / path) is counts


def test_directories_that_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("src", "other"):
        (tmp_path / name).mkdir()
    assert ChangeWatcher(Config("a:b", reload=True, app_dir="src")).directories == [tmp_path, tmp_path / "src"]
    assert ChangeWatcher(Config("a:b", reload=True, reload_dirs=["other"])).directories == [tmp_path / "other"]
    with pytest.raises(ConfigError, match="--reload-dir: there is no directory "):
        ChangeWatcher(Config("a:b", reload=True, reload_dirs=["missing"]))


def test_without_watchfiles_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ConfigError, match=r"--reload: needs watchfiles: pip install 'fastws-server\[reload\]'"):
        ChangeWatcher(Config("a:b", reload=True))


def test_the_options_of_reload_need_it() -> None:
    with pytest.raises(ConfigError, match="--reload-dir: needs --reload"):
        Config("a:b", reload_dirs=[os.curdir])


@pytest.mark.parametrize(
    ("pattern", "path", "counts"),
    [
        ("vendor/*", "vendor/a.py", False),
        ("vendor/*", "vendor/deep/a.py", False),
        ("vendor/*", "sub/vendor/a.py", False),
        ("vendor/*", "vendored.py", True),
        ("vendor/", "vendor/a.py", False),
        ("vendor/*.py", "vendor/a.py", False),
        ("vendor/*.py", "vendor/deep/a.py", True),
        ("*/migrations/*", "app/migrations/a.py", False),
        ("./vendor/*", "vendor/a.py", False),
        ("{here}/vendor/*", "vendor/a.py", False),
        ("{here}/vendor/*", "other/vendor/a.py", True),
    ],
)
def test_patterns_with_a_slash_exclude(tmp_path: Path, pattern: str, path: str, counts: bool) -> None:
    excludes = [pattern.format(here=tmp_path)]
    watcher = ChangeWatcher(Config("a:b", reload=True, reload_dirs=[str(tmp_path)], reload_excludes=excludes))
    assert watcher.counts(tmp_path / path) is counts
