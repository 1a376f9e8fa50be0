"""The load client and the floor: compiled here, run against one server at a time, their one line of JSON read.

What is asked of them is a case of cases.py; what they cost and count is told in load.c and floor.c.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from cases import Case
from reports import report
from servers.contenders import BUILT, SERVERS, Contender, Running, pin, running

HERE = Path(__file__).parent
MEMORY_CONNECTIONS = 2000
MEMORY_WARMUP = 300


class LoadError(Exception):
    """The load client failed: the server closed, answered wrongly or stopped answering."""


def build_program(name: str, folder: Path = BUILT) -> Path:
    """Compile `name`.c with $CC or cc, when it or a header is newer than the program; returns the program."""
    program = folder / name
    source = {"load": HERE, "floor": SERVERS}[name] / f"{name}.c"
    sources = [source, *HERE.glob("*.h")]
    if not program.exists() or program.stat().st_mtime < max(each.stat().st_mtime for each in sources):
        folder.mkdir(parents=True, exist_ok=True)
        compiler = [os.environ.get("CC", "cc"), "-std=c11", "-O2", "-Wall", "-Wextra", f"-I{HERE}"]
        libraries = ["-lssl", "-lcrypto"] if name == "load" and has_openssl(compiler) else []
        subprocess.run([*compiler, "-o", str(program), str(source), *libraries], check=True)
    return program


def has_openssl(compiler: list[str]) -> bool:
    """Whether programs can be compiled with OpenSSL here."""
    test = [*compiler, "-E", "-x", "c", "-"]
    return subprocess.run(test, input=b"#include <openssl/ssl.h>", capture_output=True, check=False).returncode == 0


def build_client(folder: Path = BUILT) -> Path:
    """The load client, compiled."""
    return build_program("load", folder)


def reason(said: str, server: Running) -> str:
    """Why the client stopped: its first line, since it may quote the server after it, and the log of one that died."""
    line = said.strip().partition("\n")[0].strip()
    return line if server.process.poll() is None else f"{line}; the server stopped: {server.log_tail()}"


class Client:
    """The load client, pinned to its core, against one server at a time."""

    def __init__(self, program: Path, core: int | None, payload: Path) -> None:
        self.program = program
        self.core = core
        self.payload = payload

    def command(self, server: Running, case: Case, *more: str) -> list[str]:
        """The command line for this case against this server."""
        command = [str(self.program), "--port", str(server.port), *case.arguments, *more]
        for pid in server.pids:
            command += ["--pid", str(pid)]
        if case.tls:
            command.append("--tls")
        if case.deflate:
            command += ["--deflate", "--payload", str(self.payload)]
        return pin(command, self.core)

    def run(self, server: Running, case: Case, seconds: float) -> report.Sample:
        """One slice of a case; its cost is microseconds of server CPU a unit. LoadError when anything went wrong."""
        command = self.command(server, case, "--seconds", str(seconds), "--warmup", str(seconds / 5))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LoadError(f"{case.name} on {server.name}: {reason(done.stderr, server)}")
        sample: report.Sample = json.loads(done.stdout)
        return sample | {"cost": sample["server_us"]}

    @contextlib.contextmanager
    def idle(self, server: Running, case: Case, connections: int, *more: str) -> Iterator[report.Sample]:
        """Hold open connections, each of which has had one message echoed, while the block runs.

        The block gets how many were opened, in how many seconds, and the times that they took.
        """
        command = self.command(server, case, "--mode", "idle", "--connections", str(connections), *more)
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            if not line:
                raise LoadError(f"{connections} connections on {server.name}: {reason(process.stderr.read(), server)}")
            yield json.loads(line)
            if process.poll() is not None:
                raise LoadError(f"{server.name}: lost idle connections: {reason(process.stderr.read(), server)}")
            process.stdin.close()

    def memory(self, contender: Contender, core: int | None, case: Case) -> report.Sample:
        """KiB of proportional set size that a connection costs, on a fresh process that has served some before."""
        with (
            running(contender.serving(contender.app, case.tls), core) as server,
            self.idle(server, case, MEMORY_WARMUP),
        ):
            time.sleep(0.3)
            before = server.memory_kib()
            with self.idle(server, case, MEMORY_CONNECTIONS):
                time.sleep(0.5)
                return {"cost": (server.memory_kib() - before) / MEMORY_CONNECTIONS, "connections": MEMORY_CONNECTIONS}
