"""What an operator asks a server for, put together as the options say: access log, metrics, the control socket.

A server has one `Operations`. It knows who observes requests and WebSockets before the application starts, and serves
metrics and the control socket from when connections are accepted until the last of them has ended.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import fastws
from fastws.asgi.application import Application
from fastws.asgi.observer import Observer, Observers
from fastws.config import Config
from fastws.errors import StartupError
from fastws.net.forking import listening
from fastws.net.loop_state import LoopState
from fastws.observe import access_log
from fastws.observe.access_format import FormattedAccessLog
from fastws.observe.control import Control
from fastws.observe.metrics import Metrics, Snapshot, add
from fastws.observe.metrics_exchange import INTERVAL, MetricsExchange

logger: Final = logging.getLogger("fastws.error")

SHARE: Final = 0.01
"""The part of a worker's time that telling the others its numbers may take: it asks each connection."""

PASSING: Final = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EINTR)
)
"""Errors that come of a full disk, or of a lack of descriptors or memory."""
FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 60.0


class Operations:
    """The log, the metrics and the control socket of one server."""

    def __init__(self, config: Config, engine: str, loop: str, log: Observer | None = None) -> None:
        """`engine` and `loop` are names; `log` is used instead of the access log that the options ask for.

        Raises ConfigError for what is not installed.
        """
        self._config = config
        self._engine = engine
        self._loop_name = loop
        self._state: LoopState | None = None
        self._metrics: Metrics | None = None
        self._exchange: MetricsExchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._port: _MetricsPort | None = None
        self._control: Control | None = None
        self._trying: list[asyncio.Task[None]] = []
        observers: list[Observer] = []
        if log is not None:
            observers.append(log)
        elif access_log.is_wanted(config):
            text = config.access_log_format
            values = config.log_query_values
            observers.append(
                access_log.AccessLog(query_values=values)
                if text is None
                else FormattedAccessLog(text, query_values=values)
            )
        if config.metrics_path is not None or config.metrics_port is not None:
            from fastws.observe import metrics_page  # noqa: F401  # to know now whether it is there

            self._metrics = Metrics(fastws.__version__, engine, loop, time.time())
            observers.append(self._metrics)
        elif config.control_socket is not None:
            observers.append(Observer())  # it shows what a WebSocket has sent
        self.observer: Observer | None = Observers(*observers) if len(observers) > 1 else None
        """Who is told of requests and WebSockets; None for nobody."""
        if len(observers) == 1:
            self.observer = observers[0]

    async def start(self, state: LoopState, drain: Callable[[], None]) -> None:
        """Serve the numbers of `state`; `drain` begins a graceful shutdown. Raises StartupError."""
        config = self._config
        self._state = state
        if self._metrics is not None:
            state.counts.timed = True
            if config.metrics_dir is not None:
                await self._have(self._start_exchange)
            await self._serve_metrics(state)
        if config.control_socket is not None:
            self._control = Control(
                config.control_socket,
                state,
                drain,
                version=fastws.__version__,
                engine=self._engine,
                loop=self._loop_name,
            )
            await self._have(self._control.start)

    async def stop(self) -> None:
        """End what was started; the other workers keep our last numbers."""
        for task in self._trying:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._exchange is not None:
            self._exchange.close(self._own())
        if self._port is not None:
            await self._port.stop()
        if self._control is not None:
            self._control.stop()

    def descriptors(self) -> Iterator[int]:
        """The descriptors of all that was started."""
        for part in (self._port, self._control):
            if part is not None:
                yield from part.descriptors()

    def metrics_addresses(self) -> list[tuple[str, int]]:
        """The addresses and ports of --metrics-port."""
        return [] if self._port is None else self._port.addresses()

    def _own(self) -> Snapshot:
        assert self._metrics is not None
        assert self._state is not None
        return self._metrics.snapshot(self._state)

    def _all(self) -> Snapshot:
        """The numbers of all workers."""
        own = self._own()
        return own if self._exchange is None else add([self._exchange.others(), own])

    def _publish(self) -> None:
        assert self._state is not None
        assert self._exchange is not None
        loop = self._state.loop
        began = loop.time()
        self._exchange.publish(self._own())
        self._timer = loop.call_later(max(INTERVAL, (loop.time() - began) / SHARE), self._publish)

    async def _start_exchange(self) -> None:
        assert self._config.metrics_dir is not None
        self._exchange = MetricsExchange(self._config.metrics_dir)
        self._publish()

    async def _have(self, start: Callable[[], Awaitable[None]]) -> None:
        """Start what a server can do without for a while. Raises StartupError where waiting helps nothing."""
        try:
            await start()
        except StartupError as error:
            if not _passes(error):
                raise
            logger.error("%s; doing without, and trying again", error)
            self._trying.append(asyncio.get_running_loop().create_task(self._try_again(start)))

    async def _try_again(self, start: Callable[[], Awaitable[None]]) -> None:
        delay = FIRST_DELAY
        while True:
            await asyncio.sleep(delay)
            try:
                await start()
            except StartupError as error:
                if not _passes(error):
                    logger.error("%s", error)
                    return
                delay = min(2 * delay, LONGEST_DELAY)
            else:
                logger.info("The server now has what it did without")
                return

    async def _serve_metrics(self, state: LoopState) -> None:
        from fastws.observe.metrics_page import metrics_page

        path = self._config.metrics_path or "/metrics"
        page = metrics_page(self._all)
        if self._config.metrics_port is None:
            state.pages[path] = page
            return
        self._port = _MetricsPort(self._config, shared=self._config.metrics_dir is not None)
        self._port.state.pages[path] = page
        await self._port.start(path)


def _passes(error: StartupError) -> bool:
    """Whether it comes of what the system lacks just now, and not of what was asked for."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in PASSING


class _MetricsPort:
    """A port that serves pages and nothing else; `shared` by several workers, of which any may answer."""

    def __init__(self, config: Config, shared: bool) -> None:
        self._host, self._port, self._shared = config.metrics_host, config.metrics_port, shared
        own = Config(_not_found, ws="none", proxy_headers=False, server_header=config.server_header)
        loop = asyncio.get_running_loop()
        self.state = LoopState(loop, own, Application(_not_found, own), None, secure=False)
        self._server: asyncio.AbstractServer | None = None

    async def start(self, path: str) -> None:
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self.state.new_connection, self._host, self._port, reuse_port=self._shared or None
            )
        except OSError as error:
            where = f"{self._host}:{self._port}"
            raise StartupError(f"--metrics-port: cannot listen on {where}: {error.strerror}") from None
        host, port = self.addresses()[0]
        logger.info("Metrics on http://%s:%d%s", f"[{host}]" if ":" in host else host, port, path)

    def addresses(self) -> list[tuple[str, int]]:
        sockets = [] if self._server is None else getattr(self._server, "sockets", [])
        return [sock.getsockname()[:2] for sock in sockets]

    def descriptors(self) -> Iterator[int]:
        yield from listening(self._server)
        yield from self.state.descriptors()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.state.shut_down()
        self.state.abort()
        await self.state.wait_closed()
        self.state.close()


async def _not_found(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The application of a port that has pages only."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"Not Found\n"})
