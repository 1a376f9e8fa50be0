"""A worker as its supervisor sees it: how it is started, what it says, and how it is told to end.

Workers are started with exec, not by fork alone. So they share nothing but what they are given, a rolling restart
brings new code of the application and of fastws itself, and the supervisor stays small: it imports no application, no
event loop and nothing compiled.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastws.process.frozen import worker_command
from fastws.process.scoreboard import Row, Stage
from fastws.process.signals import named

STARTED: Final = b"s"
"""What a worker says: it accepts connections."""
LIMIT_REACHED: Final = b"l"
"""It has served enough and asks for a successor."""
ENDING: Final = b"e"
"""It was told to end, by whomever."""
UNGUARDED: Final = b"g"
"""The application's module asks for workers of its own, see `fastws.process.guard`: no new start mends that."""

END: Final = b"x"
"""What a worker is told, beside SIGTERM."""
HURRY: Final = b"h"
"""What it is told to end at once, as far as that goes; no signal says so, which others may send too."""

SUPERVISED_SIGNALS: Final = frozenset(
    named("SIGTERM", "SIGINT", "SIGHUP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGQUIT")
)
"""The signals that a supervisor acts on."""


@dataclass(frozen=True)
class Order:
    """What a new worker is told."""

    path: list[str]
    """sys.path."""
    source: bytes
    """A pickled function that returns the Config."""
    overrides: dict[str, Any]
    """Fields of the Config that the supervisor decides."""
    sockets: list[int]
    scoreboard: int
    row: int


class Worker:
    """A process that was started to serve. `generation` counts the rolling restarts before it."""

    def __init__(
        self,
        source: bytes,
        overrides: dict[str, Any],
        sockets: list[socket.socket],
        row: Row,
        generation: int,
        environ: Mapping[str, str],
    ) -> None:
        self.row = row
        self.generation = generation
        self.started = time.monotonic()
        self.serving_since: float | None = None
        self.told_to_end = False
        self.unguarded = False
        self.why_replaced: str | None = None
        self.predecessor: Worker | None = None
        self.kill_at: float | None = None
        descriptors = [each.fileno() for each in sockets]
        order = Order(sys.path, source, overrides, descriptors, row.board.descriptor, row.index)
        self.channel, theirs = socket.socketpair()
        with theirs:
            passed = (*descriptors, row.board.descriptor, theirs.fileno())
            command, more = worker_command(theirs.fileno())
            try:
                self.process = subprocess.Popen(command, pass_fds=passed, env={**environ, **more})
            except OSError:
                self.channel.close()
                raise
        self.pid = self.process.pid
        with contextlib.suppress(OSError):  # it is gone already, which is seen soon
            self.channel.sendall(pickle.dumps(order))
        self.channel.setblocking(False)

    @property
    def connections(self) -> int:
        """Open connections, about a second ago at the oldest."""
        return self.row.connections

    @property
    def serves(self) -> bool:
        """Whether it accepts connections and was not told to end."""
        return self.serving_since is not None and not self.told_to_end

    @property
    def starts(self) -> bool:
        """Whether it does not accept connections yet."""
        return self.serving_since is None and not self.told_to_end

    def read(self) -> bytes:
        """What it has said since the last time; nothing where it is gone."""
        try:
            return self.channel.recv(4096)
        except OSError:  # it has said nothing, or is gone
            return b""

    def send_signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def end(self, *, hurry: bool = False) -> None:
        """Tell it to drain, or to `hurry` with that."""
        self.told_to_end = True
        self.row.stage = Stage.ENDING
        with contextlib.suppress(OSError):  # it is gone
            self.channel.send(HURRY if hurry else END)
        self.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Forget it: it is gone."""
        self.channel.close()
        self.row.free()


def describe_exit(status: int) -> str:
    """What a process' returncode says, for a log line."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
        return f"was killed by signal {-status}"
    return f"exited with {status}"


def reap_orphans(ours: Collection[int]) -> None:
    """Let processes that have ended go, which were left to this one because it is the first of its container.

    Those whose numbers are in `ours` stay for whoever waits for them.
    """
    with contextlib.suppress(ChildProcessError):  # there are none at all
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in ours:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for workers: without what systemd told the supervisor, which is not for them."""
    names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    return {name: value for name, value in environ.items() if name not in names}
