"""Writes the figures of README.md and docs/performance.md from one result of `make bench-docs`.

    python bench/reports/write_docs.py RESULT    # a file of bench/results/: kept as docs/performance.json
    python bench/reports/write_docs.py --check   # what a test runs: the pages agree with docs/performance.json

A result of another version of Python, which may have the table alone, is kept as docs/performance-newest.json; the
table `newest` is of that one.

A page has a pair of comments for each table, `<!-- bench: NAME -->` and `<!-- end -->`; what stands between them is
written here and nowhere else.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for who runs this file

from cases import ALL, CASES, PEER_CASES
from servers.contenders import BENCH

from reports.report import Row, client_bound, cost, number

ROOT = BENCH.parent
KEPT = ROOT / "docs" / "performance.json"
NEWEST = ROOT / "docs" / "performance-newest.json"
PAGES = (ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "performance.md")
PARTS = ("table", "peers", "connections", "sizes", "scale")
OURS = "fastws"
ON_LOOP = "fastws-loop"
"""The same, by the event loop's own transports."""

FALLBACKS = {"fastws-websockets": "compiled, `--ws websockets`", "fastws-pure": "without a C compiler"}
"""Installs where its own engine is not there, and where nothing is compiled."""

IN_README = (
    *("64x1", "64x16", "1k", "deflate", "64k", "1m", "fanout-1000"),
    *("connect", "http-unique", "http-post", "http", "fastapi-x16", "memory", "memory-deflate"),
)

Document = dict[str, Any]


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; its first column is text, the others are figures."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def by_case(rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """The rows as {case: {server: row}}."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row["case"], {})[row["server"]] = row
    return found


def provenance(document: Document) -> str:
    """The machine and the versions that the figures are true of."""
    about = document["machine"]
    servers = {}
    for name, server in document["servers"].items():
        if server["version"] and not name.startswith((f"{OURS}-", "uvicorn-")):
            servers[name] = f"{name} {server['version']}"
    libraries = [f"{name} {version}" for name, version in about["libraries"].items() if name not in servers]
    return (
        f"{about['cpu']}, {about['cores']} cores, {about['system']}, Python {about['python']}; "
        f"{', '.join(servers.values())}; {', '.join(libraries)}; measured {about['time'][:10]}."
    )


def readme(document: Document) -> str:
    """The short table: what fastws costs, what uvicorn costs."""
    found = by_case(document["table"]["rows"])
    base = document["baseline"]
    lines = []
    for name in IN_README:
        if OURS in found.get(name, {}) and base in found[name]:
            ours, theirs = found[name][OURS], found[name][base]
            case = CASES[name]
            lines.append([case.title, cost(ours, case), cost(theirs, case), number(ours["ratio"], 2)])
    return markdown(("work", OURS, base, "times better"), lines)


IN_FIGURES = {
    "64x16": "less CPU for an echo, 16 in flight",
    "64x1": "less CPU for an echo, one in flight",
    "connect": "less CPU for a connection that opens and closes",
    "memory": "less memory for an idle connection",
}
"""The cases of the first page, and what they stand for."""


def figures(document: Document) -> str:
    """The figures of the first page: how many times better than the baseline."""
    found = by_case(document["table"]["rows"])
    lines = []
    for name, what in IN_FIGURES.items():
        if OURS in found.get(name, {}):
            lines.append(f"- **{number(found[name][OURS]['ratio'], 2)} times** {what}")
    return "\n".join((*lines, "", f"Beside {document['baseline']}, measured {document['machine']['time'][:10]}."))


def table(document: Document) -> str:
    """The whole table."""
    base = document["baseline"]
    lines = []
    for name, servers in by_case(document["table"]["rows"]).items():
        if OURS not in servers or base not in servers:
            continue
        case, ours, theirs = CASES[name], servers[OURS], servers[base]
        used = "" if case.memory else " and ".join(_used(row) for row in (ours, theirs))
        ratio = f"**{number(ours['ratio'], 2)}** ({number(ours['ratio_low'], 2)} to {number(ours['ratio_high'], 2)})"
        work = f"{case.title}: per {case.unit}"
        on_loop = number(servers[ON_LOOP]["ratio"], 2) if ON_LOOP in servers else "-"
        lines.append([work, cost(ours, case), cost(theirs, case), ratio, on_loop, used])
    head = ("work", OURS, base, "times better (rounds)", "by the loop's transports", "% CPU server/client")
    return markdown(head, lines)


def _used(row: Row) -> str:
    return f"{100 * row['server_utilisation']:.0f}/{100 * row['client_utilisation']:.0f}{'*' * client_bound(row)}"


def latency(document: Document) -> str:
    """Percentiles, with the number of messages in flight."""
    lines = []
    for name, servers in by_case(document["table"]["rows"]).items():
        case = CASES[name]
        if case.memory or case.unit == "connection":
            continue
        cells = []
        for server in (OURS, document["baseline"]):
            row = servers.get(server)
            keys = ("p50_us", "p99_us", "p999_us")
            cells.append(" / ".join(number(row[key] / 1000, 2) for key in keys) if row else "-")
        lines.append([case.title, f"{case.in_flight:,}", *cells])
    names = (f"{name}, ms" for name in (OURS, document["baseline"]))
    return markdown(("work", "in flight", *names), lines)


