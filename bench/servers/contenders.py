"""The servers that are compared: how each is started, and what the kernel says about its processes.

A contender is a name and a command line. All ASGI servers serve the same application of this directory (`apps:app`) on
a loopback port, with the access log off, one worker, uvloop where it can be had, and otherwise their defaults; two
programs of this directory, on picows and in C, do the same without ASGI. Linux only: it reads /proc.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fastws.distribution import DISTRIBUTION

SERVERS = Path(__file__).parent
"""Where applications and programs of ours are that are served."""
BENCH = SERVERS.parent
COMMON = ("--host", "127.0.0.1", "--loop", "uvloop", "--log-level", "warning", "--no-access-log")
TLS = ("--ssl-certfile", "{certificate}", "--ssl-keyfile", "{certificate}")
"""How fastws and uvicorn are told to speak it."""
BUILT = BENCH / ".build"
"""Where the programs in C are compiled to."""
PEERS_PYTHON = BENCH.parent / ".venv-servers" / "bin" / "python"
"""The interpreter of the servers that nothing but a comparison needs; `make .venv-servers/.made` makes it."""
ZLIB = ("--ws-deflate-backend", "zlib")
"""As it is without extras, also where these are installed for tests."""
PURE_PYTHON = BENCH.parent / ".venv-pure" / "bin" / "python"
"""The interpreter that has fastws without compiled modules; `make .venv-pure/.installed` makes it."""
START_SECONDS = 15.0
STOP_SECONDS = 10.0


TRUSTING = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""A client that believes any certificate."""
TRUSTING.check_hostname = False
TRUSTING.verify_mode = ssl.CERT_NONE


class ServerError(Exception):
    """A contender did not start, or stopped; the message holds the end of its log."""


@dataclass(frozen=True)
class Contender:
    """One server as it is started: `module` is run by `python`, `distribution` tells its version.

    `common` are the options that all should have, in its words; `place` is where it listens, with {port} for the port.
    `tls` are the options that make it speak TLS, with {certificate} for a file of a chain and its key; where there are
    none, it cannot. `program` is run in place of the module and has its application in itself. `forks` says that it
    listens before the process that serves is there.
    """

    name: str
    module: str
    options: tuple[str, ...]
    distribution: str
    app: str = "apps:app"
    python: str = sys.executable
    common: tuple[str, ...] = COMMON
    place: tuple[str, ...] = ("--port", "{port}")
    program: tuple[str, ...] = ()
    forks: bool = False
    tls: tuple[str, ...] = TLS
    secure: bool = False

    @property
    def missing(self) -> str | None:
        """Why it cannot be run here, or None when it can."""
        return f"{self.module} is not installed for {self.python}" if self.version == "unknown" else None

    def serving(self, app: str, secure: bool = False) -> Contender:
        """The same server with another application, `module:name` of this directory, over TLS where `secure`."""
        return dataclasses.replace(self, app=app, secure=secure)

    def serves(self, app: str, secure: bool) -> bool:
        """Whether it is started with this application, and over TLS as asked for."""
        return (self.app, self.secure) == (app, secure)

    @property
    def version(self) -> str:
        """The version of its distribution, "unknown" where that is missing, "" for a program that is none."""
        if not self.distribution:
            return ""
        if self.python == sys.executable:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                return importlib.metadata.version(self.distribution)
        elif Path(self.python).exists():
            ask = f"import importlib.metadata; print(importlib.metadata.version({self.distribution!r}))"
            told = subprocess.run([self.python, "-c", ask], capture_output=True, text=True, check=False)
            return told.stdout.strip() or "unknown"
        return "unknown"

    def command(self, port: int, more: Sequence[str] = (), certificate: str = "") -> list[str]:
        """The command line that serves its application on `port` of the loopback address, with `more` options."""
        place = (part.format(port=port) for part in self.place)
        program = self.program or (self.python, "-m", self.module, self.app)
        tls = (part.format(certificate=certificate) for part in self.tls) if self.secure else ()
        return [*program, *self.common, *self.options, *tls, *more, *place]


