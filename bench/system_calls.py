"""Count system calls a message: `python bench/system_calls.py`.

A server runs under `strace -c -f`, which attaches when its connections are open and have been used, and a client on the
loopback does the rounds of driver.py's scenarios, each step when the one before was answered and the server sleeps:
else an idle turn of its loop would be counted or not by which of both is quicker. So a count does not depend on what
else the machine does. How long it takes under strace means nothing.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from driver import CONFIGURATIONS, SCENARIOS, Configuration, Scenario, run_driver, step_bytes
from servers.contenders import ZLIB, Contender, Running, running

ANSWER_SECONDS = 30.0


class Client:
    """The client's side of a scenario on real sockets; `answers` are the sizes that driver.py has learned."""

    def __init__(self, scenario: Scenario, answers: Sequence[int], server: Running) -> None:
        self.scenario = scenario
        self.answers = answers
        self.port = server.port
        self.pid = server.process.pid
        self.sockets: list[socket.socket] = []
        self.rounds = -1
        self.buffer = memoryview(bytearray(1 << 20))
        if not scenario.reconnect:
            for _ in range(scenario.connections):
                self.sockets.append(self.connect())
                if scenario.steps[0] is not scenario.request:
                    self.sockets[-1].sendall(scenario.request)
                    wait_for_sleep(self.pid)
                    self.sockets[-1].recv(4096)  # the answer to it, whatever it is

    def connect(self) -> socket.socket:
        """A new connection to the server."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def round(self) -> None:
        """One round of the scenario."""
        self.rounds += 1
        wait_for_sleep(self.pid)
        first = self.connect() if self.scenario.reconnect else self.sockets[0]
        readers = self.sockets or [first]
        for step, size in zip(self.scenario.steps, self.answers, strict=True):
            wait_for_sleep(self.pid)
            first.sendall(step_bytes(step, self.rounds))
            for reader in readers:
                self.read(reader, size // len(readers))
        if self.scenario.reconnect:
            if first.recv(1):
                raise SystemExit("the server has sent something behind its Close")
            first.close()

    def read(self, reader: socket.socket, size: int) -> None:
        """Read `size` bytes."""
        while size:
            got = reader.recv_into(self.buffer[:size])
            if not got:
                raise SystemExit("the server has closed a connection")
            size -= got

    def close(self) -> None:
        """Close what is open."""
        for each in self.sockets:
            each.close()


def wait_for_sleep(pid: int) -> None:
    """Return when this process waits for something to happen."""
    while True:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        if state == "S":
            return
        if state in "ZX":
            raise SystemExit("the server has ended")
        time.sleep(0.0001)


def trace(server: Running, client: Client, rounds: int) -> dict[str, float]:
    """The calls that the server makes in `rounds` rounds, by name and unit."""
    with tempfile.NamedTemporaryFile("r") as table:
        command = ["strace", "-c", "-f", "-o", table.name, "-p", str(server.process.pid)]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert tracer.stderr is not None
        said = tracer.stderr.readline()  # it says that it has attached
        if b"attached" not in said:
            raise SystemExit(said.decode())
        for _ in range(rounds):
            client.round()
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=30)
        units = rounds * client.scenario.units
        calls = {}
        for line in table:
            fields = line.split()
            if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
                calls[fields[-1]] = int(fields[3]) / units
        return calls


def count_system_calls(
    configuration: Configuration, answers: dict[str, Sequence[int]], rounds: int = 100
) -> dict[str, dict[str, float]]:
    """System calls a unit, by name, of each scenario in `answers`."""
    found = {}
    with configuration.source() as source:
        wrapper = [] if source is None else ["env", f"PYTHONPATH={source}"]
        contender = Contender(configuration.name, "fastws", ("--ws", configuration.engine, *ZLIB), "fastws")
        with running(contender, wrapper=wrapper) as server:
            for name, sizes in answers.items():
                client = Client(SCENARIOS[name], sizes, server)
                for _ in range(3):
                    client.round()
                found[name] = trace(server, client, rounds)
                client.close()
    return found


def main() -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(SCENARIOS), help="comma-separated")
    parser.add_argument("--configuration", default="cython", choices=CONFIGURATIONS)
    arguments = parser.parse_args()
    if shutil.which("strace") is None:
        parser.error("strace is not installed")
    configuration = CONFIGURATIONS[arguments.configuration]
    _, driven = run_driver(configuration, arguments.cases.split(","), "--scale", "0.05")
    answers = {each["scenario"]: each["answers"] for each in driven}
    for name, calls in count_system_calls(configuration, answers).items():
        listed = "  ".join(f"{call} {number:.3f}" for call, number in sorted(calls.items(), key=lambda c: -c[1]))
        print(f"{name:<12} {sum(calls.values()):7.3f} system calls a {SCENARIOS[name].unit}: {listed}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
