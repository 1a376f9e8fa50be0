"""What the connections of one event loop share: the receive buffer, the clock, the cork, limits, the log and the tasks.

It is the floor that channels and their handlers stand on, and knows none of them: `LoopState`, which does, is built on
it, and is what a server makes. Compiled by Cython where the extension was built (loop_core.pxd), interpreted elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol

from fastws.http.head_reader import HeadReader
from fastws.http.head_scan import Limits
from fastws.http.origin import ANY
from fastws.http.repeats import Repeats
from fastws.net.log_limit import LogLimit
from fastws.net.loop_counts import LoopCounts

if TYPE_CHECKING:
    from fastws.config import Config
    from fastws.http.pages import Page
    from fastws.websocket.engine import Engine

RECEIVE_BUFFER_BYTES = 65536 + 1024
"""Many a program sends messages of 64 KiB: with its header, one is one read."""

REPEATED_ENTRIES = 256
"""How many lists of response headers are remembered."""


APPLICATION_ERRORS = 10
"""Errors of one kind in the application that are logged at once."""

_CUT = "Exception at the connection of %s, which is cut"

logger = logging.getLogger("fastws.error")


class Corked(Protocol):
    """Somebody whose output waits for the end of the loop's turn."""

    def end_of_turn(self) -> None:
        """Write what waits."""

    def give_up(self, error: Exception) -> None:
        """`end_of_turn` has raised: log that with whom it belongs to, and end what cannot go on."""


class Resumable:
    """Somebody who goes on in the loop's next turn."""

    def resume(self) -> None:
        """Go on."""
        raise NotImplementedError

    def give_up(self, error: Exception) -> None:
        """`resume` has raised: log that with whom it belongs to, and end what cannot go on."""
        raise NotImplementedError


