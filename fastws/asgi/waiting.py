"""What an application's `receive()` waits in: a future that is used again and again.

Each time that somebody waits asyncio makes a future, and to wake a task it takes a callback of the loop's and another
look at that future. An application that takes message after message waits for nothing but the next one. So the future
that its task waits in stays pending, and `fastws.asgi.calls.Run` lets the application go on without its task. Only when
it waits for something else is the future set, and the task takes over.

Compiled by Cython where the extension was built (waiting.pxd), else interpreted.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator
from typing import Any

REUSED = sys.version_info >= (3, 11) and not __file__.endswith((".py", ".pyc"))
"""Whether it pays: interpreted, all this takes longer than it saves. Before 3.11 a task cannot be given its context."""


class Waiting:
    """Yields `future` once to who awaits it, and is over when resumed, whether that is done or not."""

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future
        self.busy: bool = False

    def __await__(self) -> Generator[Any, Any, None]:
        return self  # type: ignore[return-value]  # it has what is used of one

    def __iter__(self) -> Waiting:
        return self

    def __next__(self) -> asyncio.Future[None]:
        if self.busy:
            self.busy = False
            raise StopIteration
        self.busy = True
        future: Any = self.future
        future._asyncio_future_blocking = True  # what a task asks of a future that it is to wait in
        return self.future
