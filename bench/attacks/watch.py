"""What an attack costs a server, as the kernel tells it, and how others fare meanwhile, as they tell it themselves.

`Watch` samples the memory of a server's processes while a block runs; `Others` is bystander.py in its own process.
Memory is anonymous memory: what the server allocated, without the kernel's socket buffers and the pages of programs.
"""

from __future__ import annotations

import contextlib
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


def anonymous_kib(pids: Sequence[int]) -> int:
    """The anonymous memory of the processes, in KiB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                total += int(line.split()[1])
    return total


def scheduled_seconds(pids: Sequence[int]) -> tuple[float, float]:
    """How long the processes have run on a CPU, and how long they have waited for one, in seconds."""
    ran = waited = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
                fields = (task / "schedstat").read_text().split()
                ran += int(fields[0])
                waited += int(fields[1])
    return ran / 1e9, waited / 1e9


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


@dataclass
class Spent:
    """What a block has taken, in seconds, once it has ended."""

    elapsed: float = 0.0
    cpu: float = 0.0
    waited: float = 0.0

    @property
    def share(self) -> float:
        """The share of its time on a CPU, 1.0 for a loop that spins, however busy the machine is with others."""
        return self.cpu / max(self.elapsed - self.waited, self.cpu, 1e-9)


@contextlib.contextmanager
def measured(pids: Sequence[int]) -> Iterator[Spent]:
    """Measure what the processes use while the block runs."""
    result = Spent()
    began, (ran, waited) = time.monotonic(), scheduled_seconds(pids)
    yield result
    ended, (ran_until, waited_until) = time.monotonic(), scheduled_seconds(pids)
    result.elapsed, result.cpu, result.waited = ended - began, ran_until - ran, waited_until - waited
