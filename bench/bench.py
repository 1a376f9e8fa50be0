"""Compare what fastws and other servers cost: `make bench`, or `python bench/bench.py`.

All servers are up at once on one core, one load client (load.c) is on another. Each round goes through all cases, each
case through all servers in turn, in slices of a second or less (rounds.py). The measure is the server's CPU time (user
and system) a message; messages a second and both utilisations are shown beside it: on loopback the client may be the
bottleneck, which is said where it was. Memory is measured last, on fresh processes.

The parts: `table` is the servers of `--servers` on all cases; `peers` is every server that is there, in shorter slices;
`curves` is the cost against the number of connections and against the size of a message; `scale` is scale.py.

Progress goes to standard error, tables to standard output, every sample as JSON into bench/results/, with plots (PNG
and SVG) where matplotlib is installed. `--write-docs` puts the figures into README.md and docs/.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import scale
from cases import CASES, CONNECTIONS, PEER_CASES, SIZES, Case, deflated_payloads
from client.load import Client, build_client, build_program
from reports import report, write_docs
from rounds import Bench, Measured
from servers.contenders import BENCH, CONTENDERS, Contender

PARTS = ("table", "peers", "curves", "scale")
PEERS = (
    *("fastws", "fastws-loop", "fastws-websockets", "fastws-wsproto", "fastws-pure"),
    *("uvicorn", "uvicorn-websockets", "uvicorn-wsproto"),
    *("peregrine", "h2corn", "granian", "hypercorn", "gunicorn", "daphne", "socketify", "picows", "floor"),
)
DEFAULT = ("fastws", "fastws-loop", "uvicorn")
ROUNDS = {"table": 5, "peers": 3, "curves": 3, "scale": 5}
SECONDS = {"table": 0.8, "peers": 0.2, "curves": 0.3, "scale": 0.5}
MEMORY_ROUNDS = {"table": 2, "peers": 1, "curves": 0}
QUICK_ROUNDS, QUICK_SECONDS = 3, 0.25


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the table alone, 3 rounds of 0.25 s: under two minutes")
    parser.add_argument("--parts", help=f"comma-separated, of {', '.join(PARTS)} (default table,curves)")
    parser.add_argument("--scale", action="store_true", help="the part `scale` alone")
    parser.add_argument("--all", action="store_true", help="all parts, as the documentation has them")
    parser.add_argument("--peers", action="store_true", help="all servers in the table, in place of --servers")
    parser.add_argument(
        "--servers", help=f"comma-separated (default {','.join(DEFAULT)}); known: {', '.join(CONTENDERS)}"
    )
    parser.add_argument("--baseline", default="uvicorn", help="the server that the ratios are taken to")
    parser.add_argument("--cases", help=f"of the table, comma-separated; known: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, help=f"rounds, at least 1 (by part: {ROUNDS})")
    parser.add_argument("--seconds", type=float, help=f"length of a slice (by part: {SECONDS})")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--results", type=Path, default=BENCH / "results", help="folder for the JSON and the plots")
    parser.add_argument("--write-docs", action="store_true", help="write README's and docs/'s figures from the results")
    arguments = parser.parse_args()
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    default = "table" if arguments.quick or arguments.cases else "table,curves"
    arguments.parts = (arguments.parts or default).split(",")
    if arguments.all:
        arguments.parts = list(PARTS)
    elif arguments.scale:
        arguments.parts = ["scale"]
    arguments.servers = list(PEERS) if arguments.peers else (arguments.servers or ",".join(DEFAULT)).split(",")
    arguments.cases = arguments.cases.split(",") if arguments.cases else list(CASES)
    for wanted, known in ((arguments.servers, CONTENDERS), (arguments.cases, CASES), (arguments.parts, PARTS)):
        if unknown := [name for name in wanted if name not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return arguments


def say(text: str) -> None:
    """A remark, on standard error."""
    print(text, file=sys.stderr, flush=True)


class Bar:
    """A progress bar on standard error, one line for each part."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task: Any = None

    def begin(self, what: str, steps: int) -> None:
        """A part of `steps` steps begins."""
        self.end()
        self._task = self._progress.add_task(what, total=steps, completed=-1)

    def step(self, what: str) -> None:
        """The next step begins."""
        self._progress.update(self._task, advance=1, description=what)

    def say(self, text: str) -> None:
        """Above the bar."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def end(self) -> None:
        """The part that was begun is over."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


