"""Scenarios of driver.py on real sockets: a `SocketServer`, in plain or over TLS, and its clients, in one process.

What the clients do is not counted: callgrind looks away meanwhile. The kernel hands over what one side has sent before
the call returns, so that rounds are in step here, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from driver import Driver, Scenario, step_bytes

READ_SIZE = 1 << 20


class Client:
    """One client: what it gives is encrypted where it speaks TLS, and what it takes is counted as plaintext."""

    def __init__(self, address: Any, secure: bool) -> None:
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: ssl.SSLObject | None = None
        self.shaking = secure
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.tls = context.wrap_bio(self.incoming, self.outgoing)
            self.take()

    def give(self, data: bytes) -> None:
        """Send `data`."""
        if self.tls is None:
            self.sock.sendall(data)
            return
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view) :]
        self.sock.sendall(self.outgoing.read())

    def take(self) -> int:
        """How many bytes there are for it now; goes on with the handshake where that is not done."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = self.sock.recv(READ_SIZE)
        if self.tls is None:
            return len(data)
        self.incoming.write(data)
        size = 0
        with contextlib.suppress(ssl.SSLWantReadError):
            if self.shaking:
                self.tls.do_handshake()
                self.shaking = False
            while True:
                size += len(self.tls.read(READ_SIZE))
        if self.outgoing.pending:
            self.sock.sendall(self.outgoing.read())
        return size


@contextlib.contextmanager
def serving(scenario: Scenario, state: Any) -> Iterator[Any]:
    """The address of a server for the scenario, whose connections are `state`'s."""
    from fastws.net._sockets import SocketServer
    from fastws.net.handshakes import Handshakes

    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    more: dict[str, Any] = {}
    if scenario.wire == "tls":
        from servers.contenders import certificate_file

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with certificate_file() as certificate:
            context.load_cert_chain(certificate)
        more = {"handshakes": Handshakes(state, None), "tls": context}
    server = SocketServer(loop, listener, state.new_connection, state, None, **more)
    try:
        yield listener.getsockname()
    finally:
        server.close()


class WiredDriver(Driver):
    """Gives one scenario to connections on real sockets."""

    def __init__(self, scenario: Scenario, state: Any, counters: Any) -> None:
        super().__init__(scenario, state)
        self.counters = counters
        self.clients: list[Client] = []
        self.stack = contextlib.ExitStack()

    async def answer(self) -> int:
        """Bytes that the first client gets until no more come."""
        total = quiet = 0
        while quiet < 50:
            await asyncio.sleep(0)
            size = self.clients[0].take()
            total += size
            quiet = 0 if size else quiet + 1
        return total

    async def prepare(self) -> None:
        """Open the connections and learn how much each step is answered with."""
        address = self.stack.enter_context(serving(self.scenario, self.state))
        client = Client(address, self.scenario.wire == "tls")
        self.clients.append(client)
        while client.shaking:
            await asyncio.sleep(0)
            client.take()
        await self.answer()
        client.give(self.scenario.request)
        await self.answer()
        for step in self.scenario.steps:
            client.give(step_bytes(step, 0))
            self.answers.append(await self.answer())

    async def run(self, rounds: int) -> None:
        """Do `rounds` rounds."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        toggle, [client], [step], [size] = self.counters.toggle_collect, self.clients, self.scenario.steps, self.answers
        assert isinstance(step, bytes)
        left = 0

        def turn() -> None:
            nonlocal left, rounds
            toggle()
            if left:
                left -= client.take()
            if not left:
                if not rounds:
                    toggle()
                    done.set_result(None)
                    return
                rounds -= 1
                left = size
                client.give(step)
            toggle()
            loop.call_soon(turn)

        turn()
        await done

    def end(self) -> None:
        """Close the connections."""
        for client in self.clients:
            client.sock.close()
        self.stack.close()
