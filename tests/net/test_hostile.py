"""What one connection can make the server hold: at most 1 MiB beyond the limits that are documented.

Quick forms of the attacks that `make hostile` runs against a process (bench/attacks/), on a fake transport. Only what
Python allocates is counted; the server is under attack as long as it reads.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable
from itertools import repeat

import pytest
import wire
from driving import connect, open_websocket
from fake_loop import DrivenApp, FakeServer, Peer, on_fake_clock

pytestmark = pytest.mark.slow

KIB = 1024
MIB = 1024 * KIB
SEGMENT = 64 * KIB
LONGEST_ATTACK = 16  # segments


async def held(peer: Peer, segments: Iterable[bytes]) -> int:
    """Bytes that the server holds more when `peer` has sent the segments, or as many as it reads."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for segment, _ in zip(segments, range(LONGEST_ATTACK), strict=False):
            if not peer.transport.reading or peer.transport.closing:
                break
            peer.transport.feed(segment)
            peer.transport.writes.clear()  # the fake's own, which are not in the server's memory
        await peer.send(b"")
        peer.transport.writes.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def filled(unit: bytes) -> bytes:
    """A segment full of `unit`."""
    return unit * (SEGMENT // len(unit))


@pytest.mark.parametrize("message", [b"", b"ab", bytes(1000)], ids=["empty", "tiny", "1 kB"])
@on_fake_clock
async def test_messages_to_an_application_that_takes_none(engine: str, message: bytes) -> None:
    _, peer = await open_websocket(engine)
    assert await held(peer, repeat(filled(wire.frame(wire.BINARY, message)))) < 1 * MIB + 1 * MIB
    assert not peer.transport.reading


@on_fake_clock
async def test_a_message_in_tiny_fragments(engine: str) -> None:
    _, peer = await open_websocket(engine)
    await peer.send(wire.frame(wire.BINARY, b"x", fin=False))
    fragments = filled(wire.frame(wire.CONTINUATION, b"x", fin=False))
    assert await held(peer, [fragments, fragments]) < 2 * 2 * SEGMENT // 7 + 32 * KIB


@on_fake_clock
async def test_pings_whose_pongs_are_not_read(engine: str) -> None:
    _, peer = await open_websocket(engine)
    peer.transport.stalled = True
    assert await held(peer, repeat(filled(wire.frame(wire.PING, bytes(125))))) < 1 * MIB
    assert peer.transport.unsent < 1 * MIB


@on_fake_clock
async def test_the_head_of_a_large_frame(engine: str) -> None:
    _, peer = await open_websocket(engine)
    assert await held(peer, [wire.frame(wire.BINARY, bytes(16 * MIB))[:100]]) < 100 * KIB


@on_fake_clock
async def test_frames_before_the_application_has_decided(engine: str) -> None:
    peer = await connect(FakeServer(DrivenApp(), engine=engine))
    assert await held(peer, repeat(filled(wire.frame(wire.BINARY, b"ab")))) < 1 * MIB
    assert not peer.transport.reading


@on_fake_clock
async def test_as_many_subprotocols_as_a_head_holds(engine: str) -> None:
    server = FakeServer(DrivenApp(), engine=engine)
    names = [b"%x" % number for number in range(11_000)]
    lines = [b"Sec-WebSocket-Protocol: " + b",".join(names[start : start + 1500]) for start in range(0, 11_000, 1500)]
    assert await held(server.connect(), [wire.handshake(*lines)]) < 256 * KIB


@pytest.mark.parametrize("size", [1, 2, 100])
@on_fake_clock
async def test_a_body_in_chunks_to_an_application_that_does_not_read_it(size: int) -> None:
    app = DrivenApp()
    peer = FakeServer(app).connect()
    await peer.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert await held(peer, repeat(filled(b"%x\r\n%b\r\n" % (size, bytes(size))))) < 1 * MIB
    assert not peer.transport.reading
    event = await app.calls[0].receive()
    assert type(event["body"]) is bytes
    assert len(event["body"]) > SEGMENT


@on_fake_clock
async def test_pipelined_requests_to_an_application_that_does_not_answer() -> None:
    peer = FakeServer(DrivenApp()).connect()
    assert await held(peer, repeat(filled(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"))) < 1 * MIB
    assert not peer.transport.reading


@pytest.mark.parametrize(
    "endless",
    [b"GET /%b", b"GET / HTTP/1.1\r\nX: %b", b"GET / HTTP/1.1\r\n%b"],
    ids=["target", "field", "fields"],
)
@on_fake_clock
async def test_a_head_without_an_end(endless: bytes) -> None:
    peer = FakeServer(DrivenApp()).connect()
    unit = b"X: x\r\n" if endless.endswith(b"\n%b") else b"x"
    await peer.send(endless % b"")
    assert await held(peer, repeat(filled(unit))) < 1 * MIB
    assert peer.transport.half_closed
