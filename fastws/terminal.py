"""Whether there is a terminal: SIGHUP means two things, and this tells them apart."""

from __future__ import annotations

import os


def has_terminal() -> bool:
    """Whether this process belongs to a terminal that is there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
