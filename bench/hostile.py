"""Attack a server and measure what it costs: `python bench/hostile.py`, or `make hostile`.

The server runs in a process of its own and serves hostile_app.py. Each attack of attacks.py is measured: the anonymous
memory that each attacking connection makes the server hold at the most, beyond what the documentation grants it; the
CPU time, and whether it goes on being used when the attackers hold still; the lines in the log; and how others
(bystander.py) are served meanwhile and afterwards. A server that has kept memory is replaced before the next attack, so
that what one attack has left behind cannot hide what another one takes.

Targets: at most 1 MiB held a connection beyond what is granted; no use of CPU by attackers that hold still; at most
one line a second in the log, beside the first of each kind; others served without a failure, meanwhile and afterwards;
and the right answer. With `--tls` all of it goes over TLS: tls_bridge.py carries the attackers' bytes. Exit code: 0
when all are met, 1 when one is missed, 2 when the server cannot be run. `--against uvicorn` attacks another.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import importlib.util
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from attacks.attacks import ATTACKS as HTTP1_ATTACKS
from attacks.attacks import MIB, Attack, Attacker, Missed
from attacks.http2 import HTTP2_ATTACKS
from attacks.watch import Others, Service, Watch, anonymous_kib, measured
from servers.contenders import CONTENDERS, Contender, Running, ServerError, running
from tls_bridge import tls_bridged

ATTACKS = (*HTTP1_ATTACKS, *HTTP2_ATTACKS)
TARGET_KIB = 1 * MIB
TARGET_IDLE = 0.3  # of a core; others take some, and a loop that spins all that it gets
TARGET_LATENCY = 500.0  # milliseconds, the median
TARGET_WORST = 2000.0  # milliseconds; the machine may be busy with more than this
HOLD_SECONDS = 0.4
QUIET_SECONDS = 10.0
RECOVERY_SECONDS = 5.0
DIRTY_KIB = 1024
EVERYBODY = ("echo", "http", "connect")

IMPATIENT = ("--timeout-request-head", "2", "--ws-ping-interval", "1", "--ws-ping-timeout", "1")
PATIENCE_OPTIONS = {"fastws": IMPATIENT, "uvicorn": IMPATIENT[2:]}
NARROW = ("prlimit", "--nofile=64:64")


@dataclass
class Result:
    """What an attack has cost, and which targets were missed."""

    attack: Attack
    server: str
    held_kib: float = 0.0
    kept_kib: float = 0.0
    cpu: float = 0.0
    idle: float = 0.0
    lines: int = 0
    repeated: int = 0
    seconds: float = 0.0
    meanwhile: dict[str, Service] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)


class Arena:
    """A running server, and others that use it."""

    def __init__(self, server: Running, tls: bool, port: int) -> None:
        self.server = server
        self.port = port  # that the attackers see
        self.others = Others(server.port, tls)
        self.dirty = False

    def log_lines(self, since: int) -> tuple[int, int]:
        """Lines in the server's log behind the position `since`, and how many beside the first of each kind."""
        size = os.fstat(self.server.log.fileno()).st_size
        lines = os.pread(self.server.log.fileno(), size - since, since).splitlines()
        kinds = collections.Counter(re.sub(rb"\(\d+ like it\)|\d+", b"", line).strip() for line in lines)
        return len(lines), len(lines) - len(kinds)

    def attack(self, attack: Attack) -> Result:
        """Attack, hold, judge, and let the server recover."""
        pids = self.server.pids
        result = Result(attack, self.server.name)
        attacker = Attacker(self.port)
        if not self.others.wait_for(EVERYBODY, time.monotonic(), RECOVERY_SECONDS):
            raise ServerError(f"{self.server.name} does not serve: {self.server.log_tail()}")
        before = anonymous_kib(pids)
        log_before = os.fstat(self.server.log.fileno()).st_size
        began = time.monotonic()
        steps = attack.run(attacker)
        try:
            with Watch(pids) as watch, measured(pids) as spent:
                self.step(steps, result)
                result.idle = self.wait_quiet()
                held_until = time.monotonic()
                self.step(steps, result)
        finally:
            attacker.close()
        result.held_kib = (watch.peak_kib - before) / attack.connections
        result.cpu = spent.cpu
        self.wake()
        recovered = self.others.wait_for(EVERYBODY, time.monotonic(), RECOVERY_SECONDS)
        self.wait_quiet()  # what the attackers left in the socket buffers is not the next attack's
        result.seconds = time.monotonic() - began
        result.lines, result.repeated = self.log_lines(log_before)
        for name in EVERYBODY:
            result.meanwhile[name] = self.others.service(name, began, held_until)
        kept = anonymous_kib(pids) - before
        result.kept_kib = kept / attack.connections
        self.dirty = kept > DIRTY_KIB
        judge(result, recovered)
        if self.server.process.poll() is not None:
            raise ServerError(f"{self.server.name} has ended: {self.server.log_tail()}")
        return result

    def wait_quiet(self) -> float:
        """Wait until the server has worked off what it was sent; returns the share of a core that it uses then."""
        give_up = time.monotonic() + QUIET_SECONDS
        while True:
            with measured(self.server.pids) as spent:
                time.sleep(HOLD_SECONDS)
            if spent.share < TARGET_IDLE or time.monotonic() >= give_up:
                return spent.share

    @staticmethod
    def step(steps: Iterator[None], result: Result) -> None:
        """Go on with the attack; what the server answered wrongly, and that it does not answer, is noted."""
        try:
            next(steps, None)
        except (Missed, OSError) as error:
            result.missed.append(str(error) or type(error).__name__)

    def wake(self) -> None:
        """Let the slow applications go on, so that their tasks end."""
        with contextlib.suppress(OSError):
            attacker = Attacker(self.port)
            sock = attacker.connect()
            sock.sendall(b"GET /wake HTTP/1.1\r\nHost: hostile\r\nConnection: close\r\n\r\n")
            sock.recv(4096)
            attacker.close()


