"""What the processes of one service know of each other: a page of shared memory, with a row of numbers a worker.

Each worker writes its own row and reads the others'; the supervisor reads all of them. A number is eight aligned bytes
with one writer, so nothing is locked: a reader may see it a moment late, never half of it.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from enum import IntEnum
from typing import Final

ROWS: Final = 512
"""The most workers that there can be at once, those that drain included."""
_BYTES: Final = (3 * ROWS + 2) * 8
STUCK_NANOSECONDS: Final = 3_000_000_000
"""A worker whose loop has not turned for so long is not expected to accept connections."""


class Stage(IntEnum):
    """Where a worker is, as the others see it."""

    FREE = 0
    STARTING = 1
    ACCEPTING = 2
    ENDING = 3


class Scoreboard:
    """The shared memory behind `descriptor`, which child processes inherit."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map(mmap.mmap(descriptor, _BYTES))

    def leave(self) -> None:
        """Keep the numbers as they are, for this process alone: a forked child of a worker is none."""
        private = mmap.mmap(-1, _BYTES)
        private[:] = self._memory[:]
        self._map(private)

    def _map(self, memory: mmap.mmap) -> None:
        self._memory = memory
        cells = memoryview(self._memory).cast("q")
        self._stages, self._connections, self._beats = (cells[n * ROWS : (n + 1) * ROWS] for n in range(3))
        self._used, self._held_until = cells[3 * ROWS : 3 * ROWS + 1], cells[3 * ROWS + 1 :]

    @classmethod
    def create(cls) -> Scoreboard:
        """A new one, empty."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("fastws-scoreboard")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, _BYTES)
        return cls(descriptor)

    def row(self, index: int) -> Row:
        """The row of one worker, to write or to read."""
        return Row(self, index)

    def take_row(self) -> Row:
        """A free row, for a worker that is starting. Raises RuntimeError where there is none."""
        for index in range(ROWS):
            if self._stages[index] == Stage.FREE:
                self._connections[index] = self._beats[index] = 0
                self._stages[index] = Stage.STARTING
                self._used[0] = max(self._used[0], index + 1)
                return Row(self, index)
        raise RuntimeError(f"there are {ROWS} workers")

    def hold(self, seconds: float) -> None:
        """Let nobody accept for so long, or until it is 0."""
        self._held_until[0] = time.monotonic_ns() + int(seconds * 1e9) if seconds else 0

    def is_held(self) -> bool:
        """Whether nobody is to accept now."""
        return self._held_until[0] > 0 and time.monotonic_ns() < self._held_until[0]

    def somebody_accepts(self) -> bool:
        """Whether there is a worker that accepts connections and was not told to end."""
        return Stage.ACCEPTING in self._stages[: self._used[0]].tolist()

    def mean(self) -> float:
        """Connections of a worker, on average over those that accept and whose loops turn; 0 where there is none."""
        total = workers = 0
        stages, connections, beats = self._stages, self._connections, self._beats
        oldest = time.monotonic_ns() - STUCK_NANOSECONDS
        for index in range(self._used[0]):
            if stages[index] == Stage.ACCEPTING and beats[index] > oldest:
                workers += 1
                total += connections[index]
        return total / workers if workers else 0.0


class Row:
    """What is known of one worker."""

    def __init__(self, board: Scoreboard, index: int) -> None:
        self.board = board
        self.index = index

    @property
    def stage(self) -> Stage:
        return Stage(self.board._stages[self.index])

    @stage.setter
    def stage(self, stage: Stage) -> None:
        self.board._stages[self.index] = stage

    @property
    def connections(self) -> int:
        """Open connections, as of its last beat or of the last time that somebody connected to the service."""
        return self.board._connections[self.index]

    @connections.setter
    def connections(self, count: int) -> None:
        self.board._connections[self.index] = count

    @property
    def last_beat(self) -> float:
        """When its event loop last turned, on this machine's monotonic clock; 0 while it has none."""
        return self.board._beats[self.index] / 1e9

    def beat(self) -> None:
        """The event loop turns."""
        self.board._beats[self.index] = time.monotonic_ns()

    def stop_beating(self) -> None:
        """There is no event loop any more."""
        self.board._beats[self.index] = 0

    def free(self) -> None:
        """Give the row back: the worker is gone."""
        self.board._stages[self.index] = Stage.FREE
        self.board._connections[self.index] = self.board._beats[self.index] = 0
