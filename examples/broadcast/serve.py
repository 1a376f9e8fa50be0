"""Serves `app` with two workers, and with a Redis of its own where REDIS_URL names none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types

from own_redis import own_redis


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
