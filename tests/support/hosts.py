"""Hosts of a test's own, for what no proxy can play: network namespaces on one bridge, with addresses 10.77.0.N.

All is in namespaces that the test has made: it runs in a thread that has left the machine's network (`apart`), and each
host is a namespace behind a cable of its own. That needs root on Linux, and Debian's iproute2.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from serving import PATIENCE

CLONE_NEWNET: Final = 0x40000000
NETWORK: Final = "10.77.0"


def ip(*words: str, within: tuple[str, ...] = ()) -> None:
    """Run `ip`, in this thread's network or another one."""
    subprocess.run([*within, "ip", *words], check=True, capture_output=True, text=True)


class Host:
    """A namespace with an address and a cable to the others."""

    def __init__(self, number: int) -> None:
        self.address = f"{NETWORK}.{number}"
        self._cable = f"cable{number}"
        own = _network_of(threading.get_native_id())
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        pid = str(self._holder.pid)
        self.within = ("nsenter", "--target", pid, "--net")
        """What a command begins with that runs there."""
        try:
            deadline = time.monotonic() + PATIENCE
            while _network_of(self._holder.pid) == own:
                assert time.monotonic() < deadline, "unshare does not leave the network"
                time.sleep(0.001)
            ip("link", "add", self._cable, "type", "veth", "peer", "name", "cable", "netns", pid)
            ip("link", "set", self._cable, "master", "bridge", "up")
            for words in (f"addr add {self.address}/24 dev cable", "link set cable up", "link set lo up"):
                ip(*words.split(), within=self.within)
        except BaseException:
            self.close()
            raise

    def cut(self) -> None:
        """Pull the cable: nobody gets a reset."""
        ip("link", "set", "cable", "down", within=self.within)

    def mend(self) -> None:
        """Put it in again."""
        ip("link", "set", "cable", "up", within=self.within)

    def deaf_to(self, other: Host) -> None:
        """Let nothing go to that one any more; what comes from there has no answer."""
        ip("route", "add", "blackhole", other.address, within=self.within)

    def hear(self, other: Host) -> None:
        """And again."""
        ip("route", "del", "blackhole", other.address, within=self.within)

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


class Network:
    """The bridge, which the test is at, too, and the hosts. Is made in a thread that has left the machine's network."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._hosts = 1
        for words in ("link set lo up", "link add bridge type bridge", f"addr add {NETWORK}.1/24 dev bridge"):
            ip(*words.split())
        ip("link", "set", "bridge", "up")

    def host(self) -> Host:
        """One more."""
        self._hosts += 1
        host = Host(self._hosts)
        self._stack.callback(host.close)
        return host


def apart(test: Callable[[Network, ExitStack], Coroutine[Any, Any, None]], seconds: float = 60.0) -> None:
    """Run the test in an event loop, in a network of its own; the stack is unwound there, too."""
    problems: list[BaseException] = []

    def run() -> None:
        try:
            _leave_network()
            with ExitStack() as stack:
                asyncio.run(asyncio.wait_for(test(Network(stack), stack), seconds))
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for problem in problems:
        raise problem


@functools.cache
def missing() -> str:
    """Why there cannot be any, or nothing."""
    for program in ("ip", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is missing: run tests/install_peers.sh, which installs iproute2"

    async def nothing(network: Network, _: ExitStack) -> None:
        network.host()

    try:
        apart(nothing)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces with cables cannot be made here, as by root on Linux: {error}"
    return ""


def _leave_network() -> None:
    """Of this thread, and of what it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _network_of(task: int) -> str:
    return os.readlink(Path("/proc") / str(task) / "ns" / "net")
