"""What a child must not keep that an application forks: sockets, and all by which it could act as the server.

`os.fork`, and so `multiprocessing` with its start method "fork", copies the process with its descriptors. As long as
the child has a copy of a connection, its client gets no end; as long as it has one of a listening socket, the port is
taken; and what it does with a copied epoll set, the parent's has done to it. So each owner of such things names a
function here, which runs in each child, first of all. A descriptor is not closed there, since objects that the child
inherits believe in its number and would close whatever has it by then: from then on it leads to the null device.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    import asyncio

logger: Final = logging.getLogger("fastws.error")

_callbacks: Final[list[Callable[[], None]]] = []


@contextlib.contextmanager
def in_children(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` in each child that is forked while the block runs, in the only thread that it has."""
    _callbacks.append(callback)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # a child has forgotten them
            _callbacks.remove(callback)


def descriptor_of(transport: asyncio.BaseTransport | None) -> int:
    """The descriptor of what a transport of an event loop moves the bytes of, -1 where it has none any more."""
    if transport is not None:
        with contextlib.suppress(OSError):  # uvloop makes a socket object to answer, which a closed descriptor refuses
            sock = transport.get_extra_info("socket")
            return -1 if sock is None else int(sock.fileno())
    return -1


def give_up(descriptors: Iterable[int]) -> None:
    """Let the descriptors, of which some may be closed (-1), lead to the null device."""
    descriptors = list(descriptors)  # one that leads there already has no socket to be asked for
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.fstat(descriptor)
                os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def listening(server: asyncio.AbstractServer | None) -> list[int]:
    """The descriptors of the sockets that a server of an event loop listens on, if there is one and it does."""
    return [each.fileno() for each in getattr(server, "sockets", None) or ()]


def end_child(error: BaseException | None = None) -> NoReturn:
    """End this process, a child that comes back to where its parent's server runs: nothing there is its business.

    `error` is with what it came back; a SystemExit says the exit status.
    """
    status = 0
    if error is not None:
        code = error.code if isinstance(error, SystemExit) else 1
        status = code if isinstance(code, int) else 0 if code is None else 1
        if not isinstance(error, SystemExit):
            traceback.print_exception(error)
        elif isinstance(code, str):
            print(code, file=sys.stderr)
    else:
        status = 1
        logger.warning(
            "Process [%d] was forked by the application and came back to the event loop; it ends", os.getpid()
        )
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)


def _in_child() -> None:
    callbacks = _callbacks[:]
    _callbacks.clear()  # what the child serves itself it adds itself
    for callback in callbacks:
        with contextlib.suppress(Exception):  # each of the others has its turn, and there is nobody to tell
            callback()


if hasattr(os, "register_at_fork"):  # else nobody forks
    os.register_at_fork(after_in_child=_in_child)
