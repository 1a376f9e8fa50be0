"""Backpressure over transports that do not pause their protocol in `writelines`.

asyncio's own do not in 3.12.0 to 3.12.8 and in 3.13.0 (CVE-2024-12254). What a peer does not read still stops the
application, and it goes on when the peer reads.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import wire
from fake_loop import Call, DrivenApp, FakeServer, settle

MESSAGE = b"m" * 200_000
MANY = 20
"""Messages that no kernel takes from somebody whose peer does not read: 4 MB."""


def quiet_writelines(transport: Any, chunks: Any) -> None:
    """As `writelines` was in those versions, whatever it is here."""
    transport._maybe_pause_protocol = lambda: None
    try:
        transport.write(b"".join(chunks))
    finally:
        del transport._maybe_pause_protocol


async def send_all(call: Call, sent: list[int]) -> None:
    for number in range(MANY):
        await call.send({"type": "websocket.send", "bytes": MESSAGE})
        sent.append(number)


async def read_all(sock: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_recv(sock, 1 << 20)


def test_an_application_waits_for_a_peer_that_does_not_read(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    selector_events: Any = asyncio.selector_events
    monkeypatch.setattr(selector_events._SelectorSocketTransport, "writelines", quiet_writelines, raising=False)

    async def main() -> None:
        app = DrivenApp()
        server = FakeServer(app, engine=engine, ws_per_message_deflate=False)
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            loop = asyncio.get_running_loop()
            transport, connection = await loop.connect_accepted_socket(server.state.new_connection, ours)
            await loop.sock_sendall(theirs, wire.handshake())
            while not app.calls:
                await asyncio.sleep(0)
            await app.calls[0].send({"type": "websocket.accept"})
            sent: list[int] = []
            task = asyncio.ensure_future(send_all(app.calls[0], sent))
            await settle()
            assert len(sent) < MANY
            assert connection.writing_paused
            assert transport.get_write_buffer_size() <= 65536 + len(MESSAGE) + 100  # the bound, and what went over it
            reading = asyncio.ensure_future(read_all(theirs))
            await task
            reading.cancel()
            assert len(sent) == MANY
            transport.abort()
            await settle()
        server.state.close()
        app.calls[0].end.set_result(None)
        await settle()

    loop = asyncio.SelectorEventLoop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
