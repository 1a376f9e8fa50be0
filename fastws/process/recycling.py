"""When a process has served enough: --limit-max-requests, --limit-worker-lifetime and --limit-worker-memory.

Each process draws its own limits, so that those that started together do not end together. What follows, a drain or a
replacement first, is decided in `fastws.process.server` and `fastws.process.supervisor`. Requests are counted where
they are read.
"""

from __future__ import annotations

import os
import random
from typing import Final

from fastws.config import Config
from fastws.errors import StartupError

_STATM: Final = "/proc/self/statm"


class Recycling:
    """The limits of one process that began at `now`, in seconds of the clock that `exceeded` is asked with."""

    def __init__(self, config: Config, now: float) -> None:
        self.requests: int | None = None
        """The number of the request that is the last one before the limit is reached."""
        if config.limit_max_requests is not None:
            self.requests = config.limit_max_requests + random.randint(0, config.limit_max_requests_jitter)
        share = config.limit_worker_jitter
        self._ends = self._bytes = float("inf")
        if config.limit_worker_lifetime is not None:
            self._ends = now + config.limit_worker_lifetime * (1 - share * random.random())
        if config.limit_worker_memory is not None:
            resident_bytes()
            self._bytes = config.limit_worker_memory * (1 - share * random.random()) * (1 << 20)
        self._began = now

    def exceeded(self, now: float) -> str | None:
        """What was exceeded, for a log line: lifetime or memory."""
        if now >= self._ends:
            return f"{now - self._began:.0f} s of life (--limit-worker-lifetime)"
        if self._bytes < float("inf") and (size := _resident_bytes_if_told()) > self._bytes:
            return f"{size / (1 << 20):.0f} MiB of memory (--limit-worker-memory)"
        return None


def resident_bytes() -> int:
    """The resident memory of this process. Raises StartupError where the system does not tell."""
    try:
        with open(_STATM, "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        raise StartupError(f"--limit-worker-memory: this system has no {_STATM} to measure it") from None


def _resident_bytes_if_told() -> int:
    """The same, or 0 where the system does not tell just now, which has no descriptor left."""
    try:
        return resident_bytes()
    except StartupError:
        return 0
