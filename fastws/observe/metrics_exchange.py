"""How workers tell each other their numbers, so that any of them can answer a scrape with the sum of all.

In one directory each worker has a file with its snapshot, replaced once a second, and holds a lock on another beside
it. A worker that is scraped adds what it finds there to its own numbers. A lock that can be taken is that of a worker
that has ended, however it did: what it counted is then added to the file of the ended, so that no counter ever falls,
and its files are removed. No master has to take part, nothing is asked of a worker that is busy, and a message costs
nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows, where there is one process
    fcntl = None  # type: ignore[assignment]

from fastws.errors import StartupError
from fastws.observe.metrics import Snapshot, add, of_ended

logger: Final = logging.getLogger("fastws.error")

INTERVAL: Final = 1.0
"""Seconds between two snapshots of a worker."""

_ENDED: Final = "ended"
_OWN: Final[set[str]] = set()
"""Names in this process: its own locks would not keep it out."""


class MetricsExchange:
    """The directory, as one worker has it open. Raises StartupError where it cannot be used."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._failing = False
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._open_lock(self._name)
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartupError(f"--metrics-dir: cannot use {directory}: {error.strerror}") from error
        _OWN.add(self._name)

    def publish(self, snapshot: Snapshot) -> None:
        """Tell the others. A full disk only makes the numbers old, and the log says so once."""
        try:
            self._write(self._name, snapshot)
        except OSError as error:
            if not self._failing:
                why = error.strerror or error
                logger.error("Cannot write this worker's metrics to %s: %s; others see old ones", self._directory, why)
            self._failing = True
        else:
            if self._failing:
                logger.info("Writing this worker's metrics to %s again", self._directory)
            self._failing = False

    def others(self) -> Snapshot:
        """The sum of the other workers that run, and of what those that have ended counted.

        Where the directory cannot be written to, the ended stay in it, and are counted all the same.
        """
        with self._locked_ended() as locked:
            names = {path.stem for path in self._directory.glob("*.lock")} - _OWN - {_ENDED}
            dead = {name for name in names if not self._lives(name)}
            with contextlib.suppress(OSError):
                for name in tuple(dead) if locked else ():
                    self._bury(name)
                    dead.remove(name)
            # Still locked: who is buried in between would be counted twice, or not at all.
            told = [path.stem for path in self._directory.glob("*.json") if path.stem != self._name]
            return add(of_ended(self._read(name)) if name in dead else self._read(name) for name in told)

    def close(self, snapshot: Snapshot | None = None) -> None:
        """Leave the last numbers to the others."""
        if snapshot is not None:
            self.publish(snapshot)
        _OWN.discard(self._name)
        os.close(self._lock)

    def _lives(self, name: str) -> bool:
        """Whether a worker keeps its lock, or nobody can tell."""
        try:
            lock = os.open(self._directory / f"{name}.lock", os.O_RDWR)
        except OSError:
            return True
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            return False
        finally:
            os.close(lock)

    def _bury(self, name: str) -> None:
        """Add the numbers of a worker that has ended to those of the ended. Raises OSError, and nothing has changed."""
        self._write(_ENDED, add([self._read(_ENDED), of_ended(self._read(name))]))
        for suffix in (".json", ".lock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._directory / (name + suffix))

    @contextlib.contextmanager
    def _locked_ended(self) -> Iterator[bool]:
        """Keep the other workers from burying at the same time, each does so for a moment only; whether it could be."""
        try:
            lock = self._open_lock(_ENDED)
        except OSError:
            yield False
            return
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            yield True
        finally:
            os.close(lock)

    def _open_lock(self, name: str) -> int:
        return os.open(self._directory / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)

    def _read(self, name: str) -> Snapshot:
        try:
            snapshot: Snapshot = json.loads((self._directory / f"{name}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return snapshot

    def _write(self, name: str, snapshot: Snapshot) -> None:
        path = self._directory / f"{name}.json"
        draft = path.with_suffix(".draft")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(snapshot, file)
        os.replace(draft, path)
