"""Frameworks on servers: each test runs once for each server, and what passes is printed as a table.

A server is a process that serves one of apps/*.py on a socket which the test has bound: a client may connect before it
accepts, so that no port is guessed. `make compat` runs all of it; `--write-docs` puts the table into
docs/compatibility.md.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from polling import PATIENCE
from served import Serve, Served

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs" / "compatibility.md"
SERVERS = {
    "fastws (cython)": ("fastws", "--ws", "cython"),
    "fastws (websockets)": ("fastws", "--ws", "websockets"),
    "fastws (wsproto)": ("fastws", "--ws", "wsproto"),
    "uvicorn": ("uvicorn", "--ws", "websockets-sansio"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--servers", default=",".join(SERVERS), help="of which to run: " + ", ".join(SERVERS))
    parser.addoption("--write-docs", action="store_true", help="write the table into docs/compatibility.md")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "serve" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("servers").split(",")
        # What another server does is for the table, and fails nothing.
        others = pytest.mark.xfail(strict=False, reason="is not ours")
        metafunc.parametrize(
            "server",
            [
                pytest.param(name, marks=() if name.startswith("fastws") else others)
                for name in SERVERS
                if name in chosen
            ],
            scope="module",
            indirect=True,
        )


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def serve(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Serve ``apps/<name>.py`` on this module's server; the same name is the same process."""
    running: dict[str, Served] = {}
    folder = tmp_path_factory.mktemp("compat")

    def start(name: str, *options: str) -> Served:
        if name not in running:
            listener = socket.create_server(("127.0.0.1", 0))
            log = folder / f"{name}.log"
            with log.open("w") as output:
                process = subprocess.Popen(
                    # socket.io's long polls go on when their client has left.
                    [
                        *(sys.executable, "-m", *SERVERS[server], "--timeout-graceful-shutdown", "5"),
                        *("--fd", str(listener.fileno()), *options, f"{name}:app"),
                    ],
                    cwd=HERE / "apps",
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(listener.fileno(),),
                    env={**os.environ, "PYTHONUNBUFFERED": "1", "COMPAT_FOLDER": str(folder)},
                    text=True,
                )
            host, port = listener.getsockname()
            listener.close()
            running[name] = Served(host, port, process, log)
            httpx.get(running[name].http, timeout=2 * PATIENCE)  # some take long to import
        return running[name]

    yield start
    statuses = {}
    for name, served in running.items():
        served.process.send_signal(signal.SIGTERM)
        try:
            statuses[name] = served.process.wait(PATIENCE)
        finally:
            served.process.kill()
    if server.startswith("fastws"):  # others die by the signal
        assert not any(statuses.values()), f"exit statuses after SIGTERM: {statuses}"


@pytest.fixture
def served(serve: Serve, request: pytest.FixtureRequest) -> Served:
    """What the test's module is about: its constant APP names it."""
    return serve(request.module.APP)


_results: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what became of each test, by its module, its sentence and its server."""
    if report.when != "call" and report.passed:
        return
    name, _, parameters = report.nodeid.rpartition("::")[2].rstrip("]").partition("[")
    module = Path(report.nodeid.partition("::")[0]).stem.removeprefix("test_")
    server = next((each for each in SERVERS if parameters.startswith(each)), None)
    if server is None:
        return
    parameter = parameters.removeprefix(server).lstrip("-")
    what = name.removeprefix("test_").replace("_", " ") + (f", {parameter}" if parameter else "")
    what = what.removeprefix("client, ")
    before = _results[module, what].get(server, "yes")
    outcome = "yes" if report.passed else "no" if report.failed or hasattr(report, "wasxfail") else "skipped"
    _results[module, what][server] = outcome if before == "yes" else before


def table() -> str:
    """The results in Markdown: a line for each test, a column for each server."""
    servers = [name for name in SERVERS if any(name in line for line in _results.values())]
    lines = ["| what | " + " | ".join(servers) + " |", "| --- |" + " --- |" * len(servers)]
    for (module, what), outcomes in sorted(_results.items()):
        lines.append(f"| {module}: {what} | " + " | ".join(outcomes.get(name, "") for name in servers) + " |")
    return "\n".join(lines) + "\n"


def versions() -> str:
    """What was run, in one sentence."""
    names = [line.partition(">=")[0] for line in (HERE / "requirements.txt").read_text().splitlines() if ">=" in line]
    return ", ".join(f"{name} {version(name)}" for name in ["fastws", *names] if not name.startswith("pytest"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not _results:
        return
    terminalreporter.section("compatibility")
    terminalreporter.write(table())
    if config.getoption("write_docs"):
        before, _, rest = DOCS.read_text().partition("<!-- table -->\n")
        _, _, after = rest.partition("<!-- end of table -->\n")
        DOCS.write_text(f"{before}<!-- table -->\n{table()}\nRun with {versions()}.\n<!-- end of table -->\n{after}")
