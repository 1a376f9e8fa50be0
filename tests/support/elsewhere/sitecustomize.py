"""Makes a Python that has what Windows has, before anything else is imported: with this folder on PYTHONPATH.

Of fastws it takes the modules that are built on Linux alone, where they are here.
"""

from __future__ import annotations

import asyncio
import importlib.abc
import os
import select
import signal
import socket
import sys
from typing import Any

MODULES = frozenset(
    {
        *("uvloop", "fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog"),
        *("fastws.net._poller", "fastws.net._writing", "fastws.net._transport", "fastws.net._sockets"),
        "fastws.websocket._zlib",
    }
)

NAMES: dict[Any, str] = {
    os: """
        fork forkpty register_at_fork getuid geteuid getgid getegid getpgid getpgrp setpgid setsid killpg
        chown fchown lchown fchmod sched_getaffinity pipe2 sendfile preadv pwritev eventfd memfd_create pidfd_open
        O_CLOEXEC O_NOFOLLOW O_NOCTTY O_NONBLOCK O_DIRECTORY WNOHANG waitid mkfifo sysconf uname getloadavg statvfs
    """,
    select: "epoll poll",
    signal: """
        SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGTTIN SIGTTOU SIGCHLD SIGKILL SIGWINCH SIGPIPE SIGALRM SIGCONT SIGSTOP SIGTSTP
        siginterrupt pthread_sigmask pthread_kill sigwait sigpending setitimer alarm
    """,
    socket: "AF_UNIX SO_REUSEPORT SCM_RIGHTS CMSG_LEN CMSG_SPACE send_fds recv_fds MSG_NOSIGNAL MSG_DONTWAIT",
}


class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname in MODULES:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def _socketpair(family: int = socket.AF_INET, type: int = socket.SOCK_STREAM, proto: int = 0) -> Any:
    """Two connected sockets over TCP, as Windows makes them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


def _no_handler(self: object, sig: int, callback: object, *args: object) -> None:
    raise NotImplementedError


socket.socketpair = _socketpair
if hasattr(os, "process_cpu_count"):  # where it asks for the affinity, it is another function there
    os.process_cpu_count = os.cpu_count
for module, names in NAMES.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for loop in (asyncio.SelectorEventLoop, asyncio.AbstractEventLoop):
    loop.add_signal_handler = _no_handler  # type: ignore[method-assign, assignment]
for module_name in MODULES & sys.modules.keys():
    del sys.modules[module_name]
sys.meta_path.insert(0, Blocker())
