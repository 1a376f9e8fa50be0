"""The event loop layer on its own: a connection's flow control, the sweep and its clock, the loop's state.

On a fake clock and a fake transport; at the end what only a real loop can show, on uvloop and on asyncio's own.
"""

from __future__ import annotations

import asyncio
import queue
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
import wire
from fake_loop import DrivenApp, FakeClockLoop, FakeServer, Peer, on_fake_clock, settle
from serving import PATIENCE, serve

from fastws.errors import ClientDisconnected
from fastws.net import channel
from fastws.net.channel import NEVER
from fastws.net.loop_core import RECEIVE_BUFFER_BYTES
from fastws.net.sweep import LONGEST_INTERVAL, SHORTEST_INTERVAL, SLICE, sweep_interval

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class Handler(channel.Handler):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.ended: list[str] = []
        self.deadlines: list[float] = []
        self.keep_open = False

    def data_received(self, data: memoryview) -> None:
        self.received.append(bytes(data))

    def eof_received(self) -> bool:
        self.ended.append("eof")
        return self.keep_open

    def connection_lost(self) -> None:
        self.ended.append("lost")

    def on_deadline(self, now: float) -> None:
        self.deadlines.append(now)

    def shut_down(self) -> None:
        self.ended.append("shutdown")


def connect(server: FakeServer) -> tuple[Peer, Handler]:
    peer = server.connect()
    handler = Handler()
    peer.connection.handler = handler
    peer.connection.deadline = NEVER
    return peer, handler


def clock() -> FakeClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, FakeClockLoop)
    return loop


# ------------------------------------------------------------------------------------------------------- flow control


@on_fake_clock
async def test_bytes_go_to_the_handler_of_the_moment() -> None:
    peer, first = connect(FakeServer(DrivenApp()))
    await peer.send(b"a" * 100_000)
    peer.connection.handler = second = Handler()
    await peer.send(b"b")
    assert b"".join(first.received) == b"a" * 100_000
    assert max(map(len, first.received)) == RECEIVE_BUFFER_BYTES
    assert second.received == [b"b"]
    peer.transport.reset()
    assert (first.ended, second.ended) == ([], ["lost"])


@on_fake_clock
async def test_pausing_and_resuming_is_idempotent() -> None:
    peer, handler = connect(FakeServer(DrivenApp()))
    connection = peer.connection
    connection.resume_reading()
    connection.pause_reading()
    connection.pause_reading()
    await peer.send(b"later")
    assert handler.received == []
    connection.resume_reading()
    connection.resume_reading()
    await settle()
    assert handler.received == [b"later"]


@on_fake_clock
async def test_a_lost_connection_takes_every_call() -> None:
    server = FakeServer(DrivenApp())
    peer, _ = connect(server)
    connection = peer.connection
    peer.transport.reset()
    connection.pause_reading()
    connection.resume_reading()
    connection.close()
    connection.abort()
    assert not connection.write_eof()
    assert not connection.peer_takes()
    assert server.state.connections == set()


@on_fake_clock
async def test_those_who_wait_to_write_are_released_together_and_cancelled_singly() -> None:
    peer, _ = connect(FakeServer(DrivenApp()))
    connection = peer.connection
    connection.pause_writing()
    waiters = [connection.drained() for _ in range(3)]
    waiters[1].cancel()
    await settle()
    assert [waiter.done() for waiter in waiters] == [False, True, False]
    connection.resume_writing()
    await waiters[0]
    await waiters[2]
    connection.pause_writing()
    late = connection.drained()
    peer.transport.reset()
    with pytest.raises(ClientDisconnected):
        await late


@on_fake_clock
async def test_half_closing() -> None:
    peer, handler = connect(FakeServer(DrivenApp()))
    assert peer.connection.write_eof()
    assert peer.transport.half_closed
    await peer.send(b"still read")
    assert handler.received == [b"still read"]


@on_fake_clock
async def test_half_closing_behind_the_peer_closes() -> None:
    peer, handler = connect(FakeServer(DrivenApp()))
    handler.keep_open = True
    peer.transport.feed_eof()
    assert not peer.transport.closing
    assert not peer.connection.write_eof()
    assert peer.transport.closing
    assert not peer.transport.half_closed


@on_fake_clock
async def test_half_closing_where_the_transport_cannot_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    peer, _ = connect(FakeServer(DrivenApp()))
    monkeypatch.setattr(peer.transport, "can_write_eof", lambda: False)
    assert not peer.connection.write_eof()
    assert peer.transport.closing


@on_fake_clock
async def test_a_transport_that_closes_is_not_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio's of TLS, that its peer has left, forgets how much it has to send."""
    peer, _ = connect(FakeServer(DrivenApp()))
    closes: list[None] = []
    monkeypatch.setattr(peer.transport, "close", lambda: closes.append(None))
    peer.connection.close()
    monkeypatch.setattr(peer.transport, "is_closing", lambda: True)
    peer.connection.close()
    assert closes == [None]


