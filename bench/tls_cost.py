"""What TLS costs a server: CPU of an echo and memory of an idle WebSocket, with it and without.

One client with one message in flight, over the loopback interface; CPU is the server's, from /proc. For the pages
about deployment, not for comparisons with other servers: those are bench.py's.

python bench/tls_cost.py
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import trustme
from websockets.sync.client import ClientConnection, connect

APPS = Path(__file__).parents[1] / "tests" / "support"
ECHOES = {64: 20_000, 65536: 3_000}
CONNECTIONS = 800
TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[tuple[int, int]]:
    """A server of the tests' echo: its pid and its port."""
    command = [sys.executable, "-m", "fastws", "echo_app:app", "--port", "0", "--no-access-log", *arguments]
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, cwd=APPS, stderr=log) as process:
        try:
            while not (
                running := re.search(r"running on \S+:(\d+)", Path(f"/proc/self/fd/{log.fileno()}").read_text())
            ):
                if process.poll() is not None:
                    sys.exit("the server has ended")
            yield process.pid, int(running[1])
        finally:
            process.terminate()


def cpu(pid: int) -> float:
    """Seconds that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> int:
    """KiB that the process has in memory."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def measure(name: str, scheme: str, client: ssl.SSLContext | None, *arguments: str) -> None:
    with server(*arguments) as (pid, port):
        url = f"{scheme}://127.0.0.1:{port}"
        with connect(url, ssl=client, compression=None) as websocket:
            for size, count in ECHOES.items():
                message = os.urandom(size)
                echo(websocket, message, 200)
                before = cpu(pid)
                echo(websocket, message, count)
                print(f"{name}: {(cpu(pid) - before) / count * 1e6:.1f} µs an echo of {size} bytes")
    with server(*arguments) as (pid, port), contextlib.ExitStack() as stack:
        for number in range(100 + CONNECTIONS):
            if number == 100:
                before_memory = memory(pid)
            stack.enter_context(opened(port, client))
        print(f"{name}: {(memory(pid) - before_memory) / CONNECTIONS:.1f} KiB an idle WebSocket")


def echo(websocket: ClientConnection, message: bytes, count: int) -> None:
    for _ in range(count):
        websocket.send(message)
        websocket.recv()


def opened(port: int, client: ssl.SSLContext | None) -> socket.socket:
    """An open WebSocket, without a thread of its own as `connect` has one."""
    sock = socket.create_connection(("127.0.0.1", port))
    if client is not None:
        sock = client.wrap_socket(sock, server_hostname="127.0.0.1")
    sock.sendall(
        b"GET / HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert b" 101 " in sock.recv(4096)
    return sock


def main() -> None:
    authority = trustme.CA()
    client = ssl.create_default_context()
    authority.configure_trust(client)
    with tempfile.TemporaryDirectory() as directory:
        certificate = f"{directory}/both.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        measure("plain", "ws", None)
        measure("TLS", "wss", client, "--ssl-certfile", certificate)


if __name__ == "__main__":
    main()
