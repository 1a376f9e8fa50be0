"""Workers of a frozen program, in which ``python -m fastws.process.worker`` means nothing: it is started once more.

PyInstaller and its kind put the interpreter and all modules into one program (`sys.frozen`), and running it runs its
main module. A worker is that program, with the same arguments, and learns from its environment that it is one: its call
of `fastws.run`, or of the command, serves what the supervisor orders and does not come back.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

CHANNEL: Final = "FASTWS_WORKER_CHANNEL"
"""The variable of the environment that names the descriptor of the channel to the supervisor."""


def worker_command(channel: int) -> tuple[list[str], dict[str, str]]:
    """How a worker is started that finds its supervisor at the descriptor: a command, and more for its environment."""
    if not getattr(sys, "frozen", False):
        return [sys.executable, *_interpreter_flags(), "-m", "fastws.process.worker", str(channel)], {}
    return [sys.executable, *sys.argv[1:]], {CHANNEL: str(channel)}


def worker_channel() -> int | None:
    """The descriptor of the channel, if this is a frozen program that was started as a worker; it is told once."""
    if not getattr(sys, "frozen", False):
        return None
    channel = os.environ.pop(CHANNEL, "")  # it is not for processes that this one starts
    return int(channel) if channel.isdigit() else None


def _interpreter_flags() -> list[str]:
    """The options of Python that this process was started with, as `multiprocessing` passes them on."""
    flags: list[str] = getattr(subprocess, "_args_from_interpreter_flags")()  # noqa: B009  # it has no public name
    return flags
