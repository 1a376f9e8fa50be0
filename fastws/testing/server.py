"""The server of `fastws.testing`: in a thread of its own, or in the test's loop, and what had to be cut at its end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import os
import ssl
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, TypeAlias

from fastws.config import OPTION, Config
from fastws.config.uvicorn_options import known
from fastws.errors import ApplicationError, ConfigError, StartupError
from fastws.net.event_loop import new_event_loop, run_in, where
from fastws.net.loop_state import LoopState
from fastws.observe.control import describe
from fastws.process.server import Server

__all__ = ["LeakError", "RunningServer", "running", "serve"]

App: TypeAlias = str | Callable[..., Any]
"""An ASGI application, a function without parameters that makes one, or ``"module:attribute"``."""

logger: Final = logging.getLogger("fastws.error")

DEFAULTS: Final[dict[str, Any]] = {
    "port": 0,
    "log_config": None,  # as the test has it: pytest shows what it logs
    "access_log": False,
    "timeout_graceful_shutdown": 5.0,
    "drain_window": 0.0,
}
"""What is different from `fastws.Config`'s defaults."""

TURNS: Final = 20
"""Turns of the loop in which tasks that were cancelled at shutdown may end."""

_server: contextvars.ContextVar[RunningServer] = contextvars.ContextVar("fastws_testing_server")
"""In whose context a task runs: those that an application begins inherit it."""


class LeakError(AssertionError):
    """Connections or tasks of an application were left when its server should stop. The message has a line for each."""


