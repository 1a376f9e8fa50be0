"""An application that leaves children and threads behind, as $LEAVES says; each path of it forks one more."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any

FORK = multiprocessing.get_context("fork")
CHILDREN: list[Any] = []


def sleep() -> None:
    time.sleep(600)


def child() -> None:
    """Say what the child has, and sleep."""
    handlers = {signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)}
    descriptors = []
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            descriptors.append(os.readlink(f"/proc/self/fd/{each}"))
    sockets = sum(each.startswith("socket:") for each in descriptors)
    epolls = sum("eventpoll" in each for each in descriptors)
    print(f"child {os.getpid()} handlers {handlers == {signal.SIG_DFL}} sockets {sockets} epolls {epolls}", flush=True)
    time.sleep(600)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    leaves = os.environ.get("LEAVES", "")
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if leaves == "child":
            FORK.Process(target=sleep).start()
        elif leaves == "deaf child":
            FORK.Process(target=ignore).start()
        elif leaves == "thread":
            threading.Thread(target=sleep, name="mine").start()
        elif leaves == "executor":
            concurrent.futures.ThreadPoolExecutor(thread_name_prefix="job").submit(sleep)
        elif leaves == "processes":
            concurrent.futures.ProcessPoolExecutor(1, mp_context=FORK).submit(sleep)
        elif leaves == "atexit":
            atexit.register(sleep)
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            if event["text"] == "fork":
                CHILDREN.append(FORK.Process(target=child))
                CHILDREN[-1].start()
            await send({"type": "websocket.send", "text": str(os.getpid())})
        if scope["path"] == "/fork-at-the-end":
            CHILDREN.append(FORK.Process(target=child))
            CHILDREN[-1].start()
        return
    body = b"ok"
    if scope["path"] == "/fork":
        CHILDREN.append(FORK.Process(target=child))
        CHILDREN[-1].start()
    elif scope["path"] == "/terminate":
        CHILDREN[-1].terminate()
        CHILDREN[-1].join(10)
        body = str(CHILDREN[-1].exitcode).encode()
    elif scope["path"] == "/fork-and-terminate":
        body = b"".join(b"%d " % ended_at_once() for _ in range(50))
    elif scope["path"] == "/come-back" and os.fork() == 0:
        print("the child goes on", flush=True)
    elif scope["path"] == "/exit" and os.fork() == 0:
        sys.exit(5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def ended_at_once() -> int:
    """The exit status of a child that gets SIGTERM while it begins."""
    process = FORK.Process(target=sleep)
    process.start()
    process.terminate()
    process.join(5)
    status = process.exitcode
    process.kill()
    return 0 if status is None else int(status)


def ignore() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep()
