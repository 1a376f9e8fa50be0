"""What was measured, for people (a table on the terminal) and for programs (JSON), with the machine and the versions.

A ratio is taken inside each round, since what disturbs a machine comes and goes; what is shown is the median of these
ratios, and the lowest and the highest beside it.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cases import CASES, Case
from servers import Contender

Sample = dict[str, Any]
LIBRARIES = ("uvloop", "httptools", "websockets", "wsproto")


def machine() -> dict[str, Any]:
    """The machine and the software that the figures are true of."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
        model = next((value.strip() for key, _, value in lines if key.strip() == "model name"), model)
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": versions,
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def ratios(samples: Sequence[Sample], case: str, server: str, baseline: str) -> list[float]:
    """How many times cheaper than the baseline the server was in each round in which both were measured."""
    cost = {(s["round"], s["server"]): s["cost"] for s in samples if s["case"] == case}
    rounds = sorted({number for number, _ in cost})
    return [
        cost[number, baseline] / cost[number, server]
        for number in rounds
        if (number, baseline) in cost and cost.get((number, server))
    ]


def summarise(samples: Sequence[Sample], baseline: str) -> list[dict[str, Any]]:
    """One row a case and server: medians over the rounds, and the ratio to the baseline."""
    rows = []
    for case, server in dict.fromkeys((s["case"], s["server"]) for s in samples):
        mine = [s for s in samples if s["case"] == case and s["server"] == server]
        row: dict[str, Any] = {"case": case, "server": server, "rounds": len(mine)}
        for key in mine[0]:
            if key not in ("case", "server", "round", "mode"):
                row[key] = statistics.median(s[key] for s in mine)
        found = ratios(samples, case, server, baseline)
        if found:
            row |= {"ratio": statistics.median(found), "ratio_low": min(found), "ratio_high": max(found)}
        rows.append(row)
    return rows


def _number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, thousands separated; "-" for nothing."""
    if value is None:
        return "-"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def _cells(row: dict[str, Any], case: Case, baseline: str) -> list[str]:
    """One line of the table."""
    ratio = row.get("ratio")
    low, high = _number(row.get("ratio_low")), _number(row.get("ratio_high"))
    spread = "" if ratio is None else f"{_number(ratio)} ({low} to {high})"
    if row["server"] == baseline:
        spread, verdict = "1", ""
    elif case.target is None or ratio is None:
        verdict = ""
    elif case.memory:
        verdict = f"{case.target:g} KiB: {'yes' if row['cost'] <= case.target else 'no'}"
    else:
        verdict = f"{case.target:g}: {'yes' if ratio >= case.target else 'no'}"
    if case.memory:
        return [row["server"], f"{row['cost']:.1f} KiB", spread, verdict, "", "", ""]
    latency = " ".join(_number(row[key] / 1000) for key in ("p50_us", "p99_us", "p999_us"))
    used = f"{100 * row['server_utilisation']:.0f}/{100 * row['client_utilisation']:.0f}"
    return [row["server"], f"{_number(row['cost'])} us", spread, verdict, _number(row["per_second"]), latency, used]


TABLE_WIDTH = 180  # columns: wide enough for every cell, on a terminal that is not
COLUMNS = ("server", "cost", "times better", "target", "per second", "p50 p99 p99.9 ms", "% CPU srv/cli")


def show(rows: Sequence[dict[str, Any]], baseline: str) -> None:
    """Print the table: with rich when it is installed, in plain columns when it is not."""
    grouped: dict[str, list[list[str]]] = {}
    for row in rows:
        case = CASES[row["case"]]
        grouped.setdefault(f"{case.title}: per {case.unit}", []).append(_cells(row, case, baseline))
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(COLUMNS, *itertools.chain(*grouped.values()), strict=True)]
        print("  ".join(name.rjust(width) for name, width in zip(COLUMNS, widths, strict=True)))
        for title, members in grouped.items():
            print(f"\n{title}")
            for cells in members:
                print("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))
        return
    table = Table(box=box.SIMPLE, pad_edge=False)
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for title, members in grouped.items():
        table.add_row(f"[bold]{title}[/bold]", end_section=False)
        for index, cells in enumerate(members):
            table.add_row("  " + cells[0], *cells[1:], end_section=index == len(members) - 1)
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(table)


def save(
    samples: Sequence[Sample],
    rows: Sequence[dict[str, Any]],
    contenders: Iterable[Contender],
    baseline: str,
    folder: Path,
) -> Path:
    """Write all samples and the summary as JSON into `folder`; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    about = machine()
    path = folder / f"bench-{about['time'].replace(':', '').replace('+0000', 'Z')}.json"
    document = {
        "machine": about,
        "baseline": baseline,
        "servers": {c.name: {"version": c.version, "command": [c.module, *c.command(0)[3:-2]]} for c in contenders},
        "cases": {row["case"]: CASES[row["case"]].title for row in rows},
        "summary": list(rows),
        "samples": list(samples),
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path
