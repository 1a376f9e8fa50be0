"""The other end of the control sockets: asks the workers, one after the other. Needs no event loop."""

from __future__ import annotations

import glob
import json
import socket
from collections.abc import Iterator
from typing import Any, Final

from fastws.errors import ConfigError

TIMEOUT: Final = 5.0
"""Seconds that a worker gets for each line of its answer."""


class ControlError(Exception):
    """A worker did not do what it was asked; the message is one line."""


def workers(path: str) -> dict[int, str]:
    """The sockets behind `path`, the value of --control-socket, by process id. Raises ConfigError where none is."""
    found = {}
    for each in glob.glob(f"{glob.escape(path)}.*"):
        pid = each.rpartition(".")[2]
        if pid.isdecimal() and _listens(each):
            found[int(pid)] = each
    if not found:
        raise ConfigError(f"--control-socket: no server listens on {path}.PID")
    return dict(sorted(found.items()))


def ask(path: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects that the worker at the socket `path` answers with. Raises ControlError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect(path)
            sock.sendall(json.dumps(request).encode() + b"\n")
            with sock.makefile("rb") as lines:
                for line in lines:
                    answer = json.loads(line)
                    if answer.get("ok") is False:
                        raise ControlError(answer["error"])
                    yield answer
                    if "ok" in answer:
                        return
    except (OSError, ValueError) as error:
        raise ControlError(f"{path}: {error}") from None
    raise ControlError(f"{path}: the worker has ended")


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT)
        try:
            sock.connect(path)
        except OSError:
            return False
    return True
