"""What thousands of WebSockets cost a server behind HAProxy that speaks HTTP/2 with it: `make bench-proxy`.

    python bench/behind_haproxy.py [--websockets 10000] [--streams 1000]

opens them through docs/deployment/haproxy-h2.cfg, has each echo, and prints on how many connections to the server they
are (as /proc/net/tcp has it), what one costs in memory, and what an echo costs in CPU time when all are in use; beside
it the same without a proxy, where each has a connection of its own. It fails where one does not echo, or where there
are more than twice the connections that the number of streams on each asks for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cases import Case
from client.load import Client, build_client
from servers.contenders import BENCH, CONTENDERS, Running, free_port, running

sys.path.insert(0, str(BENCH.parent / "tests" / "support"))

from proxies import CONFIGURATIONS, filled, program

ECHO = Case("echo", "", ("--window", "1", "--size", "64", "--sources", "64", "--opening", "64"))
WARMUP = 300
"""WebSockets that the server has served before its memory is looked at."""
ESTABLISHED = "01"


class Found(NamedTuple):
    """What was found of one way to the server."""

    way: str
    websockets: int
    connections: int
    kib: float
    echo_us: float


def connections_to(port: int) -> int:
    """The established connections of the loopback port, at its end."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(row[3] == ESTABLISHED and row[1].endswith(f":{port:04X}") for row in rows)


@contextlib.contextmanager
def haproxy(server: Running, websockets: int, streams: int) -> Iterator[int]:
    """HAProxy of the docs in front of `server`, without TLS for its clients; the port that it listens on."""
    port = free_port()
    text = filled(
        (CONFIGURATIONS / "haproxy-h2.cfg").read_text(),
        {
            # It wants descriptors for a connection to a server for each client's.
            "maxconn 20000": f"maxconn {websockets + 100}\n    no strict-limits",
            "max-concurrent-streams 100": f"max-concurrent-streams {streams}",
            "bind :443 ssl crt /etc/haproxy/site.pem alpn h2,http/1.1": f"bind 127.0.0.1:{port}",
            "10.0.0.11:8000": f"127.0.0.1:{server.port}",
            "    server b 10.0.0.12:8000\n": "",
        },
    )
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        path = Path(folder, "haproxy.cfg")
        path.write_text(text)
        process = subprocess.Popen([program("haproxy"), "-db", "-f", str(path)], stdout=log, stderr=log)
        proxy = Running(server.contender, port, process, log)
        try:
            proxy.wait_ready()
            yield port
        finally:
            proxy.stop()


def look(client: Client, server: Running, way: str, through: Running, websockets: int) -> Found:
    """Open them `through` a port, and see what they cost the server."""
    with client.idle(through, ECHO, WARMUP):
        pass
    time.sleep(1.0)
    before = server.memory_kib()
    with client.idle(through, ECHO, websockets) as opened:
        time.sleep(1.0)
        kib = (server.memory_kib() - before) / websockets
        connections = connections_to(server.port)
        assert opened["open"] == websockets
    in_use = Case("echo", "", (*ECHO.arguments, "--connections", str(websockets)))
    sample: dict[str, Any] = client.run(through, in_use, 2.0)
    return Found(way, websockets, connections, kib, sample["cost"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--websockets", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=1000, help="WebSockets on one connection, at most")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the proxy and the servers inherit it
    pinned = (os.cpu_count() or 1) > 1 and shutil.which("taskset") is not None
    core = arguments.server_core if pinned else None
    client = Client(build_client(), arguments.client_core if pinned else None, Path(os.devnull))
    websockets, streams = arguments.websockets, arguments.streams
    found = []
    with running(CONTENDERS["fastws"], core) as server:
        found.append(look(client, server, "HTTP/1.1, no proxy", server, websockets))
    more = ("--http2-max-concurrent-streams", str(streams))
    with running(CONTENDERS["fastws"], core, more) as server, haproxy(server, websockets, streams) as port:
        through = Running(server.contender, port, server.process, server.log, server.pids)
        found.append(look(client, server, "HTTP/2, HAProxy", through, websockets))
    print("| way | WebSockets | connections | memory a WebSocket | CPU an echo, all in use |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for way, count, connections, kib, echo_us in found:
        print(f"| {way} | {count:,} | {connections:,} | {kib:.1f} KiB | {echo_us:.1f} µs |")
    return 0 if found[-1].connections <= 2 * -(-websockets // streams) + (os.cpu_count() or 1) else 1


if __name__ == "__main__":
    sys.exit(main())
