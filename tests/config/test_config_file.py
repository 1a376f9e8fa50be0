"""Where options come from: the configuration file, key by key, and which of several sources counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fastws.cli.main import main
from fastws.config import OPTION, OPTIONS, Config
from fastws.config import file as config_file
from fastws.config.sources import gather, notes, read_config
from fastws.config.uvicorn_options import MISSING
from fastws.errors import ConfigError


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, in an environment without options."""
    for name in list(os.environ):
        if name.startswith("FASTWS_") or name in ("FORWARDED_ALLOW_IPS", "PORT", "WEB_CONCURRENCY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse(*arguments: str) -> Config:
    """The configuration that a command line makes."""
    values: dict[str, Any] = main.make_context("fastws", list(arguments)).params
    return read_config(values.pop("app"), values)


FILE = """
app = "main:app"
port = 9000
ws_max_size = 65536
ws-ping-interval = "none"
ws-ping-timeout = 2.5
access-log = false
log-level = "debug"
header = ["x-a: b", ["x-b", "c:d"]]
forwarded-allow-ips = ["10.0.0.0/8", "::1"]
ws-allowed-origins = "https://a.example,https://b.example"
uds-mode = "660"
ssl-certfile = "c.pem"
log-config = { version = 1 }

[ssl-sni]
"a.example" = "a.pem:a.key"
"*.b.example" = ["b.pem", "b.key"]
"c.example" = "c.pem"
"""


def test_every_kind_of_value(directory: Path) -> None:
    (directory / "fastws.toml").write_text(FILE)
    config = parse()
    assert (config.app, config.port, config.ws_max_size) == ("main:app", 9000, 65536)
    assert (config.ws_ping_interval, config.ws_ping_timeout) == (None, 2.5)
    assert (config.access_log, config.log_level, config.uds_mode) == (False, 10, 0o660)
    assert config.headers == (("x-a", "b"), ("x-b", "c:d"))
    assert config.forwarded_allow_ips == ("10.0.0.0/8", "::1")
    assert config.ws_allowed_origins == ("https://a.example", "https://b.example")
    assert config.log_config == {"version": 1}
    assert {name: paths for name, *paths in config.ssl_sni} == {
        "a.example": ["a.pem", "a.key"],
        "*.b.example": ["b.pem", "b.key"],
        "c.example": ["c.pem", None],
    }


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_can_be_set(directory: Path, option: Any) -> None:
    value = {
        "integer": str(int(max(7, option.minimum or 0))),
        "size": '"64KiB"',
        "count": '"auto"',
        "number": "7.5",
        "flag": "true",
        "boolean": "true",
        "level": '"info"',
        "choice": f'"{(option.choices or ("",))[0]}"',
        "headers": '["a: b"]',
        "list": f'"{(option.choices or ("::1",))[0]}"',
        "origins": '"*"',
        "certificates": '["a=b"]',
        "addresses": '["unix:x"]',
        "mode": '"600"',
    }.get(option.kind, '"x"')
    value = {"ssl_cert_reqs": "1", "limit_worker_jitter": "0.5"}.get(option.name, value)
    for key in {option.name, option.cli.removeprefix("--")}:
        (directory / "fastws.toml").write_text(f"{key} = {value}\n")
        assert list(config_file.read("fastws.toml").options) == [option.name]


def test_the_table_of_the_project_counts_where_there_is_no_file_of_ours(directory: Path) -> None:
    (directory / "pyproject.toml").write_text('[tool.fastws]\napp = "a:b"\nport = 1\n')
    assert (parse().app, parse().port) == ("a:b", 1)
    (directory / "fastws.toml").write_text('app = "c:d"\n')
    assert (parse().app, parse().port) == ("c:d", 8000)


@pytest.mark.parametrize("text", ["", '[project]\nname = "x"\n', "[tool.ruff]\n# fastws\n", "this is [not TOML"])
def test_a_project_that_says_nothing_to_us_is_left_alone(directory: Path, text: str) -> None:
    (directory / "pyproject.toml").write_text(text)
    assert config_file.find() is None
    assert parse("a:b").port == 8000


def test_command_line_before_environment_before_file_before_default(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "fastws.toml").write_text('app = "file:app"\nport = 1\nhost = "h1"\nbacklog = 1\nenv-file = ".env"\n')
    (directory / ".env").write_text("FASTWS_BACKLOG=2\nFASTWS_WS=none\n")
    for name in ("BACKLOG", "WS"):  # so that what the file sets is unset again after the test
        monkeypatch.setenv(f"FASTWS_{name}", "x")
        monkeypatch.delenv(f"FASTWS_{name}")
    monkeypatch.setenv("FASTWS_HOST", "h2")
    monkeypatch.setenv("FASTWS_PORT", "2")
    given = gather(None, {"port": "3"})
    config = given.config()
    assert (config.app, config.port, config.host, config.backlog, config.ws) == ("file:app", 3, "h2", 2, "none")
    assert given.origins == {
        "port": "command line",
        "host": "FASTWS_HOST",
        "backlog": "FASTWS_BACKLOG in .env",
        "ws": "FASTWS_WS in .env",
        "env_file": "fastws.toml",
    }
    monkeypatch.setenv("FASTWS_APP", "environment:app")
    assert gather(None, {}).app == "environment:app"
    assert gather("line:app", {}).app == "line:app"


def test_the_file_can_be_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "fastws.toml").write_text("port = 1\n")
    (directory / "other.toml").write_text("port = 2\n")
    (directory / "third.toml").write_text("port = 3\n")
    monkeypatch.setenv("FASTWS_CONFIG", "other.toml")
    assert parse("a:b").port == 2
    assert parse("a:b", "--config", "third.toml").port == 3
    assert parse("a:b", "--config", os.devnull).port == 8000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = '80'", "fastws.toml: port: must be a whole number from 0 to 65535, not '80'"),
        ("port = 80.5", "fastws.toml: port: must be a whole number from 0 to 65535, not 80.5"),
        ("port = true", "fastws.toml: port: must be a whole number from 0 to 65535, not true"),
        ("port = 2026-11-23", "fastws.toml: port: must be a whole number from 0 to 65535, not "),
        ("access-log = 'no'", "fastws.toml: access-log: must be true or false, not 'no'"),
        ("ws = 'cyton'", "fastws.toml: ws: must be one of auto, cython, "),
        ("headers = 3", "fastws.toml: headers: must be name:value, a header field without control characters, not 3"),
        ("headers = ['a']", "fastws.toml: headers: must be name:value, "),
        ("reload-dirs = [1]", "fastws.toml: reload-dirs: must be a list of texts, not [1]"),
        ("bind = {a = 1}", "fastws.toml: bind: must be host:port, unix:path or fd://number, "),
        ("uds-mode = 660", 'fastws.toml: uds-mode: must be a text, as in "660", not 660'),
        ("ssl-sni = ['a']", "fastws.toml: ssl-sni: must be name=certificate.pem or "),
        ("prot = 1", "fastws.toml: prot: no such option: did you mean 'port'?"),
        ("interface = 'wsgi'", "fastws.toml: interface: no such option: ASGI 3 and ASGI 2 are recognised; "),
        (
            "[websocket]\nws = 'auto'",
            "fastws.toml: websocket: no such option: options of the group ",
        ),
        ("[tool.fastws]\nport = 1", "fastws.toml: tool: no such option: a table [tool.fastws] belongs into "),
        ("ws-max-size = 1\nws_max_size = 2", "fastws.toml: ws_max_size: the file has it already, as ws-max-size"),
        ("app = 'main'", "fastws.toml: app: must be module:attribute, "),
        ("port: 80", "fastws.toml: is not TOML: "),
        ("uds = '/run/a'\nfd = 3", "--uds: cannot be combined with --fd: choose one place to listen"),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_is_right(directory: Path, text: str, message: str) -> None:
    (directory / "fastws.toml").write_text(text)
    result = CliRunner().invoke(main, ["a:b"])
    assert result.output.startswith(f"Error: {message}")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)


