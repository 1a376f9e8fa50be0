"""Draws a result of bench.py: `python bench/reports/plots.py RESULT.json [--folder FOLDER] [--formats png,svg]`.

ratios: how many times cheaper than the baseline; peers: the same for every server, a panel a case; latency: percentiles
with the number of messages in flight; connections and sizes: the cost of a message against them. Only what the result
has is drawn; the files lie beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

sys.path.insert(0, str(Path(__file__).parents[1]))  # for who runs this file

from cases import ALL, CASES

from reports.report import Row, number
from reports.write_docs import by_case

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLOURS = {"fastws": "#12958c", "uvicorn": "#d9622b", "floor": "#7d8590", "granian": "#7a4fb5", "socketify": "#1f77b4"}
OTHERS = ("#8c564b", "#e377c2", "#bcbd22", "#17becf", "#9467bd", "#ff9e4a", "#2ca02c", "#aec7e8", "#d62728", "#98df8a")
SHADES = {name: COLOURS[name] for name in ("fastws", "uvicorn", "floor")}
"""Who stands out where there are many."""
INK, GRID = "#77818c", "#8884"
"""Of what is no line of data. There is no paper: it can be read on white and on nearly black."""
WIDTH = 5.4
"""Inches of all plots: on a phone their letters are hardly smaller than its text."""
FONT = 10
NAMES = {"floor": "bare C"}
PERCENTILES = (("p50_us", "p50", "o"), ("p99_us", "p99", "s"), ("p999_us", "p99.9", "D"))

mpl.rcParams.update(
    {
        "font.size": FONT,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "savefig.transparent": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "fastws",
        "figure.dpi": 110,
    }
)


def name_of(server: str) -> str:
    """The server as plots name it."""
    return NAMES.get(server, server)


def colours(servers: Sequence[str]) -> dict[str, str]:
    """One colour for each server, the same in every plot of a run."""
    rest = iter(OTHERS * (1 + len(servers) // len(OTHERS)))
    return {server: COLOURS.get(server) or next(rest) for server in servers}


def servers_of(rows: Sequence[Row]) -> list[str]:
    """The servers in the order of the rows."""
    return list(dict.fromkeys(row["server"] for row in rows))


def ratios(part: dict[str, Any], baseline: str) -> Figure:
    """Bars of the ratios to the baseline, from zero, with the rounds' spread; the case stands above its bars."""
    found = {name: rows for name, rows in by_case(part["rows"]).items() if baseline in rows and len(rows) > 1}
    drawn = [server for server in servers_of(part["rows"]) if server != baseline]
    palette = colours(drawn)
    figure, axes = plt.subplots(figsize=(WIDTH, 1 + len(found) * (0.26 + 0.2 * len(drawn))))
    longest = max((row["ratio_high"] for rows in found.values() for row in rows.values()), default=1)
    step = 1.4 + len(drawn)
    for place, (case, rows) in enumerate(found.items()):
        axes.text(0, place * step - 0.95, CASES[case].title, va="center", fontsize=FONT)
        for index, server in enumerate(drawn):
            if server not in rows:
                continue
            row, y = rows[server], place * step + index
            spread = [[row["ratio"] - row["ratio_low"]], [row["ratio_high"] - row["ratio"]]]
            axes.barh(y, row["ratio"], 0.8, color=palette[server], label=None if place else name_of(server))
            axes.errorbar(row["ratio"], y, xerr=spread, color=INK, linewidth=1, capsize=2)
            axes.text(row["ratio_high"] + longest * 0.015, y, number(row["ratio"], 2), va="center", fontsize=FONT)
    axes.axvline(1, color=COLOURS["uvicorn"], linewidth=1.5, linestyle="--", label=f"{baseline} = 1")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(step * len(found) - 0.9, -1.6)
    axes.set_xlim(0, longest * 1.12)
    axes.set_xlabel(f"times cheaper than {baseline}: server CPU a unit of work\n(memory: KiB a connection)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=1 + len(drawn), frameon=False)
    return figure


def peers(part: dict[str, Any], baseline: str) -> Figure:
    """A panel for each case, one below the other: the ratio of every server, best on top, from zero."""
    found = {name: rows for name, rows in by_case(part["rows"]).items() if baseline in rows}
    heights = [0.9 + 0.24 * len(rows) for rows in found.values()]
    figure, panels = plt.subplots(
        len(found), 1, figsize=(WIDTH, sum(heights)), squeeze=False, layout="constrained", height_ratios=heights
    )
    for panel, (case, rows) in zip(panels.flat, found.items(), strict=True):
        order = sorted((row for row in rows.values() if "ratio" in row), key=lambda row: row["ratio"])
        longest = max(row["ratio"] for row in order)
        shades = [SHADES.get(row["server"], "#8fa3b8") for row in order]
        panel.barh(range(len(order)), [row["ratio"] for row in order], color=shades, height=0.75)
        for y, row in enumerate(order):
            text = number(row["ratio"], 2)
            panel.text(row["ratio"] + longest * 0.015, y, text, va="center", fontsize=FONT - 1)
        panel.set_yticks(range(len(order)), [name_of(row["server"]) for row in order], fontsize=FONT - 1)
        panel.axvline(1, color=COLOURS["uvicorn"], linewidth=1, linestyle="--")
        panel.set_xlim(0, longest * 1.15)
        panel.set_title(CASES[case].title, fontsize=FONT, loc="left", x=0 if len(order) < 2 else -0.3)
    figure.supxlabel(
        f"times cheaper than {baseline}: server CPU a unit of work\n(memory: KiB a connection)", fontsize=FONT
    )
    return figure


def latency(part: dict[str, Any], baseline: str) -> Figure:
    """p50, p99 and p99.9 of each case and server, on an axis of powers; the case stands above its lines."""
    timed = [row for row in part["rows"] if "p50_us" in row and ALL[row["case"]].unit != "connection"]
    found = by_case(timed)
    drawn = servers_of(timed)
    palette = colours(drawn)
    step = 1.5 + len(drawn)
    figure, axes = plt.subplots(figsize=(WIDTH, 1.2 + len(found) * (0.3 + 0.17 * len(drawn))))
    least = min(row["p50_us"] for row in timed) / 1000
    for place, (case, rows) in enumerate(found.items()):
        title = f"{ALL[case].title} ({ALL[case].in_flight:,} in flight)"
        axes.text(least * 0.8, place * step - 1, title, va="center", fontsize=FONT - 1)
        for index, server in enumerate(drawn):
            if server not in rows:
                continue
            y = place * step + index
            values = [rows[server][key] / 1000 for key, _, _ in PERCENTILES]
            axes.plot(values, [y] * len(values), color=palette[server], linewidth=2, alpha=0.6)
            for value, (_, _, marker) in zip(values, PERCENTILES, strict=True):
                axes.plot(value, y, marker, color=palette[server], markersize=5)
    for server in drawn:
        axes.plot([], [], color=palette[server], linewidth=3, label=name_of(server))
    for _, name, marker in PERCENTILES:
        axes.plot([], [], marker, color=INK, label=name)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(step * len(found) - 0.9, -1.8)
    axes.set_xscale("log")
    axes.set_xlim(left=least * 0.8)
    _plain(axes.xaxis)
    axes.grid(axis="x", color=GRID)
    axes.set_axisbelow(True)
    axes.set_xlabel("milliseconds until the answer, with so many\nmessages in flight; the server is saturated")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, frameon=False, columnspacing=1, handletextpad=0.4)
    return figure


