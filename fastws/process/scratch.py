"""Directories that a service has while it runs, and that the next one removes where it was killed.

A file in each is locked as long as its owner lives, which the kernel sees to: no number of a process is compared, which
in another container would be somebody else's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows, where there is one process
    fcntl = None  # type: ignore[assignment]

TOPICS_PREFIX: Final = "fastws-topics-"
"""How the names of directories begin in which workers find each other."""
METRICS_PREFIX: Final = "fastws-metrics-"
"""How those begin in which workers share their metrics."""
LOCK: Final = "owner"
"""The file that the owner of a directory keeps locked."""


@contextlib.contextmanager
def scratch_directory(prefix: str, base: str | None = None) -> Iterator[str]:
    """The path of a new directory, for this user alone, whose name begins with `prefix`; it goes with the block.

    It is made in `base`, or where temporary files are. Others of that prefix, whose owners were killed, are removed.
    Raises OSError where none can be made.
    """
    base = tempfile.gettempdir() if base is None else base
    remove_abandoned(prefix, base)
    hidden = tempfile.mkdtemp(prefix=f".{prefix}", dir=base)  # until it is locked, nobody finds it
    path = os.path.join(base, os.path.basename(hidden)[1:])
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, hidden, ignore_errors=True)
        lock = os.open(os.path.join(hidden, LOCK), os.O_RDWR | os.O_CREAT, 0o600)
        stack.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(hidden, path)
        stack.callback(shutil.rmtree, path, ignore_errors=True)
        yield path


class SharedDirectory:
    """The directory `path`, for processes of one user that come and go; the last one to `leave` removes it.

    It is made where there is none, and others of `prefix` beside it that were abandoned are removed. Raises OSError
    where there can be none, or it is somebody else's.
    """

    def __init__(self, path: str, prefix: str) -> None:
        self.path: str = path
        remove_abandoned(prefix, os.path.dirname(path))
        lock = None
        while lock is None:
            lock = self._lock()
        self._held = lock

    def leave(self) -> None:
        """Have it no longer."""
        with contextlib.suppress(OSError):
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._held)

    def _lock(self) -> int | None:
        """A descriptor that keeps it, or None where the last of the others has just removed it."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        status = os.lstat(self.path)
        if status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode):
            raise PermissionError(errno.EPERM, "It is somebody else's", self.path)
        name = os.path.join(self.path, LOCK)
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(lock, fcntl.LOCK_SH)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), os.stat(name)):
                    return lock
            os.close(lock)
        return None


def remove_abandoned(prefix: str, base: str) -> None:
    """Remove what is left of owners that are gone; what cannot be removed, or is somebody else's, stays."""
    with contextlib.suppress(OSError):
        for path in Path(base).glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    status = path.lstat()
    if status.st_uid != os.geteuid() or not path.is_dir() or path.is_symlink():
        return
    lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW)  # raises for what is being made just now
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
