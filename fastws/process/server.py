"""The server of one process: starts the application, listens, and ends it all in order.

Startup is import, bind, lifespan startup, listen, and only then the lines that say where. Shutdown is the same way
back: readiness turns 503 for --drain-delay, listeners close, WebSockets get Close 1012 and HTTP its responses, what is
left after --timeout-graceful-shutdown is cut, lifespan shutdown. What happens on a connection is not known here: see
`fastws.net.loop_state`.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Final

from fastws.asgi.application import Application
from fastws.asgi.lifespan import Lifespan
from fastws.asgi.loading import AppError, ASGIApplication
from fastws.asgi.observer import Observer
from fastws.config import Config
from fastws.config.log_defaults import TRACE
from fastws.counted import counted
from fastws.errors import STARTUP_FAILURE, ConfigError, StartupError
from fastws.net import listeners
from fastws.net.accepting import Accepting, accept, transport_of
from fastws.net.descriptors import quiet_accept
from fastws.net.event_loop import calling, loop_name, new_event_loop, part_with_loop, run_in
from fastws.net.forking import end_child, give_up, in_children
from fastws.net.loop_state import LoopState
from fastws.net.standard_descriptors import open_standard_descriptors
from fastws.net.tls import ReloadableContext, quiet_names
from fastws.net.tracing import TracedLoopState
from fastws.observe.health import Health
from fastws.observe.log_setup import configure_logging, log_failure
from fastws.observe.operations import Operations
from fastws.observe.terminal import has_terminal
from fastws.process import signals
from fastws.process.drain import Drain, end_of, unless, watch_process
from fastws.process.endable import Endable
from fastws.process.greeting import log_hints, log_process
from fastws.process.guard import refuse_import, refuse_running_loop
from fastws.process.preparing import prepare
from fastws.process.recycling import Recycling
from fastws.topics.buses import bus_for
from fastws.topics.hub import Hub
from fastws.websocket.engine import Engine

logger: Final = logging.getLogger("fastws.error")

SHUTDOWN_FAILURE: Final = 1
"""Exit code of a server whose application failed in lifespan shutdown."""
WATCH_SECONDS: Final = 5.0
"""How much longer than it may take a step of a shutdown takes before the process is ended under it."""
TICK_SECONDS: Final = 1.0
"""How often `on_tick` is called, and the limits on a process' lifetime and memory are looked at."""


