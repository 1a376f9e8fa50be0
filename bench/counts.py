"""The gate that noise cannot touch: what a message costs in counts, beside a committed baseline (`make counts`).

For each configuration and scenario of driver.py: instructions (callgrind), system calls (strace), allocations and the
bytes asked for in them (Python's allocators), a message, delivery, request or connection. Scenarios on real sockets, in
plain and over TLS, have instructions alone. No time is measured: a busy
machine gives the same counts. A rise of more than 5 % is a failure. `--write` makes baseline.json anew, where a rise is
wanted, and where counts have fallen, so that the gain is kept.

Instructions have a share of luck all the same: CPython finds methods in a cache by addresses (`driver.place_types`),
and where two meet there, an interpreted message costs up to 5 % more; addresses differ with the names of folders. So
what is too high is counted again, with other places in that cache, and its lowest count holds.

Counts belong to an interpreter and a machine. With another minor version of Python, another architecture or another
kernel for masks, nothing can be compared, which is printed and is no failure. Where a library, the compiler or valgrind
is of another version, counts are compared all the same, and a failure names what else has changed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from driver import CONFIGURATIONS, SCENARIOS, load_counters, run_driver
from instructions import count_instructions
from system_calls import count_system_calls

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
TOLERANCE = 0.05
SLACK = 0.01
"""A rise by so little, in a whole unit, is none: a call a hundred messages."""
AGAIN = 4
"""How often instructions that are too high are counted again."""
METRICS = ("instructions", "system calls", "allocations", "bytes")
MUST_MATCH = ("python", "machine", "kernel")

Counts = dict[str, dict[str, dict[str, float]]]
"""By configuration, scenario and metric."""


@dataclass(frozen=True)
class Comparison:
    """One count beside that of the baseline, which may have none."""

    configuration: str
    scenario: str
    metric: str
    found: float
    baseline: float | None

    @property
    def change(self) -> float:
        """What was found, relative to the baseline: 0.05 is five per cent more."""
        return self.found / self.baseline - 1 if self.baseline else 0.0

    @property
    def too_high(self) -> bool:
        """Whether this is what must not be."""
        if self.baseline is None:
            return False
        return self.found > self.baseline * (1 + TOLERANCE) and self.found - self.baseline > SLACK

    @property
    def lower(self) -> bool:
        """Whether the baseline lets so much pass that it should be renewed."""
        return self.baseline is not None and self.found < self.baseline * (1 - TOLERANCE)


def compare(found: Counts, baseline: Counts) -> list[Comparison]:
    """Each count that was found beside its baseline."""

    def then(configuration: str, scenario: str, metric: str) -> float | None:
        return baseline.get(configuration, {}).get(scenario, {}).get(metric)

    return [
        Comparison(configuration, scenario, metric, count, then(configuration, scenario, metric))
        for configuration, scenarios in found.items()
        for scenario, metrics in scenarios.items()
        for metric, count in metrics.items()
    ]


def differences(about: dict[str, str], then: dict[str, str], names: Sequence[str]) -> list[str]:
    """What of `names` is not as it was when the baseline was made, in words."""
    return [f"{name} is {about.get(name)}, was {then.get(name)}" for name in names if about.get(name) != then.get(name)]


def describe(kernel: str) -> dict[str, str]:
    """What counts depend on."""
    compiler = os.environ.get("CC", "cc")
    version = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True, check=False)
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    return {
        "python": f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor}",
        "machine": f"{platform.system()} {platform.machine()}",
        "kernel": kernel,
        "python's patch": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
        "compiler": f"{compiler} {version.stdout.strip()}",
        "valgrind": valgrind.stdout.strip(),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        **{name: importlib.metadata.version(name) for name in ("uvloop", "httptools", "websockets", "Cython")},
    }


def measure(names: Sequence[str], scenarios: Sequence[str]) -> tuple[str, Counts]:
    """The kernel for masks, and all counts of these configurations; several at once, which changes none of them."""

    def count_on_the_way(name: str) -> dict[str, dict[str, float]]:
        configuration = CONFIGURATIONS[name]
        there = [each for each in configuration.scenarios(scenarios) if not SCENARIOS[each].wire]
        _, driven = run_driver(configuration, there, "--allocations")
        calls = count_system_calls(configuration, {each["scenario"]: each["answers"] for each in driven})
        return {
            each["scenario"]: {
                "system calls": round(sum(calls[each["scenario"]].values()), 3),
                "allocations": round(each["allocations"], 2),
                "bytes": round(each["bytes"]),
            }
            for each in driven
        }

    load_counters(HERE / ".build")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wanted = {name: CONFIGURATIONS[name].scenarios(scenarios) for name in names}
        instructions = {name: pool.submit(count_instructions, CONFIGURATIONS[name], wanted[name]) for name in names}
        others = {name: pool.submit(count_on_the_way, name) for name in names}
        found: Counts = {}
        kernel = "none"
        for name in names:
            used, counted = instructions[name].result()
            kernel = used if used != "none" else kernel
            more = others[name].result()
            found[name] = {each: {"instructions": round(counted[each])} | more.get(each, {}) for each in wanted[name]}
            print(f"counted: {name}", file=sys.stderr, flush=True)
    return kernel, found


def count_again(found: Counts, baseline: Counts) -> None:
    """Replace instructions in `found` that are too high by the lowest of a few more counts, made only where needed."""
    for places in range(1, AGAIN + 1):
        suspects: dict[str, list[str]] = {}
        for each in compare(found, baseline):
            if each.too_high and each.metric == "instructions":
                suspects.setdefault(each.configuration, []).append(each.scenario)
        for name, scenarios in suspects.items():
            print(f"counting again: {name}, {', '.join(scenarios)}", file=sys.stderr, flush=True)
            _, counted = count_instructions(CONFIGURATIONS[name], scenarios, places=places)
            for scenario, count in counted.items():
                metrics = found[name][scenario]
                metrics["instructions"] = min(metrics["instructions"], round(count))


def show(comparisons: Sequence[Comparison]) -> None:
    """Print the table."""
    rows: dict[tuple[str, str], dict[str, Comparison]] = {}
    for each in comparisons:
        rows.setdefault((each.configuration, each.scenario), {})[each.metric] = each
    last = ""
    for (configuration, scenario), cells in rows.items():
        if configuration != last:
            last = configuration
            print(f"\n{configuration:<20}" + "".join(f"{metric:>21}" for metric in METRICS))
        line = f"{scenario:<11}{SCENARIOS[scenario].unit:<11}"
        for metric in METRICS:
            if metric not in cells:  # of what is on real sockets: the client's would be among them
                continue
            cell = cells[metric]
            digits = 3 if metric == "system calls" else 2 if metric == "allocations" else 0
            beside = "     new" if cell.baseline is None else f"{cell.change:>+7.1%}{'!' if cell.too_high else ' '}"
            line += f"{cell.found:>12,.{digits}f} {beside}"
        print(line.rstrip())
    print()


def gate(about: dict[str, str], found: Counts, baseline: dict[str, dict]) -> int:
    """Compare and print; 1 where something is too high."""
    then = baseline.get("about", {})
    unlike = differences(about, then, MUST_MATCH)
    comparisons = compare(found, {} if unlike else baseline.get("counts", {}))
    show(comparisons)
    if unlike:
        print(f"Not compared with the baseline, which holds for another place: {'; '.join(unlike)}.")
        return 0
    too_high = [each for each in comparisons if each.too_high]
    for each in too_high:
        print(
            f"TOO HIGH: {each.configuration}, {each.scenario}, {each.metric}: {each.found:,.3f} instead of "
            f"{each.baseline:,.3f} a {SCENARIOS[each.scenario].unit}, {each.change:+.1%}"
        )
    if too_high:
        changed = differences(about, then, [name for name in about if name not in MUST_MATCH])
        print(f"A rise of over {TOLERANCE:.0%} fails. Where it is worth it: make counts ARGS=--write")
        if changed:
            print(f"It may not be ours, since this has changed, too: {'; '.join(changed)}.")
        return 1
    lower = [each for each in comparisons if each.lower]
    if lower:
        print(f"{len(lower)} counts have fallen by over {TOLERANCE:.0%}. To keep that: make counts ARGS=--write")
    return 0


def to_json(about: dict[str, str], found: Counts) -> str:
    """The text of baseline.json: a line for each scenario."""
    text = json.dumps({"about": about, "counts": found}, indent=1)
    metrics = re.compile(r'\{\n\s+("instructions"[^}]*?)\n\s+\}')
    return metrics.sub(lambda found: "{" + re.sub(r"\n\s+", " ", found[1]) + "}", text) + "\n"


def main() -> int:
    """Measure, and compare or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make the baseline anew instead of comparing")
    parser.add_argument("--only", choices=CONFIGURATIONS, help="only this configuration")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="comma-separated (default: all)")
    arguments = parser.parse_args()
    missing = [tool for tool in ("valgrind", "strace") if shutil.which(tool) is None]
    if missing:
        parser.error(f"not installed: {', '.join(missing)}")
    names = [arguments.only] if arguments.only else list(CONFIGURATIONS)
    scenarios = arguments.scenarios.split(",")
    kernel, found = measure(names, scenarios)
    about = describe(kernel)
    if not arguments.write:
        baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
        if not differences(about, baseline.get("about", {}), MUST_MATCH):
            count_again(found, baseline["counts"])
        return gate(about, found, baseline)
    if arguments.only or scenarios != list(SCENARIOS):
        parser.error("--write makes the whole baseline anew: without --only and --scenarios")
    show(compare(found, {}))
    BASELINE.write_text(to_json(about, found))
    print(f"written: {BASELINE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
