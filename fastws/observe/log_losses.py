"""Lines that a handler of logging cannot write: a full disk, a reader that is gone, no descriptor.

Python's own answer is a traceback for each line, on standard error, which is often the next thing that fills the disk.
Here it is a line a minute, with the number of those that were lost. Mistakes of another kind, such as arguments that do
not fit a message, are told as Python does it.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from fastws.counted import counted
from fastws.observe.terminal import say

AGAIN_SECONDS: Final = 60.0
"""How long nothing is said of a handler that goes on to lose lines."""


def handlers() -> Iterator[logging.Handler]:
    """Every handler of every logger, each once."""
    loggers = [logging.root, *logging.Logger.manager.loggerDict.values()]
    yield from {handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers}


def count_losses() -> None:
    """From now on, let the handlers that there are say what they lose; those with a way of their own keep it."""
    for handler in handlers():
        if type(handler).handleError is logging.Handler.handleError and "handleError" not in vars(handler):
            handler.handleError = _Losses(handler)  # type: ignore[method-assign]


class _Losses:
    """Takes the place of the `handleError` of one handler."""

    def __init__(self, handler: logging.Handler) -> None:
        self._handler = handler
        self._lost = 0
        self._said = float("-inf")

    def __call__(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            logging.Handler.handleError(self._handler, record)
            return
        self._lost += 1
        now = time.monotonic()
        if now - self._said < AGAIN_SECONDS:
            return
        self._said = now
        with contextlib.suppress(Exception):  # standard error may be what cannot be written to
            lines = counted(self._lost, "line is lost", "lines are lost")
            say("Error", f"{_name(self._handler)} cannot be written to: {error.strerror or error}; {lines} until now")


def _name(handler: Any) -> str:
    """What a handler writes to: a file, a stream, or itself where nobody knows."""
    stream = getattr(handler, "stream", None)
    name = getattr(handler, "baseFilename", None) or getattr(stream, "name", None)
    return f"the log {name}" if isinstance(name, str) else f"a log ({type(handler).__name__})"