def test_a_file_that_cannot_be_read(directory: Path) -> None:
    (directory / "pyproject.toml").write_text("[project]\n")
    (directory / "bytes.toml").write_bytes(b"\xff")
    for path, message in [
        ("nowhere.toml", "--config: cannot read nowhere.toml: No such file or directory"),
        ("pyproject.toml", "--config: pyproject.toml has no table [tool.fastws]"),
        ("bytes.toml", "bytes.toml: is not UTF-8"),
    ]:
        with pytest.raises(ConfigError) as caught:
            parse("a:b", "--config", path)
        assert str(caught.value) == message


def test_an_application_is_suggested_where_none_is_named(directory: Path) -> None:
    (directory / "web.py").write_text("from fastapi import FastAPI\nsite = FastAPI()\n")
    for arguments, message in [
        ([], "APP: is missing: say the application, as in `fastws web:site`"),
        (["web"], "APP: must be module:attribute, as in main:app, not 'web': did you mean 'web:site'?"),
        (["wbe"], "APP: must be module:attribute, as in main:app, not 'wbe': did you mean 'web:site'?"),
        (["web.py"], "APP: must be module:attribute, as in main:app, not 'web.py': did you mean 'web:site'?"),
        (["unlike"], "APP: must be module:attribute, as in main:app, not 'unlike'"),
    ]:
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, result.output) == (2, f"Error: {message}\n")


