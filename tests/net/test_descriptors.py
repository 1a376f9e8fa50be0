"""A server at its limit of file descriptors: who is connected is served, nothing spins or floods, and it recovers."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from serving import PATIENCE, ServerProcess, serve_process
from wire import handshake, read_response, text

LIMIT = 64
GET = b"GET %b HTTP/1.1\r\nHost: test\r\n\r\n"

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("loop", ["uvloop", "asyncio"])]


@contextlib.contextmanager
def serve_with_few_descriptors(app: str, loop: str, *options: str) -> Iterator[ServerProcess]:
    """A server whose limit is LIMIT: it inherits it when it is started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
        try:
            server = stack.enter_context(serve_process(app, "--loop", loop, *options))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        yield server


class Peer:
    """A blocking client."""

    def __init__(self, server: ServerProcess) -> None:
        self.socket = socket.create_connection((server.host, server.port), PATIENCE)
        self.received = b""

    def ask(self, request: bytes) -> int:
        """The status of the response to `request`; 0 where the server closes or resets the connection instead."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(request)
            while (found := read_response(self.received)) is None:
                data = self.socket.recv(65536)
                if not data:
                    return 0
                self.received += data
            response, self.received = found
            return response.status
        return 0

    def echo(self) -> None:
        self.socket.sendall(text("still"))
        while len(self.received) < 7:
            data = self.socket.recv(7)
            assert data
            self.received += data
        assert self.received == b"\x81\x05still"
        self.received = b""


def recover(server: ServerProcess) -> None:
    """The server accepts again, if not at once: asyncio's loop looks once a second."""
    for _ in range(1000):
        peer = Peer(server)
        status = peer.ask(GET % b"/")
        peer.socket.close()
        if status == 200:
            return
    raise AssertionError("the server does not accept any more")


def test_the_last_descriptors_are_kept_back(loop: str) -> None:
    with serve_with_few_descriptors("process_apps:app", loop) as server:
        websocket, kept_alive = Peer(server), Peer(server)
        assert websocket.ask(handshake()) == 101
        assert kept_alive.ask(GET % b"/") == 200
        served: list[Peer] = []
        while True:
            peer = Peer(server)
            status = peer.ask(GET % b"/")
            if status != 200:
                break
            served.append(peer)
            assert len(served) < LIMIT - 8, "connections have taken what must be kept back"
        assert status == 503
        # A flood is not even answered: whoever is answered holds a descriptor for a while.
        flood = [Peer(server) for _ in range(3 * LIMIT)]
        assert {peer.ask(GET % b"/") for peer in flood} <= {503, 0}
        websocket.echo()
        assert kept_alive.ask(GET % b"/") == 200
        server.wait_for_line("ulimit -n")
        for peer in (*served, *flood):
            peer.socket.close()
        recover(server)


def test_no_descriptor_is_left_at_all(loop: str) -> None:
    with serve_with_few_descriptors("process_apps:hoarder", loop) as server:
        websocket, kept_alive = Peer(server), Peer(server)
        assert websocket.ask(handshake()) == 101
        assert kept_alive.ask(GET % b"/take") == 200
        flood = [Peer(server) for _ in range(3 * LIMIT)]  # in the backlog, or closed
        if loop == "asyncio":
            server.wait_for_line("No file descriptor is left")
        for _ in range(100):
            websocket.echo()
        assert kept_alive.ask(GET % b"/free") == 200
        for peer in flood:
            peer.socket.close()
        recover(server)
        assert "Traceback" not in server.output
        assert server.output.count("No file descriptor is left") <= 5


@pytest.mark.parametrize("transport", ["auto", "loop"])
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks /proc for descriptors")
def test_tls_handshakes_take_none_of_the_last_descriptors(loop: str, transport: str, tmp_path: Path) -> None:
    certificate = tmp_path / "both.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    options = ("--ssl-certfile", str(certificate), "--transport", transport)
    with serve_with_few_descriptors("process_apps:app", loop, *options) as server, selectors.DefaultSelector() as ends:
        flood = [socket.create_connection((server.host, server.port), PATIENCE) for _ in range(3 * LIMIT)]
        for sock in flood:
            ends.register(sock, selectors.EVENT_READ)
        ended = 0
        while ended < 2 * LIMIT:
            ready = ends.select(PATIENCE)
            assert ready, "connections wait that nobody has refused"
            for key, _ in ready:
                ends.unregister(key.fileobj)
                ended += 1
        held = [int(each.name) for each in Path(f"/proc/{server.popen.pid}/fd").iterdir()]
        assert max(held) < LIMIT - 3, "handshakes have taken what must be kept back"
        assert "No file descriptor is left" not in server.output
        for sock in flood:
            sock.close()
