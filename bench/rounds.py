"""Interleaved rounds: all servers up at once, each case on each of them in turn, so that what disturbs the machine
disturbs all of them.

A server that does not start and a case that fails on a server are named and left out; the rest goes on.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cases import APP, Case
from client.load import Client, LoadError
from reports import report
from servers.contenders import Contender, Running, ServerError, running


class Progress(Protocol):
    """Where it is said how far a measurement is."""

    def begin(self, what: str, steps: int) -> None:
        """A part of `steps` steps begins."""

    def step(self, what: str) -> None:
        """The next step begins."""

    def say(self, text: str) -> None:
        """Something that the reader should know whatever comes next."""


@dataclass
class Measured:
    """What one part of the benchmark found."""

    rounds: int
    seconds: float
    samples: list[report.Sample] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


class Bench:
    """Runs cases: the load client on its core, the servers on theirs (None: wherever the kernel puts them)."""

    def __init__(self, client: Client, server_core: int | None, progress: Progress) -> None:
        self.client = client
        self.core = server_core
        self.progress = progress

    @contextlib.contextmanager
    def all_up(self, contenders: Sequence[Contender], measured: Measured) -> Iterator[list[Running]]:
        """Those of the contenders that start, while the block runs; `measured` gets the names of the others."""
        with contextlib.ExitStack() as stack:
            servers = []
            for contender in contenders:
                try:
                    servers.append(stack.enter_context(running(contender, self.core)))
                except ServerError as error:
                    self._leave_out(measured, str(error))
            yield servers

    def measure(
        self, cases: Sequence[Case], contenders: Sequence[Contender], rounds: int, seconds: float, memory_rounds: int
    ) -> Measured:
        """All rounds of all cases, in slices of `seconds`; memory last, on fresh processes, `memory_rounds` times."""
        measured = Measured(rounds, seconds)
        timed = [case for case in cases if not case.memory]
        held = [case for case in cases if case.memory]
        self.progress.begin("starting", len(contenders) * (rounds * len(timed) + memory_rounds * len(held)))
        broken: set[tuple[str, str]] = set()
        without_deflate: set[str] = set()

        def add(number: int, case: Case, name: str, run: Callable[[], report.Sample]) -> None:
            self.progress.step(f"{case.name} on {name}")
            if (case.name, name) in broken or (case.deflate and name in without_deflate):
                return
            try:
                sample = run()
            except (LoadError, ServerError) as error:
                broken.add((case.name, name))
                if "permessage-deflate was declined" in str(error):
                    without_deflate.add(name)
                self._leave_out(measured, str(error))
                return
            measured.samples.append({"case": case.name, "server": name, "round": number} | sample)

        wanted = [
            contender.serving(app, tls)
            for app, tls in dict.fromkeys((case.app, case.tls) for case in timed)
            for contender in contenders
            if (app == APP or not contender.program) and (contender.tls or not tls)
        ]
        with self.all_up(wanted, measured) as servers:
            for number in range(rounds):
                for case in timed:
                    there = [server for server in servers if server.contender.serves(case.app, case.tls)]
                    for server in there if number % 2 == 0 else reversed(there):
                        add(number, case, server.name, functools.partial(self.client.run, server, case, seconds))
        for number in range(memory_rounds):
            for case in held:
                for contender in contenders:
                    if case.tls and not contender.tls:
                        continue
                    run = functools.partial(self.client.memory, contender, self.core, case)
                    add(number, case, contender.name, run)
        return measured

    def _leave_out(self, measured: Measured, why: str) -> None:
        measured.left_out.append(why.partition("\n")[0])  # a server's traceback names places of this machine
        self.progress.say(f"left out: {why}")