class Server(Endable):
    """Serves the application of `config` in one event loop, once.

    `run()` makes the loop; `await serve()` uses the running one. On the main thread both end on SIGINT and SIGTERM,
    elsewhere when `should_exit` is set, which any thread may do.

    The constructor sets up logging as the options say; later changes by the program stay.

    The loop calls `on_started` once it accepts connections, and `on_tick` about once a second from before the
    application starts until it has shut down; a loop that is stuck does not tick. It calls `on_error` for each
    mistake of the application that is logged while it serves, with the exception if there is one.

    `ssl_context` is used instead of a TLS context by the options `ssl_*`, and `access_log` instead of the access log
    that the options ask for. With `catch_signals` false the server handles no signals.
    """

    says_hints = True
    """Whether it serves alone, so that nobody else says what the operator should look at."""

    def __init__(
        self,
        config: Config,
        *,
        ssl_context: ssl.SSLContext | None = None,
        access_log: Observer | None = None,
        catch_signals: bool = True,
        on_started: Callable[[], None] | None = None,
        on_tick: Callable[[], None] | None = None,
        on_error: Callable[[str, BaseException | None], None] | None = None,
    ) -> None:
        super().__init__()
        self.config: Config = config
        self._on_error = on_error
        self._on_started = on_started
        self._on_tick = on_tick
        self.started: bool = False
        """Whether the server accepts, or has accepted, connections."""
        self.servers: list[Accepting] = []
        self.exit_code: int = 0
        self.adopts_descriptors: bool = False
        """Whether descriptors that options name were opened for this server alone, which then closes them."""
        self.tick_seconds: float = TICK_SECONDS
        self._app: ASGIApplication | None = None
        self._engine: type[Engine] | None = None
        self._tls: ssl.SSLContext | None = ssl_context
        self._state: LoopState | None = None
        self._hub: Hub | None = None
        self._sockets: list[socket.socket] = []
        self._access_log = access_log
        self._catch_signals = catch_signals
        self._recycling: Recycling | None = None
        self.operations: Operations | None = None
        """The access log, the metrics and the control socket, once it serves."""
        self.lifespan: Lifespan | None = None
        """The application's lifespan, once it has begun."""
        self._catching = self._owns_loop = False
        # With `nohup` a terminal may go: that is what it is for.
        self._had_terminal = has_terminal() and not signals.hangup_is_ignored()
        self._log_problem: ConfigError | None = None
        open_standard_descriptors()
        try:
            configure_logging(config)  # now, so that what a program changes until it serves stays
        except ConfigError as error:
            self._log_problem = error
        self._finished = asyncio.Event()
        self._drain = Drain(config, self._force, self._watch)

    def handle_hangup(self, signum: int, frame: FrameType | None) -> None:
        """Handle SIGHUP: reload the certificates, but end where it says that the terminal is gone."""
        if self._had_terminal and not has_terminal():
            self._say("The terminal is gone; shutting down")
            self.handle_exit(signum, frame)
        elif isinstance(self._tls, ReloadableContext):
            self.reload_tls()
        else:
            self._say("SIGHUP: there is nothing to reload; the server goes on")

    def reload_tls(self) -> None:
        """Load the files of the options `ssl_*` again, for new connections; any thread may call this.

        Open connections go on as they are. If a file is broken, the log says so, and nothing changes.
        """
        if self._loop is not None and isinstance(self._tls, ReloadableContext):
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._tls.renew)

    def run(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Serve in an event loop of its own, until the server is told to exit.

        A failed startup is logged in one line and raises SystemExit with code 3; a failed shutdown of the application
        raises it with code 1. Raises RuntimeError in a running event loop.
        """
        refuse_running_loop()
        try:
            with signals.starting() if self._catch_signals else contextlib.nullcontext():
                self._prepare()
                self._owns_loop = True
                with self._signals():
                    run_in(new_event_loop(self.config.loop), self.serve(sockets))
        except (ConfigError, StartupError) as error:
            log_failure(error, error.__cause__ if isinstance(error, AppError) else None)
            raise SystemExit(STARTUP_FAILURE) from None
        if self.exit_code:
            raise SystemExit(self.exit_code)

    async def serve(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Serve in the running event loop, on `sockets` if given, until the server is told to exit.

        A signal that has ended the server is raised again afterwards, for the rest of the program. A task that is
        cancelled here ends the server as a signal does, in a few seconds at most, and is then cancelled.

        Raises ConfigError or StartupError, one line, if it cannot start.
        """
        self._prepare()
        self._loop = asyncio.get_running_loop()
        self._set_events()
        self._recycling = Recycling(self.config, self._loop.time())
        try:
            with self._signals(), calling(self._tick, lambda: self.tick_seconds), in_children(self._in_child):
                serving = self._loop.create_task(self._serve(sockets), name="fastws server")
                cancelled = await self._wait_for(serving)
            serving.result()
        finally:
            self._finished.set()
        if cancelled is not None:
            raise cancelled

    async def _wait_for(self, serving: asyncio.Task[None]) -> asyncio.CancelledError | None:
        """Wait for the end, whoever cancels this meanwhile; how that was done first, if it was."""
        cancelled: asyncio.CancelledError | None = None
        while not serving.done():
            try:
                await asyncio.wait((serving,))
            except asyncio.CancelledError as error:  # in anyio's scopes again and again
                if cancelled is None:
                    cancelled = error
                    self._drain.hurried = True
                    self.should_exit = True
        return cancelled

    async def shutdown(self) -> None:
        """Begin a graceful shutdown and wait for its end. For tasks of the loop that `serve()` runs in."""
        self.should_exit = True
        if self._loop is not None:
            await self._finished.wait()

    def _prepare(self) -> None:
        """Do what needs no event loop, so that the application is imported outside of one. Idempotent."""
        if self._app is not None:
            return
        refuse_import()
        if self._log_problem is not None:
            raise self._log_problem
        self._app, self._engine, self._tls = prepare(self.config, self._tls)

    async def _serve(self, given: Sequence[socket.socket] | None) -> None:
        assert self._app is not None
        self.lifespan = lifespan = Lifespan(self._app, self.config.lifespan)
        engine = self._engine.name if self._engine is not None else "none"
        self.operations = operations = Operations(
            self.config, engine, loop_name(asyncio.get_running_loop()), self._access_log
        )
        application = Application(self._app, self.config, state=lifespan.state, observer=operations.observer)
        state: LoopState | None = None
        hub: Hub | None = None
        transport = transport_of(self.config)
        log_process(self.config, engine, loop_name(asyncio.get_running_loop()), transport)
        if self.says_hints:
            log_hints(self.config)
        with self._bound(given) as sockets:
            try:
                if not await self._start(lifespan):
                    return
                state = (TracedLoopState if logger.isEnabledFor(TRACE) else LoopState)(
                    asyncio.get_running_loop(),
                    self.config,
                    application,
                    self._engine,
                    secure=self._tls is not None,
                    tls=self._tls,
                    on_error=self._on_error,
                )
                self._state = state
                Health(state)
                self._hub = hub = Hub(state, bus_for(self.config))
                await hub.start()
                await operations.start(state, lambda: self.limit_reached("`fastws drain`"))
                try:
                    with quiet_accept(asyncio.get_running_loop(), state.warn), quiet_names(self.config, state.warn):
                        await self._listen(state, sockets)
                        await self._until_exit(state)
                        await self._announce_end(state)
                        if not self._force_flag and not self._others_accept():
                            for server in self.servers:
                                server.accept_waiting()
                finally:
                    for server in self.servers:
                        server.close()
                await self._drain.end_connections(state, self._cut)
                if not self._force_flag:
                    await self._end_lifespan(lifespan)
            except (ConfigError, StartupError):
                if state is not None:  # the application has started: let it clean up
                    await unless(self._exit, self._end_lifespan(lifespan))
                raise
            finally:
                await operations.stop()
                if hub is not None:
                    await hub.stop()
                if state is not None:
                    state.abort()
                    state.close()
                await lifespan.cancel()
        logger.info("Finished server process [%d]", os.getpid())

    async def _start(self, lifespan: Lifespan) -> bool:
        """Start the application. False where the server is told to exit meanwhile, which ends it again."""
        startup = asyncio.ensure_future(lifespan.startup()) if not self._exit_flag else None
        if startup is not None and await unless(self._exit, end_of(startup)):
            startup.result()
            return True
        if await self._drain.end_startup(startup):
            await self._end_lifespan(lifespan)
        return False

    @contextlib.contextmanager
    def _bound(self, given: Sequence[socket.socket] | None) -> Iterator[list[socket.socket]]:
        """The sockets to listen on, closed at the end."""
        with contextlib.ExitStack() as stack:
            if given is None:
                given = stack.enter_context(listeners.bound(self.config, adopt=self.adopts_descriptors))
            for sock in given:
                stack.callback(sock.close)
            self._sockets = list(given)
            yield self._sockets

    async def _listen(self, state: LoopState, sockets: Sequence[socket.socket]) -> None:
        """Accept connections, then say where."""
        for sock in sockets:
            try:
                self.servers.append(await self._accept(state, sock))
            except OSError as error:
                where = listeners.address(sock, "http").removeprefix("http://")
                raise StartupError(listeners.problem(where, error)) from None
        self.started = True
        self._announce(sockets)
        if self._on_started is not None:
            self._on_started()

    async def _accept(self, state: LoopState, sock: socket.socket) -> Accepting:
        """Accept on the socket, for `state`. Raises OSError."""
        return await accept(state, sock, self.config.backlog, self._tls, self.config.timeout_request_head)

    def _announce(self, sockets: Sequence[socket.socket]) -> None:
        """Say where connections are accepted."""
        listeners.announce(sockets, secure=self._tls is not None)

    async def _until_exit(self, state: LoopState) -> None:
        """Wait until somebody says so, or a limit of the process is reached."""
        if self._recycling is not None and self._recycling.requests is not None:
            limit = self._recycling.requests
            state.on_request(limit, lambda: self.limit_reached(f"{counted(limit, 'request')} (--limit-max-requests)"))
        await self._exit.wait()

    def limit_reached(self, what: str) -> None:
        """End gracefully because the process has served enough; `what` it was is a text for the log."""
        if not self._exit_flag:
            logger.info("Shutting down after %s", what)
            self.should_exit = True

    async def _announce_end(self, state: LoopState) -> None:
        """Be not ready any more, and go on serving for --drain-delay so that balancers notice."""
        delay = self.drain_delay()
        state.draining = True
        if self._on_tick is not None:
            self._on_tick()  # who watches learns of the end even where it takes less than a tick
        if delay > 0.0:
            logger.info("Not ready any more; listening for %g s more (--drain-delay)", delay)
            await unless(self._force, asyncio.sleep(delay))

    def _others_accept(self) -> bool:
        """Whether other processes go on to accept what waits for this one's sockets, when it ends."""
        return False

    def drain_delay(self) -> float:
        """Seconds that listening goes on when readiness has turned."""
        return 0.0 if self._drain.hurried else self.config.drain_delay

    def _cut(self, state: LoopState) -> None:
        """Cut every connection that is left."""
        state.cut()

    async def _end_lifespan(self, lifespan: Lifespan) -> None:
        if not await self._drain.end_lifespan(lifespan):
            self.exit_code = SHUTDOWN_FAILURE

    def _ends(self) -> None:
        self._watch(self.config.drain_delay)

    def _watch(self, extra: float = 0.0) -> None:
        """End the process, with the stacks of its threads on standard error, if the next step of a shutdown hangs.

        Each step is bounded by --timeout-graceful-shutdown, but not where the application blocks the event loop. The
        watch is faulthandler's: it needs neither the loop nor the interpreter, and can be set in a signal handler.
        """
        timeout = self.config.timeout_graceful_shutdown
        if self._owns_loop and self._catching and timeout is not None:
            watch_process(timeout + extra + WATCH_SECONDS)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle the signals, on the main thread; afterwards they are handled as before."""
        if self._catching or not self._catch_signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        reloads = isinstance(self._tls, ReloadableContext)
        with signals.caught(self, owns_process=self._owns_loop, must_reload=reloads):
            self._catching = True
            try:
                yield
            finally:
                if self._owns_loop:
                    faulthandler.cancel_dump_traceback_later()
                self._catching = False

    def _tick(self, now: float) -> None:
        if self.started and self._recycling is not None and (what := self._recycling.exceeded(now)) is not None:
            self.limit_reached(what)
        if isinstance(self._tls, ReloadableContext) and self._tls.changed():
            self._tls.renew()
        if self._on_tick is not None:
            self._on_tick()

    def _in_child(self) -> None:
        """Be no server, in a child that the application has forked: keep no socket, and end where its loop goes on."""
        if self._loop is not None:
            part_with_loop(self._loop)
            self._loop.call_soon(end_child)
        give_up(self._descriptors())

    def _descriptors(self) -> Iterable[int]:
        """All that this server has opened."""
        yield from (each.fileno() for each in self._sockets)
        for server in self.servers:
            yield from server.descriptors()
        if self._state is not None:
            yield from self._state.descriptors()
        if self.operations is not None:
            yield from self.operations.descriptors()
        if self._hub is not None and self._hub.bus is not None:
            yield from self._hub.bus.descriptors()
