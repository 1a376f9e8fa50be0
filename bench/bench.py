"""Compare what fastws and other ASGI servers cost: `python bench/bench.py`, or `make bench`.

All servers are up at once on core 0, one load client (load.c) is on core 1. Each round goes through all cases, each
case through all servers in turn, in slices of a second or less, so that what disturbs the machine disturbs all of them.
The measure is the server's CPU time (user and system) a message; messages a second and both utilisations are shown
beside it: on loopback the client may be the bottleneck. Memory is measured last, on fresh processes.

Progress goes to standard error, the table to standard output, every sample as JSON into bench/results/.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import report
from cases import CASES, Case, deflated_payload
from servers import CONTENDERS, Contender, Running, ServerError, pin, running

HERE = Path(__file__).parent
MEMORY_CONNECTIONS = 2000
MEMORY_WARMUP = 300
ROUNDS = 5


class LoadError(Exception):
    """The load client failed: the server closed, answered wrongly or stopped answering."""


def build_client(folder: Path) -> Path:
    """Compile load.c with $CC or cc, when it is newer than the program; returns the program."""
    program = folder / "load"
    sources = [HERE / "load.c", *HERE.glob("*.h")]
    if not program.exists() or program.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        folder.mkdir(parents=True, exist_ok=True)
        command = [os.environ.get("CC", "cc"), "-std=c11", "-O2", "-Wall", "-Wextra", "-o", str(program), "load.c"]
        subprocess.run(command, cwd=HERE, check=True)
    return program


class Client:
    """The load client, pinned to its core, against one server at a time."""

    def __init__(self, program: Path, core: int | None, payload: Path) -> None:
        self.program = program
        self.core = core
        self.payload = payload

    def command(self, server: Running, case: Case, *more: str) -> list[str]:
        """The command line for this case against this server."""
        command = [str(self.program), "--port", str(server.port), *case.arguments, *more]
        for pid in server.pids:
            command += ["--pid", str(pid)]
        if case.deflate:
            command += ["--deflate", "--payload", str(self.payload)]
        return pin(command, self.core)

    def run(self, server: Running, case: Case, seconds: float) -> report.Sample:
        """One slice of a case; its cost is microseconds of server CPU a unit. LoadError when anything went wrong."""
        command = self.command(server, case, "--seconds", str(seconds), "--warmup", str(seconds / 5))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LoadError(f"{server.name}, {case.name}: {done.stderr.strip()}\n{server.log_tail()}")
        sample: report.Sample = json.loads(done.stdout)
        return sample | {"cost": sample["server_us"]}

    @contextlib.contextmanager
    def idle(self, server: Running, case: Case, connections: int) -> Iterator[None]:
        """Hold open connections, each of which has had one message echoed, while the block runs."""
        command = self.command(server, case, "--mode", "idle", "--connections", str(connections))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if not process.stdout.readline():
                raise LoadError(f"{server.name}: could not hold {connections} connections\n{server.log_tail()}")
            yield
            process.stdin.close()

    def memory(self, contender: Contender, core: int | None, case: Case) -> report.Sample:
        """KiB of proportional set size that a connection costs, on a fresh process that has served some before."""
        with running(contender, core) as server, self.idle(server, case, MEMORY_WARMUP):
            time.sleep(0.3)
            before = server.memory_kib()
            with self.idle(server, case, MEMORY_CONNECTIONS):
                time.sleep(0.5)
                return {"cost": (server.memory_kib() - before) / MEMORY_CONNECTIONS, "connections": MEMORY_CONNECTIONS}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short slices and the main cases: under two minutes")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds, at least 1 (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, help="length of a slice (default 1.0; with --quick 0.25)")
    parser.add_argument("--servers", help=f"comma-separated (default fastws,uvicorn); known: {', '.join(CONTENDERS)}")
    parser.add_argument("--baseline", default="uvicorn", help="the server that the ratios are taken to")
    parser.add_argument("--cases", help=f"comma-separated; known: {', '.join(CASES)}")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder for the JSON")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    arguments.seconds = arguments.seconds or (0.25 if arguments.quick else 1.0)
    arguments.servers = (arguments.servers or "fastws,uvicorn").split(",")
    arguments.cases = (
        arguments.cases.split(",")
        if arguments.cases
        else [case.name for case in CASES.values() if case.quick or not arguments.quick]
    )
    for wanted, known in ((arguments.servers, CONTENDERS), (arguments.cases, CASES)):
        if unknown := [name for name in wanted if name not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return arguments


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def available(names: list[str]) -> list[Contender]:
    """Those of the named servers that are installed; says which are not."""
    found = []
    for name in names:
        contender = CONTENDERS[name]
        if contender.missing:
            say(f"left out: {name}: {contender.missing}")
        else:
            found.append(contender)
    return found


def measure(
    arguments: argparse.Namespace, contenders: list[Contender], client: Client, core: int | None
) -> list[report.Sample]:
    """All rounds of all cases; a case that fails on a server is said and left out, the others go on."""
    samples: list[report.Sample] = []
    cases = [CASES[name] for name in arguments.cases]
    broken: set[tuple[str, str]] = set()

    def add(number: int, case: Case, name: str, run: Callable[[], report.Sample]) -> None:
        if (case.name, name) in broken:
            return
        try:
            sample = run()
        except (LoadError, ServerError) as error:
            broken.add((case.name, name))
            say(f"left out: {error}")
            return
        samples.append({"case": case.name, "server": name, "round": number} | sample)
        say(f"round {number + 1}/{arguments.rounds}  {case.name:<16} {name:<20} {sample['cost']:10.2f}")

    with contextlib.ExitStack() as stack:
        timed = [case for case in cases if not case.memory]
        servers = []
        for contender in contenders if timed else []:
            try:
                servers.append(stack.enter_context(running(contender, core)))
            except ServerError as error:
                say(f"left out: {error}")
        for number in range(arguments.rounds):
            for case in timed:
                for server in servers if number % 2 == 0 else reversed(servers):
                    add(number, case, server.name, functools.partial(client.run, server, case, arguments.seconds))
    for case in cases:
        for number in range(min(2, arguments.rounds) if case.memory else 0):
            for contender in contenders:
                add(number, case, contender.name, functools.partial(client.memory, contender, core, case))
    return samples


def main() -> int:
    """Measure, print, save; 1 when there was nothing to measure."""
    arguments = parse_arguments()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the servers inherit it
    contenders = available(arguments.servers)
    if not contenders:
        say("nothing to measure")
        return 1
    pinned = (os.cpu_count() or 1) > 1 and shutil.which("taskset") is not None
    if not pinned:
        say("not pinned: this needs two cores and taskset; expect noise")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        payload = Path(folder) / "payload"
        payload.write_bytes(deflated_payload())
        client = Client(build_client(HERE / ".build"), arguments.client_core if pinned else None, payload)
        samples = measure(arguments, contenders, client, arguments.server_core if pinned else None)
    if not samples:
        return 1
    rows = report.summarise(samples, arguments.baseline)
    report.show(rows, arguments.baseline)
    about = report.machine()
    names = ", ".join(f"{c.name} {c.version}" for c in contenders)
    libraries = ", ".join(f"{name} {version}" for name, version in about["libraries"].items())
    print(f"{about['cpu']}, {about['cores']} cores, {about['system']}, Python {about['python']}; {names}; {libraries}")
    print(
        f"CPU: the server's user + system time a unit; medians of {arguments.rounds} rounds of {arguments.seconds:g} s"
    )
    path = report.save(samples, rows, contenders, arguments.baseline, arguments.results)
    say(f"{len(samples)} samples in {time.monotonic() - began:.0f} s: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
