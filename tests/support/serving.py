"""Real servers for tests: `serve` runs one in a thread of this process, `serve_process` the command line in another.

Both listen on a free port of 127.0.0.1 and have ended when their block is left. Clients are the tests' business.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import uvloop

import fastws
from fastws.websocket.engines import ENGINE_NAMES

ENGINES = [name for name in os.environ.get("FASTWS_TEST_ENGINES", "").split(",") if name] or list(ENGINE_NAMES)
"""The engines that are tested, all of them unless FASTWS_TEST_ENGINES names some, separated by commas.

One that is named and missing fails its tests: a build that silently lost its extension must not pass.
"""

CHOSEN = {
    name: value
    for name in ("transport", "app_wakeup")
    if (value := os.environ.get(f"FASTWS_{name.upper()}")) is not None
}
"""What the environment says of these options holds for servers in this process, too: FASTWS_TRANSPORT=loop, say."""

WITHOUT_EXTENSION = "cython" not in ENGINES
"""Then a server is told to use another engine, where a test does not: `auto` would warn in the log."""

SUPPORT = Path(__file__).parent
"""The folder of what tests serve: servers start in it, and so find the applications."""

PATIENCE = 15.0
"""Seconds to wait for what should come at once, on the slowest machine."""

STARTING = 60.0
"""Seconds to wait for a server's first line: some are several processes, which start one after the other."""


class Serving:
    """A `fastws.Server` that runs in a thread of its own, with a loop of its own."""

    def __init__(self, app: Callable[..., Any] | str, options: dict[str, Any]) -> None:
        # Logging stays as it is, for caplog; the access log is off unless the test asks for it.
        chosen = CHOSEN | ({"ws": "websockets"} if WITHOUT_EXTENSION else {})
        options = {**chosen, "log_config": None, "access_log": False, "timeout_graceful_shutdown": 5.0, **options}
        self.config = fastws.Config(app, **options)
        self.server = fastws.Server(self.config)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self.socket.getsockname()
        secure = "s" if options.get("ssl_certfile") else ""
        self.http_url = f"http{secure}://{self.host}:{self.port}"
        self.ws_url = f"ws{secure}://{self.host}:{self.port}"
        self.loop: asyncio.AbstractEventLoop = (
            asyncio.new_event_loop() if self.config.loop == "asyncio" else uvloop.new_event_loop()
        )
        self.error: BaseException | None = None
        self._began = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"serving {self.port}", daemon=True)

    def start(self) -> None:
        """Return when the server has started; raises what ended it instead."""
        self._thread.start()
        if not self._began.wait(PATIENCE):
            raise TimeoutError("the server has not started")
        if self.error is not None:
            raise self.error
        if not self._thread.is_alive() and not self.server.started:
            raise RuntimeError("the server ended before it had started")

    def stop(self, timeout: float = PATIENCE) -> None:
        """Shut the server down gracefully, if it runs, and wait for its end; raises what it raised."""
        if self._thread.is_alive():
            self.server.should_exit = True
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise TimeoutError(f"the server still runs {timeout} s after it was told to stop")
        if self.error is not None:
            raise self.error

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function(*arguments)` returns when the server's loop calls it."""

        async def call() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(PATIENCE)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._main())
        except BaseException as error:  # SystemExit too: the test's thread raises it
            self.error = error
        finally:
            self._began.set()
            self.loop.close()
            self.socket.close()

    async def _main(self) -> None:
        serving = asyncio.ensure_future(self.server.serve(sockets=[self.socket]))
        while not self.server.started and not serving.done():
            await asyncio.sleep(0.001)
        self._began.set()
        await serving


@contextmanager
def serve(app: Callable[..., Any] | str, **options: Any) -> Iterator[Serving]:
    """Run `app` with these options of `fastws.Config`, started, on a free port."""
    serving = Serving(app, options)
    serving.start()
    try:
        yield serving
    finally:
        serving.stop()


class ServerProcess:
    """`python -m fastws`, or another module, in a process of its own; what it prints is collected line by line."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        env: dict[str, str],
        cwd: Path,
        pass_fds: tuple[int, ...],
        python: str | Path,
        module: str = "fastws",
    ) -> None:
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        engine = {"FASTWS_WS": "websockets"} if WITHOUT_EXTENSION else {}
        self.popen = subprocess.Popen(
            [str(python), "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            pass_fds=pass_fds,
            env={**os.environ, **engine, "PYTHONUNBUFFERED": "1", **env},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.host, self.port = "", 0

    @property
    def output(self) -> str:
        """What the process has printed until now, on standard output and standard error."""
        with self._more:
            return "".join(self._lines)

    @property
    def http_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    def wait_for_line(self, pattern: str, timeout: float = PATIENCE) -> re.Match[str]:
        """The first match of `pattern` in a line, waiting for it; raises AssertionError where none comes."""
        deadline = time.monotonic() + timeout
        seen = 0
        with self._more:
            while True:
                for line in self._lines[seen:]:
                    if match := re.search(pattern, line):
                        return match
                seen = len(self._lines)
                remaining = deadline - time.monotonic()
                if self._ended or remaining <= 0:
                    why = "ended without" if self._ended else f"has not printed in {timeout} s"
                    raise AssertionError(
                        f"the server {why} a line like {pattern!r}; it printed:\n{''.join(self._lines)}"
                    )
                self._more.wait(remaining)

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit status, once the process has ended and all it printed was read."""
        status = self.popen.wait(timeout)
        self._reader.join(timeout)
        return status

    def stop(self) -> int:
        """End the server as an operator does, with SIGTERM; returns the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it, and all that it has started: what is left would hold its output open."""
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(self.popen.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        self.popen.kill()
        self.wait()
        assert self.popen.stdout is not None
        self.popen.stdout.close()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            with self._more:
                self._lines.append(line)
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()


@contextmanager
def run_process(
    *arguments: str,
    env: dict[str, str] | None = None,
    cwd: Path = SUPPORT,
    pass_fds: tuple[int, ...] = (),
    python: str | Path = sys.executable,
    module: str = "fastws",
) -> Iterator[ServerProcess]:
    """Run `python -m fastws` with these arguments, in SUPPORT, without waiting for anything; killed at the end."""
    process = ServerProcess(arguments, env or {}, cwd, pass_fds, python, module)
    try:
        yield process
    finally:
        process.kill()


@contextmanager
def serve_process(
    *arguments: str,
    env: dict[str, str] | None = None,
    cwd: Path = SUPPORT,
    pass_fds: tuple[int, ...] = (),
    python: str | Path = sys.executable,
    module: str = "fastws",
) -> Iterator[ServerProcess]:
    """As `run_process`, with `--port 0` where no address is given, and wait for the line that names the address."""
    if not {"--port", "--uds", "--fd"} & {argument.partition("=")[0] for argument in arguments}:
        arguments = ("--port", "0", *arguments)
    with run_process(*arguments, env=env, cwd=cwd, pass_fds=pass_fds, python=python, module=module) as process:
        started = r"running on (?:https?://(?P<host>\[[^]]+\]|[^:/\s]+):(?P<port>\d+)|unix socket )"
        line = process.wait_for_line(started, STARTING)
        process.host, process.port = line["host"] or "", int(line["port"] or 0)
        yield process


def begin(process: ServerProcess) -> socket.socket:
    """Begin a request whose body is yet to come, and wait until the application has it."""
    sock = socket.create_connection((process.host, process.port), PATIENCE)
    sock.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n")
    process.wait_for_line("^begun")
    return sock
