"""The parts of the compiled codec against their definitions: masks, UTF-8, and the engine against `websockets`."""

from __future__ import annotations

import sys

import pytest
from engine_cases import BINARY, TEXT, frame, header, naive_mask
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]

from fastws._codec import KERNELS, CythonEngine, mask, mask_in_place
from fastws.websocket.deflate import Deflater, Inflater
from fastws.websocket.events import Event

kernels = pytest.mark.parametrize("kernel", KERNELS)
PATTERN = bytes(i * 37 % 251 for i in range(700))
KEY = b"\x01\x80\xfe\x3c"


def test_the_portable_kernel_is_always_there() -> None:
    assert KERNELS[0] == "portable"
    assert set(KERNELS) <= {"portable", "sse2", "avx2", "neon"}


@kernels
def test_every_alignment_length_and_offset(kernel: str) -> None:
    for start in range(9):
        for length in (*range(70), 127, 128, 129, 160, 255, 256, 300, 515):
            data = PATTERN[start : start + length]
            for offset in (0, 1, 2, 3, 4, 7):
                expected = naive_mask(data, KEY, offset)
                assert mask(memoryview(PATTERN)[start : start + length], KEY, offset, kernel) == expected
                place = bytearray(PATTERN)
                is_ascii = mask_in_place(memoryview(place)[start : start + length], KEY, offset, kernel)
                assert place == PATTERN[:start] + expected + PATTERN[start + length :]
                assert is_ascii is expected.isascii()


@kernels
@given(data=st.binary(max_size=600), key=st.binary(min_size=4, max_size=4), offset=st.integers(0, (1 << 64) - 1))
def test_mask(kernel: str, data: bytes, key: bytes, offset: int) -> None:
    expected = naive_mask(data, key, offset)
    assert mask(data, key, offset, kernel) == expected
    assert mask(expected, key, offset, kernel) == data
    if data and offset == 0:
        assert expected == apply_mask(data, key)


@kernels
def test_every_bit_that_is_not_ascii_is_seen(kernel: str) -> None:
    for length in (1, 3, 4, 7, 8, 15, 16, 31, 33, 64, 127, 128, 300):
        assert mask_in_place(bytearray(length), bytes(4), 0, kernel)
        for position in range(length):
            data = bytearray(length)
            data[position] = 0x80
            assert not mask_in_place(data, bytes(4), 0, kernel)


def test_mask_needs_a_key_of_four_bytes() -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        mask(b"data", b"key")
    with pytest.raises(ValueError, match="4 bytes"):
        mask_in_place(bytearray(b"data"), b"")
    with pytest.raises(ValueError, match="not in tuple"):
        mask(b"data", KEY, 0, "mmx")


_messages = st.lists(
    st.tuples(st.sampled_from([TEXT, BINARY]), st.text(max_size=400) | st.text("abc", max_size=400), st.booleans()),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150)
