"""Waiting for what another process does, by asking it until it has done it."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 15.0
"""Seconds to wait for what should come at once, on the slowest machine."""


def eventually(condition: Callable[[], object]) -> None:
    """Return when `condition()` is true; AssertionError when it is not in PATIENCE seconds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.01)