@on_fake_clock
async def test_whether_the_peer_takes_what_waits() -> None:
    peer, _ = connect(FakeServer(DrivenApp()))
    connection, transport = peer.connection, peer.transport
    transport.stalled = True
    transport.write(bytes(1000))
    assert not connection.peer_takes()
    assert not connection.peer_takes()
    transport.drain(1)
    assert connection.peer_takes()
    assert not connection.peer_takes()
    transport.drain()
    assert connection.peer_takes()
    assert not connection.peer_takes()


# ---------------------------------------------------------------------------------------------------------- the sweep


@pytest.mark.parametrize(
    ("timeouts", "interval"),
    [
        ((), LONGEST_INTERVAL),
        ((None, 0), LONGEST_INTERVAL),
        ((20.0, 75.0, None), LONGEST_INTERVAL),
        ((20.0, 2.0), 0.5),
        ((0.001,), SHORTEST_INTERVAL),
    ],
)
def test_the_interval_follows_the_shortest_timeout(timeouts: tuple[float | None, ...], interval: float) -> None:
    assert sweep_interval(timeouts) == interval


@on_fake_clock
async def test_a_deadline_is_kept_to_an_interval_and_only_its_own() -> None:
    server = FakeServer(DrivenApp())
    (one, told), (_, other) = connect(server), connect(server)
    begin = clock().time()
    one.connection.deadline = begin + 10
    await asyncio.sleep(9.9)
    assert told.deadlines == []
    await asyncio.sleep(1.2)
    assert len(told.deadlines) >= 1
    assert begin + 10 <= told.deadlines[0] <= begin + 11
    assert other.deadlines == []


@on_fake_clock
async def test_a_handler_may_end_other_connections_in_the_sweep() -> None:
    server = FakeServer(DrivenApp())
    pairs = [connect(server) for _ in range(5)]

    class Deadly(Handler):
        def on_deadline(self, now: float) -> None:
            super().on_deadline(now)
            for peer, _ in pairs:
                peer.transport.reset()

    for peer, _ in pairs:
        peer.connection.handler = Deadly()
        peer.connection.deadline = clock().time() + 1
    await asyncio.sleep(5)
    assert server.state.connections == set()


@on_fake_clock
async def test_many_that_are_due_together_leave_turns_of_the_loop_to_others() -> None:
    server = FakeServer(DrivenApp())
    order: list[str] = []

    class Noting(Handler):
        def on_deadline(self, now: float) -> None:
            if not order:
                clock().call_soon(order.append, "other")
            order.append("due")

    for _ in range(4 * SLICE + 1):
        peer, _ = connect(server)
        peer.connection.handler = Noting()
        peer.connection.deadline = clock().time() + 0.5
    await asyncio.sleep(1.5)
    assert order.count("due") == 4 * SLICE + 1
    assert order.index("other") <= 2 * SLICE


@on_fake_clock
async def test_nobody_is_late_when_it_was_the_loop() -> None:
    """What peers sent while the application blocked the loop is read before any deadline is looked at."""
    server = FakeServer(DrivenApp())
    peer, handler = connect(server)
    await asyncio.sleep(1)
    peer.connection.deadline = clock().time() + 5
    clock().stall(60)
    await asyncio.sleep(0.5)
    assert handler.deadlines == []
    peer.connection.deadline = clock().time() + 5  # as its handler does when the bytes arrive
    await asyncio.sleep(4)
    assert handler.deadlines == []


@on_fake_clock
async def test_a_deadline_that_passed_while_the_loop_was_stuck_is_kept_at_the_next_sweep() -> None:
    server = FakeServer(DrivenApp())
    peer, handler = connect(server)
    await asyncio.sleep(1)
    peer.connection.deadline = clock().time() + 5
    clock().stall(60)
    await asyncio.sleep(2.5)
    assert handler.deadlines != []


@on_fake_clock
async def test_a_pong_that_waited_while_the_loop_was_stuck_counts() -> None:
    app = DrivenApp()
    peer = FakeServer(app, ws_ping_interval=20, ws_ping_timeout=20).connect()
    await peer.send(wire.handshake())
    await app.calls[0].send({"type": "websocket.accept"})
    peer.take()
    while not peer.take():
        await asyncio.sleep(0.5)
    clock().stall(100)
    await asyncio.sleep(0)
    await peer.send(wire.frame(wire.PONG))
    await asyncio.sleep(15)
    assert not peer.transport.closing


@on_fake_clock
async def test_the_coarse_clock_follows_the_loops() -> None:
    server = FakeServer(DrivenApp())
    peer, _ = connect(server)
    await asyncio.sleep(100)
    assert clock().time() - 1.5 <= server.state.now <= clock().time()
    await peer.send(b"x")
    assert peer.connection.last_seen == server.state.now


# --------------------------------------------------------------------------------------------- the loop's state


