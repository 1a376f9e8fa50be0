"""How a server ends what is open: connections and calls of the application, then its lifespan, each with a deadline.

The order and the log lines of an end are here; when one begins, and what else ends, is `fastws.process.server`'s.
A second signal hurries: it sets the event `force`, and nothing waits any longer.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from fastws.asgi.lifespan import Lifespan
from fastws.config import Config
from fastws.counted import counted
from fastws.net.event_loop import where
from fastws.net.loop_state import LoopState

logger: Final = logging.getLogger("fastws.error")

CANCELLATIONS: Final = 2
"""How often the tasks of an application are cancelled at shutdown, a second apart, before they are left behind."""
MAX_NAMED_TASKS: Final = 5
"""Of how many tasks that are left behind the log says where they are."""
WINDOW_PER_CONNECTION: Final = 0.01
"""Seconds that each connection, and each stream of HTTP/2, adds to the default of --drain-window."""
MIN_WINDOW: Final = 0.1
"""A window below this is none: a few connections are no herd."""
MAX_WINDOW: Final = 10.0
"""The greatest default of --drain-window, in seconds."""
STARTUP_SECONDS: Final = 5.0
"""How long a startup may go on when the server is told to exit; behind that the application is cancelled."""
HURRIED_SECONDS: Final = 1.0
"""How long connections have, where nobody waits for their end."""
HURRIED_LIFESPAN_SECONDS: Final = 5.0
"""How long the application then has to shut down."""
LAST_SECONDS: Final = 1.0
"""How long before the deadline of a shutdown connections are cut; a quarter of that time where that is less."""


def drain_window(config: Config, connections: int) -> float:
    """Seconds over which the ends of connections are spread: --drain-window, or what suits their number."""
    window = config.drain_window
    if window is None:
        window = min(MAX_WINDOW, connections * WINDOW_PER_CONNECTION)
        if window < MIN_WINDOW:
            return 0.0
    timeout = config.timeout_graceful_shutdown
    return window if timeout is None else min(window, timeout / 2)


class Drain:
    """The end of one server. `watch` is called before each step that an application could hang in."""

    def __init__(self, config: Config, force: asyncio.Event, watch: Callable[[], None]) -> None:
        self._config = config
        self._force = force
        self._watch = watch
        self.hurried = False
        """Whether to end in some seconds: who waits for the server was cancelled, and is not to wait for long."""

    async def end_startup(self, startup: asyncio.Future[None] | None) -> bool:
        """Let a startup go on for a moment where it has begun; whether the application has started, and has to end.

        Raises what the startup raised.
        """
        logger.info("Told to exit during startup")
        if startup is None:
            return False
        timeout = self._config.timeout_graceful_shutdown
        seconds = STARTUP_SECONDS if timeout is None else min(STARTUP_SECONDS, timeout)
        if await unless(self._force, end_of(startup), 0.0 if self.hurried else seconds):
            startup.result()
            return True
        startup.cancel()
        return False

    async def end_connections(self, state: LoopState, cut: Callable[[LoopState], None]) -> None:
        """Let open connections end, and `cut` those that do not in time.

        The cut comes a moment before the deadline: the application gets its disconnects and can still clean up.
        """
        logger.info("Shutting down")
        self._watch()
        ends = len(state.connections) + len(state.streams)
        state.shut_down(0.0 if self.hurried else drain_window(self._config, ends))
        if state.connections:
            logger.info("Waiting for %s to close (CTRL+C to force quit)", counted(len(state.connections), "connection"))
        timeout = self._timeout(HURRIED_SECONDS)
        last = 0.0 if timeout is None else min(LAST_SECONDS, timeout / 4)
        if await unless(self._force, state.wait_closed(), None if timeout is None else timeout - last):
            return
        why = "told to hurry"
        if not self._force.is_set() and not self.hurried:
            why = f"--timeout-graceful-shutdown of {timeout:g} s is over"
        logger.warning("Cutting %s: %s", counted(len(state.connections), "connection"), why)
        self._watch()
        cut(state)
        if not self._force.is_set() and await unless(self._force, state.wait_closed(), last):
            return
        for _ in range(CANCELLATIONS):
            state.abort()
            if await unless(None, state.wait_closed(), 1.0):
                return
        for task in list(state.tasks)[:MAX_NAMED_TASKS]:
            logger.warning(
                "An application task goes on although it was cancelled, in %s; leaving it behind", where(task)
            )
        if len(state.tasks) > MAX_NAMED_TASKS:
            more = counted(len(state.tasks) - MAX_NAMED_TASKS, "task more does", "tasks more do")
            logger.warning("%s the same", more)

    async def end_lifespan(self, lifespan: Lifespan) -> bool:
        """Let the application shut down, as long as open connections may take; whether it has done so, or was hurried.

        A second signal hurries.
        """
        self._watch()
        timeout = self._timeout(HURRIED_LIFESPAN_SECONDS)
        succeeded = False

        async def shut_down() -> None:
            nonlocal succeeded
            succeeded = await lifespan.shutdown()

        if await unless(self._force, shut_down(), timeout):
            return succeeded
        if self._force.is_set():
            logger.warning("Not waiting for the application to shut down")
            return True
        if self.hurried:
            logger.error("Application shutdown failed: it took longer than %g s", timeout)
        else:
            logger.error("Application shutdown failed: --timeout-graceful-shutdown of %g s is over", timeout)
        return False

    def _timeout(self, hurried: float) -> float | None:
        timeout = self._config.timeout_graceful_shutdown
        if not self.hurried:
            return timeout
        return hurried if timeout is None else min(hurried, timeout)


async def unless(
    event: asyncio.Event | None, coroutine: Coroutine[Any, Any, None], timeout: float | None = None
) -> bool:
    """Run the coroutine; give it up where the event comes first, or `timeout` seconds pass. True if it ended."""
    task = asyncio.ensure_future(coroutine)
    waiting = [asyncio.ensure_future(event.wait())] if event is not None else []
    try:
        await asyncio.wait((task, *waiting), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return False
        task.result()
        return True
    finally:
        for each in (task, *waiting):
            each.cancel()
        await asyncio.wait((task, *waiting))


async def end_of(task: asyncio.Future[None]) -> None:
    """Wait until it has ended, and let it go on where nobody waits any longer."""
    await asyncio.wait((task,))


def watch_process(seconds: float) -> None:
    """End this process in so many seconds, unless faulthandler's watch is cancelled or set anew before."""
    with suppress(AttributeError, ValueError, OSError, RuntimeError):  # no file behind sys.stderr
        faulthandler.dump_traceback_later(seconds, exit=True)