class LoopCore:
    """What the hot path shares on `loop`, for a server of `config`.

    `application` is the `Gateway` that requests go to, `engine` what WebSockets are made with, if they are, and
    `secure` says whether connections are TLS. `on_error` is told of each mistake of the application, logged or not.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        application: Any,
        engine: type[Engine] | None,
        secure: bool,
        on_error: Callable[[str, BaseException | None], None] | None,
    ) -> None:
        self.loop = loop
        self.config = config
        self.application = application
        self.engine = engine
        self.secure = secure
        self._on_error = on_error
        # The server's own: what an application calls must not go on in the application's.
        self.context = copy_context()
        # A clock for what lasts microseconds: uvloop's own has milliseconds, of when the turn of the loop began.
        coarse = type(loop).__module__.partition(".")[0] == "uvloop"
        self.clock: Callable[[], float] = time.perf_counter if coarse else loop.time
        # Seconds on the loop's clock, as of the last sweep.
        self.now: float = loop.time()
        self.receive_buffer: memoryview = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        # The server is about to stop: a response is the last one on its connection.
        self.draining: bool = False
        # The server no longer listens, and connections end.
        self.shutting_down: bool = False
        # Nobody is served any more: connections are cut, tasks cancelled.
        self.aborted: bool = False
        self._corked: list[Corked] = []
        self._corked_carriers: list[Corked] = []
        self._turn_due: bool = False
        # Who reads for many connections is about to call `end_polling`: nobody needs a callback of the loop's.
        self.polling: bool = False
        # Since this was last set to false, somebody has been told to go on by a callback of the loop's.
        self.woken: bool = False
        self._resuming: bool = False
        self._resumable: list[Resumable] = []
        # What was accepted and is no connection yet, since its TLS handshake is under way: it has a `cancel`.
        self.opening: set[Any] = set()
        # All channels that have a socket; those whose peer does not take what waits for it, and the bytes that may.
        self.connections: set[Any] = set()
        self.stalled: set[Any] = set()
        # The channels that are streams of such a one, with HTTP/2.
        self.streams: set[Any] = set()
        self.write_high_water: int = config.write_buffer_bytes
        self.counts = LoopCounts()
        self.log_limit = LogLimit(logger)
        # The application's tasks, and who waits until there are none, and no connections.
        self.tasks: set[asyncio.Task[None]] = set()
        self.idle_waiters: list[asyncio.Future[None]] = []
        # Response headers that came more than once.
        self.responses = Repeats(REPEATED_ENTRIES)
        # Where WebSockets subscribe and publish, if the server offers that: `fastws.topics.hub.Hub`.
        self.topics: Any = None
        # Header fields that several WebSockets had.
        self.fields = Repeats(4 * REPEATED_ENTRIES)
        # Requests whose response is not complete and whose application has not ended, and WebSockets of such a one.
        self.requests: int = 0
        self.max_requests: int | None = config.limit_concurrency
        self.websockets: int = 0
        self.max_websockets: int | None = config.limit_websockets or config.limit_concurrency
        # Requests there were, and what is called when there was the last one.
        self.requests_total: int = 0
        self.last_request: int = 0
        self.at_last_request: Callable[[], None] = _nothing
        # By path, what is answered before any limit and without the application.
        self.pages: dict[str, Page] = {}
        self.limits = Limits(
            target=config.limit_request_line,
            fields=config.limit_request_fields,
            field_size=config.limit_request_field_size,
            head=config.limit_request_head,
        )
        self.heads = HeadReader(self.limits)
        self.limit_request_body: int | None = config.limit_request_body
        self.timeout_request_head: float = config.timeout_request_head
        self.timeout_keep_alive: float = config.timeout_keep_alive
        self.allowed_origins: frozenset[str] | None = frozenset(config.ws_allowed_origins) or None
        if ANY in config.ws_allowed_origins:
            self.allowed_origins = None
        # The header lines that every response gets: Date, Server and the configured ones, as options say.
        self.head_lines: bytes = b""

    # What `LoopState` does for those below it.

    def connection_opened(self, connection: Any) -> None:
        """The `Connection` has its transport: give it a number and a handler."""
        raise NotImplementedError

    def connection_closed(self, connection: Any) -> None:
        """The `Connection` has lost its transport."""
        raise NotImplementedError

    def begin_http(self, connection: Any, source: Any = None, destination: Any = None, secure: bool = False) -> Any:
        """Serve HTTP on `connection`: its `HttpHandler`, or None where its client has too many of them.

        A proxy may have told its client's address, `source`, the one that it connected to, and that it came over TLS.
        """
        raise NotImplementedError

    def tls_failed(self, error: BaseException, peer: Any) -> None:
        """A TLS handshake with `peer`, an address, has failed: count it, and log it for the operator."""
        raise NotImplementedError

    def begin_http2(self, connection: Any, data: bytes = b"") -> Any:
        """Serve HTTP/2 on `connection`, of which `data` has come: its `HttpHandler`, or None where it is not served."""
        raise NotImplementedError

    def drain_due(self) -> float:
        """When a connection that idles should end, now that the server shuts down: a time; 0.0 is now."""
        raise NotImplementedError

    def channels(self) -> list[Any]:
        """All connections, and all streams of theirs."""
        return [*self.connections, *self.streams]

    # A turn of the loop.

    def cork(self, corked: Corked) -> None:
        """Call `corked.end_of_turn()` once, when everything that is ready to run now has run."""
        self._corked.append(corked)
        if not self._turn_due:
            self._end_turn_soon()

    def cork_carrier(self, carrier: Corked) -> None:
        """As `cork`, behind all others: for who carries what they write."""
        self._corked_carriers.append(carrier)
        if not (self._turn_due or self._resuming or self.polling):
            self._end_turn_soon()

    def _end_turn_soon(self) -> None:
        self._turn_due = True
        self.loop.call_soon(self.end_turn, context=self.context)

    def resume_soon(self, resumable: Resumable) -> None:
        """Call `resumable.resume()` when all that can be read now has been, or else in the loop's next turn.

        There is one callback of the loop's for all of a turn, and none where a poller reads.
        """
        if not self._resumable and not self.polling:
            self.loop.call_soon(self.resume_all, context=self.context)
        self._resumable.append(resumable)

    def wake(self, waiter: asyncio.Future[None]) -> None:
        """Let who waits in `waiter` go on, by a callback of the loop's."""
        self.woken = True
        waiter.set_result(None)

    def run_own(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call `function` in the server's own context, whoever has called the server."""
        return self.context.copy().run(function, *arguments)

    def resume_all(self) -> None:
        """The callback of `resume_soon`, where no poller has read."""
        self.end_polling()

    def end_polling(self) -> None:
        """All is read for now that can be: let everybody go on who is to, and who carries what they write write it.

        At once, though the turn has an end to come: a peer that is quick has then answered when the loop polls, which
        it would wait for else.
        """
        self.polling = False
        if self._resumable:
            resumable, self._resumable = self._resumable, []
            self._resuming = True
            for each in resumable:
                try:
                    each.resume()
                except Exception as error:
                    self._give_up_one(each, error)
            self._resuming = False
        if self._corked_carriers:
            corked, self._corked_carriers = self._corked_carriers, []
            self._end_turn_of(corked)

    def end_turn(self) -> None:
        """Let everybody who is corked write."""
        corked, self._corked = self._corked, []
        self._end_turn_of(corked)
        corked, self._corked_carriers = self._corked_carriers, []
        self._end_turn_of(corked)
        self._turn_due = False
        if self._corked or self._corked_carriers:
            self._end_turn_soon()

    def _end_turn_of(self, corked: list[Corked]) -> None:
        for each in corked:
            try:
                each.end_of_turn()
            except Exception as error:
                self._give_up_one(each, error)

    # Tasks of the application.

    def end_task(self, task: asyncio.Task[None] | None) -> None:
        """Keep the server from ending for `task` no longer; None is one that was over at once. Idempotent."""
        self.tasks.discard(task)
        self.wake_when_idle()

    def wake_when_idle(self) -> None:
        """Let those go on who wait until nothing is left, if nothing is."""
        if self.idle_waiters and not self.connections and not self.tasks and not self.opening:
            waiters, self.idle_waiters = self.idle_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def admits(self, descriptor: int) -> bool:
        """Whether a connection may have `descriptor` while it is none yet; `LoopState` keeps the last ones back."""
        return True

    # The log.

    def warn(
        self,
        message: str,
        *arguments: object,
        kind: str | None = None,
        request: Mapping[str, object] | None = None,
    ) -> None:
        """Log what was done wrong: the first of its kind (by default the message), then a count of the rest.

        The `request` that it was done in is named as in `LogLimit.log`.
        """
        self.log_limit.log(self.now, logging.WARNING, message, *arguments, kind=kind, request=request)

    def log_application_error(
        self, message: str, error: BaseException | None = None, request: Mapping[str, object] | None = None
    ) -> None:
        """Log what the application did wrong, with the traceback of `error`, and with the `request` that it belongs to.

        The first ten of a kind are shown, then one a second, with a count: one that fails in each request must not
        fill the disk. A kind is an exception's class and the line that raised it.
        """
        if self._on_error is not None:
            self._on_error(message, error)
        kind: Hashable = message
        if error is not None:
            frame = error.__traceback__
            while frame is not None and frame.tb_next is not None:
                frame = frame.tb_next
            kind = (message, type(error), None if frame is None else (frame.tb_frame.f_code, frame.tb_lineno))
        self.log_limit.log(
            *(self.now, logging.ERROR, message),
            kind=kind,
            room=APPLICATION_ERRORS,
            exc_info=error,
            request=request,
        )

    # Of many, one that raises an exception costs itself only.

    def give_up(self, channel: Any, error: Exception) -> None:
        """What was done for `channel`, one of many, has raised `error`: log that, and cut it. Raises nothing."""
        try:
            peer = channel.peer_name()
            if self._on_error is not None:
                self._on_error(_CUT % peer, error)
            room, kind = APPLICATION_ERRORS, (_CUT, type(error))
            self.log_limit.log(self.now, logging.ERROR, _CUT, peer, kind=kind, room=room, exc_info=error)
        except Exception as another:
            self._tell_loop(another)
        try:
            channel.abort()
        except Exception as another:
            self._tell_loop(another)

    def _give_up_one(self, one: Corked | Resumable, error: Exception) -> None:
        try:
            one.give_up(error)
        except Exception as another:
            self._tell_loop(another)

    def _tell_loop(self, error: Exception) -> None:
        context = {"message": "Exception in the end of what had raised one", "exception": error}
        self.loop.call_exception_handler(context)


def _nothing() -> None:
    """What is called at a request that is not the last one."""
