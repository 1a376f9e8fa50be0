"""How signals come to a process of ours, what they mean to a server, and whose they are otherwise.

Handlers belong to a process and not to a server: those that run in one loop are all told. What is handled here is
handed on where it was not for us alone: behind the last server of a program's own loop, the handlers are as before and
the signals that ended it are raised again, as with uvicorn. A child that the application forks has none of ours.

A supervisor has no event loop: it reads signals as bytes, one after the other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FrameType
from typing import Any, Final, Protocol, TypeAlias

logger: Final = logging.getLogger("fastws.error")

Handler: TypeAlias = Callable[[int, FrameType | None], None]


def named(*names: str) -> tuple[signal.Signals, ...]:
    """Those of the signals that this operating system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


ENDING: Final = named("SIGINT", "SIGTERM", "SIGBREAK")
"""What ends a server; the last is Ctrl+Break of Windows."""
_HANG_UP: Final = named("SIGHUP")
FIRST_PROCESS: Final = 1
"""The number of a container's first process, which no signal ends that it does not handle."""


class Catcher(Protocol):
    """A server."""

    def handle_exit(self, signum: int, frame: FrameType | None) -> None:
        """SIGINT or SIGTERM, and SIGQUIT where the process is the server's."""

    def handle_hangup(self, signum: int, frame: FrameType | None) -> None:
        """SIGHUP."""


_catchers: Final[list[Catcher]] = []
_before: Final[dict[signal.Signals, Any]] = {}
_received: Final[list[signal.Signals]] = []


@contextlib.contextmanager
def caught(catcher: Catcher, *, owns_process: bool, must_reload: bool) -> Iterator[None]:
    """Tell `catcher` of signals while the block runs; to be entered on the main thread.

    A program whose process is not the server's keeps its own SIGHUP, SIGQUIT and SIGUSR2, and gets the signals that
    ended its servers when the last of them has ended. A SIGHUP that somebody else handles, or that `nohup` ignores, is
    left alone unless the catcher `must_reload` something then.
    """
    handlers: dict[signal.Signals, Handler] = dict.fromkeys(ENDING, _end)
    handlers |= {each: _hang_up for each in _HANG_UP if must_reload or _is_unhandled(each)}
    if owns_process:
        handlers |= {each: handler for each, handler in _OF_OWNERS.items() if _is_unhandled(each)}
    for number, handler in handlers.items():
        current = signal.getsignal(number)
        if current is not handler:
            _before.setdefault(number, current)
            signal.signal(number, handler)
    _catchers.append(catcher)
    try:
        yield
    finally:
        if catcher in _catchers:  # else this is a forked child
            _catchers.remove(catcher)
            if not _catchers:
                received = [] if owns_process else list(dict.fromkeys(_received))
                _received.clear()
                _restore()
                for each in received:
                    signal.raise_signal(each)


def hangup_is_ignored() -> bool:
    """Whether a terminal may go without ending this process, as under `nohup`."""
    return any(signal.getsignal(each) is signal.SIG_IGN for each in _HANG_UP)


def are_caught() -> bool:
    """Whether SIGTERM is still told to the servers: an application may have taken it for itself."""
    return signal.getsignal(signal.SIGTERM) is _end


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Until a server catches signals, while the application is imported: none is lost, and none ends it without a word.

    The first process of a container does not die of a SIGTERM that it does not handle. All others do, even where the
    import hangs in C, and so keep that. To be entered anywhere: on other threads it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[signal.Signals, Handler] = {each: _starting_hang_up for each in _HANG_UP if _is_unhandled(each)}
    if os.getpid() == FIRST_PROCESS and _is_unhandled(signal.SIGTERM):
        handlers[signal.SIGTERM] = _starting_end
    with handled(handlers):
        yield


def disregard(numbers: Collection[signal.Signals]) -> None:
    """Do nothing on these signals. Other programs that this process starts do not ignore them, unlike with SIG_IGN."""
    for each in numbers:
        signal.signal(each, _nothing)


@contextlib.contextmanager
def handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Call the handlers, on the main thread; to be entered there."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is handlers[number]:
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
            with handled(dict.fromkeys(numbers, _nothing)):
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


def _end(number: int, frame: FrameType | None) -> None:
    if number in ENDING:
        _received.append(signal.Signals(number))
    for each in list(_catchers):
        each.handle_exit(number, frame)


def _hang_up(number: int, frame: FrameType | None) -> None:
    for each in list(_catchers):
        each.handle_hangup(number, frame)


def _starting_hang_up(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(Exception):  # the signal may have come in the middle of another line
        logger.info("SIGHUP: the server starts, there is nothing to reload")


def _starting_end(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(Exception):
        logger.info("Told to exit during startup")
    os._exit(128 + number)


def _unused(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(Exception):
        logger.info("%s: means nothing to this server, which goes on", signal.Signals(number).name)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Handles a signal that is somebody else's business."""


_OF_OWNERS: Final[Mapping[signal.Signals, Handler]] = {
    **dict.fromkeys(named("SIGQUIT"), _end),
    **dict.fromkeys(named("SIGUSR2"), _unused),
}


def _is_unhandled(number: signal.Signals) -> bool:
    """Whether the process would die of it, but for a handler of ours."""
    current = signal.getsignal(number)
    return current is signal.SIG_DFL or _is_ours(current)


def _is_ours(handler: Any) -> bool:
    return callable(handler) and str(getattr(handler, "__module__", "")).startswith("fastws.")


def _restore() -> None:
    for number, handler in _before.items():
        if handler is not None:  # else it was none of Python's, and cannot be had again
            signal.signal(number, handler)
    _before.clear()


_held = threading.local()


def _hold() -> None:
    """Let signals wait while this thread forks: one that came to the child before `_in_child` would be lost there."""
    _held.before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL) if _catchers else None


def _release() -> None:
    before, _held.before = getattr(_held, "before", None), None
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_child() -> None:
    """Handle nothing, in a child that the application has forked: what is ours is as it was before us."""
    try:
        _give_back()
    finally:
        _release()


def _give_back() -> None:
    if not any(_is_ours(signal.getsignal(each)) for each in _ALL):
        return
    with contextlib.suppress(ValueError):  # a server in another thread than the main one has no such descriptor
        signal.set_wakeup_fd(-1)  # else the parent's loop would read the child's signals
    _catchers.clear()
    _received.clear()
    _restore()
    for each in _ALL:
        if _is_ours(signal.getsignal(each)):
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)


_ALL: Final = named(
    *("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGABRT", "SIGTTIN", "SIGTTOU", "SIGBREAK")
)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_in_child)
