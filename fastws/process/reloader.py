"""Which changes of files restart a worker, for --reload; how it restarts is the supervisor's business.

Watching is the work of `watchfiles`, in a thread. What counts is decided here with uvicorn's rules: *.py in the
directories, with the patterns of --reload-include, without those of --reload-exclude.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any, Final

from fastws.config import Config
from fastws.distribution import install_line
from fastws.errors import ConfigError

RELOAD_OVERRIDES: Final[dict[str, Any]] = {"timeout_graceful_shutdown": 1.0, "drain_delay": 0.0, "drain_window": 0.0}
"""A worker that makes place for changed code: WebSockets are told at once, and nobody is waited for."""

INCLUDES: Final = ("*.py",)
EXCLUDES: Final = (".*", "*.py[cod]", "*.sw.*", "~*")


class ChangeWatcher:
    """A context manager: the socket that it returns has a line for every file that changed and counts.

    Raises ConfigError where watchfiles is not installed or nothing is there to watch.
    """

    def __init__(self, config: Config) -> None:
        try:
            import watchfiles
        except ImportError:
            raise ConfigError(f"--reload: needs watchfiles: {install_line('reload')}") from None
        self._watch = watchfiles.watch
        self._step = max(1, round(config.reload_delay * 1000))
        given = [*config.reload_dirs, *(each for each in config.reload_includes if os.path.isdir(each))]
        paths = [Path(each).resolve() for each in given or (os.curdir, config.app_dir)]
        self.directories = list(dict.fromkeys(paths))
        """What is watched, with all below."""
        for each in self.directories:
            if not each.is_dir():
                raise ConfigError(f"--reload-dir: there is no directory {each}")
        self._includes = [each for each in INCLUDES if each not in config.reload_excludes]
        self._includes += [each for each in config.reload_includes if not os.path.isdir(each)]
        self._excludes = [each for each in EXCLUDES if each not in config.reload_includes]
        self._excludes += [each for each in config.reload_excludes if not os.path.isdir(each)]
        self._not_in = [Path(each).resolve() for each in config.reload_excludes if os.path.isdir(each)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fastws-reload", daemon=True)

    def counts(self, path: Path) -> bool:
        """Whether a change of this file, an absolute path, restarts the worker."""
        if path.name in self._includes:  # named, and no pattern
            return True
        if any(directory in path.parents for directory in self._not_in):
            return False
        if any(self._is_excluded(each) for each in (path, *filter(self._is_watched, path.parents))):
            return False
        return any(path.match(pattern) for pattern in self._includes)

    def _is_excluded(self, path: Path) -> bool:
        """Whether a pattern excludes the file or directory: by its name, or where it has a slash, by its path."""
        name = Path(path.name)
        below = [path.relative_to(each) for each in self.directories if each in path.parents]
        return any(
            any(each.match(pattern) for each in (*below, path) if os.path.isabs(pattern) or each is not path)
            if "/" in pattern.rstrip("/")
            else name.match(pattern)
            for pattern in self._excludes
        )

    def __enter__(self) -> socket.socket:
        ours, self._theirs = socket.socketpair()
        self._ours = ours
        ours.setblocking(False)
        self._thread.start()
        return ours

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2.0)
        self._ours.close()
        self._theirs.close()

    def _is_watched(self, directory: Path) -> bool:
        """Whether it is below one of the watched directories: a dot in the names above those excludes nothing."""
        return any(each in directory.parents for each in self.directories)

    def _run(self) -> None:
        watching = self._watch(
            *self.directories,
            watch_filter=None,
            stop_event=self._stop,
            step=50,
            debounce=self._step,
            rust_timeout=500,
            yield_on_timeout=False,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        for changes in watching:
            names = sorted({name for _, name in changes if self.counts(Path(name))})
            if names:
                self._theirs.sendall("".join(f"{_shown(name)}\n" for name in names[:10]).encode())


def _shown(name: str) -> str:
    try:
        return str(Path(name).relative_to(Path.cwd()))
    except ValueError:
        return name
