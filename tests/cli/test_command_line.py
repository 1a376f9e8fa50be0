"""The command line: what it accepts, and the one line and the exit code of every mistake."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fastws.cli.main import main
from fastws.config import Config
from fastws.config.sources import read_config
from fastws.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # where no application is suggested
    for name in [name for name in os.environ if name.startswith("FASTWS_")] + ["FORWARDED_ALLOW_IPS"]:
        monkeypatch.delenv(name, raising=False)


def parse(*arguments: str) -> Config:
    """The configuration that a command line makes."""
    values: dict[str, Any] = main.make_context("fastws", list(arguments)).params
    return read_config(values.pop("app"), values)


def test_defaults_are_those_of_config() -> None:
    assert parse("main:app") == Config("main:app")


UVICORN_LINE = (
    "main:app --host 0.0.0.0 --port 9000 --uds /run/x.sock --loop uvloop --http httptools --ws websockets-sansio "
    "--ws-max-size 1000 --ws-max-queue 8 --ws-ping-interval 5 --ws-ping-timeout 6.5 --ws-per-message-deflate false "
    "--lifespan on --log-level debug --no-access-log --use-colors --no-proxy-headers --no-server-header "
    "--no-date-header --forwarded-allow-ips 10.0.0.0/8,::1 --root-path /api --limit-concurrency 100 --backlog 64 "
    "--limit-max-requests 1000 --limit-max-requests-jitter 50 --timeout-keep-alive 5 --timeout-graceful-shutdown 3 "
    "--ssl-keyfile key.pem --ssl-certfile cert.pem --ssl-keyfile-password secret --ssl-version 17 --ssl-cert-reqs 1 "
    "--ssl-ca-certs ca.pem --ssl-ciphers TLSv1.2 --app-dir src --factory --header x-a:b --header y:c:d"
)


def test_a_command_line_of_uvicorn() -> None:
    config = parse(*UVICORN_LINE.split())
    assert (config.app, config.host, config.port, config.uds) == ("main:app", "0.0.0.0", 9000, "/run/x.sock")
    assert (config.loop, config.http, config.ws) == ("uvloop", "httptools", "websockets-sansio")
    assert (config.ws_max_size, config.ws_max_queue) == (1000, 8)
    assert (config.ws_ping_interval, config.ws_ping_timeout, config.ws_per_message_deflate) == (5, 6.5, False)
    assert (config.lifespan, config.log_level, config.access_log, config.use_colors) == ("on", 10, False, True)
    assert (config.proxy_headers, config.server_header, config.date_header) == (False, False, False)
    assert (config.forwarded_allow_ips, config.root_path) == (("10.0.0.0/8", "::1"), "/api")
    assert (config.limit_concurrency, config.limit_max_requests, config.limit_max_requests_jitter) == (100, 1000, 50)
    assert (config.backlog, config.timeout_keep_alive, config.timeout_graceful_shutdown) == (64, 5, 3)
    assert (config.ssl_keyfile, config.ssl_certfile, config.ssl_keyfile_password) == ("key.pem", "cert.pem", "secret")
    assert (config.ssl_version, config.ssl_cert_reqs, config.ssl_ca_certs) == (17, 1, "ca.pem")
    assert (config.ssl_ciphers, config.app_dir, config.factory) == ("TLSv1.2", "src", True)
    assert config.headers == (("x-a", "b"), ("y", "c:d"))


def test_flags_have_both_spellings() -> None:
    assert parse("a:b", "--access-log").access_log is True
    assert parse("a:b", "--no-use-colors").use_colors is False
    assert parse("a:b").use_colors is None
    assert parse("a:b", "--ws-per-message-deflate=True").ws_per_message_deflate is True


def test_precedence_is_command_line_environment_file_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("FASTWS_PORT=1\nFASTWS_HOST='::1'\nFASTWS_BACKLOG=1\nFASTWS_APP=file:app\n# a comment\n")
    # So that what the file sets is unset again after the test:
    for name in ("PORT", "HOST", "BACKLOG", "APP"):
        monkeypatch.setenv(f"FASTWS_{name}", "x")
        monkeypatch.delenv(f"FASTWS_{name}")
    monkeypatch.setenv("FASTWS_PORT", "2")
    monkeypatch.setenv("FASTWS_HOST", "::")
    config = parse("--env-file", str(file), "--port", "3")
    assert (config.port, config.host, config.backlog, config.app) == (3, "::", 1, "file:app")
    assert config.limit_request_fields == 100


def test_the_environment_sets_options_and_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTWS_APP", "main:app")
    monkeypatch.setenv("FASTWS_ACCESS_LOG", "false")
    monkeypatch.setenv("FASTWS_HEADERS", "x-a: b\nx-b: c")
    config = parse()
    assert (config.app, config.access_log, config.headers) == ("main:app", False, (("x-a", "b"), ("x-b", "c")))
    assert parse("other:app", "--access-log", "--header", "z:1").headers == (("z", "1"),)


def test_a_missing_env_file_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^--env-file: cannot read /nowhere/\.env: No such file or directory$"):
        parse("a:b", "--env-file", "/nowhere/.env")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a:b", "--port", "99999"], "--port: must be a whole number from 0 to 65535, not '99999'"),
        (["a:b", "--port", "http"], "--port: must be a whole number from 0 to 65535, not 'http'"),
        (["a:b", "--port"], "--port: needs a value: see `fastws --help`"),
        (["a:b", "--ws", "zttp"], "--ws: must be one of auto, cython, websockets, "),
        (["a:b", "--ws-ping-interval", "soon"], "--ws-ping-interval: must be a number, 0 or more, or none, not 'soon'"),
        (["a:b", "--ws-per-message-deflate", "maybe"], "--ws-per-message-deflate: must be true or false, not 'maybe'"),
        (["a:b", "--header", "novalue"], "--header: must be name:value, "),
        (["a:b", "--ssl-keyfile", "k"], "--ssl-keyfile: needs --ssl-certfile, the certificate to serve TLS with"),
        (["a:b", "--ws-max-sise", "1"], "--ws-max-sise: no such option: did you mean --ws-max-size?"),
        (["a:b", "--zzz"], "--zzz: no such option: see `fastws --help`"),
        (["a:b", "--reload-dir", "x"], "--reload-dir: needs --reload"),
        (["a:b", "--workers", "0"], "--workers: must be a whole number, 1 or more, or auto, or none, not '0'"),
        (["a:b", "--interface", "wsgi"], "--interface: ASGI 3 and ASGI 2 are recognised; for WSGI wrap "),
        (["a:b", "--http2"], "--http2: install fastws-server[http2] and --http auto speaks HTTP/2, too"),
        (["a:b", "--http", "h11"], "--http: must be one of auto, 1, 2, httptools, not 'h11': fastws parses "),
        (["a:b", "--ws", "cyton"], "--ws: must be one of auto, cython, websockets, websockets-sansio, wsproto, "),
        (["a:b", "c:d"], "c:d: 1 argument too many: see `fastws --help`"),
        ([], "APP: is missing: say the application, as in `fastws main:app`"),
        (["main"], "APP: must be module:attribute, as in main:app, not 'main'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no file with an application to suggest
    result = CliRunner().invoke(main, arguments)
    assert result.output.startswith(f"Error: {message}")
    assert result.output.count("\n") == 1
    assert result.exit_code == 2


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Result]]:
    """Runs a command line that fails, in this process, and leaves no trace of it there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    loggers = [logging.getLogger(name) for name in ("fastws", "fastws.error", "fastws.access")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    importlib.invalidate_caches()

    def run(*arguments: str) -> Result:
        for logger in loggers:
            logger.handlers = []
        return CliRunner().invoke(main, arguments)

    yield run
    for name in ("apps", "broken", "helper", "typo"):
        sys.modules.pop(name, None)
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.level, logger.propagate = handlers, level, propagate
        logger.setLevel(level)


APPS = """
app = lambda scope, receive, send: None
number = 3

class Holder:
    pass

def wsgi(environ, start_response): ...
def nothing(a, b, c, d): ...
def failing(): raise LookupError("no settings")
async def coroutine(): ...
def takes(argument): ...
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["apps:make()"], "APP: 'apps:make()' calls a function: write 'apps:make', with --factory"),
        (["nowhere:app"], "APP: there is no module 'nowhere' in {cwd} or on Python's path; --app-dir "),
        (["apps.sub:app"], "APP: there is no module 'apps.sub' in {cwd} or on Python's path; "),
        (["apsp:app"], "APP: there is no module 'apsp' in {cwd} or on Python's path: did you mean 'apps'?"),
        (["apps.py:app"], "APP: 'apps.py' is not the name of a module: did you mean 'apps:app'?"),
        (
            ["./src/apps.py:app"],
            "APP: './src/apps.py' is not the name of a module: did you mean 'src.apps:app'",
        ),
        (["/a b/apps.py:x"], "APP: '/a b/apps.py' is not the name of a module: did you mean '--app-dir /a b "),
        (["apps:ap"], "APP: module 'apps' has no attribute 'ap': did you mean 'app'?"),
        (["apps:nmuber"], "APP: module 'apps' has no attribute 'nmuber': did you mean 'number'?"),
        (["apps:xyz"], "APP: module 'apps' has no attribute 'xyz'; it has 'app'"),
        (["apps:Holder.xyz"], "APP: module 'apps' has no attribute 'Holder.xyz'"),
        (["apps:number"], "APP: 'apps:number' is not an ASGI application: it cannot be called, its type is int"),
        (["apps:wsgi"], "APP: 'apps:wsgi' looks like WSGI, not ASGI: wrap it, "),
        (["apps:nothing"], "APP: 'apps:nothing' is not an ASGI application: it must accept (scope, receive, send)"),
        (["apps:number", "--factory"], "APP: --factory is given, but 'apps:number' cannot be called: its type is int"),
        (["apps:takes", "--factory"], "APP: --factory is given, but 'apps:takes' cannot be called without arguments"),
        (["apps:coroutine", "--factory"], "APP: the factory 'apps:coroutine' is a coroutine function: "),
        (["apps:app", "--host", "256.1.1.1"], "--host: cannot find the address '256.1.1.1': "),
        (["apps:app", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1:8000: this machine has no such address; "),
        (["apps:app", "--fd", "99"], "--fd: 99 is not an open socket: Bad file descriptor"),
        (["apps:app", "--uds", "/nowhere/x"], "--uds: cannot listen on /nowhere/x: No such file or directory"),
        (
            ["apps:app", "--uds", "apps.py"],
            "--uds: cannot listen on apps.py: something that is not a socket has this path",
        ),
        (["apps:app", "--forwarded-allow-ips", "1.2.3.4/99"], "--forwarded-allow-ips: "),
    ],
)
def test_a_failed_startup_is_one_line_and_exit_3(
    run: Callable[..., Result], arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "apps.py").write_text(APPS)
    ended = run(*arguments)
    # A warning is there where the extension is not built.
    errors = [line for line in ended.output.splitlines() if not line.startswith(("INFO:", "WARNING:"))]
    assert len(errors) == 1
    assert errors[0].removeprefix("Error: ").startswith(message.format(cwd=tmp_path))
    assert ended.exit_code == 3


def test_an_error_in_the_users_module_is_shown_with_their_traceback_only(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("import helper\n")
    (tmp_path / "helper.py").write_text("import not_installed\n")
    ended = run("broken:app")
    assert ended.exit_code == 3
    message = "Error: APP: importing 'broken' failed: ModuleNotFoundError: No module named 'not_installed'\n"
    assert ended.output.startswith(message + "Traceback")
    assert 'helper.py", line 1' in ended.output
    assert "loading.py" not in ended.output
    assert "importlib" not in ended.output


def test_an_error_in_a_factory_is_shown_with_its_traceback(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "apps.py").write_text(APPS)
    ended = run("apps:failing")
    assert ended.exit_code == 3
    assert ended.output.startswith("Error: APP: the factory 'apps:failing' failed: LookupError: no settings\nTrace")
    assert "in failing" in ended.output
    assert "loading.py" not in ended.output


def test_an_error_of_syntax_is_shown(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "typo.py").write_text("def app(:\n")
    ended = run("typo:app")
    assert ended.exit_code == 3
    assert ended.output.startswith("Error: APP: importing 'typo' failed: SyntaxError: ")
    assert "def app(:" in ended.output
