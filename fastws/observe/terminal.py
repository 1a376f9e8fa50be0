"""The terminal: whether there is one, whether it wants colours, and the lines that a command writes before it can log.

SIGHUP means two things, and `has_terminal` tells them apart. Help, errors and logs ask `wants_colors` alike.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from typing import IO, Any

_RESET = "\x1b[0m"
_LABELS = {"Error": "\x1b[1;31m", "Warning": "\x1b[1;33m"}


def has_terminal() -> bool:
    """Whether this process belongs to a terminal that is there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | getattr(os, "O_NOCTTY", 0)))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)  # it may well be there: nobody can look
    return True


def wants_colors(stream: IO[Any] | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether text that is written to `stream` should be coloured.

    NO_COLOR says no (https://no-color.org), FORCE_COLOR says yes unless it is 0 or false (https://force-color.org);
    an empty variable says nothing. Without them it is so where the stream is a terminal that TERM does not call dumb.
    """
    if environ.get("NO_COLOR"):
        return False
    force = environ.get("FORCE_COLOR", "").lower()
    if force:
        return force not in ("0", "false")
    if stream is None or environ.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def say(label: str, message: str) -> None:
    """Write ``Error: message`` or ``Warning: message`` to standard error."""
    color = _LABELS[label] if wants_colors(sys.stderr) else ""
    print(f"{color}{label}:{_RESET if color else ''} {message}", file=sys.stderr)
