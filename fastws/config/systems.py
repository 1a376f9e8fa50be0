"""Options that need what not every operating system has: Windows has one process that listens to TCP, and no more."""

from __future__ import annotations

import os
from typing import Final

from fastws.config.table import OPTION, Fields
from fastws.errors import ConfigError

_OF_POSIX: Final = ("uds", "uds_owner", "control_socket", "reload", "topics_dir", "metrics_dir", "limit_worker_memory")
"""Unix sockets, processes under a supervisor, files that several of them lock, and /proc."""


def check_system(config: Fields) -> None:
    """Refuse options that this system cannot follow. Raises ConfigError, one line that names the option."""
    if hasattr(os, "fork"):  # with it POSIX has all the rest
        return
    why = "needs Linux or macOS; this system has one process, which listens to TCP"
    for name in _OF_POSIX:
        if getattr(config, name):
            raise ConfigError(f"{OPTION[name].cli}: {why}")
    for address in config.bind:
        if address.startswith(("unix:", "fd://")):
            raise ConfigError(f"--bind: {address} {why}")
    if (config.workers or 1) > 1:
        raise ConfigError(f"--workers (or WEB_CONCURRENCY): {why}")
