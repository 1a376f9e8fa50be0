"""The gate on counts (bench/counts.py): what it lets pass and what not. Nothing is counted here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loose_modules import modules_of

BENCH = Path(__file__).parents[2] / "bench"
ABOUT = {"python": "CPython 3.11", "machine": "Linux x86_64", "kernel": "avx2", "uvloop": "0.23.0"}


@pytest.fixture
def counts() -> Iterator[Any]:
    with modules_of(BENCH, "counts") as (module,):
        yield module


def one(instructions: float, calls: float = 3.0) -> dict[str, dict[str, dict[str, float]]]:
    metrics = {"instructions": instructions, "system calls": calls, "allocations": 16.0, "bytes": 1400}
    return {"cython": {"64x1": metrics}}


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (one(100_000), 0),
        (one(104_000), 0),
        (one(106_000), 1),
        (one(50_000), 0),
        (one(100_000, 3.12), 0),
        (one(100_000, 3.18), 1),
        (one(100_000, 2.0), 0),
    ],
)
def test_a_rise_of_over_five_per_cent_fails(
    counts: Any, capsys: pytest.CaptureFixture[str], found: Any, status: int
) -> None:
    assert counts.gate(ABOUT, found, {"about": ABOUT, "counts": one(100_000)}) == status
    said = capsys.readouterr().out
    assert ("TOO HIGH: cython, 64x1" in said) == (status == 1)


def test_a_call_a_thousand_messages_is_no_rise(counts: Any) -> None:
    baseline = {"about": ABOUT, "counts": one(100_000, 0.005)}
    assert counts.gate(ABOUT, one(100_000, 0.014), baseline) == 0
    assert counts.gate(ABOUT, one(100_000, 0.016), baseline) == 1


@pytest.mark.parametrize("name", ["python", "machine", "kernel"])
def test_another_place_is_said_and_not_compared(counts: Any, capsys: pytest.CaptureFixture[str], name: str) -> None:
    baseline = {"about": ABOUT | {name: "another"}, "counts": one(100_000)}
    assert counts.gate(ABOUT, one(200_000), baseline) == 0
    assert f"Not compared with the baseline, which holds for another place: {name} is" in capsys.readouterr().out


def test_another_library_is_named_where_a_count_is_too_high(counts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    baseline = {"about": ABOUT | {"uvloop": "0.22.1"}, "counts": one(100_000)}
    assert counts.gate(ABOUT, one(100_000), baseline) == 0
    assert "uvloop" not in capsys.readouterr().out
    assert counts.gate(ABOUT, one(110_000), baseline) == 1
    assert "uvloop is 0.23.0, was 0.22.1" in capsys.readouterr().out


def test_what_the_baseline_does_not_have_is_new(counts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert counts.gate(ABOUT, one(100_000), {"about": ABOUT, "counts": {}}) == 0
    assert "new" in capsys.readouterr().out


def test_a_fall_asks_for_a_new_baseline(counts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert counts.gate(ABOUT, one(90_000), {"about": ABOUT, "counts": one(100_000)}) == 0
    assert "1 counts have fallen" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("later", "status", "asked"), [([112_000, 101_000, 0], 0, 2), ([109_000] * 9, 1, 4), ([], 0, 0)]
)
def test_what_is_too_high_is_counted_again_and_the_lowest_holds(
    counts: Any, monkeypatch: pytest.MonkeyPatch, later: list[float], status: int, asked: int
) -> None:
    calls: list[list[str]] = []

    def count_instructions(configuration: Any, scenarios: list[str], places: int) -> tuple[str, dict[str, float]]:
        calls.append(scenarios)
        return "avx2", {"64x1": later[len(calls) - 1]}

    monkeypatch.setattr(counts, "count_instructions", count_instructions)
    found = one(110_000 if later else 100_000)
    counts.count_again(found, one(100_000))
    assert (counts.gate(ABOUT, found, {"about": ABOUT, "counts": one(100_000)}), len(calls)) == (status, asked)


def test_the_committed_baseline_is_whole(counts: Any) -> None:
    text = (BENCH / "baseline.json").read_text()
    baseline = json.loads(text)
    assert counts.to_json(baseline["about"], baseline["counts"]) == text
    assert set(counts.MUST_MATCH) <= set(baseline["about"])
    assert list(baseline["counts"]) == list(counts.CONFIGURATIONS)
    for configuration, scenarios in baseline["counts"].items():
        assert list(scenarios) == counts.CONFIGURATIONS[configuration].scenarios(counts.SCENARIOS)
        for scenario, metrics in scenarios.items():
            wired = counts.SCENARIOS[scenario].wire
            assert tuple(metrics) == (("instructions",) if wired else counts.METRICS)
