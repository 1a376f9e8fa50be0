"""What waits on a WebSocket, and how much of it: the queue, the peer's window, the cork, pings and compression.

On every engine. One entry of `take_writes()` is one write to the transport, that is one system call.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from typing import Any

import pytest
import wire
from driving import ACCEPT, AHEAD, connect, open_websocket
from fake_loop import Call, DrivenApp, FakeServer, on_fake_clock, settle
from serving import serve

pytestmark = pytest.mark.usefixtures("channels")

Sent = dict[str, Any]


def sent(message: str) -> Sent:
    return {"type": "websocket.send", "text": message}


# --------------------------------------------------------------------------------------------------------------- queue


@on_fake_clock
async def test_reading_stops_above_the_queue_and_goes_on_at_a_quarter(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_max_queue=8)
    await peer.send(wire.text("x") * 8)
    await peer.send(AHEAD)
    assert peer.transport.reading
    await peer.send(wire.text("x"))
    await peer.send(AHEAD[:-1])
    assert peer.transport.reading
    await peer.send(AHEAD[-1:])
    assert not peer.transport.reading
    for left in range(8, 2, -1):
        await call.receive()
        assert not peer.transport.reading, left
    await call.receive()
    assert peer.transport.reading
    assert peer.transport.reads_paused == 1


@on_fake_clock
async def test_reading_stops_above_the_bytes_of_the_queue(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_max_queue_bytes=4000)
    await peer.send(wire.text("x" * 2000) * 2)
    assert peer.transport.reading
    await peer.send(wire.text("x"))
    assert not peer.transport.reading
    await call.receive()
    assert not peer.transport.reading
    await call.receive()
    assert peer.transport.reading


@on_fake_clock
async def test_what_a_slow_application_leaves_in_the_socket_is_bounded(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_max_queue=32)
    for _ in range(100):
        await peer.send(wire.text("x" * 1000) * 10)
    assert peer.transport.unread > 950_000  # never read: the peer's kernel stops the peer
    for _ in range(1000):
        assert (await call.receive())["text"] == "x" * 1000
    assert peer.transport.unread == 0


@on_fake_clock
async def test_a_message_over_the_bytes_of_the_queue_is_delivered(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_max_queue_bytes=1000)
    message = "é" * 100_000
    await peer.send(wire.text(message) + wire.text("next"))
    assert (await call.receive())["text"] == message
    assert (await call.receive())["text"] == "next"
    assert peer.transport.reading


@on_fake_clock
async def test_reading_is_not_paused_for_each_message(engine: str) -> None:
    call, peer = await open_websocket(engine)
    for _ in range(100):
        await peer.send(wire.text("x") * 3)
        for _ in range(3):
            await call.receive()
            await call.send(sent("y"))
    assert peer.transport.reads_paused == 0


@on_fake_clock
async def test_after_its_own_close_the_application_no_longer_holds_up_the_reading(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_max_queue=2)
    await peer.send(wire.text("x") * 10)
    await peer.send(AHEAD)
    assert not peer.transport.reading
    await call.send({"type": "websocket.close"})
    await peer.send(wire.text("x") * 10 + wire.close(1000))
    assert peer.transport.closing
    assert not peer.transport.aborted


@pytest.mark.parametrize("fragmented", [False, True], ids=["by its length", "by its fragments"])
@on_fake_clock
async def test_a_message_over_the_limit_is_1009(engine: str, fragmented: bool) -> None:
    call, peer = await open_websocket(engine, ws_max_size=1000)
    await peer.send(wire.text("x" * 1000))
    assert (await call.receive())["text"] == "x" * 1000
    receiving = asyncio.ensure_future(call.receive())
    await settle()
    if fragmented:
        await peer.send(wire.frame(wire.TEXT, b"x" * 600, fin=False) + wire.frame(wire.CONTINUATION, b"x" * 401)[:8])
    else:
        await peer.send(wire.text("x" * 1001)[:4])
        await peer.send(wire.text("x" * 1001)[4:8])
    [frame] = wire.read_frames(peer.take())
    assert frame.payload[:2] == (1009).to_bytes(2, "big")
    assert (await receiving)["code"] == 1009


# ---------------------------------------------------------------------------------------------------- the peer's window


@on_fake_clock
async def test_sending_waits_for_a_peer_that_does_not_read(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_ping_interval=None)
    peer.transport.stalled = True
    sends = 0

    async def publish() -> None:
        nonlocal sends
        while True:
            await call.send(sent("x" * 1000))
            sends += 1

    publishing = asyncio.ensure_future(publish())
    await asyncio.sleep(10)
    stopped = sends
    assert 60 <= stopped <= 140
    assert peer.transport.unsent < 140_000
    peer.transport.drain(1000)
    await asyncio.sleep(10)
    assert sends == stopped  # above the low-water mark
    peer.transport.drain()
    await asyncio.sleep(10)
    assert sends > stopped + 60
    publishing.cancel()


@on_fake_clock
async def test_of_the_senders_that_wait_one_can_be_cancelled_alone(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_ping_interval=None)
    peer.transport.stalled = True
    sending = [asyncio.ensure_future(call.send(sent("x" * 100_000))) for _ in range(3)]
    await settle()
    assert not any(task.done() for task in sending)
    sending[1].cancel()
    await settle()
    assert [task.done() for task in sending] == [False, True, False]
    peer.transport.drain()
    await sending[0]
    await sending[2]
    assert wire.read_frames(peer.take()) == wire.messages(*["x" * 100_000] * 3)


@on_fake_clock
async def test_senders_that_wait_learn_that_the_peer_is_gone(engine: str) -> None:
    call, peer = await open_websocket(engine)
    peer.transport.stalled = True
    sending = [asyncio.ensure_future(call.send(sent("x" * 100_000))) for _ in range(2)]
    await settle()
    peer.transport.reset()
    for task in sending:
        with pytest.raises(OSError, match="gone"):
            await task


@on_fake_clock
async def test_a_publisher_lets_the_loop_turn(engine: str) -> None:
    """One that sends to a peer which reads everything, and never waits for anything else."""
    call, peer = await open_websocket(engine)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.ensure_future(other())
    for _ in range(1000):
        await call.send(sent("x" * 1000))
    task.cancel()
    assert turns >= 10
    await settle()
    assert len(wire.read_frames(peer.take())) == 1000


# ---------------------------------------------------------------------------------------------------------------- cork


async def echo(call: Call) -> None:
    while (event := await call.receive())["type"] == "websocket.receive":
        await call.send({**event, "type": "websocket.send"})


@on_fake_clock
async def test_one_message_is_answered_in_one_write(engine: str) -> None:
    call, peer = await open_websocket(engine)
    echoing = asyncio.ensure_future(echo(call))
    for i in range(10):
        await peer.send(wire.text(str(i)))
        [write] = peer.take_writes()
        assert wire.read_frames(write) == wire.messages(str(i))
    echoing.cancel()


@on_fake_clock
async def test_messages_that_came_in_one_read_are_answered_in_one_write(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_max_queue=1000)
    echoing = asyncio.ensure_future(echo(call))
    for _ in range(3):
        await peer.send(b"".join(wire.text(str(i)) for i in range(200)))
        [write] = peer.take_writes()
        assert wire.read_frames(write) == wire.messages(*map(str, range(200)))
    echoing.cancel()


@on_fake_clock
async def test_the_cork_is_let_go_at_64_kib(engine: str) -> None:
    call, peer = await open_websocket(engine, ws_max_queue=1000)
    echoing = asyncio.ensure_future(echo(call))
    await peer.send(wire.text("x" * 600) * 100)
    await peer.send(wire.text("y" * 600) * 100)
    writes = peer.take_writes()
    assert max(map(len, writes)) < 70_000
    assert len(writes) <= 5
    assert len(wire.read_frames(b"".join(writes))) == 200
    echoing.cancel()


@on_fake_clock
async def test_the_cork_is_let_go_when_the_application_waits_for_something_else(engine: str) -> None:
    call, peer = await open_websocket(engine)
    await peer.send(wire.text("a") + wire.text("b") + wire.text("c"))
    for message in "ab":
        await call.receive()
        await call.send(sent(message))
    await asyncio.sleep(1)  # two are answered, one waits in the queue
    assert wire.read_frames(peer.take()) == wire.messages("a", "b")


@on_fake_clock
async def test_a_send_from_another_task_is_written_in_its_turn(engine: str) -> None:
    call, peer = await open_websocket(engine)
    echoing = asyncio.ensure_future(echo(call))
    await settle()
    for i in range(5):
        await call.send(sent(f"{i} first"))
        await call.send(sent(f"{i} second"))
        await settle()
        assert wire.read_frames(peer.take()) == wire.messages(f"{i} first", f"{i} second")
    echoing.cancel()


@on_fake_clock
async def test_a_broadcast_reaches_everybody_in_one_write_each(engine: str) -> None:
    app = DrivenApp()
    server = FakeServer(app, engine=engine)
    peers = [await connect(server) for _ in range(20)]
    for call in app.calls:
        await call.send(ACCEPT)
    await settle()
    for peer in peers:
        peer.take()
    for call in app.calls:
        await call.send(sent("to all"))
    await settle()
    for peer in peers:
        [write] = peer.take_writes()
        assert wire.read_frames(write) == wire.messages("to all")


@on_fake_clock
async def test_nothing_is_written_behind_the_close(engine: str) -> None:
    call, peer = await open_websocket(engine)
    await peer.send(wire.text("a") * 3)
    await call.receive()
    for message in "abc":
        await call.send(sent(message))
    await call.send({"type": "websocket.close"})
    await settle()
    assert wire.read_frames(peer.take()) == [*wire.messages("a", "b", "c"), wire.closing(1000)]


# --------------------------------------------------------------------------------------------------------------- pings


@on_fake_clock
async def test_a_ping_is_answered_with_its_payload(engine: str) -> None:
    _, peer = await open_websocket(engine)
    for payload in (b"", b"hello", bytes(125)):
        await peer.send(wire.frame(wire.PING, payload))
        assert wire.read_frames(peer.take()) == [wire.Frame(wire.PONG, payload)]
    await peer.send(wire.frame(wire.PONG, b"unasked"))
    assert peer.take() == b""


@on_fake_clock
async def test_of_many_pings_in_one_read_only_the_newest_are_answered(engine: str) -> None:
    _, peer = await open_websocket(engine)
    await peer.send(b"".join(wire.frame(wire.PING, b"%d" % i) for i in range(500)) + wire.frame(wire.PONG, b"no"))
    assert wire.read_frames(peer.take()) == [wire.Frame(wire.PONG, b"%d" % i) for i in range(500 - 32, 500)]


@on_fake_clock
async def test_pings_among_messages_are_answered_and_the_messages_keep_their_order(engine: str) -> None:
    call, peer = await open_websocket(engine)
    parts = [wire.frame(wire.TEXT, b"a", fin=False), wire.frame(wire.CONTINUATION, b"b"), wire.text("c")]
    await peer.send(wire.frame(wire.PING, b"p").join([b"", *parts, wire.close(1000)]))
    assert wire.read_frames(peer.take()) == [wire.Frame(wire.PONG, b"p")] * 4
    assert (await call.receive())["text"] == "ab"
    assert (await call.receive())["text"] == "c"
    assert (await call.receive())["code"] == 1000


@on_fake_clock
@pytest.mark.slow
async def test_a_ping_flood_does_not_fill_the_memory_of_one_that_reads_no_pongs(engine: str) -> None:
    _, peer = await open_websocket(engine, ws_ping_interval=None)
    peer.transport.stalled = True
    for i in range(5000):
        peer.transport.feed(wire.frame(wire.PING, bytes(125)))
        if not i % 100:
            await settle()
    assert peer.transport.unsent < 70_000


# --------------------------------------------------------------------------------------------------------- compression

OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


def deflate(message: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(frame: wire.Frame) -> bytes:
    if not frame.rsv1:
        return frame.payload
    return zlib.decompressobj(wbits=-15).decompress(frame.payload + b"\x00\x00\xff\xff")


def test_compressed_messages_both_ways_over_a_real_socket(engine: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while (event := await receive())["type"] == "websocket.receive":
            await send({**event, "type": "websocket.send"})

    generator = random.Random(1)
    texts = [bytes(generator.choices(b"abcdefgh ", k=size)) for size in (0, 1, 255, 256, 5000, 70_000, 300_000)]
    with serve(app, ws=engine, lifespan="off") as serving, wire.Client(serving) as client:
        response = client.open(OFFER)
        assert response.headers[b"sec-websocket-extensions"].startswith(b"permessage-deflate")
        for message in texts:
            client.send(wire.frame(wire.TEXT, deflate(message), rsv1=True))
            frame = client.frame()
            assert inflate(frame) == message
            assert frame.rsv1 == (len(message) >= 256)
        client.send(wire.frame(wire.BINARY, b"not compressed"))
        assert client.frame() == wire.Frame(wire.BINARY, b"not compressed")


@on_fake_clock
async def test_no_compression_where_it_is_switched_off(engine: str) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine, ws_per_message_deflate=False), OFFER)
    [call] = app.calls
    await call.send(ACCEPT)
    assert b"sec-websocket-extensions" not in peer.take().lower()
    await peer.send(wire.frame(wire.TEXT, deflate(b"x"), rsv1=True))
    [frame] = wire.read_frames(peer.take())
    assert frame.payload[:2] == (1002).to_bytes(2, "big")


@on_fake_clock
async def test_the_inflated_size_is_limited(engine: str) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine, ws_max_size=10_000), OFFER)
    [call] = app.calls
    await call.send(ACCEPT)
    peer.take()
    bomb = deflate(bytes(1_000_000))
    assert len(bomb) < 2000
    await peer.send(wire.frame(wire.BINARY, bomb, rsv1=True))
    [frame] = wire.read_frames(peer.take())
    assert frame.payload[:2] == (1009).to_bytes(2, "big")


@on_fake_clock
async def test_a_threshold_of_0_compresses_every_message(engine: str) -> None:
    app = DrivenApp()
    peer = await connect(FakeServer(app, engine=engine, ws_deflate_threshold=0), OFFER)
    [call] = app.calls
    await call.send(ACCEPT)
    peer.take()
    await call.send({"type": "websocket.send", "text": "x"})
    [frame] = wire.read_frames(peer.take())
    assert frame.rsv1
    assert inflate(frame) == b"x"


@on_fake_clock
async def test_context_takeover_lets_messages_refer_to_earlier_ones(engine: str) -> None:
    message = "".join(random.Random(2).choices("abcdefgh", k=1000))
    sizes = {}
    for takeover in (False, True):
        app = DrivenApp()
        server = FakeServer(app, engine=engine, ws_deflate_context_takeover=takeover, ws_deflate_window_bits=11)
        peer = await connect(server, OFFER + b"; server_max_window_bits=12")
        [call] = app.calls
        await call.send(ACCEPT)
        head = peer.take()
        assert (b"no_context_takeover" in head) == (not takeover)
        assert b"server_max_window_bits=11" in head
        stream = zlib.decompressobj(wbits=-11)
        for _ in range(2):
            await call.send({"type": "websocket.send", "text": message})
            await settle()
            [frame] = wire.read_frames(peer.take())
            assert stream.decompress(frame.payload + b"\x00\x00\xff\xff") == message.encode()
            sizes[takeover] = len(frame.payload)
    assert sizes[True] * 10 < sizes[False]
