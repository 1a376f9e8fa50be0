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
from typing import Any

from cases import Case
from client import LoadError
from rounds import Bench
from servers import Contender, Running, ServerError, running
from watch import measured as spent_by

FEW, MANY = 64, 10_000
IDLE = 15_000
BURST = 5_000
PING_PERIOD = 20.0  # seconds between two keepalive pings, by default, of fastws and of uvicorn
SOURCES = ("--sources", "64")
IN_USE = Case("in-use", "", ("--window", "1", "--size", "64", *SOURCES))

Check = dict[str, Any]


def check(name: str, title: str, value: float, target: float, unit: str, **detail: Any) -> Check:
    """One line of the result: met when `value` is at most `target`."""
    return {"check": name, "title": title, "value": value, "target": target, "unit": unit, "met": value <= target} | {
        "detail": detail
    }


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
    return [
        check(
            "in-use",
            f"cost of a message, {MANY:,} connections in use, to that with {FEW}",
            paired(in_use)["ratio"],
            1.3,
            "times",
            **paired(in_use),
        ),
        check(
            "open",
            f"cost of a message, {FEW} in use of {MANY:,} open, to that with {FEW}",
            paired(open_only)["ratio"],
            1.3,
            "times",
            **paired(open_only),
        ),
        check(
            "p99",
            f"p99 latency of one busy connection with {MANY:,} idle, to that alone",
            paired(latencies)["ratio"],
            1.5,
            "times",
            p999_alone=paired(tails)["first"],
            p999_among=paired(tails)["second"],
            **paired(latencies),
        ),
    ]


def idle(bench: Bench, contender: Contender) -> Check:
    """Check 2: the share of a core over one period of keepalive."""
    bench.progress.step(f"{contender.name}: {IDLE:,} idle connections, keepalive on, for {PING_PERIOD:.0f} s")
    with (
        running(contender, bench.core) as server,
        bench.client.idle(server, IN_USE, IDLE, *SOURCES) as opened,
    ):
        time.sleep(1.0)
        with spent_by(server.pids) as spent:
            time.sleep(PING_PERIOD)
        share = 100 * spent.cpu / spent.elapsed
    title = f"CPU for {IDLE:,} idle connections, a ping to each in {PING_PERIOD:.0f} s"
    return check("idle", title, share, 2.0, "% of a core", open=opened["open"])


def burst(bench: Bench, contender: Contender) -> Check:
    """Check 3: all at once; each does its handshake and has one message echoed."""
    bench.progress.step(f"{contender.name}: a burst of {BURST:,} connections")
    with (
        running(contender, bench.core) as server,
        bench.client.idle(server, IN_USE, BURST, "--opening", str(BURST), *SOURCES) as opened,
    ):
        lost = BURST - opened["open"]
    return check(
        "burst",
        f"connections lost of {BURST:,} that are opened at once",
        lost,
        0,
        "connections",
        seconds=opened["seconds"],
        slowest_us=opened["max_us"],
    )


def measure(bench: Bench, contenders: Sequence[Contender], rounds: int, seconds: float) -> list[Check]:
    """All checks on each of the servers in turn; one that fails is said and not met."""
    checks: list[Check] = []
    bench.progress.begin("scale", len(contenders) * (5 * rounds + 2))
    for contender in contenders:
        for name, run in (
            ("many-open", lambda each=contender: many_open(bench, each, rounds, seconds)),
            ("idle", lambda each=contender: [idle(bench, each)]),
            ("burst", lambda each=contender: [burst(bench, each)]),
        ):
            try:
                found = run()
            except (LoadError, ServerError) as error:
                bench.progress.say(f"left out: {error}")
                failed = check(name, str(error), float("inf"), 0, "")
                found = [failed | {"value": None}]
            checks += [{"server": contender.name} | each for each in found]
    return checks
