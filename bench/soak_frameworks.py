"""Wears out applications of frameworks for minutes: memory stays flat, and logs clean. `make soak-frameworks`.

A server for each application of servers/soak_framework_apps.py, and clients that take pages, watch streams for a while,
send bodies, and leave as clients do: at the end, in the middle, by a reset, by half-closing; one watches to the end.
At ten times memory is read. It fails where memory has grown since the third of them by more than it may, or where the
log has an error, a warning or a traceback: a client that leaves is nobody's error. `--server uvicorn` shows what others
do. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
APPS = ("sse", "django", "fastapi")
SAMPLES = 10
WARM = 3
"""The sample with which the last one is compared."""
GROWTH_KIB = 4096
"""How much memory may grow between them: allocators of frameworks and threads need some time to settle."""
CLIENTS = 4
"""Threads of clients for each application."""
BODY = bytes(200_000)


@dataclass
class Served:
    """A server process and what is known of it."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    memory: list[int] = field(default_factory=list)
    visits: int = 0

    def sample(self) -> int:
        """Its own memory now, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"^RssAnon:\s+(\d+)", status, re.MULTILINE)
        assert found is not None
        self.memory.append(int(found[1]))
        return self.memory[-1]


def request(method: str, path: str, *fields: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: soak", *fields)).encode() + b"\r\n\r\n"


def visit(port: int, dice: random.Random) -> None:
    """One client, from its coming to its leaving."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), 20)) as sock:
        way = dice.randrange(8)
        if way == 0:
            for _ in range(3):
                sock.sendall(request("GET", "/page"))
                expect(sock, b" 200 ")
        elif way == 1:
            sock.sendall(request("POST", "/upload", f"Content-Length: {len(BODY)}") + BODY)
            expect(sock, b" 200 ")
        elif way == 2:  # leaves in the middle of the body
            sock.sendall(request("POST", "/upload", f"Content-Length: {len(BODY)}") + BODY[:50_000])
        elif way == 3:  # sends a body and does not wait for the answer
            sock.sendall(request("POST", "/upload", f"Content-Length: {len(BODY)}") + BODY)
        else:
            sock.sendall(request("GET", "/events"))
            for _ in range(dice.randrange(1, 12)):
                expect(sock, b"data: ")
            if way == 5:
                sock.shutdown(socket.SHUT_WR)
            elif way >= 6:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def watch(target: Served, end: threading.Event, failures: list[str]) -> None:
    """One client that stays: what a stream leaves behind at each step, it leaves thousands of times."""
    try:
        with contextlib.closing(socket.create_connection(("127.0.0.1", target.port), 20)) as sock:
            sock.sendall(request("GET", "/events"))
            while not end.is_set():
                expect(sock, b"data: ")
    except (OSError, SystemExit) as error:
        failures.append(f"{target.name}: {type(error).__name__}: {error}")


def expect(sock: socket.socket, text: bytes) -> None:
    """Read until `text` came."""
    data = b""
    while text not in data:
        more = sock.recv(65536)
        if not more:
            raise SystemExit(f"no {text!r} in {data!r:.300}")
        data += more


@contextlib.contextmanager
def served(server: str, name: str, folder: Path, options: list[str]) -> Iterator[Served]:
    """One application on a server of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", server, "--factory", f"soak_framework_apps:{name}"),
                *("--fd", str(listener.fileno()), "--timeout-graceful-shutdown", "5", *options),
            ],
            cwd=HERE / "servers",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the access log
            stderr=output,
            pass_fds=(listener.fileno(),),
        )
    port = listener.getsockname()[1]
    listener.close()
    try:
        yield Served(name, process, port, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()


def wear_out(target: Served, seed: int, end: threading.Event, failures: list[str]) -> None:
    dice = random.Random(seed)
    try:
        while not end.is_set():
            visit(target.port, dice)
            target.visits += 1
    except (OSError, SystemExit) as error:
        failures.append(f"{target.name}: {type(error).__name__}: {error}")


def complaints(log: Path) -> list[str]:
    """The lines of a log that say that something went wrong."""
    return [line for line in log.read_text().splitlines() if re.search(r"ERROR|WARNING|Traceback|Exception", line)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--server", default="fastws", choices=("fastws", "uvicorn"))
    parser.add_argument("--apps", default=",".join(APPS), help="of which: " + ", ".join(APPS))
    parser.add_argument("options", nargs="*", help="of the server, behind --")
    given = parser.parse_args()
    end, failures = threading.Event(), []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        targets = [
            servers.enter_context(served(given.server, name, Path(folder), given.options))
            for name in given.apps.split(",")
        ]
        clients = [
            threading.Thread(target=wear_out, args=(target, number, end, failures))
            for target in targets
            for number in range(CLIENTS)
        ]
        clients += [threading.Thread(target=watch, args=(target, end, failures)) for target in targets]
        for client in clients:
            client.start()
        print(f"{given.seconds:.0f} s on {given.server}; memory in KiB (visits)")
        print("seconds  " + " ".join(f"{target.name:>18}" for target in targets))
        began = time.monotonic()
        try:
            for number in range(1, SAMPLES + 1):
                time.sleep(max(0.0, began + number * given.seconds / SAMPLES - time.monotonic()))
                cells = (f"{target.sample():8} ({target.visits:7})" for target in targets)
                print(f"{time.monotonic() - began:7.0f}  " + " ".join(cells), flush=True)
        finally:
            end.set()
            for client in clients:
                client.join()
        problems = list(failures)
        for target in targets:
            grown = target.memory[-1] - target.memory[WARM - 1]
            if grown > GROWTH_KIB:
                problems.append(f"{target.name}: {grown} KiB more than when it was warm")
            lines = complaints(target.log)
            problems += (
                [f"{target.name}: {len(lines)} lines of the log complain, such as {lines[0]!r}"] if lines else []
            )
    print("\n".join(problems) if problems else "memory is flat and the logs are clean")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
