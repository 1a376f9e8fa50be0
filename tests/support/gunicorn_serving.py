"""gunicorn with fastws's worker, for tests: each master is a process with workers of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving import SUPPORT, ServerProcess

WORKER = "fastws.workers.FastWSWorker"


@contextlib.contextmanager
def run_gunicorn(
    tmp_path: Path,
    *arguments: str,
    app: str = "gunicorn_apps:app",
    worker: str = WORKER,
    conf: str = "",
    bind: str = "127.0.0.1:0",
    env: dict[str, str] | None = None,
    cwd: Path = SUPPORT,
) -> Iterator[ServerProcess]:
    """A master that has been started, with `conf` for its configuration file; killed, with its workers, at the end."""
    (tmp_path / "conf.py").write_text(conf)
    command = ["-k", worker, "-b", bind, "-c", str(tmp_path / "conf.py"), *arguments, app]
    process = ServerProcess(tuple(command), {"HOME": str(tmp_path), **(env or {})}, cwd, (), sys.executable, "gunicorn")
    try:
        yield process
    finally:
        for pid in set(re.findall(r"Booting worker with pid: (\d+)", process.output)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        process.kill()


@contextlib.contextmanager
def serve_gunicorn(tmp_path: Path, *arguments: str, **options: Any) -> Iterator[ServerProcess]:
    """As `run_gunicorn`, when its first worker serves."""
    with run_gunicorn(tmp_path, *arguments, **options) as process:
        running = process.wait_for_line(r"fastws running on (?:https?://(\S+):(\d+)|unix)")
        process.host, process.port = running[1] or "", int(running[2] or 0)
        yield process
