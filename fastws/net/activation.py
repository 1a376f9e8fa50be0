"""The sockets that systemd opened for this process (socket activation): sd_listen_fds(3), in a few lines.

They are named by environment variables, which are taken out of the environment when they are read: they are not for
child processes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import MutableMapping
from typing import Final

FIRST_DESCRIPTOR: Final = 3
"""The descriptors that systemd passes are this one and those after it."""


def listen_descriptors(environ: MutableMapping[str, str] = os.environ) -> list[int]:
    """The descriptors of the sockets that systemd opened for this process; none where there are none."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    descriptors = list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)))
    for each in descriptors:
        with contextlib.suppress(OSError):
            os.set_inheritable(each, False)
    return descriptors
