"""Exceptions in a compressor or decompressor: what one connection's message leaves behind never reaches another's.

A fault is put where memory ends: in a step of the stream, or in an allocation of the interpreter.
"""

from __future__ import annotations

import random
import sys
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import wire
from engine_cases import deflated
from fake_loop import on_fake_clock, settle
from topics_sockets import DEFLATE, Sockets

from fastws.websocket.deflate import Deflater, Inflater
from fastws.websocket.deflate_backends import Backend, load_backend, load_decompressor
from fastws.websocket.engine import Engine
from fastws.websocket.engines import load_engine
from fastws.websocket.events import Failure

_testcapi = pytest.importorskip("_testcapi")

ALICE = b"alice's secret: " + bytes(range(256)) * 400
BOB = b"bob, who gets nothing of hers " * 20


class Breaking:
    """A stream of zlib's that raises, once, in one of its two steps."""

    def __init__(self, stream: Any, step: str, error: BaseException) -> None:
        self.stream = stream
        self.step = step
        self.error: BaseException | None = error

    def compress(self, data: bytes) -> bytes:
        made: bytes = self.stream.compress(data)
        self.fail("compress")
        return made

    def flush(self, mode: int) -> bytes:
        self.fail("flush")
        made: bytes = self.stream.flush(mode)
        return made

    def message(self, data: bytes, mode: int) -> bytes:
        return (self.compress(data) + self.flush(mode))[:-4]

    def fail(self, step: str) -> None:
        if self.step == step and self.error is not None:
            error, self.error = self.error, None
            raise error


def breaking(step: str, error: BaseException) -> Backend:
    """A backend whose first stream breaks in the step of that name, and whose others do not."""
    faults = iter([error])

    def make(level: int, window_bits: int, mem_level: int) -> Any:
        stream = zlib.compressobj(level, zlib.DEFLATED, -window_bits, mem_level)
        fault = next(faults, None)
        return Breaking(stream, step if fault is not None else "", fault or MemoryError())

    return Backend("breaking", make)


def starve(start: int, function: Callable[..., Any], *arguments: Any, engine: Engine | None = None) -> Any:
    """Call `function`: from the `start`-th allocation on there is no memory; for an engine in Python for one only.

    Where there is never any again, CPython 3.11 does not come out of an `except` or a `with` in a long function: its
    number for the place of the instruction finds no memory, which is the same exception at the same place, without end.
    No other thread runs meanwhile, such as that of pytest's which tells of results: it would find no memory either.
    """
    if engine is not None and engine.name == "wsproto" and (3, 12) <= sys.version_info < (3, 14):
        pytest.skip("CPython dies of a generator expression, which wsproto has, that finds no memory")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    _testcapi.set_nomemory(start, start + 1 if engine is not None and engine.name != "cython" else 0)
    try:
        return function(*arguments)
    finally:
        _testcapi.remove_mem_hooks()
        sys.setswitchinterval(interval)


def inflate(shorter: bytes) -> bytes:
    plain = Inflater().decompress(shorter, True, 1 << 20)
    assert isinstance(plain, bytes)
    return plain


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("broken"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("step", ["compress", "flush"])
def test_a_shared_compressor_that_raises_is_made_anew(step: str, error: BaseException) -> None:
    shared = Deflater(threshold=0, backend=breaking(step, error))
    with pytest.raises(type(error)):
        shared.compress(ALICE)
    assert not shared.lost
    for _ in range(2):
        shorter = shared.compress(BOB)
        assert shorter is not None
        assert inflate(shorter) == BOB
    shorter = shared.compress(ALICE)
    assert shorter is not None
    assert inflate(shorter) == ALICE


@pytest.mark.parametrize("step", ["compress", "flush"])
def test_a_context_that_was_to_be_kept_is_lost(step: str) -> None:
    own = Deflater(threshold=0, context_takeover=True, backend=breaking(step, MemoryError()))
    with pytest.raises(MemoryError):
        own.compress(ALICE)
    assert own.lost
    with pytest.raises(RuntimeError, match="context"):
        own.compress(BOB)


@pytest.mark.parametrize("name", ["zlib", "isal"])
def test_memory_that_ends_in_a_compressor(name: str) -> None:
    if name == "isal":
        pytest.importorskip("isal")
    backend = load_backend(name)
    faults = 0
    for start in range(1, 60):
        shared = Deflater(threshold=0, backend=backend)
        shared.compress(b"the first")
        try:
            starve(start, shared.compress, ALICE)
        except MemoryError:
            faults += 1
        shorter = shared.compress(BOB)
        assert shorter is not None
        assert inflate(shorter) == BOB
    assert faults


def test_memory_that_ends_in_a_shared_decompressor() -> None:
    decompressor = load_decompressor()
    if decompressor is None:
        pytest.skip("there is none")
    faults = 0
    big = bytes(300_000)
    for start in range(1, 40):
        inflater = Inflater(decompressor=decompressor)
        try:
            starve(start, inflater.decompress, deflated(big), True, 1 << 20)
        except MemoryError:
            faults += 1
        plain = Inflater(decompressor=decompressor).decompress(deflated(BOB), True, 1 << 20)
        assert plain == BOB
    assert faults


def frames(engine: Engine) -> bytes:
    return b"".join(engine.data_to_send())


def payloads(data: bytes) -> list[bytes]:
    """The payloads of whole unmasked frames; what is none is an error."""
    found = split(data)
    assert all(first in (0x81, 0x82) for first, _ in found)
    return [payload for _, payload in found]


def split(data: bytes) -> list[tuple[int, bytes]]:
    """The first bytes and payloads of whole unmasked frames."""
    found = []
    while data:
        first = data[0]
        length = data[1]
        start = 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10], "big"), 10
        assert len(data) >= start + length, "a header without its payload"
        found.append((first, data[start : start + length]))
        data = data[start + length :]
    return found


