"""Which workers are stuck, with a time that is told and workers that write down which signals they get."""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass, field

import pytest

from fastws.config import Config
from fastws.process.hearts import ABORT_SECONDS, Hearts


@dataclass
class Row:
    last_beat: float = 0.0


@dataclass
class Worker:
    pid: int = 7
    started: float = 0.0
    starts: bool = False
    kill_at: float | None = None
    row: Row = field(default_factory=Row)
    signals: list[signal.Signals] = field(default_factory=list)

    def send_signal(self, number: signal.Signals) -> None:
        self.signals.append(number)


def hearts(beat: float | None = None, start: float | None = None, now: float = 0.0) -> Hearts:
    return Hearts(Config("main:app", timeout_worker_healthcheck=beat, timeout_worker_start=start), now)


def test_a_loop_that_does_not_turn_is_aborted_and_then_killed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "fastws.error")
    looked, worker = hearts(beat=4.0), Worker(row=Row(last_beat=1.0))
    for now in (1.0, 3.0, 5.0):
        looked.look([worker], now)
    assert worker.signals == []
    looked.look([worker], 5.5)
    assert worker.signals == [signal.SIGABRT]
    [line] = caplog.messages
    assert line.startswith("The event loop of worker [7] has not turned for 4.5 s (--timeout-worker-healthcheck);")
    looked.look([worker], 5.5 + ABORT_SECONDS / 2)
    assert worker.signals == [signal.SIGABRT]
    for now in (5.5 + ABORT_SECONDS, 6.0 + ABORT_SECONDS):
        looked.look([worker], now)
    assert worker.signals == [signal.SIGABRT, signal.SIGKILL]  # once each


def test_a_worker_without_a_loop_has_no_heart_that_could_stand_still() -> None:
    looked, worker = hearts(beat=4.0), Worker()
    for now in range(0, 100, 2):
        looked.look([worker], now)
    assert worker.signals == []


def test_a_supervisor_that_was_stopped_itself_gives_its_workers_time() -> None:
    looked, worker = hearts(beat=4.0), Worker(row=Row(last_beat=1.0))
    looked.look([worker], 1.0)
    looked.look([worker], 1000.0)  # so long it has not looked
    for now in (1002.0, 1004.0):
        looked.look([worker], now)
    assert worker.signals == []
    looked.look([worker], 1004.5)
    assert worker.signals == [signal.SIGABRT]


def test_a_worker_that_does_not_serve_in_time_is_aborted() -> None:
    looked, late, serves = hearts(start=10.0), Worker(started=1.0, starts=True), Worker(started=1.0)
    looked.look([late, serves], 11.0)
    assert late.signals == []
    looked.look([late, serves], 11.5)
    assert (late.signals, late.kill_at, serves.signals) == ([signal.SIGABRT], 11.5 + ABORT_SECONDS, [])


def test_without_limits_nobody_is_stuck_but_who_is_told_to_end_is_killed_in_time() -> None:
    looked, worker = hearts(), Worker(starts=True, row=Row(last_beat=1.0))
    looked.look([worker], 1e6)
    assert worker.signals == []
    worker.kill_at = 1e6 + 1
    looked.look([worker], 1e6 + 1)
    assert worker.signals == [signal.SIGKILL]


def test_who_is_late_at_each_look_still_finds_a_loop_that_stands_still() -> None:
    looked, worker = hearts(beat=4.0), Worker(row=Row(last_beat=1.0))
    looked.look([worker], 9.0)  # late once: the worker may have been stopped with us
    assert worker.signals == []
    looked.look([worker], 12.0)
    looked.look([worker], 15.0)
    assert worker.signals == [signal.SIGABRT]