@on_fake_clock
async def test_waiting_for_the_end_of_connections_and_tasks() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    await server.state.wait_closed()
    peer = server.connect()
    await peer.send(GET)
    waiting = [asyncio.ensure_future(server.state.wait_closed()) for _ in range(2)]
    await settle()
    peer.transport.reset()
    await settle()
    assert not any(task.done() for task in waiting)  # the application still runs
    waiting[0].cancel()
    app.calls[0].end.set_result(None)
    await waiting[1]


@on_fake_clock
async def test_abort_cuts_and_cancels() -> None:
    app = DrivenApp()
    server = FakeServer(app)
    peers = [server.connect() for _ in range(3)]
    await peers[0].send(GET)
    await peers[1].send(wire.handshake())
    server.state.abort()
    await server.state.wait_closed()
    assert all(peer.transport.aborted for peer in peers)
    assert all(call.end.cancelled() for call in app.calls)


@on_fake_clock
async def test_shutdown_reaches_each_handler_once() -> None:
    server = FakeServer(DrivenApp())
    pairs = [connect(server) for _ in range(2)]
    server.state.shut_down()
    server.state.shut_down()
    assert [handler.ended for _, handler in pairs] == [["shutdown"]] * 2


# --------------------------------------------------------------------------------------------------------- real loops


class Publisher:
    """Sends until it cannot; `ends` has the error that ended each call."""

    def __init__(self) -> None:
        self.ends: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(100_000)})
        except OSError as error:
            self.ends.put(error)
            raise


async def echo(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


LOOPS = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])


@LOOPS
def test_a_peer_that_reads_nothing_is_cut(loop: str) -> None:
    app = Publisher()
    with (
        serve(app, lifespan="off", loop=loop, ws_ping_interval=0.1, ws_ping_timeout=0.1) as serving,
        wire.Client(serving) as client,
    ):
        client.open()
        assert isinstance(app.ends.get(timeout=PATIENCE), ClientDisconnected)


@LOOPS
def test_a_peer_that_answers_pings_stays(loop: str) -> None:
    with (
        serve(echo, lifespan="off", loop=loop, ws_ping_interval=0.04, ws_ping_timeout=1) as serving,
        wire.Client(serving) as client,
    ):
        client.open()
        for _ in range(5):
            frame = client.frame()
            assert frame.opcode == wire.PING
            client.send(wire.frame(wire.PONG, frame.payload))
        client.send(wire.text("still here"))
        while (frame := client.frame()).opcode == wire.PING:
            client.send(wire.frame(wire.PONG, frame.payload))
        assert frame == wire.Frame(wire.TEXT, b"still here")


@LOOPS
def test_a_silent_peer_is_told_and_cut(loop: str) -> None:
    with (
        serve(echo, lifespan="off", loop=loop, ws_ping_interval=0.04, ws_ping_timeout=0.04) as serving,
        wire.Client(serving) as client,
    ):
        client.open()
        assert client.frame().opcode == wire.PING
        assert client.frame() == wire.closing(1011, "keepalive ping timeout")
        assert client.rest() == b""


@LOOPS
def test_a_large_echo_through_both_windows(loop: str) -> None:
    size = 8 << 20
    with serve(echo, lifespan="off", loop=loop) as serving, wire.Client(serving) as client:
        client.open()
        message = bytes(range(256)) * (size // 256)
        for _ in range(2):
            client.send(wire.frame(wire.BINARY, message))
            assert client.frame() == wire.Frame(wire.BINARY, message)


@LOOPS
def test_a_client_that_vanishes(loop: str) -> None:
    app = Publisher()
    with serve(app, lifespan="off", loop=loop) as serving:
        with wire.Client(serving) as client:
            client.open()
        assert isinstance(app.ends.get(timeout=PATIENCE), ClientDisconnected)


@LOOPS
def test_ends_over_tls_which_cannot_be_half_closed(loop: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = str(tmp_path / "both.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    schemes = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        schemes.append(scope["scheme"])
        if scope["type"] == "websocket":
            await echo(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
            await send({"type": "http.response.body", "body": bytes(3_000_000)})

    with serve(app, lifespan="off", loop=loop, ssl_certfile=certificate) as serving:
        with wire.Client(serving) as client:
            client.socket = context.wrap_socket(client.socket, server_hostname="127.0.0.1")
            client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n")
            assert client.response().body == bytes(3_000_000)
            assert client.rest() == b""
        for last, code in ((wire.close(1000), 1000), (wire.frame(wire.TEXT, b"unmasked", mask=None), 1002)):
            with wire.Client(serving) as client:
                client.socket = context.wrap_socket(client.socket, server_hostname="127.0.0.1")
                client.open(early=wire.text("a") + last)
                assert client.frame() == wire.Frame(wire.TEXT, b"a")
                assert client.frame().payload[:2] == code.to_bytes(2, "big")
                assert client.rest() == b""
    assert schemes == ["https", "wss", "wss"]
