"""Run the Autobahn test suite against the servers and print the outcomes side by side: `make autobahn`.

The cases are kosoku's (from PyPI, offline): it plays the client. Each fastws engine serves the echo app of apps.py with
its default settings, which admit every case: the largest message is 16 MiB, exactly the default `--ws-max-size`. Only
keepalive is put off (a ping in the middle of a long case is an event that the suite does not expect), and short
messages are compressed too. Other servers run with `--peers`, with the settings that admit every case; their outcomes
do not count.

OK is what the RFC asks; NON-STRICT is allowed but late or lenient; INFORMATIONAL is unspecified; UNIMPLEMENTED is an
extension that the server declined; all else fails. TIMEOUT stands for cases that were not reached in `--timeout`.

With `--http2` the cases run over HTTP/2 (RFC 8441), as streams of one connection to the server: http2_bridge.py carries
the bytes of kosoku, which speaks HTTP/1.1.

With `--tls` they run over TLS: tls_bridge.py carries kosoku's bytes.

Exit code: 0 when no case fails on any fastws engine, 1 when one does, 2 when a server that was asked for cannot be
run. With `--strict`, NON-STRICT fails too, and INFORMATIONAL does outside the three cases that the RFC leaves open.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from http2_bridge import BridgeError, bridged
from servers.contenders import CONTENDERS, Contender, ServerError, running
from tls_bridge import tls_bridged

if TYPE_CHECKING:
    from kosoku._kosoku import CaseResult

ENGINES = ("fastws-cython", "fastws-websockets", "fastws-wsproto")
PEERS = ("uvicorn", "uvicorn-websockets", "uvicorn-wsproto", "hypercorn", "granian", "daphne", "gunicorn")
QUICK = tuple(f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10))
LOADS = ("9.*", *(f"12.{kind}.*" for kind in range(1, 6)), *(f"13.{kind}.*" for kind in range(1, 8)))
UNSPECIFIED = ("7.1.6", "7.13.1", "7.13.2")
"""What the RFC leaves open: large messages and then a Close; and two close codes that nobody may use."""
GROUPS = {
    1: "framing",
    2: "pings and pongs",
    3: "reserved bits",
    4: "opcodes",
    5: "fragmentation",
    6: "UTF-8",
    7: "closing",
    9: "limits, performance",
    10: "misc",
    12: "deflate: sizes",
    13: "deflate: parameters",
}
PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")
SETTINGS = {
    # kosoku's groups 12 and 13 stumble over text that comes back uncompressed (they hash what is a str then).
    "fastws": ("--ws-ping-interval", "3600", "--ws-deflate-threshold", "0"),
    "uvicorn": ("--ws-ping-interval", "3600"),
    "daphne": (
        *("--ping-interval", "3600"),
        *("--websocket-max-message-size", "16777216", "--websocket-max-frame-size", "16777216"),
    ),
}


@dataclass(frozen=True)
class Outcome:
    """How one case ended on one server: the verdict, and the words for it when it is not OK."""

    case: str
    verdict: str
    why: str

    @property
    def group(self) -> int:
        """The group of the case: the first number of its id."""
        return int(self.case.split(".")[0])

    @property
    def order(self) -> list[int]:
        """Sorts the cases as the suite numbers them."""
        return [int(part) for part in self.case.split(".") if part != "*"]

    @property
    def strict(self) -> bool:
        """Whether it is what the RFC asks, or one of the cases where it asks nothing."""
        return self.verdict == "OK" or (self.verdict == "INFORMATIONAL" and self.case in UNSPECIFIED)


def outcome(result: CaseResult) -> Outcome:
    """The worse of the verdicts on the messages and on the close, as one; UNIMPLEMENTED is kept apart."""
    behavior, close = result.behavior.value, result.behavior_close.value
    if result.passed:
        verdict = next((word for word in reversed(PASSED) if word in (behavior, close)), "OK")
        verdict = behavior if behavior != "OK" else verdict
    else:
        verdict = "UNIMPLEMENTED" if behavior == "UNIMPLEMENTED" else "FAILED"
    words = []
    if behavior != "OK":
        words.append(f"{behavior}: {result.result}")
    if close != "OK":
        words.append(f"close {close}: {result.result_close}")
    if verdict == "FAILED":
        words.append(f"received {str(result.received)[:300]}, close code {result.remote_close_code}")
    return Outcome(result.case_id, verdict, "; ".join(words))


async def drive(port: int, patterns: Sequence[str], parallel: int, timeout: float) -> list[Outcome]:
    """Run the cases that the patterns select, pattern by pattern, against the server on this port."""
    from kosoku import FailureError, run_fuzzingclient

    give_up = time.monotonic() + timeout
    outcomes = []
    for pattern in patterns:
        client = run_fuzzingclient(f"ws://127.0.0.1:{port}", [pattern], concurrency=parallel)
        try:
            results = await asyncio.wait_for(client, max(0.001, give_up - time.monotonic()))
        except FailureError as failure:
            results = failure.results
        except asyncio.TimeoutError:  # the builtin only since 3.11
            outcomes.append(Outcome(pattern, "TIMEOUT", f"not finished when {timeout:.0f} s had passed"))
            continue
        outcomes += [outcome(result) for result in results]
    return sorted(outcomes, key=lambda each: each.order)


async def drive_http2(port: int, patterns: Sequence[str], parallel: int, timeout: float) -> list[Outcome]:
    """The same over HTTP/2. BridgeError where the server has no WebSockets there, or did not keep the connection."""
    async with bridged(port) as (bridge, there):
        outcomes = await drive(there, patterns, parallel, timeout)
        if bridge.ended:
            raise BridgeError(f"ended the connection of HTTP/2, of which {bridge.streams} streams were used")
        return outcomes


def cell(outcomes: Sequence[Outcome]) -> str:
    """Counts of one group on one server: `45`, or `41 ok 4 non-strict`, failures in capitals."""
    counts = Counter(o.verdict for o in outcomes)
    if set(counts) <= {"OK"}:
        return str(counts["OK"]) if counts else "-"
    names = {"OK": "ok", "NON-STRICT": "non-strict", "INFORMATIONAL": "info", "UNIMPLEMENTED": "declined"}
    parts = [f"{counts[word]} {names.get(word, word)}" for word in (*PASSED, "UNIMPLEMENTED", "FAILED") if counts[word]]
    return " ".join(parts + [f"{each.case} TIMEOUT" for each in outcomes if each.verdict == "TIMEOUT"])


def show(results: dict[str, list[Outcome]], seconds: dict[str, float], markdown: bool) -> None:
    """Print the table of groups, then every case that is not OK with the servers it is so on."""
    groups = sorted({o.group for outcomes in results.values() for o in outcomes})
    lines = [["group", *results]]
    for group in groups:
        counted = [cell([o for o in outcomes if o.group == group]) for outcomes in results.values()]
        lines.append([f"{group:>2} {GROUPS.get(group, '')}", *counted])
    lines.append(["all", *(cell(outcomes) for outcomes in results.values())])
    if markdown:
        turned = [list(column) for column in zip(*lines, strict=True)]
        turned[1:] = [[f"{name} {CONTENDERS[name].version}", *cells] for name, *cells in turned[1:]]
        turned.insert(1, ["---"] * len(turned[0]))
        print("\n".join(f"| {' | '.join(line)} |" for line in turned))
    else:
        lines.append(["seconds", *(f"{seconds[name]:.1f}" for name in results)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    show_remarks(results)


def show_remarks(results: dict[str, list[Outcome]]) -> None:
    """Print every case that is not OK: a line for the cases that ended in the same way on the same servers."""
    servers: dict[Outcome, list[str]] = {}
    for name, outcomes in results.items():
        for each in outcomes:
            if each.verdict != "OK":
                servers.setdefault(each, []).append(name)
    cases: dict[tuple[str, str, str], list[str]] = {}
    for each in sorted(servers, key=lambda each: each.order):
        cases.setdefault((each.verdict, ", ".join(servers[each]), each.why), []).append(each.case)
    if cases:
        print("\nNot OK:")
    for (verdict, names, why), same in cases.items():
        listed = ", ".join(same) if len(same) < 20 else f"{len(same)} cases from {same[0]} to {same[-1]}"
        print(f"  {verdict}, {names}: {listed}: {why}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--quick", action="store_true", help="groups 1 to 7 and 10: protocol, no load (the default)")
    chosen.add_argument("--full", action="store_true", help="all 517 cases, with large messages and deflate")
    chosen.add_argument("--cases", help="comma-separated ids or patterns, such as 1.*,9.1.*,12.1.1")
    parser.add_argument(
        "--servers", default=",".join(ENGINES), help=f"comma-separated (known: {', '.join(CONTENDERS)})"
    )
    parser.add_argument("--peers", action="store_true", help=f"{', '.join(PEERS)} too")
    parser.add_argument("--http2", action="store_true", help="over HTTP/2, on one connection to the server")
    parser.add_argument("--strict", action="store_true", help="exit with 1 for NON-STRICT too")
    parser.add_argument("--tls", action="store_true", help="over TLS")
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/conformance.md has it")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for one server (default 900)")
    parser.add_argument("-p", "--parallel", type=int, default=8, help="cases at once (default 8)")
    parser.add_argument("--skip-missing", action="store_true", help="a server that cannot be run is said, not an error")
    arguments = parser.parse_args()
    arguments.patterns = tuple(arguments.cases.split(",")) if arguments.cases else QUICK
    if arguments.full:
        arguments.patterns += LOADS
    arguments.servers = [*arguments.servers.split(","), *(PEERS if arguments.peers else ())]
    if unknown := [name for name in arguments.servers if name not in CONTENDERS]:
        parser.error(f"unknown servers: {', '.join(unknown)}; known: {', '.join(CONTENDERS)}")
    return arguments


def run(contender: Contender, arguments: argparse.Namespace) -> list[Outcome]:
    """Start the server, run the cases, end it. ServerError when it cannot be started or is gone afterwards."""
    if contender.missing:
        raise ServerError(contender.missing)
    contender = contender.serving(contender.app, arguments.tls)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(contender, more=SETTINGS.get(contender.module, ())))
        port = stack.enter_context(tls_bridged(server.port)) if arguments.tls else server.port
        driven = drive_http2 if arguments.http2 else drive
        try:
            outcomes = asyncio.run(driven(port, arguments.patterns, arguments.parallel, arguments.timeout))
        except BridgeError as error:
            raise ServerError(f"{server.name} {error}: {server.log_tail()}") from error
        if server.process.poll() is not None:
            raise ServerError(f"{server.name} stopped during the run: {server.log_tail()}")
        return outcomes


def main() -> int:
    """Run what was asked for; the exit code is described above."""
    arguments = parse_arguments()
    if importlib.util.find_spec("kosoku") is None:
        print("kosoku is not installed: pip install -r bench/requirements.txt", file=sys.stderr)
        return 2
    results: dict[str, list[Outcome]] = {}
    seconds: dict[str, float] = {}
    missing = 0
    for name in arguments.servers:
        print(f"{name} {CONTENDERS[name].version} ...", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            results[name] = run(CONTENDERS[name], arguments)
        except ServerError as error:
            print(f"{name} left out: {error}", file=sys.stderr)
            missing += not arguments.skip_missing
            continue
        seconds[name] = time.monotonic() - began
    if results:
        show(results, seconds, arguments.markdown)
    ours = [each for name, found in results.items() if CONTENDERS[name].module == "fastws" for each in found]
    failed = any(not each.strict if arguments.strict else each.verdict not in PASSED for each in ours)
    return 2 if missing or not results else int(failed)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
