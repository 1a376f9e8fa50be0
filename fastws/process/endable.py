"""How a server is told to end: by flags that any thread sets, by signals, or by the task that it runs in.

Two flags are all: `should_exit` begins a graceful shutdown, `force_exit` cuts it short. The loop sees each as an event.
Who tells, and what follows, is `fastws.process.server`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from types import FrameType
from typing import Final

logger: Final = logging.getLogger("fastws.error")


class Endable:
    """What runs in `_loop`, once it has one, until it is told to end."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exit_flag = self._force_flag = False
        self._exit = asyncio.Event()
        self._force = asyncio.Event()

    @property
    def should_exit(self) -> bool:
        """Set it to begin a graceful shutdown, from any thread."""
        return self._exit_flag

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._exit_flag = value
        self._wake()

    @property
    def force_exit(self) -> bool:
        """Set it to cut a shutdown short: open connections are aborted, the application's shutdown is not awaited."""
        return self._force_flag

    @force_exit.setter
    def force_exit(self, value: bool) -> None:
        self._force_flag = value
        self._wake()

    def handle_exit(self, signum: int, frame: FrameType | None) -> None:
        """Handle SIGINT or SIGTERM: the first is graceful, the second hurries, the third ends the process at once.

        The third is for a loop that the application blocks, where the others cannot be acted on.
        """
        if self._force_flag:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        if self._exit_flag:
            self.force_exit = True
        else:
            self._ends()
        self.should_exit = True

    def _ends(self) -> None:
        """The first signal has come, of which the loop may not learn: it may be stuck."""

    def _say(self, line: str) -> None:
        """Log a line from a signal handler, which may have come in the middle of another one."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(logger.info, line)

    def _wake(self) -> None:
        """Tell the loop that a flag has changed. The caller may be any thread, or a signal handler."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._set_events)

    def _set_events(self) -> None:
        if self._exit_flag:
            self._exit.set()
        if self._force_flag:
            self._force.set()