@contextmanager
def bar() -> Iterator[Bar]:
    """The progress bar of a run."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description:<44}"), *columns, console=Console(stderr=True)) as progress:
        shown = Bar(progress)
        yield shown
        shown.end()


def available(names: Iterable[str]) -> list[Contender]:
    """Those of the named servers that are installed; says which are not."""
    found = []
    for name in names:
        contender = CONTENDERS[name]
        if contender.missing:
            say(f"left out: {name}: {contender.missing}")
        else:
            found.append(contender)
    return found


class Run:
    """One run of the benchmark: what was asked for, and what was found so far."""

    def __init__(self, arguments: argparse.Namespace, bench: Bench, chosen: list[Contender]) -> None:
        self.arguments = arguments
        self.bench = bench
        self.chosen = chosen
        self.contenders = {contender.name: contender for contender in chosen}
        self.document: dict[str, Any] = {}
        self.samples: dict[str, list[report.Sample]] = {}

    def length(self, part: str) -> tuple[int, float]:
        """Rounds, and seconds of a slice."""
        quick = self.arguments.quick
        rounds = self.arguments.rounds or (QUICK_ROUNDS if quick else ROUNDS[part])
        return rounds, self.arguments.seconds or (QUICK_SECONDS if quick else SECONDS[part])

    def measure(self, part: str, name: str, cases: Iterable[Case], contenders: list[Contender]) -> None:
        """One set of cases, into the document by `name`."""
        rounds, seconds = self.length(part)
        found: Measured = self.bench.measure(list(cases), contenders, rounds, seconds, MEMORY_ROUNDS[part])
        self.samples[name] = found.samples
        rows = report.summarise(found.samples, self.arguments.baseline)
        self.document[name] = {"rounds": rounds, "seconds": seconds, "rows": rows, "left_out": found.left_out}

    def parts(self) -> None:
        """All parts that were asked for."""
        wanted = self.arguments.parts
        if "table" in wanted:
            self.measure("table", "table", (CASES[name] for name in self.arguments.cases), self.chosen)
        if "peers" in wanted:
            peers = available(PEERS)
            self.contenders |= {contender.name: contender for contender in peers}
            self.measure("peers", "peers", (CASES[name] for name in PEER_CASES), peers)
        if "curves" in wanted:
            self.measure("curves", "connections", CONNECTIONS.values(), self.with_floor())
            self.measure("curves", "sizes", SIZES.values(), self.with_floor())
        if "scale" in wanted:
            self.document["scale"] = scale.measure(self.bench, self.with_floor(), *self.length("scale"))

    def with_floor(self) -> list[Contender]:
        """The servers, and the floor, which says how much of a slope is the kernel's. Transports have one slope."""
        self.contenders["floor"] = CONTENDERS["floor"]
        return [*(each for each in self.chosen if each.name not in ("floor", "fastws-loop")), CONTENDERS["floor"]]

    def finished(self) -> dict[str, Any]:
        """The whole document."""
        about = {"machine": report.machine(), "baseline": self.arguments.baseline}
        return about | {"servers": report.described(self.contenders.values())} | self.document


def show(document: dict[str, Any]) -> None:
    """Print the tables, the machine and the versions."""
    titles = {
        "table": "cost of a unit of work",
        "peers": "all servers",
        "connections": "against the number of connections",
        "sizes": "against the size of a message",
    }
    for name, title in titles.items():
        if name in document:
            part = document[name]
            length = f"CPU time of the server, medians of {part['rounds']} rounds of {part['seconds']:g} s"
            report.show_table(f"{title}: {length}", part["rows"], document["baseline"])
    if "scale" in document:
        report.show_checks(document["scale"])
    print(write_docs.provenance(document))


def main() -> int:
    """Measure, print, save; 1 when there was nothing to measure."""
    arguments = parse_arguments()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the servers inherit it
    chosen = available(arguments.servers)
    if not chosen:
        say("nothing to measure")
        return 1
    pinned = (os.cpu_count() or 1) > 1 and shutil.which("taskset") is not None
    if not pinned:
        say("not pinned: this needs two cores and taskset; expect noise")
    began = time.monotonic()
    program = build_client()
    build_program("floor")
    with tempfile.TemporaryDirectory() as folder, bar() as progress:
        payload = Path(folder) / "payload"
        payload.write_bytes(deflated_payloads())
        client = Client(program, arguments.client_core if pinned else None, payload)
        run = Run(arguments, Bench(client, arguments.server_core if pinned else None, progress), chosen)
        try:
            run.parts()
        finally:  # what was measured is kept, whatever ends the run
            document = run.finished()
            path = report.save(document | {"samples": run.samples}, arguments.results)
    show(document)
    say(f"{sum(map(len, run.samples.values()))} samples in {time.monotonic() - began:.0f} s: {path}")
    if importlib.util.find_spec("matplotlib"):
        subprocess.run([sys.executable, str(BENCH / "reports" / "plots.py"), str(path)], check=True)
    else:
        say("no plots: matplotlib is not installed")
    if arguments.write_docs:
        write_docs.write(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
