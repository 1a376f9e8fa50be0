"""What a message to all costs: `make bench-topics`, or `python bench/topics.py`.

One publisher, and 1,000 and 10,000 subscribers, of which it is one: a message goes to all, and when all have it the
next one follows ("1 in flight"), or sixteen do. Messages of 100 B and 1 KiB, plain and with permessage-deflate.
Compared are the topics of fastws, a loop in the application on fastws and on uvicorn (the same one, apps.py), the
topics of socketify by its own interface, and `floor`, the loop in C on bare epoll: what it costs is the kernel's.

All servers are up at once on one core, the load client (load.c) on another; the measure is the server's CPU time a
delivery. One client process has all connections, from many addresses of 127.0.0.0/8: there is no third core for
another. Tables go to standard output, all samples as JSON into bench/results/; `--write-docs` keeps the figures as
docs/topics.json and writes docs/topics.md from them, which `--check` compares.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import Case, deflated, json_payload
from client.load import Client, LoadError, build_client, build_program, reason
from reports import report, write_docs
from rounds import Bench, Measured
from servers.contenders import BENCH, CONTENDERS, PEERS_PYTHON, Contender, Running

from bench import bar, say

ROOT = BENCH.parent
PAGE = ROOT / "docs" / "topics.md"
KEPT = ROOT / "docs" / "topics.json"
BASELINE = "uvicorn, loop"
OURS = "fastws, topics"
FLOOR = "floor, loop"
"""It cannot compress."""
WINDOWS = (1, 16)
GOALS = {1: 4.0, 16: 10.0}
"""How many times cheaper than the loop on uvicorn, by the messages in flight."""
SOURCES = 64
DEFLATED_ROWS = {100: 2, 1024: 18}
"""Rows of JSON that a message of about that size has."""


@dataclass(frozen=True)
class Way:
    """One way to send a message to all: a server, and the path on which it does that."""

    name: str
    contender: Contender
    path: str


def ways() -> list[Way]:
    """All that can be had here."""
    socketify = dataclasses.replace(
        CONTENDERS["socketify"],
        program=(str(PEERS_PYTHON), "socketify_topics.py"),
        common=(),
        place=("{port}",),
    )
    found = [
        Way(OURS, CONTENDERS["fastws"], "/topics"),
        Way("fastws, loop", CONTENDERS["fastws"], "/fanout"),
        Way(BASELINE, CONTENDERS["uvicorn"], "/fanout"),
        Way("socketify, topics", socketify, "/"),
        Way(FLOOR, CONTENDERS["floor"], "/fanout"),
    ]
    for way in found:
        if way.contender.missing:
            say(f"left out: {way.name}: {way.contender.missing}")
    return [way for way in found if not way.contender.missing]


@dataclass(frozen=True)
class Group:
    """What is measured on the same connections, with each number of messages in flight."""

    members: int
    size: int
    deflate: bool

    def case(self, window: int) -> str:
        """The name of one case of it."""
        return f"{self.members}-{self.size}{'-deflated' if self.deflate else ''}-x{window}"

    def arguments(self, path: str) -> tuple[str, ...]:
        """What the load client is asked for."""
        first, second = WINDOWS
        common = ("--mode", "fanout", "--connections", str(self.members), "--sources", str(SOURCES), "--timeout", "300")
        sizes = ("--size", str(self.size), "--window", str(first), "--second-window", str(second))
        return (*common, *sizes, "--path", path)

    @property
    def title(self) -> str:
        """In words."""
        size = "1 KiB" if self.size == 1024 else f"{self.size} B"
        return f"{self.members:,} subscribers, {size}{', deflated' if self.deflate else ''}"


def groups(members: tuple[int, ...]) -> list[Group]:
    """All of them."""
    return [Group(number, size, deflate) for number in members for size in DEFLATED_ROWS for deflate in (False, True)]


def payloads(folder: Path) -> dict[int, Path]:
    """Files of eight different compressed messages, by the size of what they inflate to."""
    found = {}
    for size, rows in DEFLATED_ROWS.items():
        path = folder / f"payload-{size}"
        made = (deflated(json_payload(number, rows)) for number in range(8))
        path.write_bytes(b"".join(len(each).to_bytes(4, "big") + each for each in made))
        found[size] = path
    return found


def run(client: Client, server: Running, group: Group, path: str, seconds: float) -> Iterator[report.Sample]:
    """One slice for each number of messages in flight."""
    case = Case(group.title, group.title, group.arguments(path), deflate=group.deflate)
    command = client.command(server, case, "--seconds", str(seconds), "--warmup", str(seconds / 4))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadError(f"{group.title} on {server.name}: {reason(done.stderr, server)}")
    for line in done.stdout.splitlines():
        sample: report.Sample = json.loads(line)
        yield sample | {"case": group.case(sample["window"]), "cost": sample["server_us"]}


def measure(bench: Bench, asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds of all groups."""
    chosen = ways()
    wanted = groups(asked.members)
    files = payloads(folder)
    measured = Measured(asked.rounds, asked.seconds)
    steps = sum(rounds_of(group, asked) * (len(chosen) - group.deflate) for group in wanted)
    bench.progress.begin("starting", steps)
    broken: set[tuple[Group, str]] = set()
    with bench.all_up([dataclasses.replace(way.contender, name=way.name) for way in chosen], measured) as servers:
        paths = {way.name: way.path for way in chosen}
        for group in wanted:
            client = Client(bench.client.program, bench.client.core, files[group.size])
            for number in range(rounds_of(group, asked)):
                there = [server for server in servers if not (group.deflate and server.name == FLOOR)]
                for server in there if number % 2 == 0 else reversed(there):
                    bench.progress.step(f"{group.title} on {server.name}")
                    if (group, server.name) in broken:
                        continue
                    try:
                        for sample in run(client, server, group, paths[server.name], asked.seconds):
                            measured.samples.append({"server": server.name, "round": number} | sample)
                    except LoadError as error:
                        broken.add((group, server.name))
                        measured.left_out.append(str(error))
                        bench.progress.say(f"left out: {error}")
    rows = report.summarise(measured.samples, BASELINE)
    about = {"machine": report.machine(), "baseline": BASELINE, "seconds": asked.seconds}
    servers_used = {way.contender.name: way.contender for way in chosen}
    return {
        **about,
        "members": list(asked.members),
        "servers": report.described(servers_used.values()),
        "rows": rows,
        "left_out": measured.left_out,
        "samples": measured.samples,
    }