def judge(result: Result, recovered: bool) -> None:
    """Note which targets were missed."""
    attack, missed = result.attack, result.missed
    excess = result.held_kib - attack.granted_kib
    if excess > TARGET_KIB:
        missed.append(f"{excess:,.0f} KiB a connection over the limit")
    if result.idle > TARGET_IDLE:
        missed.append(f"{100 * result.idle:.0f}% of a core used while nothing happens")
    if result.repeated > 2 + result.seconds:
        missed.append(f"{result.repeated} lines in the log beside the first of each kind in {result.seconds:.1f} s")
    for name, service in result.meanwhile.items():
        if name == "connect" and not attack.newcomers:
            continue
        if service.failures or not service.answers:
            missed.append(f"{name} failed {service.failures} times, {service.answers} answers")
        elif service.worst > TARGET_WORST or service.median > TARGET_LATENCY:
            missed.append(f"{name} waited {service.median:,.0f} ms, at the worst {service.worst:,.0f}")
    if not recovered:
        missed.append("others are not served afterwards")


@contextlib.contextmanager
def arena(contender: Contender, kind: str, loop: str, secure: bool) -> Iterator[Arena]:
    """Start the server that attacks of this kind need, and where `secure` is set all over TLS."""
    more = ["--loop", loop]
    wrapper: Sequence[str] = ()
    if kind in ("impatient", "tls"):
        more += PATIENCE_OPTIONS["uvicorn" if contender.module == "uvicorn" else "fastws"]
    if kind.startswith("narrow"):
        wrapper = NARROW
    if kind == "narrow-asyncio":
        more += ["--loop", "asyncio"]
    tls = secure or kind == "tls"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(contender.serving(contender.app, tls), more=more, wrapper=wrapper))
        port = stack.enter_context(tls_bridged(server.port)) if secure and kind != "tls" else server.port
        found = Arena(server, tls, port)
        stack.enter_context(found.others)
        yield found


def run(contender: Contender, attacks: Sequence[Attack], loop: str, secure: bool) -> Iterator[Result]:
    """Run the attacks in their order, on as few servers as clean measurements need."""
    with contextlib.ExitStack() as stack:
        current: Arena | None = None
        kind = ""
        for attack in attacks:
            if current is None or kind != attack.server or current.dirty:
                stack.pop_all().close()
                kind = attack.server
                current = stack.enter_context(arena(contender, kind, loop, secure))
            yield current.attack(attack)


def cells(result: Result) -> list[str]:
    """A line of the table."""
    attack = result.attack
    name = attack.name if attack.server != "narrow-asyncio" else f"{attack.name} (asyncio)"
    latency = []
    for service in result.meanwhile.values():
        share = f"{service.answers}/{service.answers + service.failures}"
        latency.append(f"{service.median:.0f} {service.worst:.0f}" if not service.failures else share)
    return [
        name,
        str(attack.connections),
        f"{result.held_kib:,.0f}",
        f"{attack.granted_kib:,}",
        f"{result.kept_kib:,.0f}",
        f"{result.cpu:.2f}",
        f"{100 * result.idle:.0f}%",
        f"{result.lines / result.seconds:.1f}",
        *latency,
        "; ".join(result.missed) or "yes",
    ]


HEADINGS = ("attack", "conns", "held KiB", "granted", "kept", "CPU s", "idle", "log/s", *EVERYBODY, "withstood")
WIDTHS = (28, 6, 9, 8, 7, 7, 5, 6, 11, 11, 11, 1)


def show(line: Sequence[str]) -> None:
    """Print a line of the table: the first column and the last to the left, numbers to the right."""
    first, *middle, last = [cell.rjust(width) for cell, width in zip(line, WIDTHS, strict=True)]
    print(first.strip().ljust(WIDTHS[0]), *middle, " " + last.strip(), sep=" ", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default="fastws", choices=CONTENDERS, help="the server (default fastws)")
    parser.add_argument("--attacks", help=f"comma-separated; known: {', '.join(a.name for a in ATTACKS)}")
    parser.add_argument("--loop", default="uvloop", choices=("uvloop", "asyncio"))
    parser.add_argument("--tls", action="store_true", help="attack over TLS")
    arguments = parser.parse_args()
    names = arguments.attacks.split(",") if arguments.attacks else [attack.name for attack in ATTACKS]
    unknown = set(names) - {attack.name for attack in ATTACKS}
    if unknown:
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    arguments.attacks = [attack for attack in ATTACKS if attack.name in names]
    return arguments


def main() -> int:
    """Run what was asked for; the exit code is described above."""
    arguments = parse_arguments()
    contender = dataclasses.replace(CONTENDERS[arguments.against], app="hostile_app:app")
    if importlib.util.find_spec(contender.module) is None:
        print(f"{contender.module} is not installed for {sys.executable}", file=sys.stderr)
        return 2
    began = time.monotonic()
    print(f"{contender.name} {contender.version}; memory a connection, latency as median and worst in ms\n")
    show(HEADINGS)
    missed = 0
    try:
        for result in run(contender, arguments.attacks, arguments.loop, arguments.tls):
            show(cells(result))
            missed += bool(result.missed)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 2
    print(
        f"\n{len(arguments.attacks) - missed} of {len(arguments.attacks)} withstood, {time.monotonic() - began:.0f} s"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
