"""The control socket of a server in development: nobody named one, and `fastws status` in the same directory finds it.

A server has it that the command `fastws` starts in a terminal, or with --reload, without --control-socket. It lies
where only its user can look, under a name that stands for the working directory. Servers of one directory share the
name, as the workers of a service do.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import sys
import tempfile
from typing import Final

LONGEST: Final = 95
"""Characters of a path, for a Unix domain socket's name has up to 107 bytes and ends with a process id."""


def wanted(reload: bool) -> bool:
    """Whether somebody develops here: what is logged goes to a terminal, or the server reloads."""
    return reload or (sys.stderr is not None and sys.stderr.isatty())


def own_socket(*, make: bool = False) -> str | None:
    """The path for servers of this directory; None where there can be none.

    With `make` there is a folder for it afterwards, which is this user's alone.
    """
    if not hasattr(socket, "AF_UNIX") or not hasattr(os, "geteuid"):
        return None
    try:
        directory = os.getcwd()
        folder = _folder()
        if make:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        if not _is_private(folder):
            return None
    except OSError:
        return None
    path = os.path.join(folder, hashlib.sha256(os.fsencode(directory)).hexdigest()[:16])
    return path if len(os.fsencode(path)) <= LONGEST else None


def _folder() -> str:
    """Where sockets of this user belong (XDG Base Directory Specification); it may not be there yet."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime):
        return os.path.join(runtime, "fastws")
    return os.path.join(tempfile.gettempdir(), f"fastws-{os.geteuid()}")


def _is_private(folder: str) -> bool:
    """Whether it is a directory of this user's that nobody else can enter; others may have made one of that name."""
    about = os.lstat(folder)
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not stat.S_IMODE(about.st_mode) & 0o077