def rounds_of(group: Group, asked: argparse.Namespace) -> int:
    """One where opening the connections is most of it: all of it is to be done in five minutes of a quiet machine."""
    return asked.rounds if group.members <= 1000 else 1


def lines_of(document: dict[str, Any]) -> Iterator[tuple[Group, int, dict[str, report.Row]]]:
    """The groups with what was found, by the name of the way."""
    found = write_docs.by_case(document["rows"])
    for group in groups(tuple(document["members"])):
        for window in WINDOWS:
            if group.case(window) in found:
                yield group, window, found[group.case(window)]


def show(document: dict[str, Any]) -> None:
    """Print the table, the goals and the versions."""
    columns = (
        "",
        "CPU a delivery",
        "times better",
        "in the rounds",
        "goal",
        "met",
        "deliveries a second",
        "p99 ms",
        "% CPU",
    )
    grouped: dict[str, list[list[str]]] = {}
    for group, window, rows in lines_of(document):
        lines = grouped.setdefault(f"{group.title}, {window} in flight", [])
        for name, row in rows.items():
            goal = GOALS[window] if name == OURS else None
            ratio = row.get("ratio")
            spread = f"{report.number(row['ratio_low'])} to {report.number(row['ratio_high'])}" if ratio else ""
            reached = "" if goal is None or ratio is None else "yes" if ratio >= goal else "NO"
            used = f"{100 * row['server_utilisation']:.0f}/{100 * row['client_utilisation']:.0f}"
            cost = f"{report.number(row['cost'])} µs"
            goal_text = "" if goal is None else f"{goal:g}"
            rate, late = report.number(row["per_second"]), report.number(row["p99_us"] / 1000)
            lines.append([name, cost, report.number(ratio), spread, goal_text, reached, rate, late, used])
    report.print_table("one message to all: CPU time of the server", columns, grouped)
    if report.disturbed(document["rows"]) > report.BUSY:
        share = 100 * report.disturbed(document["rows"])
        print(f"Others kept client or server from their cores for {share:.0f}% of the time: not quiet.")
    print(write_docs.provenance(document))


def table(document: dict[str, Any]) -> str:
    """The table of docs/topics.md."""
    names = list(dict.fromkeys(row["server"] for row in document["rows"]))
    lines = []
    for group, window, rows in lines_of(document):
        costs = (f"{report.number(rows[name]['cost'])} µs" if name in rows else "-" for name in names)
        ratio = rows.get(OURS, {}).get("ratio")
        rate = report.number(rows[OURS]["per_second"]) if OURS in rows else "-"
        lines.append([f"{group.title}, {window} in flight", *costs, report.number(ratio, 2), rate])
    return write_docs.markdown(("work", *names, "times better", "deliveries/s"), lines)


WRITERS = {"topics": table, "provenance": write_docs.provenance}


def write(document: dict[str, Any]) -> None:
    """Keep the figures as docs/topics.json, and write docs/topics.md from them."""
    kept = {name: value for name, value in document.items() if name != "samples"}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    PAGE.write_text(write_docs.filled(PAGE.read_text(), kept, WRITERS))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 subscribers, one round of 0.2 s")
    parser.add_argument("--members", default="1000,10000", help="numbers of subscribers, with commas between")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; one with over 1,000 subscribers")
    parser.add_argument("--seconds", type=float, default=0.4, help="length of a slice")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--results", type=Path, default=BENCH / "results", help="folder for the JSON")
    parser.add_argument("--write-docs", action="store_true", help="write docs/topics.md's figures from the results")
    parser.add_argument("--check", action="store_true", help="say whether docs/topics.md agrees with docs/topics.json")
    asked = parser.parse_args()
    asked.members = tuple(int(number) for number in asked.members.split(","))
    if asked.quick:
        asked.members, asked.rounds, asked.seconds = (1000,), 1, 0.2
    return asked


def main() -> int:
    """Measure, print, save; 1 with --check when the page is stale."""
    asked = parse_arguments()
    if asked.check:
        fresh = write_docs.filled(PAGE.read_text(), json.loads(KEPT.read_text()), WRITERS) == PAGE.read_text()
        if not fresh:
            say(f"the figures of {PAGE.name} are not those of {KEPT.name}")
        return int(not fresh)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the servers inherit it
    pinned = (os.cpu_count() or 1) > 1 and shutil.which("taskset") is not None
    if not pinned:
        say("not pinned: this needs two cores and taskset; expect noise")
    began = time.monotonic()
    program = build_client()
    build_program("floor")
    with tempfile.TemporaryDirectory() as folder, bar() as progress:
        client = Client(program, asked.client_core if pinned else None, Path(folder))
        document = measure(Bench(client, asked.server_core if pinned else None, progress), asked, Path(folder))
    path = report.save(document, asked.results)
    show(document)
    say(f"{len(document['samples'])} samples in {time.monotonic() - began:.0f} s: {path}")
    if asked.write_docs:
        write(document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
