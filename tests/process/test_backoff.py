"""When a worker starts again in the place of one that died."""

from __future__ import annotations

import pytest

from fastws.process.backoff import FIRST_DELAY, HEALTHY_SECONDS, MAX_DELAY, TOGETHER_SECONDS, Backoff


def test_nothing_has_to_wait_at_first() -> None:
    assert Backoff().next_start == 0.0


@pytest.mark.parametrize("served", [0.0, HEALTHY_SECONDS, 1e6])
def test_after_the_first_death_the_next_one_starts_at_once(served: float) -> None:
    backoff = Backoff()
    assert backoff.died(100.0, served) == 0.0
    assert backoff.next_start == 100.0


def test_workers_that_die_young_one_after_the_other_wait_longer_and_longer() -> None:
    backoff = Backoff()
    now = 100.0
    delays = []
    for _ in range(12):
        delays.append(backoff.died(now, 0.0))
        now = backoff.next_start + 1.0
    doubled = [min(MAX_DELAY, FIRST_DELAY * 2.0**power) for power in range(11)]
    assert delays == pytest.approx([0.0, *doubled])
    assert delays[-1] == MAX_DELAY


def test_one_that_has_served_well_begins_anew() -> None:
    backoff = Backoff()
    for now in (100.0, 101.0, 102.0):
        backoff.died(now, 0.0)
    assert backoff.died(200.0, HEALTHY_SECONDS) == 0.0
    assert backoff.died(201.0, 0.0) == pytest.approx(FIRST_DELAY)


def test_those_that_die_together_count_once() -> None:
    backoff = Backoff()
    backoff.died(100.0, 0.0)
    assert backoff.died(110.0, 0.0) == pytest.approx(FIRST_DELAY)
    assert backoff.died(110.0 + TOGETHER_SECONDS / 2, 0.0) == pytest.approx(FIRST_DELAY - TOGETHER_SECONDS / 2, abs=0.1)
    assert backoff.next_start == pytest.approx(110.0 + FIRST_DELAY)
