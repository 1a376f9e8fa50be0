"""A redis-server (Debian's) for as long as a block lasts: on a socket in a directory of its own, keeping nothing."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_redis() -> Iterator[str]:
    """The URL of a redis-server, which ends with the block."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is missing: apt-get install redis-server, or set REDIS_URL")
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/redis.sock"
        # In a session of its own, so that Ctrl+C does not reach it: the servers still need it while they end.
        process = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", path, "--save", "", "--dir", directory],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield f"unix://{path}"
        finally:
            process.terminate()
            process.wait()
