"""Finds workers that are stuck, and kills them: they get SIGABRT, which has them write their stacks, and then SIGKILL.

A worker whose event loop has not turned for --timeout-worker-healthcheck is stuck. The beat comes from the loop, so
that a worker that is merely busy is left alone. One that does not serve after --timeout-worker-start is stuck too: a
restart would wait for it for ever. The time is told, and workers are whatever has a beat and takes signals.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable
from typing import Final, Protocol

from fastws.config import Config

logger: Final = logging.getLogger("fastws.error")

ABORT_SECONDS: Final = 2.0
"""How long a stuck worker gets to write its stacks."""


class Beating(Protocol):
    """The row of a worker on the scoreboard."""

    @property
    def last_beat(self) -> float:
        """When its event loop last turned; 0 while it has none."""


class Patient(Protocol):
    """A worker, as far as its heart is concerned. Times are those of one monotonic clock."""

    started: float
    kill_at: float | None
    """When it is to be killed; None where it is not."""

    @property
    def pid(self) -> int:
        """The number of its process."""

    @property
    def row(self) -> Beating:
        """Where its event loop writes that it turns."""

    @property
    def starts(self) -> bool:
        """Whether it does not accept connections yet."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""


class Hearts:
    """Looks after the workers of one service, from `now` on."""

    def __init__(self, config: Config, now: float) -> None:
        self._beat_seconds = config.timeout_worker_healthcheck
        self._start_seconds = config.timeout_worker_start
        self._last_look = self._grace = now
        self._late = False

    def look(self, workers: Iterable[Patient], now: float) -> None:
        """Have those that are stuck end, and kill those whose time has come."""
        workers = list(workers)
        if self._start_seconds is not None:
            self._look_after_starts(workers, self._start_seconds, now)
        if self._beat_seconds is not None:
            self._look_after_beats(workers, self._beat_seconds, now)
        for worker in workers:
            if worker.kill_at is not None and now >= worker.kill_at:
                worker.send_signal(signal.SIGKILL)
                worker.kill_at = float("inf")

    def _look_after_starts(self, workers: Iterable[Patient], timeout: float, now: float) -> None:
        for worker in workers:
            if worker.starts and worker.kill_at is None and now - max(worker.started, self._grace) > timeout:
                logger.error(
                    "Worker [%d] does not serve after %g s (--timeout-worker-start); killing it, its stacks follow",
                    worker.pid,
                    timeout,
                )
                self._abort(worker, now)

    def _look_after_beats(self, workers: Iterable[Patient], timeout: float, now: float) -> None:
        late = now - self._last_look > timeout / 2
        if late and not self._late:  # once: who is late at each look would never find anybody
            self._grace = now  # this process was stopped, and so may have been the others
        self._late = late
        self._last_look = now
        for worker in workers:
            beat = worker.row.last_beat
            if beat and worker.kill_at is None and now - max(beat, self._grace) > timeout:
                logger.error(
                    "The event loop of worker [%d] has not turned for %.1f s (--timeout-worker-healthcheck); "
                    "killing it, its stacks follow",
                    worker.pid,
                    now - beat,
                )
                self._abort(worker, now)

    def _abort(self, worker: Patient, now: float) -> None:
        worker.send_signal(signal.SIGABRT)
        worker.kill_at = now + ABORT_SECONDS
