"""gunicorn's worker: ``gunicorn -k fastws.workers.FastWSWorker app:app``, on gunicorn 22 and later.

The process of a worker from its fork to its end: signals, heartbeat, deadlines and exit codes, as gunicorn's master has
them. What its settings mean for fastws is in `fastws.gunicorn.settings`, its log and its hooks in
`fastws.gunicorn.requests`; docs/deployment/gunicorn.md is for users.

Importing this module makes no loop and no thread: the master does it before it forks.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import ssl
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, ClassVar, Final, NoReturn

from gunicorn import sock
from gunicorn.workers.base import Worker

from fastws.asgi.loading import AppError, ASGIApplication, Receive, Scope, Send, load_application
from fastws.config import Config
from fastws.config.sources import notes
from fastws.errors import STARTUP_FAILURE, ConfigError, StartupError
from fastws.gunicorn.requests import access_log, hooked
from fastws.gunicorn.settings import config_for
from fastws.net.accepting import Accepting, accept
from fastws.net.event_loop import new_event_loop, run_in
from fastws.net.listeners import address, directory_for_sockets
from fastws.net.loop_state import LoopState
from fastws.net.standard_descriptors import open_standard_descriptors
from fastws.net.tls import alpn
from fastws.observe.log_losses import count_losses
from fastws.process.drain import watch_process
from fastws.process.even_spread import Gate
from fastws.process.greeting import hints
from fastws.process.guard import this_is_a_worker
from fastws.process.leaving import leave
from fastws.process.scoreboard import Row, Scoreboard, Stage
from fastws.process.scratch import TOPICS_PREFIX, SharedDirectory
from fastws.process.server import Server

logger: Final = logging.getLogger("fastws.error")

RESPAWN_SECONDS: Final = 1.0
"""How long a worker that cannot start waits before it ends, where the master would start another one at once."""
LAST_SECONDS: Final = 0.25
"""How long before gunicorn's patience ends a graceful stop is cut short; a tenth of it where that is less."""
QUICK_SECONDS: Final = 1.0
"""How long an aborted worker may take to end by itself."""


class WorkerServer(Server):
    """A server that shares its listening sockets with other workers, of which `row` is told; None where it does not."""

    says_hints = False

    def __init__(self, config: Config, row: Row | None, **options: Any) -> None:
        super().__init__(config, **options)
        self._row = row
        self._gate: Gate | None = None

    def beat(self) -> int:
        """Tell the other workers that the loop turns, and how many connections it has. Returns the requests served."""
        if self._row is not None:
            self._row.beat()
            if self._state is not None:
                self._row.connections = len(self._state.connections)
        return 0 if self._state is None else self._state.requests_total

    def limit_reached(self, what: str) -> None:
        """See `Server.limit_reached`; the limit is gunicorn's here."""
        super().limit_reached(what.replace("--limit-max-requests", "max_requests"))

    def _in_child(self) -> None:
        if self._row is not None:
            self._row.board.leave()
        super()._in_child()

    def _others_accept(self) -> bool:
        """Whether a worker goes on that has the same sockets."""
        return self._row is not None and self._row.board.somebody_accepts()

    async def _accept(self, state: LoopState, sock: socket.socket) -> Accepting:
        if self._row is not None and self._gate is None:
            self._gate = Gate(self._row, state.accepted)
        return await accept(state, sock, self.config.backlog, self._tls, self.config.timeout_request_head, self._gate)

    def _announce(self, sockets: Sequence[socket.socket]) -> None:
        for each in sockets:
            logger.info("fastws running on %s", address(each, "http" if self._tls is None else "https"))