class RunningServer:
    """A server that `serve` or `running` has started."""

    def __init__(self, app: App, options: dict[str, Any], ssl_context: ssl.SSLContext | None) -> None:
        options, warnings = known(options, OPTION)
        for line in warnings:
            logger.warning("%s", line)
        self.config: Config = Config(app, **{**DEFAULTS, **options})
        if self.config.reload or (self.config.workers or 1) > 1:
            raise ConfigError("fastws.testing.server: a server in this process has no --workers and no --reload")
        self.server: Server = _ObservedServer(self, ssl_context)
        """The server itself: `server.should_exit = True` begins a graceful shutdown."""
        self.errors: list[Exception] = []
        """What the application has raised while it was served, oldest first; a test that expects them clears it.

        An `ApplicationError` stands for what it did wrong without raising, as to return without a response.
        """
        self._leaks: list[str] = []
        self._secure = ssl_context is not None or self.config.is_ssl
        self.host: str = ""
        """The address that clients connect to, "" on a Unix domain socket."""
        self.port: int = 0
        """The port, 0 on a Unix domain socket."""
        self.uds: str | None = None
        """The path of the Unix domain socket, if it is one."""
        self.loop: asyncio.AbstractEventLoop
        """The loop that the application runs in."""
        self._tell_start: Callable[[], object] = bool

    @property
    def url(self) -> str:
        """Where HTTP is served, such as ``http://127.0.0.1:43210``; without a slash at the end."""
        return f"http{self._netloc()}"

    @property
    def ws_url(self) -> str:
        """Where WebSockets are served, such as ``ws://127.0.0.1:43210``; without a slash at the end."""
        return f"ws{self._netloc()}"

    @property
    def state(self) -> dict[str, Any]:
        """What the application has left in its lifespan's state: scopes have shallow copies of it."""
        assert self.server.lifespan is not None
        return self.server.lifespan.state

    def call(self, function: Callable[..., Any], *arguments: Any, timeout: float = 30.0) -> Any:
        """What `function(*arguments)` returns when the server's loop calls it; a coroutine is awaited.

        For a server in another thread, that of `serve`. Raises what the function raises, and TimeoutError.
        """

        async def call() -> Any:
            result = function(*arguments)
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(timeout)

    def _netloc(self) -> str:
        host = "localhost" if self.uds is not None else f"[{self.host}]" if ":" in self.host else self.host
        return f"{'s' if self._secure else ''}://{host}{f':{self.port}' if self.port else ''}"

    async def _serve(self) -> None:
        """Serve until told to stop, and see what is left of the application then. Raises what its startup raised."""
        self.loop = asyncio.get_running_loop()
        _server.set(self)
        cause: BaseException | None = None
        try:
            await self.server.serve()
        except StartupError as error:
            cause = error.__cause__
            if not isinstance(cause, Exception):
                raise
        if cause is not None:
            raise cause
        turn = 0
        while (left := self._tasks()) and turn < TURNS:
            await asyncio.sleep(0)
            turn += 1
        for task in left:
            self._leaks.append(f"a task that the application began waits in {where(task)}")
            task.cancel()

    def _tasks(self) -> list[asyncio.Task[Any]]:
        """Tasks that the application has begun and not ended."""
        current = asyncio.current_task(self.loop)
        return [task for task in asyncio.all_tasks(self.loop) if task is not current and self._is_ours(task)]

    def _is_ours(self, task: asyncio.Task[Any]) -> bool:
        """Whether the application, not the test, has begun the task. Older Pythons do not tell."""
        if sys.version_info >= (3, 12):
            return task.get_context().get(_server) is self
        return False

    def _started(self) -> None:
        """Learn where the server listens: its loop calls this once it does."""
        address = self.server.servers[0].sockets[0].getsockname()
        if isinstance(address, tuple):
            self.host, self.port = address[:2]
            self.host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        else:
            self.uds = os.fsdecode(address)
        self._tell_start()

    def _application_erred(self, message: str, error: BaseException | None) -> None:
        if isinstance(error, Exception):
            self.errors.append(error)
            return
        fault = ApplicationError(message if error is None else f"The application raised {type(error).__name__}")
        fault.__cause__ = error
        self.errors.append(fault)

    def _about_to_cut(self, state: LoopState) -> None:
        """Note what has not ended in the time that it had."""
        tasks = set(state.tasks)
        for connection in state.channels():
            about = describe(connection, state.loop.time())
            what = "a WebSocket" if about["kind"] == "websocket" else "an HTTP connection"
            line = f"{what} from {about['client']}, {about['path'] or '-'}, {about['state']}"
            task = getattr(connection.handler, "task", None)
            if task in tasks:
                tasks.discard(task)
                line += f": its application waits in {where(task)}"
            self._leaks.append(line)
        self._leaks += [f"a call of the application waits in {where(task)}" for task in tasks]

    def _judge(self, failure: BaseException | None, raise_errors: bool, check_leaks: bool) -> None:
        """Raise what went wrong; where the test has failed already, tell it with `failure`."""
        problems: list[Exception] = list(self.errors) if raise_errors else []
        lifespan = self.server.lifespan
        if raise_errors and self.server.exit_code and lifespan is not None:
            error = lifespan.error
            problems.append(error if isinstance(error, Exception) else ApplicationError("Application shutdown failed"))
        if check_leaks and self._leaks:
            text = "\n".join(f"  - {leak}" for leak in self._leaks)
            problems.append(LeakError(f"when the server was told to stop, this was left:\n{text}"))
        if failure is None and problems:
            failure = problems.pop(0)
            _note(failure, problems)
            raise failure
        if failure is not None:
            _note(failure, [problem for problem in problems if problem is not failure])


def _note(failure: BaseException, problems: list[Exception]) -> None:
    """Say with the failure what else went wrong. The log has the tracebacks; Python 3.10 has only the log."""
    for problem in problems:
        if sys.version_info >= (3, 11):
            failure.add_note(f"fastws.testing.server: {type(problem).__name__}: {problem}")
        else:
            logger.error("%s: %s", type(problem).__name__, problem)


class _ObservedServer(Server):
    """A server that tells what a test wants to know."""

    def __init__(self, about: RunningServer, ssl_context: ssl.SSLContext | None) -> None:
        super().__init__(
            about.config,
            ssl_context=ssl_context,
            catch_signals=False,
            on_started=about._started,
            on_error=about._application_erred,
        )
        self._about = about

    def _cut(self, state: LoopState) -> None:
        self._about._about_to_cut(state)
        super()._cut(state)


