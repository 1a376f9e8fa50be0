"""How a server bears many connections: four checks.

1. A message costs nearly the same with 10,000 connections as with 64: all of them in use, and 64 in use among 10,000.
2. 15,000 idle connections cost next to nothing, keepalive included: the server pings each once in 20 seconds.
3. A burst of 5,000 connections is accepted, all of them.
4. The p99 latency of one busy connection hardly changes when 10,000 others are idle.

Client and server have a process each, since both need a descriptor for each connection.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from attacks.watch import measured as spent_by
from cases import Case
from client.load import LoadError
from reports.report import number
from rounds import Bench
from servers.contenders import Contender, Running, ServerError, running

FEW, MANY = 64, 10_000
IDLE = 15_000
BURST = 5_000
PING_PERIOD = 20.0  # seconds between two keepalive pings, by default, of fastws and of uvicorn
SOURCES = ("--sources", "64")
IN_USE = Case("in-use", "", ("--window", "1", "--size", "64", *SOURCES))

Check = dict[str, Any]


def check(
    name: str, title: str, value: float, target: float, unit: str, said: str = "", of: dict[str, float] | None = None
) -> Check:
    """One line of the result: met when `value` is at most `target`; `said` is for readers, `of` for programs."""
    found = {"check": name, "title": title, "value": value, "target": target, "unit": unit, "met": value <= target}
    return found | {"said": said, "detail": of or {}}


def change(pair: dict[str, float], more: str = "") -> str:
    """A pair in words: from what to what, and the spread of the rounds."""
    spread = f"rounds {number(pair['ratio_low'])} to {number(pair['ratio_high'])}"
    return f"{number(pair['first'])} µs to {number(pair['second'])} µs{more}; {spread}"


def paired(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Medians of two figures that were taken in the same rounds, and of their ratio."""
    ratios = [second / first for first, second in pairs]
    return {
        "first": statistics.median(first for first, _ in pairs),
        "second": statistics.median(second for _, second in pairs),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
    }


def many_open(bench: Bench, contender: Contender, rounds: int, seconds: float) -> list[Check]:
    """Checks 1 and 4: two servers at once, one of which holds the idle connections."""
    client, step = bench.client, bench.progress.step
    in_use: list[tuple[float, float]] = []
    open_only: list[tuple[float, float]] = []
    latencies: list[tuple[float, float]] = []
    tails: list[tuple[float, float]] = []

    def slice_of(server: Running, connections: int) -> dict[str, Any]:
        step(f"{contender.name}: {connections:,} connections in use")
        case = Case("", "", (*IN_USE.arguments, "--connections", str(connections)))
        return client.run(server, case, seconds)

    with (
        running(contender, bench.core) as few,
        running(contender, bench.core) as crowded,
        client.idle(crowded, IN_USE, MANY - FEW, *SOURCES),
    ):
        for _ in range(rounds):
            base = slice_of(few, FEW)
            open_only.append((base["cost"], slice_of(crowded, FEW)["cost"]))
            in_use.append((base["cost"], slice_of(few, MANY)["cost"]))
            alone, among = slice_of(few, 1), slice_of(crowded, 1)
            latencies.append((alone["p99_us"], among["p99_us"]))
            tails.append((alone["p999_us"], among["p999_us"]))
    used, held, p99, p999 = paired(in_use), paired(open_only), paired(latencies), paired(tails)
    tail = f" (p99.9: {number(p999['first'])} µs to {number(p999['second'])} µs)"
    return [
        check(
            "in-use",
            f"cost of a message, {MANY:,} connections in use, to that with {FEW}",
            *(used["ratio"], 1.3, "times", change(used), used),
        ),
        check(
            "open",
            f"cost of a message, {FEW} in use of {MANY:,} open, to that with {FEW}",
            *(held["ratio"], 1.3, "times", change(held), held),
        ),
        check(
            "p99",
            f"p99 latency of one busy connection with {MANY:,} idle, to that alone",
            *(p99["ratio"], 1.5, "times", change(p99, tail), p99),
        ),
    ]


def idle(bench: Bench, contender: Contender) -> list[Check]:
    """Check 2: the share of a core over one period of keepalive."""
    bench.progress.step(f"{contender.name}: {IDLE:,} idle connections, keepalive on, for {PING_PERIOD:.0f} s")
    with (
        running(contender, bench.core) as server,
        bench.client.idle(server, IN_USE, IDLE, *SOURCES) as opened,
    ):
        time.sleep(1.0)
        with spent_by(server.pids) as spent:
            time.sleep(PING_PERIOD + 1.0)  # each has its ping in it, the late ones too
        share = 100 * spent.cpu / PING_PERIOD
    title = f"CPU for {IDLE:,} idle connections, a ping to each in {PING_PERIOD:.0f} s"
    return [check("idle", title, share, 2.0, "% of a core", f"{opened['open']:,} open")]


def burst(bench: Bench, contender: Contender) -> list[Check]:
    """Check 3: all at once; each does its handshake and has one message echoed."""
    bench.progress.step(f"{contender.name}: a burst of {BURST:,} connections")
    with (
        running(contender, bench.core) as server,
        bench.client.idle(server, IN_USE, BURST, "--opening", str(BURST), *SOURCES) as opened,
    ):
        lost = BURST - opened["open"]
    said = f"all answered after {opened['seconds']:.1f} s"
    title = f"connections lost of {BURST:,} that are opened at once"
    detail = {key: opened[key] for key in ("seconds", "p50_us", "p99_us", "max_us")}
    return [check("burst", title, lost, 0, "connections", said, detail)]


def measure(bench: Bench, contenders: Sequence[Contender], rounds: int, seconds: float) -> list[Check]:
    """All checks on each of the servers in turn; on the floor, which has no keepalive, those of many connections only.

    One that fails is said, and not met.
    """
    checks: list[Check] = []
    bench.progress.begin("scale", len(contenders) * (5 * rounds + 2))
    for contender in contenders:
        for name, run in (
            ("many-open", partial(many_open, bench, contender, rounds, seconds)),
            ("idle", partial(idle, bench, contender)),
            ("burst", partial(burst, bench, contender)),
        ):
            if contender.name == "floor" and name != "many-open":
                continue
            try:
                found = run()
            except (LoadError, ServerError) as error:
                bench.progress.say(f"left out: {error}")
                failed = check(name, str(error), float("inf"), 0, "")
                found = [failed | {"value": None}]
            checks += [{"server": contender.name} | each for each in found]
    return checks