class FastWSWorker(Worker):
    """A gunicorn worker that serves with fastws.

    gunicorn's settings count where it has them. fastws's own options come from environment variables ``FASTWS_*``, or
    from a class of your own::

        class MyWorker(FastWSWorker):
            CONFIG = {"ws_max_size": 65536}
    """

    CONFIG: ClassVar[Mapping[str, Any]] = {}
    """Options of `fastws.Config`; environment variables are stronger."""

    _board: ClassVar[Scoreboard | None] = None
    _forked: ClassVar[list[FastWSWorker]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """In the master, before it forks."""
        super().__init__(*args, **kwargs)
        self._row = self._take_row()
        self.loop: asyncio.AbstractEventLoop
        self.server: WorkerServer | None = None
        self._tls: ssl.SSLContext | None = None
        self._topics_dir: SharedDirectory | None = None
        self._exit_code = 0
        self._ending = False

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse, in the master and before it forks, options that no worker could start with."""
        try:
            config = config_for(_no_app, cfg, cls.CONFIG, os.environ, sys.maxsize)
        except ConfigError as error:
            log.error("%s", error)
            raise SystemExit(STARTUP_FAILURE) from None
        for line in notes(os.environ):
            log.warning("%s", line)
        for level, line in hints(config):
            log.log(level, "%s", line)
        if "http_protocols" in cfg.settings and "h2" in cfg.http_protocols:
            log.warning("http_protocols has no effect: FASTWS_HTTP chooses between HTTP/1.1 and HTTP/2")

    # From fork to exit.

    def init_process(self) -> None:
        """Prepare what the application does not need, then let gunicorn load it and call `run`."""
        this_is_a_worker()
        open_standard_descriptors()
        _log_as_gunicorn(self.log)
        self._topics_dir = self._make_topics_dir()
        try:
            config = self._config(_no_app)
            self._tls = self._ssl_context(config)
            self.loop = new_event_loop(config.loop)
        except (ConfigError, StartupError) as error:
            self._cannot_start(error)
        asyncio.set_event_loop(self.loop)
        super().init_process()

    def run(self) -> None:
        """Serve until told to end."""
        if not self.alive:
            return
        try:
            config = self._config(self.wsgi)
            config = self._config(hooked(load_application(config), self))
            self.server = WorkerServer(
                config,
                None if self.cfg.reuse_port else self._row,
                ssl_context=self._tls,
                access_log=access_log(self, config.log_query_values),
                catch_signals=False,
                on_started=self._started,
                on_tick=self._tick,
            )
            if self.cfg.timeout:
                self.server.tick_seconds = min(self.server.tick_seconds, self.cfg.timeout / 4)
            run_in(self.loop, self._serve(self.server))
        except (ConfigError, StartupError) as error:
            self._cannot_start(error)
        if self._topics_dir is not None:
            self._topics_dir.leave()
        self.alive = False
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one that comes while Python ends would look like a crash
        status = self._exit_code or self.server.exit_code
        leave(status, max(self.cfg.graceful_timeout, QUICK_SECONDS))
        if status:
            raise SystemExit(status)

    def _take_row(self) -> Row:
        """A row of the memory that the workers of this master share, after those of workers that are gone are free."""
        if FastWSWorker._board is None:
            FastWSWorker._board = Scoreboard.create()
        for worker in list(self._forked):
            if isinstance(worker.pid, int) and _is_gone(worker.pid):
                worker._row.free()
                self._forked.remove(worker)
        self._forked.append(self)
        return FastWSWorker._board.take_row()

    def _started(self) -> None:
        self._row.stage = Stage.ACCEPTING

    async def _serve(self, server: Server) -> None:
        self.loop.add_reader(self.PIPE[0], self._woken)
        try:
            listening: list[Any] = self.sockets  # gunicorn's own, around Python's
            await server.serve([each.sock for each in listening])
        finally:
            self.loop.remove_reader(self.PIPE[0])

    def load_wsgi(self) -> None:
        """Load the application. While files are watched, one that does not compile is served as an error."""
        app: Any
        try:
            app = self.app.wsgi()
        except SyntaxError as error:
            if not self.cfg.reload:
                raise
            self.log.exception(error)
            if self.reloader is not None and error.filename is not None:
                self.reloader.add_extra_file(error.filename)
            app = _failing("".join(traceback.format_exception(error)))
        self.wsgi = app

    def _config(self, app: Any) -> Config:
        config = config_for(app, self.cfg, self.CONFIG, os.environ, self.max_requests)
        if config.topics_url is None and config.topics_dir is None and self._topics_dir is not None:
            config = dataclasses.replace(config, topics_dir=self._topics_dir.path)
        return config

    def _make_topics_dir(self) -> SharedDirectory | None:
        """The directory in which the workers of one master find each other."""
        try:
            path = os.path.join(directory_for_sockets(), f"{TOPICS_PREFIX}{os.geteuid()}-{self.ppid}")
            return SharedDirectory(path, TOPICS_PREFIX)
        except OSError as error:
            self.log.warning("No place for a directory: topics do not reach other workers: %s", error)
            return None

    def _ssl_context(self, config: Config) -> ssl.SSLContext | None:
        """The context that gunicorn makes, and its hook `ssl_context`. Raises ConfigError: never serve in plain."""
        if not self.cfg.is_ssl:
            return None
        try:
            context: ssl.SSLContext = sock.ssl_context(self.cfg)
            context.set_alpn_protocols(alpn(config))
        except Exception as error:  # whatever the hook raises, which is the user's
            raise ConfigError(f"certfile, keyfile or ssl_context: {type(error).__name__}: {error}") from error
        return context

    def _cannot_start(self, error: Exception) -> NoReturn:
        """Log why, and end so that the master gives up where nobody has served yet, and tries again elsewhere."""
        self.log.error("%s", error, exc_info=error.__cause__ if isinstance(error, AppError) else None)
        if self.age <= self.cfg.workers:
            raise SystemExit(STARTUP_FAILURE) from None
        self.notify()
        time.sleep(RESPAWN_SECONDS)
        raise SystemExit(1) from None

    # Heartbeat.

    def _tick(self) -> None:
        """About once a second, from the event loop."""
        self.notify()
        if self.server is not None:
            self.nr = self.server.beat()
        if self.alive and os.getppid() != self.ppid:
            self.log.info("Parent changed, shutting down: %s", self)
            self._end()
        elif not self.alive or (self.server is not None and self.server.should_exit):
            self._end()

    def _woken(self) -> None:
        """The reloader has something to say: a file has changed."""
        try:
            os.read(self.PIPE[0], 4096)
        except BlockingIOError:
            return
        if not self.alive:
            self._end()

    # Ends.

    def init_signals(self) -> None:
        """Take over the signals, by Python's own handlers: those of a loop would not run where it is stuck."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGINT, self.handle_quit)
        signal.signal(signal.SIGQUIT, self.handle_quit)
        signal.signal(signal.SIGABRT, self.handle_abort)
        signal.signal(signal.SIGUSR1, self.handle_usr1)
        for number in (signal.SIGWINCH, signal.SIGHUP):  # a hangup of the group is the master's to handle
            signal.signal(number, signal.SIG_IGN)
        signal.siginterrupt(signal.SIGTERM, False)
        signal.siginterrupt(signal.SIGUSR1, False)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: end gracefully. The master may say it again and again."""
        self.alive = False
        self._end()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT or SIGQUIT: end at once."""
        self.alive = False
        self.cfg.worker_int(self)
        if self.server is None:
            raise SystemExit(0)
        self.server.force_exit = True
        self._end()

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """SIGABRT: the heartbeat is missing. Say where the loop is stuck, and end.

        An application may catch what is raised into it here. Then the loop ends, and if it does not, the process.
        """
        self.alive = False
        self._exit_code = 1
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        self.log.critical("The event loop is stuck in:\n%s", stack.rstrip())
        watch_process(QUICK_SECONDS)
        self.cfg.worker_abort(self)
        if self.server is not None:
            self.server.force_exit = self.server.should_exit = True
        raise SystemExit(1)

    def _end(self) -> None:
        """Begin to end, once; with a deadline of our own, since after SIGHUP the master has none."""
        server = self.server
        if server is None or self._ending:
            return
        self._ending = True
        self._row.stage = Stage.ENDING
        patience = float(self.cfg.graceful_timeout)
        server.should_exit = True
        watch_process(patience + QUICK_SECONDS)
        seconds = max(0.0, patience - min(LAST_SECONDS, patience / 10))
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self.loop.call_soon_threadsafe(self.loop.call_later, seconds, self._hurry)

    def _hurry(self) -> None:
        if self.server is not None:
            self.server.force_exit = True


def _failing(text: str) -> ASGIApplication:
    """An application that answers each request with `text`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": text.encode("utf-8", "replace")})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})

    return app


def _is_gone(pid: int) -> bool:
    """Whether there is no such process; the master has waited for those that ended."""
    try:
        os.kill(pid, 0)
    except OSError:
        return True
    return False


async def _no_app(scope: Any, receive: Any, send: Any) -> None:
    """Stands for the application while options are checked."""


def _log_as_gunicorn(log: Any) -> None:
    """Let the lines of fastws go where gunicorn's error log goes, unless somebody has set their logger up."""
    ours = logging.getLogger("fastws")
    count_losses()
    if not ours.handlers:
        ours.parent = log.error_log
        ours.propagate = True
