"""Refuses to serve where that cannot work, or starts processes without end: in imports, workers and running loops.

A module that calls `fastws.run` at its top level, and is the application's module or is imported by it, is run again by
whoever imports it: by the server itself, by each worker, by each child of `multiprocessing`. The guard that Python has
for this is ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from fastws.asgi.loading import module_under_way
from fastws.errors import STARTUP_FAILURE, StartupError
from fastws.observe.terminal import say

_worker = False
_refused: Callable[[], None] | None = None


def this_is_a_worker(refused: Callable[[], None] | None = None) -> None:
    """From now on this process only serves what it was started for; `refused` is called where more is asked of it."""
    global _worker, _refused
    _worker, _refused = True, refused


def refuse_running_loop() -> None:
    """Raise RuntimeError where an event loop runs in this thread, as in a notebook: another one cannot run in it."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "an event loop runs here already, so run() cannot: write `await fastws.Server(fastws.Config(app)).serve()`"
        )


def refuse_import() -> None:
    """Raise StartupError where this thread imports a module to serve it: a server in it would begin first."""
    if (module := module_under_way()) is not None:
        raise StartupError(_line(f"while {module!r} was imported to be served", "a server was started"))


def refuse_without_guard(*, starts_processes: bool) -> None:
    """Raise SystemExit with code 3, after one line, where the call of `run` that asks has no guard."""
    if (module := module_under_way()) is not None:
        _refuse(f"while {module!r} was imported to be served")
    if _worker and (starts_processes or threading.current_thread() is threading.main_thread()):
        _refuse("in a worker, which serves already")
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and getattr(multiprocessing.current_process(), "_inheriting", False):
        _refuse("in a child process of multiprocessing, which imports the main module anew")


def _refuse(where: str) -> NoReturn:
    say("Error", _line(where))
    if _refused is not None:
        _refused()
    raise SystemExit(STARTUP_FAILURE)


def _line(where: str, what: str = "fastws.run() was called") -> str:
    return f'{what} {where}: put the call under `if __name__ == "__main__":`'