def peer(
    module: str,
    common: tuple[str, ...],
    place: tuple[str, ...],
    program: tuple[str, ...] = (),
    forks: bool = False,
    distribution: str = "",
    tls: tuple[str, ...] = (),
) -> Contender:
    """A server of the environment of PEERS_PYTHON; its distribution has its name, or `distribution`."""
    python, distribution = str(PEERS_PYTHON), distribution or module
    return Contender(
        *(module, module, (), distribution),
        python=python,
        common=common,
        place=place,
        program=program,
        forks=forks,
        tls=tls,
    )


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("fastws", "fastws", ("--ws", "auto", *ZLIB), DISTRIBUTION),
        # As it is where the event loop moves the bytes: `--transport loop`.
        Contender("fastws-loop", "fastws", ("--ws", "auto", *ZLIB, "--transport", "loop"), DISTRIBUTION),
        Contender("fastws-isal", "fastws", ("--ws", "auto", "--ws-deflate-backend", "isal"), DISTRIBUTION),
        Contender("fastws-cython", "fastws", ("--ws", "cython", *ZLIB), DISTRIBUTION),
        Contender("fastws-websockets", "fastws", ("--ws", "websockets", *ZLIB), DISTRIBUTION),
        Contender("fastws-wsproto", "fastws", ("--ws", "wsproto", *ZLIB), DISTRIBUTION),
        # As it is where there is no compiler; `make .venv-pure/.installed` makes it.
        Contender("fastws-pure", "fastws", ("--ws", "websockets", *ZLIB), DISTRIBUTION, python=str(PURE_PYTHON)),
        Contender("uvicorn", "uvicorn", ("--ws", "websockets-sansio", "--http", "httptools"), "uvicorn"),
        Contender("uvicorn-websockets", "uvicorn", ("--ws", "websockets", "--http", "httptools"), "uvicorn"),
        Contender("uvicorn-wsproto", "uvicorn", ("--ws", "wsproto", "--http", "httptools"), "uvicorn"),
        peer("hypercorn", ("-k", "uvloop", "--log-level", "warning"), ("--bind", "127.0.0.1:{port}")),
        peer("granian", ("--interface", "asgi", *COMMON), ("--port", "{port}"), forks=True),
        peer(
            "h2corn",
            ("--loop", "uvloop", "--no-access-log"),
            ("--bind", "127.0.0.1:{port}"),
            forks=True,
            tls=("--certfile", "{certificate}", "--keyfile", "{certificate}"),
        ),
        # No option of it turns off an access log, which it has none of.
        peer("peregrine", ("--host", "127.0.0.1"), ("--port", "{port}"), distribution="peregrine-server"),
        peer("daphne", ("-b", "127.0.0.1", "-v", "0"), ("-p", "{port}")),
        peer(
            "gunicorn",
            ("-k", "asgi", "--asgi-loop", "uvloop", "--log-level", "warning", "--worker-tmp-dir", "/dev/shm"),
            ("--bind", "127.0.0.1:{port}"),
            forks=True,
        ),
        peer(
            "socketify",
            ("--interface", "asgi", "--host", "127.0.0.1", "--disable-listen-log", "true"),
            ("--port", "{port}"),
        ),
        peer("picows", (), ("{port}",), program=(str(PEERS_PYTHON), "picows_echo.py")),
        Contender("floor", "floor", (), "", common=(), place=("{port}",), program=(str(BUILT / "floor"),), tls=()),
    )
}


def free_port() -> int:
    """A loopback TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Running:
    """A started contender: its port, its processes, and its memory."""

    contender: Contender
    port: int
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    pids: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The contender's name."""
        return self.contender.name

    def log_tail(self) -> str:
        """The last 2,000 bytes that the server wrote to its standard output and error."""
        self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, self.log.tell() - 2000))
        return self.log.read().decode(errors="replace").strip()

    def memory_kib(self) -> int:
        """Proportional set size of all its processes, in KiB: kernel buffers are left out, shared pages divided."""
        total = 0
        for pid in self.pids:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        return total

    def wait_ready(self) -> None:
        """Return once it accepts connections; ServerError when it stops or takes longer than START_SECONDS."""
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            if self.process.poll() is not None:
                raise ServerError(f"{self.name} exited {self.process.returncode}: {self.log_tail()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                if self.contender.secure:
                    probe = TRUSTING.wrap_socket(probe)
                if self.contender.forks:
                    probe.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                    probe.settimeout(START_SECONDS)
                    probe.recv(1)
                self.pids = descendants(self.process.pid)
                return
            time.sleep(0.02)
        raise ServerError(f"{self.name} did not listen within {START_SECONDS:.0f} s: {self.log_tail()}")

    def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL when it has not gone within STOP_SECONDS; and what it leaves behind."""
        if self.process.poll() is None:
            with contextlib.ExitStack() as stack:
                children = []
                for pid in descendants(self.process.pid)[1:]:
                    with contextlib.suppress(OSError):
                        children.append(os.pidfd_open(pid))
                        stack.callback(os.close, children[-1])
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
                for child in children:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(child, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """The process and all that it started, by pid."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def pin(command: list[str], core: int | None) -> list[str]:
    """The command, bound to one core by taskset; unchanged when `core` is None."""
    return command if core is None else ["taskset", "-c", str(core), *command]


@contextlib.contextmanager
def certificate_file() -> Iterator[str]:
    """A file with a new certificate for 127.0.0.1 and its key, of the kind that most servers have: ECDSA on P-256."""
    import trustme

    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file.name)
        yield file.name


@contextlib.contextmanager
def running(
    contender: Contender, core: int | None = None, more: Sequence[str] = (), wrapper: Sequence[str] = ()
) -> Iterator[Running]:
    """Start a contender, wait until it listens, and end it at the end. ServerError when it does not start.

    `wrapper` is a command that executes what follows it, such as prlimit.
    """
    if contender.secure and not contender.tls:
        raise ServerError(f"{contender.name} is not measured over TLS")
    port = free_port()
    with contextlib.ExitStack() as stack, tempfile.TemporaryFile() as log:
        certificate = stack.enter_context(certificate_file()) if contender.secure else ""
        process = subprocess.Popen(
            [*wrapper, *pin(contender.command(port, more, certificate), core)],
            cwd=SERVERS,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        server = Running(contender, port, process, log)
        try:
            server.wait_ready()
            yield server
        finally:
            server.stop()
