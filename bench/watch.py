"""What an attack costs a server, as the kernel tells it, and how others fare meanwhile, as they tell it themselves.

`Watch` samples the memory of a server's processes while a block runs; `Others` is bystander.py in its own process.
Memory is anonymous memory: what the server allocated, without the kernel's socket buffers and the pages of programs.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
SAMPLE_SECONDS = 0.02
TICKS = os.sysconf("SC_CLK_TCK")


def anonymous_kib(pids: Sequence[int]) -> int:
    """The anonymous memory of the processes, in KiB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                total += int(line.split()[1])
    return total


def cpu_seconds(pids: Sequence[int]) -> float:
    """What the processes have used of CPUs, user and system, in seconds."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


class Watch:
    """Samples memory, in a thread, between `start` and `stop`; `peak_kib` is the most that was seen."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.pids = pids
        self.peak_kib = anonymous_kib(pids)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # the server has gone, which is found out elsewhere
            while not self._ended.wait(SAMPLE_SECONDS):
                self.peak_kib = max(self.peak_kib, anonymous_kib(self.pids))


@dataclass
class Service:
    """How one kind of bystander was served during some time."""

    answers: int = 0
    failures: int = 0
    milliseconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median latency in milliseconds; 0 where there was no answer."""
        return statistics.median(self.milliseconds) if self.milliseconds else 0.0

    @property
    def worst(self) -> float:
        """The longest latency in milliseconds."""
        return max(self.milliseconds, default=0.0)


class Others:
    """Bystanders of a server, from the start of the block to its end."""

    def __init__(self, port: int, tls: bool) -> None:
        command = [sys.executable, str(HERE / "bystander.py"), "--port", str(port), *(["--tls"] if tls else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._samples: list[tuple[str, float, float, bool]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            name, began, milliseconds, right = line.split()
            self._samples.append((name, float(began), float(milliseconds), right == "1"))

    def __enter__(self) -> Others:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def service(self, name: str, begin: float, end: float) -> Service:
        """How the client `name` was served: its requests that overlap `begin` to `end` of the monotonic clock."""
        found = Service()
        for who, began, milliseconds, right in list(self._samples):
            if who == name and began <= end and began + milliseconds / 1000 >= begin:
                if right:
                    found.answers += 1
                    found.milliseconds.append(milliseconds)
                else:
                    found.failures += 1
        return found

    def wait_for(self, names: Sequence[str], since: float, seconds: float) -> bool:
        """Wait until each of the clients has begun a request after `since` that was answered; false if one is not."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            answered = {who for who, began, _, right in list(self._samples) if began >= since and right}
            if answered.issuperset(names):
                return True
            time.sleep(SAMPLE_SECONDS)
        return False


@contextlib.contextmanager
def measured(pids: Sequence[int]) -> Iterator[list[float]]:
    """The seconds of wall clock and of CPU that the block takes, appended to the list that it gets."""
    result: list[float] = []
    began, used = time.monotonic(), cpu_seconds(pids)
    yield result
    result += [time.monotonic() - began, cpu_seconds(pids) - used]
