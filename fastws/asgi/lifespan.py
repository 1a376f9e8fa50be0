"""The ASGI lifespan protocol (lifespan specification 2.0): one task for each event loop, from startup to shutdown.

The states are one table: what the application may send in each, and where that leads. Who calls `startup` and
`shutdown`, and what happens to the server when they fail, is decided in `fastws.process.server`.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from typing import Any, Final

from fastws.asgi.loading import ASGIApplication, Message
from fastws.errors import ApplicationError, StartupError

logger: Final = logging.getLogger("fastws.error")


class State(Enum):
    """Where the lifespan is."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    START_FAILED = "failed to start"
    STOP_FAILED = "failed to stop"
    ABSENT = "without lifespan"


_NEXT: Final[dict[State, dict[str, State]]] = {
    State.STARTING: {
        "lifespan.startup.complete": State.RUNNING,
        "lifespan.startup.failed": State.START_FAILED,
    },
    # Not asked for yet, but Starlette tells so of a lifespan that fails while the server serves.
    State.RUNNING: {"lifespan.shutdown.failed": State.STOP_FAILED},
    State.STOPPING: {
        "lifespan.shutdown.complete": State.STOPPED,
        "lifespan.shutdown.failed": State.STOP_FAILED,
    },
}
"""{state: {event of the application: next state}}; in the other states it may send nothing."""


class Lifespan:
    """The lifespan of one application in one event loop. `mode` is auto, on or off, as --lifespan says."""

    def __init__(self, app: ASGIApplication, mode: str) -> None:
        self.state: dict[str, Any] = {}
        """What the application leaves here at startup; every scope gets a shallow copy."""
        self.status = State.ABSENT if mode == "off" else State.STARTING
        self.error: BaseException | None = None
        """What the application raised, in the end or instead of an answer."""
        self._app = app
        self._required = mode == "on"
        self._failure = ""
        self._asked = 0
        self._given_up = False
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()

    async def startup(self) -> None:
        """Send lifespan.startup and wait for the answer. Raises StartupError where the application cannot start.

        With `auto`, an application that raises or returns without an answer is served without lifespan.
        """
        if self.status is not State.STARTING:
            return
        logger.info("Waiting for application startup.")
        self._task = asyncio.get_running_loop().create_task(self._run(), name="fastws lifespan")
        await self._changed.wait()
        await self._started()

    async def _started(self) -> None:
        if self.status is State.START_FAILED:
            await self._end()
            raise StartupError("Application startup failed" + self._failure) from self.error
        if self.status is State.RUNNING:
            logger.info("Application startup complete.")

    async def shutdown(self) -> bool:
        """Send lifespan.shutdown, wait for the answer and the end of the application. False where it failed."""
        if self.status is not State.RUNNING:
            return True
        logger.info("Waiting for application shutdown.")
        self._changed.clear()
        self.status = State.STOPPING
        self._stop.set()
        await self._changed.wait()
        await self._end()
        if self.status is State.STOP_FAILED:
            logger.error("Application shutdown failed%s", self._failure)
            return False
        logger.info("Application shutdown complete.")
        return True

    async def cancel(self) -> None:
        """Give the application up, wherever it is: what it says of its cancellation is nobody's news. Idempotent."""
        task, self._task = self._task, None
        self._given_up = True
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=1.0)  # one that swallows the cancellation is left behind

    async def _end(self) -> None:
        """Let the application finish after its last event; one that only waits for more events is cancelled."""
        while self._task is not None and not self._task.done() and self._asked < 3:
            self._changed.clear()
            waiting = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait((self._task, waiting), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
        await self.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._receive, self._send)
        except asyncio.CancelledError:
            self._raised(None)
        except BaseException as error:  # SystemExit too: it would end the loop
            if isinstance(error, GeneratorExit) and loop.is_closed():
                raise  # the task was left behind
            self._raised(error)
        else:
            self._returned()
        finally:
            self._changed.set()

    def _raised(self, error: BaseException | None) -> None:
        """The application ended with an exception, or was cancelled: `error` is None."""
        if self._given_up:
            return
        self.error = error
        if self.status is State.STARTING and not self._required and isinstance(error, Exception):
            self.status = State.ABSENT
            logger.info(
                "ASGI 'lifespan' protocol appears unsupported: the application raised %s. "
                "(--lifespan on makes that an error)",
                type(error).__name__,
            )
            logger.debug("What it raised:", exc_info=error)
        elif self.status in (State.STARTING, State.RUNNING, State.STOPPING):
            starting, stopping = self.status is State.STARTING, self.status is State.STOPPING
            self.status = State.START_FAILED if starting else State.STOP_FAILED
            if error is not None:
                what = "at startup" if starting else "at shutdown" if stopping else "between startup and shutdown"
                self._failure = f": it raised {type(error).__name__}"
                logger.error("Exception in ASGI lifespan %s", what, exc_info=error)
        elif error is not None:  # it has told us already, by startup.failed or shutdown.failed
            logger.debug("The application raised after its last lifespan event:", exc_info=error)

    def _returned(self) -> None:
        """The application returned."""
        if self.status is State.STARTING and self._required:
            self.status = State.START_FAILED
            self._failure = ": it returned before it sent lifespan.startup.complete"
        elif self.status is State.STARTING:
            self.status = State.ABSENT
            logger.info("ASGI 'lifespan' protocol appears unsupported: the application returned without an answer.")
        elif self.status in (State.RUNNING, State.STOPPING):
            self.status = State.STOPPED

    async def _receive(self) -> Message:
        self._asked += 1
        if self._asked == 1:
            return {"type": "lifespan.startup"}
        if self._asked == 2:
            await self._stop.wait()
            return {"type": "lifespan.shutdown"}
        self._changed.set()
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # never: see _end

    async def _send(self, message: Message) -> None:
        if self._given_up:
            return
        kind = message.get("type")
        allowed = _NEXT.get(self.status, {})
        if kind not in allowed:
            names = " or ".join(allowed) or "nothing more"
            raise ApplicationError(f"ASGI lifespan: got {kind!r} while {self.status.value}; allowed is {names}")
        serving = self.status is State.RUNNING
        self.status = allowed[kind]
        if kind.endswith(".failed"):
            text = message.get("message") or ""
            if "\n" in text.strip():  # a traceback, as Starlette sends it: not for one line
                logger.error("%s", text.rstrip())
                text = text.strip().rsplit("\n", 1)[-1]
            self._failure = f": {text.strip()}" if text else ""
            if serving:
                logger.error("The lifespan of the application failed while it was served%s", self._failure)
        self._changed.set()