@given(_messages, st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_what_websockets_writes_is_read(messages: list[tuple[int, str, bool]], sizes: list[int]) -> None:
    """Masked with random keys, in one frame or in two cut anywhere, read in one piece, in some, and byte by byte."""
    stream = b""
    expected: list[Event] = []
    for opcode, text, split in messages:
        payload = text.encode()
        expected.append(text if opcode == TEXT else payload)
        if split:
            middle = len(payload) // 2
            stream += Frame(Opcode(opcode), payload[:middle], fin=False).serialize(mask=True)
            stream += Frame(Opcode.CONT, payload[middle:]).serialize(mask=True)
        else:
            stream += Frame(Opcode(opcode), payload).serialize(mask=True)
    assert CythonEngine(1 << 20).receive_data(stream) == expected
    for pieces in (sizes, [1]):
        engine = CythonEngine(1 << 20)
        events: list[Event] = []
        start = turn = 0
        while start < len(stream):
            size = pieces[turn % len(pieces)]
            events += engine.receive_data(bytearray(stream[start : start + size]))
            start, turn = start + size, turn + 1
        assert events == expected


@settings(max_examples=300)
@given(st.binary(max_size=200), st.integers(1, 50))
def test_noise_is_survived_and_read_alike(noise: bytes, size: int) -> None:
    whole = CythonEngine(500).receive_data(noise)
    engine = CythonEngine(500)
    pieces = [
        event for start in range(0, len(noise), size) for event in engine.receive_data(noise[start : start + size])
    ]
    assert pieces == whole


def test_messages_are_exact_objects() -> None:
    """Text is as compact as the interpreter would make it, and bytes have no room left over."""
    for text in ("", "x", "ascii" * 30, "é" * 30, "€" * 30, "😀" * 30, "é", "\x80"):
        single = b"".join(frame(0, bytes([byte]), fin=False) for byte in text.encode())
        for data in (
            frame(TEXT, text.encode()),
            frame(TEXT, text.encode(), fin=False) + frame(0),
            frame(TEXT, fin=False) + single + frame(0),
        ):
            (message,) = CythonEngine(1000).receive_data(data)
            assert message == text
            assert hash(message) == hash(text)
            assert sys.getsizeof(message) == sys.getsizeof(text.encode().decode())
    (message,) = CythonEngine(1000).receive_data(frame(BINARY, b"ab", fin=False) + frame(0, b"c"))
    assert sys.getsizeof(message) == sys.getsizeof(b"abc")


def test_messages_own_their_memory() -> None:
    buffer = bytearray(frame(TEXT, b"text") + frame(BINARY, b"bytes"))
    events = CythonEngine(1000).receive_data(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert events == ["text", b"bytes"]
    buffer.extend(b"the buffer is free to grow: no view of it is left")


def test_large_payloads_are_not_copied() -> None:
    engine = CythonEngine(1000)
    payload = bytes(65_536)
    engine.send_text("before")
    engine.send_bytes(payload)
    engine.send_text("after")
    head, body, tail = engine.data_to_send()
    assert head == b"\x81\x06before\x82\x7f" + (65_536).to_bytes(8, "big")
    assert body is payload
    assert tail == b"\x81\x05after"


def test_small_frames_are_gathered() -> None:
    engine = CythonEngine(1000)
    for _ in range(16):
        engine.send_bytes(bytes(64))
    assert engine.data_to_send() == [(b"\x82\x40" + bytes(64)) * 16]
    for _ in range(100):
        engine.send_bytes(bytes(1_000))
    parts = engine.data_to_send()
    assert b"".join(parts) == (b"\x82\x7e\x03\xe8" + bytes(1_000)) * 100
    assert [len(part) for part in parts] == [65 * 1_004, 35 * 1_004]


def test_an_idle_engine_is_small() -> None:
    engine = CythonEngine(1 << 24)
    assert sys.getsizeof(engine) <= 216
    engine.receive_data(frame(TEXT, b"x" * 1000))
    engine.send_text("x" * 1000)
    engine.data_to_send()
    assert sys.getsizeof(engine) <= 216


def test_codecs_are_not_kept_longer_than_the_engine() -> None:
    inflater, deflater = Inflater(), Deflater()
    before = sys.getrefcount(inflater), sys.getrefcount(deflater)
    engine = CythonEngine(1000, inflater, deflater)
    engine.receive_data(header(TEXT, 5) + b"....x")
    del engine
    assert (sys.getrefcount(inflater), sys.getrefcount(deflater)) == before


def test_objects_under_construction_are_freed() -> None:
    """The counts of references do not grow with engines that end in the middle of something."""
    payload = bytes(70_000)
    before = sys.getrefcount(payload)
    for _ in range(3):
        engine = CythonEngine(1 << 20)
        engine.receive_data(frame(TEXT, b"begun", fin=False) + header(0, 500) + b"....part")
        engine.send_bytes(payload)
        engine.send_text("waiting")
        del engine
    assert sys.getrefcount(payload) == before
