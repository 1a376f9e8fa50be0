"""`fastws check`: what it finds, what it refuses, and the exit codes that CI looks at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from serving import WITHOUT_EXTENSION

pytestmark = pytest.mark.slow

APP = """
from contextlib import asynccontextmanager

from starlette.applications import Starlette

@asynccontextmanager
async def lifespan(app):
    print("up")
    yield
    print("down")

app = Starlette(lifespan=lifespan)

@asynccontextmanager
async def broken(app):
    raise LookupError("no database")
    yield

fails = Starlette(lifespan=broken)

async def plain(scope, receive, send):
    raise NotImplementedError

async def fails_to_end(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "the queue is not empty"})
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "web.py").write_text(APP)
    return tmp_path


def check(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FASTWS_")}
    engine = {"FASTWS_WS": "websockets"} if WITHOUT_EXTENSION else {}
    return subprocess.run(
        [sys.executable, "-m", "fastws", "check", *arguments],
        cwd=directory,
        env={**clean, **engine, "COLUMNS": "120", **environ},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_what_can_be_served_is_reported(directory: Path) -> None:
    (directory / "fastws.toml").write_text('host = "::1"\nport = 9000\nssl-keyfile-password = "hunter2"\n')
    run = check(
        *(directory, "web:app", "--port", "9001", "--header", "x-a:b", "--no-access-log", "--ws-ping-interval", "60"),
        *("--ssl-certfile", "", "--uds-mode", "600", "--log-level", "warning", "--ws-max-queue", "32"),
        FASTWS_TIMEOUT_KEEP_ALIVE="5",
        FASTWS_SSL_KEYFILE_PASSWORD="",
        WEB_CONCURRENCY="3",
    )
    assert run.returncode == 2  # a password without a certificate
    (directory / "fastws.toml").write_text('host = "::1"\nport = 9000\n')
    run = check(
        *(directory, "web:app", "--port", "9001", "--header", "x-a:b", "--no-access-log", "--ws-ping-interval", "60"),
        *("--uds-mode", "600", "--ws-max-queue", "32"),
        FASTWS_TIMEOUT_KEEP_ALIVE="5",
        FASTWS_PROT="5",
        WEB_CONCURRENCY="3",
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    lines = [line.strip() for line in run.stdout.splitlines()]
    assert lines[:2] == ["up", "down"]
    rows = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in lines[3:] if "  " in line}
    assert rows.pop("WebSockets").startswith("websockets, on " if WITHOUT_EXTENSION else "cython, on ")
    rows.pop("--ws websockets", None)
    assert rows == {
        "application": "starlette's Starlette",
        "lifespan": "started and ended",
        "address": "http://[::1]:9001",
        "file": "fastws.toml",
        "--host ::1": "fastws.toml",
        "--port 9001": "command line",
        "--uds-mode 600": "command line",
        "--ws-ping-interval 60": "command line",
        "--header 'x-a: b'": "command line",
        "--timeout-keep-alive 5": "FASTWS_TIMEOUT_KEEP_ALIVE",
        "--no-access-log": "command line",
        "--workers 3": "WEB_CONCURRENCY",
    }
    assert [line for line in lines if line.startswith("- ")] == [
        "- FASTWS_PROT names no option: did you mean FASTWS_PORT?",
        "- --uds-mode has no effect where no Unix domain socket is made: --uds, --bind unix:",
        "- --ws-ping-interval is 60 s: load balancers cut what is silent for 60 s, so it should be less than 55",
    ]


@pytest.mark.skipif(WITHOUT_EXTENSION, reason="its engine is an option that is not the default")
def test_each_heading_has_something_below_it(directory: Path) -> None:
    lines = check(directory, "web:app").stdout.splitlines()
    assert lines[-1].split("  ", 2)[1] == "options"
    assert [line for line in lines if line.endswith(":")] == []


def test_secrets_are_not_shown(directory: Path, certificate: Path) -> None:
    run = check(directory, "web:app", "--ssl-certfile", str(certificate), "--ssl-keyfile-password", "hunter2")
    assert run.returncode == 0, run.stderr
    assert "hunter2" not in run.stdout + run.stderr
    assert "--ssl-keyfile-password ***" in run.stdout
    assert "https://127.0.0.1:8000" in run.stdout


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    import trustme

    path = tmp_path / "server.pem"
    made = trustme.CA().issue_cert("localhost")
    made.private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


def test_an_application_without_lifespan_passes(directory: Path) -> None:
    run = check(directory, "web:plain")
    assert run.returncode == 0
    assert "lifespan     none" in run.stdout
    assert "application  a function" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["web:ap"], 3, "Error: APP: module 'web' has no attribute 'ap': did you mean 'app'?"),
        (["web:fails"], 3, "LookupError: no database"),
        (["web:fails_to_end"], 1, "Error: Application shutdown failed: the queue is not empty"),
        (["web:app", "--port", "x"], 2, "Error: --port: must be a whole number from 0 to 65535, not 'x'"),
        (["web:app", "--prot", "1"], 2, "Error: --prot: no such option: did you mean --port?"),
        (["web:app", "--interface", "wsgi"], 2, "Error: --interface: ASGI 3 and ASGI 2 are recognised; "),
        (["web:app", "--ssl-certfile", "nowhere.pem"], 3, "Error: --ssl-certfile: "),
        (["web:app", "--log-config", "nowhere.json"], 3, "Error: --log-config: cannot read nowhere.json: "),
        (["web:app", "--forwarded-allow-ips", "1.2.3.4/99"], 3, "Error: --forwarded-allow-ips: '1.2.3.4/99' "),
        (["web:app", "--reload", "--reload-dir", "nowhere"], 3, "Error: --reload-dir: there is no directory "),
        ([], 2, "Error: APP: is missing: say the application, as in `fastws web:app`"),
    ],
)
def test_what_cannot_be_served_says_why(directory: Path, arguments: list[str], status: int, message: str) -> None:
    run = check(directory, *arguments)
    assert message in run.stderr
    assert run.returncode == status
    assert "can serve" not in run.stdout


def test_nothing_is_listened_to(directory: Path) -> None:
    """Two at once, and an address that is not ours, are no matter."""
    assert check(directory, "web:app", "--host", "192.0.2.1").returncode == 0
    assert check(directory, "web:app", "--uds", "web.py").returncode == 0
    assert (directory / "web.py").read_text() == APP


def test_the_log_is_shown_where_it_is_asked_for(directory: Path) -> None:
    assert "INFO:     Application startup complete." in check(directory, "web:app", "--log-level", "info").stderr
