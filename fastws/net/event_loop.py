"""Which event loop a server runs in, how a coroutine is run in it to the end, and where one waits.

`asyncio.Runner` would do, but Python 3.10 has none, and it takes SIGINT for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastws.errors import ConfigError
from fastws.net.forking import end_child
from fastws.net.standard_descriptors import open_standard_descriptors


def new_event_loop(name: str) -> asyncio.AbstractEventLoop:
    """A new loop: uvloop's or asyncio's. Raises ConfigError where uvloop is asked for and not installed."""
    open_standard_descriptors()  # else the loop gets some of their numbers
    if name != "asyncio":
        try:
            import uvloop
        except ImportError:
            if name == "uvloop":
                raise ConfigError("--loop: uvloop is not installed: pip install uvloop, or --loop auto") from None
        else:
            return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop()


def part_with_loop(loop: asyncio.AbstractEventLoop) -> None:
    """In a forked child: let the loop, which is a copy, wait for nothing of what its parent's waits for.

    Both have one epoll set, and what the child did to it, in tidying up for one, would be done to the parent. libuv
    aborts where it has none, so it gets an empty one.
    """
    selector: Any = getattr(loop, "_selector", None)
    number: Any = getattr(loop, "_get_backend_id", None)  # uvloop's
    with contextlib.suppress(AttributeError, ValueError, OSError):  # another kind of loop or of selector, or none left
        descriptor = selector.fileno() if selector is not None else number()
        with select.epoll() as empty:
            os.dup2(empty.fileno(), descriptor, inheritable=False)


def loop_name(loop: asyncio.AbstractEventLoop) -> str:
    """What the startup line calls the loop: uvloop or asyncio."""
    return type(loop).__module__.partition(".")[0]


def run_in(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> None:
    """Run the coroutine in the loop, then cancel what it left behind and close the loop.

    Jobs that the loop's executor has begun are not waited for, since they can hang for ever; interpreters wait for
    threads before they exit.
    """
    executor = ThreadPoolExecutor(thread_name_prefix="asyncio")  # as the loop would make it itself
    process = os.getpid()
    try:
        asyncio.set_event_loop(loop)
        loop.set_default_executor(executor)
        loop.run_until_complete(coroutine)
    except BaseException as error:
        if os.getpid() != process:
            end_child(error)
        raise
    finally:
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=1.0))
            loop.run_until_complete(loop.shutdown_asyncgens())
            executor.shutdown(wait=False, cancel_futures=True)
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def where(task: asyncio.Task[Any]) -> str:
    """Where in the application a task waits, for a log line. Its get_stack() would know the outermost frame only."""
    coroutine: Any = task.get_coro()
    place = "code without Python frames"
    library = os.path.dirname(asyncio.__file__)
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and not frame.f_code.co_filename.startswith(library):
            place = f"{frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})"
        coroutine = getattr(coroutine, "cr_await", None)
    return place


@contextlib.contextmanager
def calling(tick: Callable[[float], None], seconds: Callable[[], float]) -> Iterator[None]:
    """Call `tick` with the running loop's time, at once and then every `seconds()`, while the block runs."""
    loop = asyncio.get_running_loop()
    timer: asyncio.Handle

    def call() -> None:
        nonlocal timer
        timer = loop.call_later(seconds(), call)
        tick(loop.time())

    call()
    try:
        yield
    finally:
        timer.cancel()
