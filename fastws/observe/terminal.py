"""The terminal: whether there is one, whether it wants colours, and how an error looks there.

The rule for errors, which docs/cli.md tells users:

- What keeps a command from doing what it was asked for is one line on standard error, ``Error: WHERE: what is wrong``,
  and an exit code that is not 0. WHERE is the option, argument, variable or key, where it is one. What to do follows
  behind a colon or a semicolon, and no full stop. `say` writes the line; once logging is set up `log_failure` of
  `fastws.observe.log_setup` does, which puts it into the log, too.
- What happens while a server serves, or ends, is a line of its log, ``ERROR:    what``.
- Under gunicorn both are lines of gunicorn's log.

SIGHUP means two things, and `has_terminal` tells them apart. Help, errors and logs ask `wants_colors` alike.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from typing import IO, Any, Literal, TypeAlias

_RESET = "\x1b[0m"
Label: TypeAlias = Literal["Error", "Warning"]
_COLORS: dict[Label, str] = {"Error": "\x1b[1;31m", "Warning": "\x1b[1;33m"}


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


def labelled(label: Label, colored: bool) -> str:
    """How a line begins: the label and its colon."""
    return f"{_COLORS[label]}{label}:{_RESET}" if colored else f"{label}:"


def say(label: Label, message: str) -> None:
    """Write ``Error: message`` or ``Warning: message`` to standard error."""
    print(labelled(label, wants_colors(sys.stderr)), message, file=sys.stderr)
