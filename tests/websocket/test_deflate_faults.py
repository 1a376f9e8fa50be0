"""Exceptions in a compressor or decompressor: what one connection's message leaves behind never reaches another's.

A fault is put where memory ends: in a step of the stream, or in an allocation of the interpreter.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engine_cases import deflated

from fastws.websocket.deflate import Deflater, Inflater
from fastws.websocket.deflate_backends import Backend, load_backend, load_decompressor
from fastws.websocket.engine import Engine
from fastws.websocket.engines import load_engine

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


@contextlib.contextmanager
def no_memory(start: int) -> Iterator[None]:
    """From the `start`-th allocation on there is none."""
    _testcapi.set_nomemory(start, 0)
    try:
        yield
    finally:
        _testcapi.remove_mem_hooks()


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
            with no_memory(start):
                shared.compress(ALICE)
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
            with no_memory(start):
                inflater.decompress(deflated(big), True, 1 << 20)
        except MemoryError:
            faults += 1
        plain = Inflater(decompressor=decompressor).decompress(deflated(BOB), True, 1 << 20)
        assert plain == BOB
    assert faults


def frames(engine: Engine) -> bytes:
    return b"".join(engine.data_to_send())


def payloads(data: bytes) -> list[bytes]:
    """The payloads of whole unmasked frames; what is none is an error."""
    found = []
    while data:
        assert data[0] in (0x81, 0x82)
        length = data[1]
        start = 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10], "big"), 10
        assert len(data) >= start + length, "a header without its payload"
        found.append(data[start : start + length])
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
            with no_memory(start):
                engine.send_bytes(payload)
        except MemoryError:
            sent = False
        engine.send_bytes(b"behind")
        found = payloads(frames(engine))
        assert found[-1] == b"behind"
        assert payload in found or not sent
        assert set(found) <= {b"before", payload, b"behind"}


@pytest.mark.parametrize("opcode", [1, 2])
@pytest.mark.parametrize("make_engine", ["cython", "wsproto"], indirect=True)
def test_an_engine_reads_no_more_behind_an_exception(make_engine: Any, opcode: int) -> None:
    first = bytes((opcode, 0x80 | 100)) + bytes(4) + b"a" * 100
    second = bytes((0x80, 0x80 | 100)) + bytes(4) + b"b" * 100
    faults = 0
    for start in range(1, 30):
        engine = make_engine(1 << 20)
        events: list[Any] = []
        try:
            with no_memory(start):
                events += engine.receive_data(first)
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
