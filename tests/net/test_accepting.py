"""The end of listening: what the kernel has accepted by then is served, whoever moves the bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from process_apps import app
from serving import PATIENCE, Serving, serve

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
CLIENTS = 300
TLS_CLIENTS = 80

SERVERS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
LOOPS = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "both.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return path


@contextlib.contextmanager
def stuck(serving: Serving) -> Iterator[None]:
    """While the block runs, the server's loop does not turn."""
    began, may_end = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        may_end.wait(PATIENCE)

    serving.loop.call_soon_threadsafe(wait)
    assert began.wait(PATIENCE)
    try:
        yield
    finally:
        may_end.set()


async def answers(clients: list[socket.socket], context: ssl.SSLContext | None) -> list[bytes]:
    """The first line that the server answers to each, and that the connection ends behind it."""
    name = None if context is None else "127.0.0.1"

    async def ask(client: socket.socket) -> bytes:
        reader, writer = await asyncio.open_connection(sock=client, ssl=context, server_hostname=name)
        writer.write(REQUEST)
        line = await reader.readline()
        await reader.read()
        writer.close()
        return line

    return await asyncio.wait_for(asyncio.gather(*map(ask, clients)), PATIENCE)


@LOOPS
@SERVERS
@pytest.mark.slow
def test_connections_that_wait_are_served_before_listening_ends(
    authority: trustme.CA, certificate: Path, tls: bool, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clients of this test share a machine with others, and may ask as late as they like.
    monkeypatch.setattr("fastws.net.handshakes.LAST_HANDSHAKE_SECONDS", PATIENCE)
    monkeypatch.setattr("fastws.net.http1_handler.NEW_SECONDS", PATIENCE)
    options: dict[str, Any] = {"ssl_certfile": certificate} if tls else {}
    context = ssl.create_default_context() if tls else None
    if context is not None:
        authority.configure_trust(context)
    with serve(app, loop=loop, lifespan="off", **options) as serving:
        count = TLS_CLIENTS if tls else CLIENTS
        with stuck(serving):
            clients = [socket.create_connection((serving.host, serving.port), PATIENCE) for _ in range(count)]
            serving.server.should_exit = True
        assert asyncio.run(answers(clients, context)) == [b"HTTP/1.1 200 OK\r\n"] * count
        serving.stop()


@LOOPS
def test_a_handshake_that_never_ends_does_not_hold_up_the_end(
    certificate: Path, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastws.net.handshakes.LAST_HANDSHAKE_SECONDS", 0.1)
    patient = {"timeout_request_head": 60.0, "timeout_graceful_shutdown": 60.0}
    with serve(app, loop=loop, lifespan="off", ssl_certfile=certificate, **patient) as serving:
        with stuck(serving):
            silent = socket.create_connection((serving.host, serving.port), PATIENCE)
            serving.server.should_exit = True
        with silent, contextlib.suppress(ConnectionError):
            assert silent.recv(100) == b""
        serving.stop()
