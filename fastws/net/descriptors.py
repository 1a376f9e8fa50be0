"""File descriptors: what connections leave to the application, and what is said when none is left to accept with.

Nobody gains from a server that accepts until the process is at its limit (`ulimit -n`): the application could open no
file any more. So the last descriptors are kept back, and a connection that gets one of them is refused. Where they are
gone all the same, accepting is tried again in a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

MOST_KEPT = 64
"""How many descriptors are kept back at the most; under a limit of 512, an eighth of it."""

ACCEPT_FAILED = "socket.accept()"
"""What the message about a failed accept begins with, asyncio's and ours, where there was none left."""

NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def first_kept() -> int:
    """The lowest number of a descriptor that is kept back; a new descriptor gets the lowest number that is free."""
    try:
        import resource
    except ImportError:  # Windows, where nothing but memory is the limit
        return 1 << 62
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit < 0:
        return 1 << 62
    return limit - min(MOST_KEPT, limit // 8)


def last_refused(first: int) -> int:
    """From which number on a connection is not even told why it is refused, if they are refused from `first` on.

    Whoever is answered holds a descriptor until it has read the answer, or until its time is over.
    """
    return first + min(MOST_KEPT, first // 7) // 2


def lowest_free() -> int:
    """The number that the next descriptor gets; over any limit where there is none."""
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return 1 << 62
    os.close(descriptor)
    return descriptor


@contextlib.contextmanager
def quiet_accept(loop: asyncio.AbstractEventLoop, warn: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, say with `warn`, in one line, that asyncio's loop found no descriptor to accept with.

    Everything else goes to the loop's exception handler as before.
    """
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message", "").startswith(ACCEPT_FAILED):
            warn("No file descriptor is left for new connections (ulimit -n); trying again in a second.")
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
