"""The end of a process whose server has ended: in time and with its exit code, whatever the application left behind.

Python waits for threads that are no daemons, for jobs of executors, for children of `multiprocessing`, and for what is
registered with `atexit`, each for ever. Here all of them together have as long as open connections had. Then children
are told to end, and the process ends under the rest.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from fastws.counted import counted
from fastws.process.drain import watch_process
from fastws.process.server import Server

logger: Final = logging.getLogger("fastws.error")

QUIET_SECONDS: Final = 1.0
"""What ends within this time is not spoken of."""
MAX_NAMED: Final = 5
"""How many threads, or children, that keep the process the log names."""
LAST_SECONDS: Final = 5.0
"""How much later the process ends where not even a thread of its own runs any more; its stacks are then written."""


def run_server(server: Server, sockets: Sequence[socket.socket] | None = None, *, last: bool) -> None:
    """Run the server to its end, on `sockets` if given. CTRL+C while the application is imported shows no traceback."""
    status: object = 0
    try:
        server.run(sockets)
    except KeyboardInterrupt:
        status = 130
        raise SystemExit(status) from None
    except SystemExit as error:
        status = error.code
        raise
    except BaseException:
        status = 1
        raise
    finally:
        leave(status if isinstance(status, int) else 1, server.config.timeout_graceful_shutdown, after_main=not last)


def leave(status: int, timeout: float | None, *, after_main: bool = False) -> None:
    """See to it that this process ends with `status`, `timeout` seconds from now at the latest; None is for ever.

    The seconds begin when the main thread has come to its end, since it may have more to do: other programs call a
    command, too. With `after_main` that is to be expected, and nothing is said before.
    """
    if timeout is None:
        return
    at_end = threading.Event()
    # What the main thread does last is to call these, the latest first, and so to join what executors have started: its
    # own `join` returns behind that only.
    threading._register_atexit(at_end.set)  # type: ignore[attr-defined]
    arguments = (status, timeout, at_end, after_main)
    threading.Thread(target=_end, args=arguments, name="fastws-leaving", daemon=True).start()


def _end(status: int, timeout: float, at_end: threading.Event, after_main: bool) -> None:
    main = threading.main_thread()
    at_end.wait()
    watch_process(timeout + LAST_SECONDS)
    quiet = min(QUIET_SECONDS, timeout)
    time.sleep(quiet)
    if not after_main:
        if names := _left(main):
            what = counted(len(names), "thread")
            logger.info("Waiting for %s of the application: %s", what, ", ".join(names[:MAX_NAMED]))
        if children := _children():
            what = counted(len(children), "child process", "child processes")
            logger.info("Waiting for %s of the application: %s", what, _named(children))
    time.sleep(timeout - quiet)
    children = _children()
    if names := _left(main):
        what = counted(len(names), "thread")
        logger.warning("Leaving %s of the application behind: %s", what, ", ".join(names[:MAX_NAMED]))
    if children:
        what = counted(len(children), "child process", "child processes")
        logger.warning("Ending %s of the application: %s", what, _named(children))
        for each in children:
            with contextlib.suppress(OSError, ValueError):
                each.terminate()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)


def _left(*own: threading.Thread) -> list[str]:
    """The names of the threads that Python would wait for."""
    return [each.name for each in threading.enumerate() if each not in own and not each.daemon]


def _children() -> list[Any]:
    """The children that Python would wait for, or end and wait for."""
    multiprocessing = sys.modules.get("multiprocessing")
    return [] if multiprocessing is None else list(multiprocessing.active_children())


def _named(children: list[Any]) -> str:
    return ", ".join(f"{each.name} [{each.pid}]" for each in children[:MAX_NAMED])