def curve(part: dict[str, Any], axis: str) -> Figure:
    """The cost of a message against what the cases are `at`."""
    palette = colours(servers_of(part["rows"]))
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8))
    ends: list[float] = []
    for server, colour in palette.items():
        rows = [row for row in part["rows"] if row["server"] == server]
        places = [ALL[row["case"]].at for row in rows]
        axes.plot(places, [row["cost"] for row in rows], "o-", color=colour, linewidth=2, label=name_of(server))
        axes.annotate(
            number(rows[-1]["cost"]),
            (places[-1], rows[-1]["cost"]),
            xytext=(7, _aside(rows[-1]["cost"], ends)),
            textcoords="offset points",
            va="center",
            fontsize=FONT,
            color=colour,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    places = sorted({ALL[row["case"]].at for row in part["rows"]})
    axes.set_xticks(places, [_short(place) for place in places])
    axes.xaxis.set_minor_formatter(NullFormatter())
    _plain(axes.yaxis)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.set_xlabel(axis)
    axes.set_ylabel("server CPU a message, µs")
    axes.legend(frameon=False)
    return figure


def _aside(end: float, ends: list[float]) -> int:
    """Points by which the label of a line that ends here moves up or down, to leave room for those that are there."""
    near = [each for each in ends if 0.85 < end / each < 1.18]
    ends.append(end)
    return 0 if not near else 9 if end > near[0] else -9


def _short(place: int) -> str:
    for unit, size in (("M", 1 << 20), ("K", 1 << 10)):
        if place >= size and place % size == 0:
            return f"{place // size} {unit}i"
    return f"{place:,}"


def _plain(axis: Any) -> None:
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def figures(document: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    """All plots that the document has figures for, by name."""
    baseline = document["baseline"]
    if "table" in document:
        servers = servers_of(document["table"]["rows"])
        if baseline in servers and len(servers) > 1:
            draw = peers if len(servers) > 4 else ratios
            yield "ratios", draw(document["table"], baseline)
        if any("p50_us" in row and ALL[row["case"]].unit != "connection" for row in document["table"]["rows"]):
            yield "latency", latency(document["table"], baseline)
    if "peers" in document and baseline in servers_of(document["peers"]["rows"]):
        yield "peers", peers(document["peers"], baseline)
    if "connections" in document:
        axis = "connections, all in use:\necho 64 B, 1 in flight on each"
        yield "connections", curve(document["connections"], axis)
    if "sizes" in document:
        yield (
            "sizes",
            curve(document["sizes"], "bytes of a message: binary echo,\n1 in flight on each of 8 connections"),
        )


def main() -> None:
    """Draw what the result has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--folder", type=Path, help="where the plots go (default: beside the result)")
    parser.add_argument("--formats", default="png,svg")
    arguments = parser.parse_args()
    folder = arguments.folder or arguments.result.parent
    for name, figure in figures(json.loads(arguments.result.read_text())):
        for suffix in arguments.formats.split(","):
            path = folder / f"{arguments.result.stem}-{name}.{suffix}"
            figure.savefig(path, bbox_inches="tight", metadata={"Date": None} if suffix == "svg" else None)
            print(path)
        plt.close(figure)


if __name__ == "__main__":
    main()