@pytest.mark.parametrize("size", [3, 2000, 70_000])
@pytest.mark.parametrize("waiting", [0, 1, 2])
def test_memory_that_ends_in_an_output_leaves_whole_frames(make_engine: Any, size: int, waiting: int) -> None:
    for start in range(1, 30):
        engine = make_engine(1 << 20)
        for _ in range(waiting):
            engine.send_bytes(b"before")
        payload = b"x" * size
        sent = True
        try:
            starve(start, engine.send_bytes, payload, engine=engine)
        except MemoryError:
            sent = False
        engine.send_bytes(b"behind")
        found = payloads(frames(engine))
        assert found[-1] == b"behind"
        assert payload in found or not sent
        assert set(found) <= {b"before", payload, b"behind"}


class Own:
    """A peer's side of messages whose context is kept."""

    def __init__(self) -> None:
        self.inflater = Inflater(context_takeover=True)

    def messages(self, data: bytes) -> list[bytes | Failure]:
        found: list[bytes | Failure] = []
        for first, payload in split(data):
            found.append(self.inflater.decompress(payload, True, 1 << 20) if first & 0x40 else payload)
        return found


@pytest.mark.parametrize("size", [300, 60_000, 200_000])
def test_a_context_is_lost_with_a_message_that_is_compressed_and_not_sent(make_engine: Any, size: int) -> None:
    lost = 0
    for start in range(1, 20):
        told: list[str] = []
        own = Deflater(threshold=100, context_takeover=True)
        own.on_lost = lambda told=told: told.append("lost")  # type: ignore[misc]
        engine = make_engine(1 << 20, None, own)
        peer = Own()
        payload = random.Random(size).randbytes(size // 2).hex().encode()
        engine.send_bytes(BOB)
        assert peer.messages(frames(engine)) == [BOB]
        raised = False
        try:
            starve(start, engine.send_bytes, payload, engine=engine)
        except MemoryError:
            raised = True
        engine.send_bytes(b"short")
        expected = [payload, b"short"]
        if own.lost:
            lost += 1
            assert raised
            with pytest.raises(RuntimeError, match="context"):
                engine.send_bytes(BOB)
            assert told == ["lost"]
        else:
            assert not told
            engine.send_bytes(BOB)
            expected.append(BOB)
        found = peer.messages(frames(engine))
        assert found == expected or (raised and found == expected[1:])
    assert lost


def test_a_context_that_is_not_begun_is_not_lost() -> None:
    def fail(level: int, window_bits: int, mem_level: int) -> Any:
        raise MemoryError

    own = Deflater(threshold=0, context_takeover=True, backend=Backend("none", fail))
    with pytest.raises(MemoryError):
        own.compress(BOB)
    assert not own.lost
    own.backend = load_backend("zlib")
    shorter = own.compress(BOB)
    assert shorter is not None
    assert inflate(shorter) == BOB


@on_fake_clock
async def test_a_websocket_whose_context_is_lost_is_closed_with_1011(
    engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    sockets = Sockets(engine, ws_deflate_context_takeover=True)
    call, peer = await sockets.open(fields=(DEFLATE,))
    own = peer.connection.handler.engine.deflater
    own.backend = breaking("flush", MemoryError("no more"))
    with pytest.raises(MemoryError, match="no more"):
        await call.send({"type": "websocket.send", "text": "x" * 500})
    await call.send({"type": "websocket.send", "text": "short"})
    with pytest.raises(RuntimeError, match="context"):
        await call.send({"type": "websocket.send", "text": "y" * 500})
    await settle()
    assert wire.read_frames(peer.take()) == [*wire.messages("short"), wire.closing(1011, "Internal Error")]
    await call.send({"type": "websocket.send", "text": "z" * 500})  # goes nowhere, as behind any Close
    await peer.send(wire.close(1011))
    assert (await call.receive())["code"] == 1011
    assert own.on_lost is None
    assert "compression context" in caplog.text


@on_fake_clock
async def test_a_subscriber_whose_context_is_lost_is_closed_with_1011_and_is_no_other_s(engine: str) -> None:
    sockets = Sockets(engine, ws_deflate_context_takeover=True)
    peers = [(await sockets.open("room", fields=(DEFLATE,)))[1] for _ in range(3)]
    peers[1].connection.handler.engine.deflater.backend = breaking("flush", MemoryError("no more"))
    sockets.hub.publish("room", "x" * 500)
    await settle()
    assert wire.read_frames(peers[1].take()) == [wire.closing(1011, "Internal Error")]
    for peer in (peers[0], peers[2]):
        assert Own().messages(peer.take()) == [b"x" * 500]
    assert sockets.hub.subscribers("room") == 2


@pytest.mark.parametrize("opcode", [1, 2])
def test_an_engine_reads_no_more_behind_an_exception(make_engine: Any, opcode: int) -> None:
    first = bytes((opcode, 0x80 | 100)) + bytes(4) + b"a" * 100
    second = bytes((0x80, 0x80 | 100)) + bytes(4) + b"b" * 100
    faults = 0
    for start in range(1, 30):
        engine = make_engine(1 << 20)
        events: list[Any] = []
        try:
            events += starve(start, engine.receive_data, first, engine=engine)
        except MemoryError:
            faults += 1
        events += engine.receive_data(second)
        assert [len(event) for event in events] in ([], [200])
    assert faults


@pytest.fixture(params=["cython", "websockets", "wsproto"])
def make_engine(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    if request.param == "cython":
        pytest.importorskip("fastws._codec")
    if request.param == "wsproto":
        pytest.importorskip("wsproto")
    return load_engine(request.param)
