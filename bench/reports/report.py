"""What was measured, for people (tables on the terminal) and for programs (JSON), with the machine and the versions.

A ratio is taken inside each round, since what disturbs a machine comes and goes; what is shown is the median of these
ratios, and the lowest and the highest beside it. Tables of Markdown are made in write_docs.py, plots in plots.py.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cases import ALL, Case
from servers.contenders import BENCH, Contender

Sample = dict[str, Any]
Row = dict[str, Any]
LIBRARIES = ("uvloop", "httptools", "websockets", "wsproto", "starlette", "fastapi")
BUSY = 0.05
"""The share of a slice that others may keep client or server from their cores before the reader is told."""


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
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=BENCH, capture_output=True, text=True, check=False
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": versions,
        "commit": commit.stdout.strip(),
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


def summarise(samples: Sequence[Sample], baseline: str) -> list[Row]:
    """One row a case and server: medians over the rounds, and the ratio to the baseline."""
    rows = []
    for case, server in dict.fromkeys((s["case"], s["server"]) for s in samples):
        mine = [s for s in samples if s["case"] == case and s["server"] == server]
        row: Row = {"case": case, "server": server, "rounds": len(mine)}
        for key in mine[0]:
            if key not in ("case", "server", "round", "mode"):
                row[key] = rounded(statistics.median(s[key] for s in mine))
        found = ratios(samples, case, server, baseline)
        if found:
            row["ratio"] = rounded(statistics.median(found))
            row |= {"ratio_low": rounded(min(found)), "ratio_high": rounded(max(found))}
        rows.append(row)
    return rows


def rounded(value: float) -> float:
    """Five significant digits: more is noise."""
    return float(f"{value:.5g}")


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, thousands separated; "-" for nothing."""
    if value is None:
        return "-"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    shown = f"{value:#.{digits}g}"
    return shown.removesuffix(".")


def cost(row: Row, case: Case) -> str:
    """What a unit costs, with its unit of measure."""
    if case.memory:
        return f"{row['cost']:.1f} KiB"
    return f"{number(row['cost'])} µs"


def goal(case: Case) -> str:
    """The target as text: a ratio, or KiB at most."""
    if case.target is None:
        return ""
    return f"{case.target:g} KiB" if case.memory else f"{case.target:g}"


def met(row: Row, case: Case) -> bool | None:
    """Whether the row reaches its case's target; None where there is none."""
    if case.target is None:
        return None
    if case.memory:
        return bool(row["cost"] <= case.target)
    return bool(row["ratio"] >= case.target) if "ratio" in row else None


def client_bound(row: Row) -> bool:
    """Whether the load client cost more than the server: then the server was not at its limit."""
    return bool(row.get("client_us", 0) > row.get("server_us", 0))


def disturbed(rows: Iterable[Row]) -> float:
    """The median share of the time that client or server waited for its core because of others."""
    waited = [max(row["server_waited"], row["client_waited"]) for row in rows if "server_waited" in row]
    return statistics.median(waited) if waited else 0.0


def cells(row: Row, case: Case, baseline: str) -> list[str]:
    """One line of the table on the terminal."""
    base = row["server"] == baseline
    ratio = "1" if base else "" if "ratio" not in row else number(row["ratio"])
    spread = "" if base or not ratio else f"{number(row['ratio_low'])} to {number(row['ratio_high'])}"
    reached = None if base else met(row, case)
    verdict = "" if reached is None else "yes" if reached else "NO"
    line = [row["server"], cost(row, case), ratio, spread, "" if base else goal(case), verdict]
    if case.memory:
        return [*line, "", "", "", ""]
    latency = " ".join(number(row[key] / 1000) for key in ("p50_us", "p99_us", "p999_us"))
    used = f"{100 * row['server_utilisation']:.0f}/{100 * row['client_utilisation']:.0f}"
    note = "client-bound" if client_bound(row) else ""
    return [*line, number(row["per_second"]), latency, used, note]


COLUMNS = (
    *("server", "cost", "times better", "in the rounds", "target", "met", "per second"),
    *("p50 p99 p99.9 ms", "% CPU server/client", ""),
)
TABLE_WIDTH = 200  # columns: wide enough for every cell, on a terminal that is not


def show_table(title: str, rows: Sequence[Row], baseline: str) -> None:
    """Print a table of cases: the cost of each on each server."""
    grouped: dict[str, list[list[str]]] = {}
    for row in rows:
        case = ALL[row["case"]]
        flying = f", {case.in_flight} in flight" if case.in_flight else ""
        grouped.setdefault(f"{case.title}: per {case.unit}{flying}", []).append(cells(row, case, baseline))
    print_table(title, COLUMNS, grouped)
    if any(client_bound(row) for row in rows):
        print("client-bound: the load client cost more CPU than this server, which was not at its limit: its rate and")
        print("latency are the client's; its cost is its own, if without the gains of a full load.")
    if disturbed(rows) > BUSY:
        print(f"Others kept client or server from their cores for {100 * disturbed(rows):.0f}% of the time: not quiet.")
    print()


def show_checks(checks: Sequence[dict[str, Any]]) -> None:
    """Print the checks of scale.py."""
    grouped: dict[str, list[list[str]]] = {}
    for each in checks:
        value = "failed" if each["value"] is None else f"{number(each['value'])} {each['unit']}"
        line = [each["server"], value, f"{each['target']:g}", "yes" if each["met"] else "NO", each["said"]]
        grouped.setdefault(each["title"], []).append(line)
    print_table("scale", ("server", "value", "at most", "met", ""), grouped)
    print()


def print_table(title: str, columns: Sequence[str], grouped: dict[str, list[list[str]]]) -> None:
    """Print lines under their headings."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False, title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index in (0, len(columns) - 1) else "right", no_wrap=True)
    for heading, members in grouped.items():
        table.add_row(f"[bold]{heading}[/bold]")
        for index, line in enumerate(members):
            table.add_row("  " + line[0], *line[1:], end_section=index == len(members) - 1)
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(table)


def described(contenders: Iterable[Contender]) -> dict[str, dict[str, Any]]:
    """Version and command line of each server, without what is true of this machine or run only."""
    return {
        each.name: {
            "version": each.version,
            "command": " ".join(Path(word).name if "/" in word else word for word in each.command(8000)),
        }
        for each in contenders
    }


def save(document: dict[str, Any], folder: Path) -> Path:
    """Write what was measured as JSON into `folder`; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    when = document["machine"]["time"].replace(":", "").replace("+0000", "Z")
    path = folder / f"bench-{when}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path