def peers(document: Document) -> str:
    """Every server: how many times cheaper than the baseline a unit is; memory in KiB."""
    found = by_case(document["peers"]["rows"])
    names = [name for name in document["servers"] if any(name in found[case] for case in found)]
    lines = []
    for server in names:
        line = [f"{server} {document['servers'][server]['version']}".strip()]
        for name in PEER_CASES:
            row = found.get(name, {}).get(server)
            if row is None:
                line.append("-")
            elif CASES[name].memory:
                line.append(f"{row['cost']:.1f} KiB")
            else:
                line.append(number(row.get("ratio"), 2))
        lines.append(line)
    return markdown(("server", *PEER_CASES), lines)


def fallbacks(document: Document) -> str:
    """The installs that are not compiled throughout: the least and the most that each is better."""
    rows = document["peers"]["rows"]
    lines = []
    for server, install in FALLBACKS.items():
        mine = [row for row in rows if row["server"] == server and not ALL[row["case"]].memory and "ratio" in row]
        if mine:
            ends = [choose(mine, key=lambda row: row["ratio"]) for choose in (min, max)]
            lines.append([install, *(f"{number(row['ratio'], 2)} ({ALL[row['case']].title})" for row in ends)])
    return markdown(("install", "times better, at least", "at most"), lines)


def curve(part: str, axis: str) -> Callable[[Document], str]:
    """The table of a curve: one line for each place on its axis."""

    def write(document: Document) -> str:
        found = by_case(document[part]["rows"])
        names = list(dict.fromkeys(row["server"] for row in document[part]["rows"]))
        lines = []
        for case, servers in found.items():
            costs = (f"{number(servers[name]['cost'])} µs" if name in servers else "-" for name in names)
            lines.append([f"{ALL[case].at:,}", *costs])
        return markdown((axis, *names), lines)

    return write


def scale(document: Document) -> str:
    """What scale.py measured, a line for each server; its targets are for who changes fastws."""
    lines: list[list[str]] = []
    for title in dict.fromkeys(each["title"] for each in document["scale"] if each["value"] is not None):
        for each in document["scale"]:
            if each["title"] == title and each["value"] is not None:
                value = f"{number(each['value'])} {each['unit']}"
                what = "" if lines and each["server"] != document["scale"][0]["server"] else title
                lines.append([what, each["server"], value, each["said"]])
    return markdown(("what", "server", "measured", "details"), lines)


def newest(document: Document) -> str:
    """The ratios of every server to the baseline in the table of the newest Python; `document` is of another."""
    document = json.loads(NEWEST.read_text())
    names = [name for name in document["servers"] if name != document["baseline"]]
    lines = []
    for name, servers in by_case(document["table"]["rows"]).items():
        if OURS in servers and document["baseline"] in servers:
            ratios = (number(servers[each]["ratio"], 2) if each in servers else "-" for each in names)
            lines.append([CASES[name].title, cost(servers[OURS], CASES[name]), *ratios])
    return f"{markdown(('work', f'{OURS}, cost', *names), lines)}\n\n{provenance(document)}"


def is_other_python(document: Document) -> bool:
    """Whether the result is of another version of Python than docs/performance.json."""
    versions = [each["machine"]["python"].split(".")[:2] for each in (document, json.loads(KEPT.read_text()))]
    return bool(versions[0] != versions[1])


WRITERS: dict[str, Callable[[Document], str]] = {
    "provenance": provenance,
    "readme": readme,
    "table": table,
    "latency": latency,
    "peers": peers,
    "fallbacks": fallbacks,
    "connections": curve("connections", "connections"),
    "sizes": curve("sizes", "bytes"),
    "scale": scale,
    "figures": figures,
    "newest": newest,
}

_PLACE = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, document: Document, writers: Mapping[str, Callable[[Document], str]] = WRITERS) -> str:
    """The page with what is between its comments written anew. KeyError for a table that there is not."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{writers[place[2]](document)}\n\n{place[3]}", text)


def stale(document: Document) -> list[str]:
    """The pages whose figures are not those of the document."""
    return [page.name for page in PAGES if filled(page.read_text(), document) != page.read_text()]


def fill(document: Document) -> None:
    """Write the tables of the pages."""
    for page in PAGES:
        page.write_text(filled(page.read_text(), document))


def write(result: Path) -> None:
    """Keep this result as docs/performance.json, and write pages and plots from it. ValueError when it lacks a part.

    One of another Python is kept as docs/performance-newest.json, for a table of its own.
    """
    document = json.loads(result.read_text())
    document.pop("samples", None)
    if "table" in document and "machine" in document and is_other_python(document):
        NEWEST.write_text(json.dumps(document, indent=1) + "\n")
        fill(json.loads(KEPT.read_text()))
        return
    if missing := [part for part in PARTS if part not in document]:
        raise ValueError(f"{result} has no {', '.join(missing)}: the pages take all their figures from one run")
    KEPT.write_text(json.dumps(document, indent=1) + "\n")
    fill(document)
    command = [
        sys.executable,
        str(Path(__file__).parent / "plots.py"),
        str(KEPT),
        "--folder",
        str(KEPT.parent),
        "--formats",
        "svg",
    ]
    subprocess.run(command, check=True)


def main() -> int:
    """1 with --check when a page is stale."""
    if sys.argv[1:] == ["--check"]:
        names = stale(json.loads(KEPT.read_text()))
        if names:
            print(f"figures are not those of {KEPT.name}: {', '.join(names)}", file=sys.stderr)
        return int(bool(names))
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    write(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