def test_variables_that_name_no_option_are_told_of() -> None:
    environ = {
        "FASTWS_PROT": "1",
        "FASTWS_INTERFACE": "wsgi",
        "FASTWS_ZZZZ": "",
        "FASTWS_PORT": "1",
        "FASTWS_APP": "a:b",
        "FASTWS_CONFIG": "x",
        "FASTWS_SERVICE_HOST": "10.0.0.1",
        "FASTWS_SERVICE_PORT_HTTP": "80",
        "FASTWS_PORT_80_TCP_ADDR": "10.0.0.1",
        "UVICORN_PORT": "1",
        "UVICORN_HOST": "::",
        "UVICORN_HTTP2": "1",
    }
    assert notes(environ) == [
        f"FASTWS_INTERFACE has no effect: {MISSING['interface'].why}",
        "FASTWS_PROT names no option: did you mean FASTWS_PORT?",
        "FASTWS_ZZZZ names no option",
        "UVICORN_HOST is not read: fastws has FASTWS_HOST",
    ]
    assert notes({option.env: "" for option in OPTION.values()}) == []


@pytest.mark.deploy
def test_workers_read_the_file(directory: Path) -> None:
    """The options reach a worker, which is another process, and the lines of a warning come once."""
    (directory / "web.py").write_text(
        "import os, signal\n"
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.complete'})\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.shutdown.complete'})\n"
    )
    (directory / "fastws.toml").write_text('app = "web:app"\nworkers = 2\nport = 0\nws = "websockets"\nworkres = 1\n')
    command = [sys.executable, "-m", "fastws"]
    wrong = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert wrong.stderr == "Error: fastws.toml: workres: no such option: did you mean 'workers'?\n"
    (directory / "fastws.toml").write_text('app = "web:app"\nworkers = 2\nport = 0\nws = "websockets"\n')
    environ = {**os.environ, "FASTWS_WROKERS": "3"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
    assert process.stderr is not None
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            if "2 workers serve" in line:
                process.terminate()
    finally:
        process.kill()
        process.wait()
    assert lines[0] == "Warning: FASTWS_WROKERS names no option: did you mean FASTWS_WORKERS?\n"
    assert sum("FASTWS_WROKERS" in line for line in lines) == 1
    assert sum("WebSocket engine websockets" in line for line in lines) == 2


def test_the_port_of_a_platform_is_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "5000")
    assert (parse("a:b").host, parse("a:b").port) == ("0.0.0.0", 5000)
    assert gather("a:b", {}).origins == {"host": "PORT", "port": "PORT"}
    assert (parse("a:b", "--host", "::1").host, parse("a:b", "--host", "::1").port) == ("::1", 5000)
    for chosen in (("--port", "1"), ("--uds", "/x"), ("--fd", "3"), ("--bind", "[::1]:1")):
        assert parse("a:b", *chosen).host == "127.0.0.1"
        assert parse("a:b", *chosen).port != 5000
    monkeypatch.setenv("PORT", "http")
    with pytest.raises(ConfigError, match=r"^PORT: must be a whole number from 0 to 65535, not 'http'"):
        parse("a:b")


def test_workers_are_short() -> None:
    assert parse("a:b", "-w", "4").workers == 4
