"""The sockets that systemd opened for this process (socket activation): sd_listen_fds(3), in a few lines.

They are named by environment variables, which are taken out of the environment when they are read: they are not for
child processes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, MutableMapping
from typing import Final

FIRST_DESCRIPTOR: Final = 3
"""The descriptors that systemd passes are this one and those after it."""


def is_activated(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether systemd opened sockets for this process, and `listen_descriptors` was not asked for them yet."""
    return environ.get("LISTEN_PID", "") == str(os.getpid()) and environ.get("LISTEN_FDS", "").isdigit()


def listen_descriptors(environ: MutableMapping[str, str] = os.environ) -> list[int]:
    """The descriptors of the sockets that systemd opened for this process; none where there are none."""
    activated = is_activated(environ)
    count = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_PID", None)
    environ.pop("LISTEN_FDNAMES", None)
    if not activated:
        return []
    descriptors = list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)))
    for each in descriptors:
        with contextlib.suppress(OSError):
            os.set_inheritable(each, False)
    return descriptors
