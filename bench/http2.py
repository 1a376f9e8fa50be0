"""What requests and WebSockets cost a server over HTTP/2: `make bench-http2`.

    python bench/http2.py [--rounds 5] [--servers fastws,h2corn,...]

Requests: nghttp2's h2load asks for hello world over cleartext, by prior knowledge, on 8 connections with 16 streams
each and on 32 with one. WebSockets: a client of our own echoes 64 bytes over one connection, with one message in flight
and with sixteen, over HTTP/1.1 and over HTTP/2. Figures are the server's CPU time for each, user and system, from the
kernel's own count. Servers are up at once and have their turns in rounds; ratios are inside a round, and the median of
the rounds is printed. The table for docs/http2.md is the output as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import shutil
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from driver import HTTP2_CONNECT, frame, http2_frame, http2_frames, upgrade
from servers.contenders import CONTENDERS, Running, ServerError, running

SERVERS = ("fastws", "h2corn", "granian")
HTTP2_OPTIONS = {"granian": ("--http", "2")}
"""Options by which a server speaks HTTP/2 on cleartext, beside what it is always given."""
LOADS = {"8 connections, 16 streams": (8, 16), "32 connections, one stream": (32, 1)}
REQUESTS = 40_000
ECHOES = 12_000
SERVER_CORE, CLIENT_CORE = 0, 1


def cpu_seconds(server: Running) -> float:
    """What the server's processes have used so far: nanoseconds on a CPU, of each thread."""
    total = 0
    for pid in server.pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def load(server: Running, connections: int, streams: int, requests: int) -> None:
    """Ask `requests` times. Raises SystemExit where one fails."""
    command = ["taskset", "-c", str(CLIENT_CORE), "h2load", "-n", str(requests), "-c", str(connections)]
    command += ["-m", str(streams), "-t", "1", f"http://127.0.0.1:{server.port}/"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if f"{requests} succeeded, 0 failed" not in said:
        raise SystemExit(f"{server.name}: {said[-600:]}")


def receive(sock: socket.socket, size: int) -> None:
    """Read `size` bytes."""
    while size:
        got = len(sock.recv(min(size, 65536)))
        if not got:
            raise SystemExit("the server has closed a connection")
        size -= got


def echo(server: Running, http2: bool, flight: int, count: int) -> None:
    """Echo `count` messages of 64 bytes on one WebSocket, `flight` at a time; each turn's answer has the same size."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(HTTP2_CONNECT if http2 else upgrade())
        message = frame(b"a" * 64, 1) * flight
        wait_for_quiet(sock)
        turn = http2_frame(0, 0, 1, message) if http2 else message
        take = receive_frames if http2 else receive
        for _ in range(count // flight):
            sock.sendall(turn)
            take(sock, 66 * flight)


def wait_for_quiet(sock: socket.socket) -> None:
    """Read the answer to a handshake, whatever it is."""
    sock.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while sock.recv(65536):
            pass
    sock.settimeout(30)


_unread: dict[socket.socket, bytes] = {}


def receive_frames(sock: socket.socket, size: int) -> None:
    """Read frames of HTTP/2 until `size` bytes of DATA have come."""
    data = _unread.pop(sock, b"")
    while True:
        frames, data = http2_frames(data)
        size -= sum(len(payload) for kind, payload in frames if kind == 0)
        if not size:
            break
        got = sock.recv(65536)
        if not got:
            raise SystemExit("the server has closed a connection")
        data += got
    _unread[sock] = data


def cost(server: Running, work: Callable[[int], None], count: int) -> float:
    """Microseconds of the server's CPU time for each of `count` units of `work`."""
    before = cpu_seconds(server)
    work(count)
    return (cpu_seconds(server) - before) / count * 1e6


def show(title: str, rounds: list[dict[str, float]], base: str) -> None:
    """One case: microseconds, and how many times `base` each costs in the same round."""
    print(f"\n| {title} | us | times {base} |\n| --- | --- | --- |")
    for name in rounds[0]:
        ratio = statistics.median(each[name] / each[base] for each in rounds)
        print(f"| {name} | {statistics.median(each[name] for each in rounds):.1f} | {ratio:.2f} |")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--servers", default=",".join(SERVERS), help="comma-separated; the first is compared with")
    given = parser.parse_args()
    if shutil.which("h2load") is None:
        parser.error("h2load is not installed: Debian has it in nghttp2-client")
    with contextlib.ExitStack() as stack:
        servers = []
        for name in given.servers.split(","):
            contender = CONTENDERS[name]
            if contender.missing is not None:
                print(f"left out: {contender.missing}")
                continue
            try:
                servers.append(stack.enter_context(running(contender, SERVER_CORE, HTTP2_OPTIONS.get(name, ()))))
            except ServerError as error:
                print(f"left out: {error}")
        base = servers[0].name
        for title, (connections, streams) in LOADS.items():

            def work(server: Running, shape: tuple[int, int] = (connections, streams)) -> Callable[[int], None]:
                return lambda count: load(server, *shape, count)

            for server in servers:
                work(server)(2000)
            show(
                title,
                [{each.name: cost(each, work(each), REQUESTS) for each in servers} for _ in range(given.rounds)],
                base,
            )
        fastws = servers[0]
        for flight in (1, 16):
            rounds = []
            for _ in range(given.rounds):
                found = {}
                for name, http2 in (("HTTP/1.1", False), ("HTTP/2", True)):
                    count = ECHOES * (4 if flight > 1 else 1)
                    found[name] = cost(fastws, functools.partial(echo, fastws, http2, flight), count)
                rounds.append(found)
            show(f"echo of 64 bytes, {flight} in flight, {fastws.name}", rounds, "HTTP/1.1")


if __name__ == "__main__":
    main()