class _ThreadedServer(RunningServer):
    """One in a thread of its own, with a loop of its own."""

    def __init__(self, app: App, options: dict[str, Any], ssl_context: ssl.SSLContext | None) -> None:
        super().__init__(app, options, ssl_context)
        self._began = threading.Event()
        self._tell_start = self._began.set
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fastws.testing.server", daemon=True)

    def _is_ours(self, task: asyncio.Task[Any]) -> bool:
        return True  # as the loop is

    def _run(self) -> None:
        try:
            run_in(new_event_loop(self.config.loop), self._serve())
        except BaseException as error:  # SystemExit too: the test's thread raises it
            self._failure = error
        finally:
            self._began.set()

    def start(self, timeout: float) -> None:
        """Return when connections are accepted; raises what happened instead."""
        self._thread.start()
        began = self._began.wait(timeout)
        if self._failure is not None:
            raise self._failure
        if not began:
            self.server.should_exit = True
            raise TimeoutError(f"the application has not started in {timeout:g} s")

    def stop(self, timeout: float) -> None:
        """Shut down gracefully and wait for the end; raises what ended the server."""
        self.server.should_exit = True
        self._thread.join(timeout + 2 * (self.config.timeout_graceful_shutdown or 0.0))
        if self._thread.is_alive():
            frame = sys._current_frames().get(self._thread.ident or 0)
            stack = "".join(traceback.format_stack(frame)[-3:]) if frame is not None else ""
            raise TimeoutError(f"the server does not stop; its event loop is in\n{stack}")
        if self._failure is not None:
            raise self._failure


@contextlib.contextmanager
def serve(
    app: App,
    *,
    raise_errors: bool = True,
    check_leaks: bool = True,
    timeout: float = 30.0,
    ssl_context: ssl.SSLContext | None = None,
    **options: Any,
) -> Iterator[RunningServer]:
    """Serve `app` in a thread with an event loop of its own while the block runs.

    `options` are those of `fastws.Config`, such as ``uds``, ``ssl_certfile`` or ``lifespan="on"``; with `ssl_context`
    it speaks TLS. `timeout` is how many seconds the start, and the end, may take. The end of the block raises what
    the application has raised, unless `raise_errors` is false, and LeakError, unless `check_leaks` is.

    Raises what the application raised at startup, StartupError if it only reported a failure, ConfigError for a wrong
    option, and TimeoutError.
    """
    server = _ThreadedServer(app, options, ssl_context)
    server.start(timeout)
    failure: BaseException | None = None
    try:
        yield server
    except BaseException as error:
        failure = error
        raise
    finally:
        server.stop(timeout)
        server._judge(failure, raise_errors, check_leaks)


@contextlib.asynccontextmanager
async def running(
    app: App,
    *,
    raise_errors: bool = True,
    check_leaks: bool = True,
    ssl_context: ssl.SSLContext | None = None,
    **options: Any,
) -> AsyncIterator[RunningServer]:
    """Serve `app` in the running event loop, asyncio's or uvloop's, while the block runs; otherwise as `serve`.

    The application and the test can share what belongs to a loop, such as an `asyncio.Event`. A test that blocks the
    loop blocks the server. Tasks that the application began and left are found from Python 3.12 on.
    """
    server = RunningServer(app, options, ssl_context)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("fastws.testing.server.running needs asyncio: let anyio's tests use that backend") from None
    began = asyncio.Event()
    server._tell_start = began.set
    waiting = asyncio.ensure_future(began.wait())
    task = loop.create_task(server._serve(), name="fastws.testing.server")  # whose context is a copy
    failure: BaseException | None = None
    try:
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not began.is_set():
            await task
            raise StartupError("the server ended before it had started")
        yield server
    except BaseException as error:
        failure = error
        raise
    finally:
        waiting.cancel()
        server.server.should_exit = True
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:  # once more: the end is nobody's to wait for
            server.server.force_exit = True
            raise
        if not (failure is not None and task.exception() is failure):
            task.result()
        server._judge(failure, raise_errors, check_leaks)
