"""How signals come to a process of ours: as calls on the main thread, or as bytes for a loop that is no event loop.

Both are contexts: behind them signals are handled as before. What a signal means is for who handles it.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FrameType
from typing import TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], None]


@contextlib.contextmanager
def handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Call the handlers, on the main thread; to be entered there."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def as_bytes(numbers: Collection[signal.Signals]) -> Iterator[socket.socket]:
    """Each signal is a byte to read, which is its number, from a socket that does not block."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            with handled(dict.fromkeys(numbers, lambda *_: None)):
                yield ours
        finally:
            signal.set_wakeup_fd(before)


@contextlib.contextmanager
def held_back(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """Signals wait, for a child process that is started to inherit that until it knows what to do with them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
