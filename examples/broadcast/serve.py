"""Serves `app` with two workers, and with a Redis of its own where REDIS_URL names none.

That Redis is Debian's redis-server, on a socket in a directory that is removed at the end; it keeps nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_redis() -> Iterator[str]:
    """The URL of a redis-server, which ends with the block."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/redis.sock"
        # In a session of its own, so that Ctrl+C does not reach it: the workers still need it while they end.
        process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", directory],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield f"unix://{path}"
        finally:
            process.terminate()
            process.wait()


def run(redis_url: str, *options: str) -> int:
    """Run the server to its end; signals are for it."""
    command = [sys.executable, "-m", "fastws", "--workers", "2", *options, "app:app"]
    server = subprocess.Popen(command, env={**os.environ, "REDIS_URL": redis_url})

    def end(number: int, frame: types.FrameType | None) -> None:
        server.send_signal(number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, lambda number, frame: None)  # Ctrl+C reaches the server by itself
    return server.wait()


if __name__ == "__main__":
    if "REDIS_URL" in os.environ:
        raise SystemExit(run(os.environ["REDIS_URL"], *sys.argv[1:]))
    with own_redis() as url:
        raise SystemExit(run(url, *sys.argv[1:]))
