"""The chat of `../chat/with_topics.py` on two servers, behind HAProxy, with Redis between them.

All end with this program: first the servers, which tell their clients to come back, then HAProxy and Redis. REDIS_URL
names another Redis than the one that is started.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from own_redis import own_redis

HERE = Path(__file__).parent
PATIENCE = 30.0  # seconds for a server to start


@contextmanager
def running(command: list[str], **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is told to end when the block does, and waited for; Ctrl+C does not reach it before."""
    process = subprocess.Popen(command, env={**os.environ, **env}, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_until_it_listens(process: subprocess.Popen[bytes], address: str | tuple[str, int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
            if client.connect_ex(address) == 0:
                return
        time.sleep(0.02)
    raise SystemExit("a server, or HAProxy, has not started")


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--host", default=os.environ.get("FASTWS_HOST", "127.0.0.1"))
    parser.add_argument("--port", default=os.environ.get("FASTWS_PORT", "8000"))
    given = parser.parse_args()
    for option in "HOST", "PORT":  # of HAProxy; the servers have Unix sockets
        os.environ.pop(f"FASTWS_{option}", None)
    address = f"{given.host}:{given.port}"
    haproxy = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if haproxy is None:
        raise SystemExit("haproxy is missing: apt-get install haproxy")
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, lambda *_: sys.exit())  # out of all blocks
    with ExitStack() as stack:
        sockets = stack.enter_context(tempfile.TemporaryDirectory())
        redis_url = os.environ.get("REDIS_URL") or stack.enter_context(own_redis())
        proxy = ["-db", "-f", str(HERE / "haproxy.cfg")]
        for name in "a", "b":
            options = ["--uds", f"{sockets}/{name}", "--topics-url", redis_url, "--header", f"X-Server:{name}"]
            options += ["--app-dir", str(HERE.parent / "chat"), "--log-level", "warning"]
            command = [sys.executable, "-m", "fastws", *options, "with_topics:app"]
            server = stack.enter_context(running(command, SERVER=f"server {name}"))
            wait_until_it_listens(server, f"{sockets}/{name}")
        with running([haproxy, *proxy], ADDRESS=address, SOCKETS=sockets) as last:
            wait_until_it_listens(last, (given.host, int(given.port)))
            print(f"HAProxy and two servers are running on http://{address}", flush=True)
            last.wait()


if __name__ == "__main__":
    main()
