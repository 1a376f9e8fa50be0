"""Log files that are opened anew on SIGUSR1, after logrotate has moved them away.

For handlers of Python's logging that write to files, whoever configured them. The signal only leaves a note; the loop
reads it at its next tick, since no lock may be taken in the middle of a line.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from typing import Final

from fastws.observe.log_losses import handlers

logger: Final = logging.getLogger("fastws.error")


def reopen_on_signal() -> Callable[[], None]:
    """Handle SIGUSR1, where there is one, on the main thread. What is returned opens them anew, if it was received."""
    noted = False

    def note(number: int, frame: object) -> None:
        nonlocal noted
        noted = True

    def reopen() -> None:
        nonlocal noted
        if noted:
            noted = False
            reopen_log_files()
            logger.info("Opened the log files anew")

    if hasattr(signal, "SIGUSR1") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, note)
    return reopen


def reopen_log_files() -> None:
    """Close the files that logging writes to and open them at their names."""
    for each in handlers():
        if isinstance(each, logging.FileHandler):
            with each.lock or threading.RLock():
                _reopen(each)


def _reopen(handler: logging.FileHandler) -> None:
    """Open the file of the handler at its name. Where that cannot be, what is open is written to as before."""
    if handler.stream is None:
        return
    handler.mode = "a"  # whatever is at the name now is not to be emptied
    try:
        opened = handler._open()
    except OSError as error:
        why = error.strerror or error
        logger.error("Cannot open the log file %s anew: %s; writing to the old one", handler.baseFilename, why)
        return
    handler.stream.close()
    handler.stream = opened
