"""Every engine: the same bytes give the same events, whole or in pieces, and the same messages the same bytes."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import pytest
from engine_cases import (
    BINARY,
    CASES,
    KEY,
    PING,
    TEXT,
    Case,
    close,
    deflated,
    frame,
    header,
    make,
    make_for,
    naive_mask,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from fastws.errors import ConfigError
from fastws.websocket import failures
from fastws.websocket.deflate import Deflater, Inflater
from fastws.websocket.engines import ENGINE_NAMES, load_engine
from fastws.websocket.events import Event, Failure, Ping

# ------------------------------------------------------------------------------------------------------------ receiving


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whole(engine: str, case: Case) -> None:
    events = make_for(engine, case).receive_data(case.data)
    assert events == list(case.events)
    assert [type(event) for event in events] == [type(event) for event in case.events]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_pieces_of_a_reused_buffer(engine: str, case: Case) -> None:
    """The buffer is overwritten after each call, as the shared receive buffer of a loop is."""
    sizes = (1, 2, 3, 7, 13) if len(case.data) < 5_000 else (1_000, 4_099)
    for size in sizes:
        reader = make_for(engine, case)
        buffer = bytearray(size)
        events: list[Event] = []
        for start in range(0, len(case.data), size):
            piece = case.data[start : start + size]
            buffer[: len(piece)] = piece
            events += reader.receive_data(memoryview(buffer)[: len(piece)])
            buffer[:] = b"\xff" * size
        assert events == list(case.events), f"in pieces of {size}"


_payloads = st.binary(max_size=300)
_controls = st.tuples(st.just(True), st.sampled_from([8 + 1, 8 + 2]), st.binary(max_size=125))
_messages = st.tuples(st.just(False), st.sampled_from([TEXT, BINARY]), st.lists(_payloads, min_size=1, max_size=4))


@settings(max_examples=60)
@given(st.lists(_controls | _messages, max_size=6), st.lists(st.integers(1, 40), min_size=1, max_size=5), st.data())
def test_engines_agree(
    parts: list[tuple[bool, int, bytes | list[bytes]]], sizes: list[int], data: st.DataObject
) -> None:
    """On generated streams, most of them sound, with a few bytes changed in some."""
    stream = bytearray()
    for _, opcode, payload in parts:
        if isinstance(payload, bytes):
            stream += frame(opcode, payload)
        else:
            for i, piece in enumerate(payload):
                stream += frame(0 if i else opcode, piece, fin=i == len(payload) - 1)
    if stream and data.draw(st.booleans()):
        stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    seen = []
    for name in ("cython", "websockets", "wsproto"):
        try:
            whole, pieces = make(name), make(name)
        except ConfigError:
            continue  # the tests with the fixture fail for one that is missing
        events: list[Event] = []
        start = turn = 0
        while start < len(stream):
            size = sizes[turn % len(sizes)]
            events += pieces.receive_data(stream[start : start + size])
            start, turn = start + size, turn + 1
        seen.append(whole.receive_data(bytes(stream)))
        seen.append(events)
    assert all(events == seen[0] for events in seen)


def test_header_is_judged_byte_by_byte(engine: str) -> None:
    for bad in (b"\x71", b"\x83", b"\x09", b"\x80", b"\x81\x05", b"\x89\xfe", b"\x82\xff\x80"):
        reader = make(engine)
        for byte in bad[:-1]:
            assert reader.receive_data(bytes([byte])) == []
        (failure,) = reader.receive_data(bad[-1:])
        assert isinstance(failure, Failure)
        assert failure.code == 1002


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0", b"\xe0\x80", b"\xed\xa0", b"\xf4\x90", b"\xc3a"])
def test_text_fails_inside_a_frame(engine: str, bad: bytes) -> None:
    reader = make(engine)
    text = b"good " + bad
    data = header(TEXT, 900) + KEY + naive_mask(text, KEY)
    assert reader.receive_data(data[:-1]) == []
    assert reader.receive_data(data[-1:]) == [failures.INVALID_UTF8]


def test_inflated_text_fails_inside_a_frame(engine: str) -> None:
    reader = make(engine, inflater=Inflater())
    bad = deflated(b"good \xed\xa0")
    assert reader.receive_data(header(TEXT, 900, rsv=4) + KEY + naive_mask(bad, KEY)) == [failures.INVALID_UTF8]


def test_size_is_judged_before_the_payload(engine: str) -> None:
    reader = make(engine, 1 << 20)
    assert reader.receive_data(frame(BINARY, b"x" * 4, fin=False) + header(0, (1 << 20) - 3)) == [failures.TOO_BIG]


def test_nothing_after_close_failure_or_eof(engine: str) -> None:
    for data in (close(1000), frame(3), header(PING, 1, mask=False)):
        reader = make(engine)
        assert len(reader.receive_data(data)) == 1
        assert reader.receive_data(frame(TEXT, b"late")) == []
    reader = make(engine)
    assert reader.receive_data(frame(TEXT, b"begun")[:-1]) == []
    reader.receive_eof()
    assert reader.receive_data(b"n") == []


def test_receiving_sends_nothing(engine: str) -> None:
    reader = make(engine)
    reader.receive_data(frame(PING, b"p") + frame(TEXT, b"t") + close(1000))
    assert reader.data_to_send() == []
    reader = make(engine)
    reader.receive_data(frame(3))
    reader.receive_eof()
    assert reader.data_to_send() == []


def test_empty_data(engine: str) -> None:
    reader = make(engine)
    assert reader.receive_data(b"") == []
    assert reader.receive_data(memoryview(b"")) == []
    assert reader.receive_data(frame(TEXT, b"x")) == ["x"]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_memory_follows_the_bytes_received(engine: str, opcode: int) -> None:
    """A promise of 64 MiB costs nothing; then memory stays near what came."""
    reader = make(engine, 1 << 26)
    reader.receive_data(frame(PING, b"warm"))
    tracemalloc.start()
    try:
        reader.receive_data(header(opcode, 1 << 26) + KEY)
        assert tracemalloc.get_traced_memory()[0] < 20_000
        chunk = naive_mask(b"x" * 65_536, KEY)
        for _ in range(16):
            reader.receive_data(chunk)
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_fragments_cost_their_bytes(engine: str) -> None:
    reader = make(engine, 1 << 20)
    reader.receive_data(frame(BINARY, b"x", fin=False))
    flood = frame(0, b"x", fin=False) * 1_000
    tracemalloc.start()
    try:
        for _ in range(4):
            reader.receive_data(flood)
        assert tracemalloc.get_traced_memory()[0] < 20_000
    finally:
        tracemalloc.stop()
    assert reader.receive_data(frame(0)) == [b"x" * 4_001]


def test_big_message(engine: str) -> None:
    text = "".join(chr(0x20 + i % 0x300) for i in range(300_000))
    data = frame(TEXT, text.encode(), key=bytes(4))
    reader = make(engine, 1 << 24)
    buffer = bytearray(65_536)
    events: list[Event] = []
    for start in range(0, len(data), len(buffer)):
        piece = data[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        events += reader.receive_data(memoryview(buffer)[: len(piece)])
    assert events == [text]


def test_large_limit(engine: str) -> None:
    assert make(engine, 1 << 70).receive_data(frame(TEXT, b"x")) == ["x"]
    with pytest.raises(ValueError, match="max_message_size"):
        make(engine, -1)


# -------------------------------------------------------------------------------------------------------------- sending


def sent(data: list[bytes]) -> bytes:
    assert all(type(part) is bytes for part in data)
    return b"".join(data)


@pytest.mark.parametrize("length", [0, 1, 64, 125, 126, 127, 1_000, 65_535, 65_536, 200_000])
def test_messages_as_websockets_writes_them(engine: str, length: int) -> None:
    payload = bytes(i % 251 for i in range(length))
    text = "".join(chr(33 + i % 300) for i in range(length))
    ascii_text = "".join(chr(33 + i % 90) for i in range(length))
    for send, message, opcode, encoded in (
        ("send_bytes", payload, Opcode.BINARY, payload),
        ("send_bytes", bytearray(payload), Opcode.BINARY, payload),
        ("send_bytes", memoryview(payload), Opcode.BINARY, payload),
        ("send_text", text, Opcode.TEXT, text.encode()),
        ("send_text", ascii_text, Opcode.TEXT, ascii_text.encode()),
    ):
        writer = make(engine)
        expected = Frame(opcode, encoded).serialize(mask=False)
        assert getattr(writer, send)(message) == len(expected)
        assert sent(writer.data_to_send()) == expected
        assert writer.data_to_send() == []


def test_output_keeps_its_order(engine: str) -> None:
    writer = make(engine)
    expected = b""
    for i in range(60):
        messages: list[tuple[Opcode, bytes]] = [
            (Opcode.TEXT, b"t" * i),
            (Opcode.BINARY, b"b" * (i * 70)),
            (Opcode.PING, b"i"),
            (Opcode.BINARY, b"L" * (70_000 if i % 20 == 0 else 3)),
            (Opcode.PONG, b""),
        ]
        for opcode, payload in messages:
            if opcode is Opcode.TEXT:
                waiting = writer.send_text(payload.decode())
            elif opcode is Opcode.BINARY:
                waiting = writer.send_bytes(payload)
            elif opcode is Opcode.PING:
                waiting = writer.send_ping(payload)
            else:
                waiting = writer.send_pong(payload)
            expected += Frame(opcode, payload).serialize(mask=False)
            assert waiting == len(expected)
    assert sent(writer.data_to_send()) == expected
    assert writer.send_text("again") == 7
    assert sent(writer.data_to_send()) == b"\x81\x05again"


def test_a_buffer_is_taken_at_once(engine: str) -> None:
    for length in (10, 100_000):
        writer = make(engine)
        data = bytearray(b"a" * length)
        writer.send_bytes(data)
        data[:] = b"b" * length
        assert sent(writer.data_to_send()).endswith(b"a" * length)


def test_lone_surrogate_writes_nothing(engine: str) -> None:
    writer = make(engine)
    for text in ("\ud800", "x" * 70_000 + "\udfff"):
        with pytest.raises(UnicodeEncodeError):
            writer.send_text(text)
    assert writer.data_to_send() == []


def test_wrong_types(engine: str) -> None:
    writer = make(engine)
    for bad in (b"bytes", None, 3):
        with pytest.raises(TypeError):
            writer.send_text(bad)  # type: ignore[arg-type]
    for bad in ("text", None, 3):
        with pytest.raises(TypeError):
            writer.send_bytes(bad)  # type: ignore[arg-type]
    for bad in ("text", None, 3):
        with pytest.raises(TypeError):
            writer.send_ping(bad)  # type: ignore[arg-type]
    assert writer.data_to_send() == []


class Word(str):
    """Applications send members of string enumerations."""

    __slots__ = ()


def test_subclass_of_str(engine: str) -> None:
    writer = make(engine)
    writer.send_text(Word("word"))
    assert sent(writer.data_to_send()) == b"\x81\x04word"


def test_close(engine: str) -> None:
    writer = make(engine)
    writer.send_close()
    writer.send_close(1005)
    writer.send_close(1012, "Grüße")
    writer.send_close(4999, "r" * 123)
    assert sent(writer.data_to_send()) == (
        b"\x88\x02\x03\xe8" + b"\x88\x00" + b"\x88\x09\x03\xf4" + "Grüße".encode() + b"\x88\x7d\x13\x87" + b"r" * 123
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [(999, ""), (1004, ""), (1005, "why"), (1006, ""), (1015, ""), (2999, ""), (5000, ""), (1000, "r" * 124)],
)
def test_close_that_may_not_be_sent(engine: str, code: int, reason: str) -> None:
    writer = make(engine)
    with pytest.raises(ValueError, match="close"):
        writer.send_close(code, reason)
    assert writer.data_to_send() == []


def test_every_failure_can_be_sent(engine: str) -> None:
    found = [value for value in vars(failures).values() if isinstance(value, Failure)]
    assert len(found) == 17
    for failure in found:
        make(engine).send_close(failure.code, failure.reason)


def test_long_control_frames(engine: str) -> None:
    writer = make(engine)
    for send in (writer.send_ping, writer.send_pong):
        with pytest.raises(ValueError, match="125"):
            send(b"x" * 126)
    assert writer.data_to_send() == []


# -------------------------------------------------------------------------------------------------------------- deflate


def test_compressed_messages(engine: str) -> None:
    deflater, inflater = Deflater(threshold=10), Inflater()
    for opcode, payload in ((TEXT, b"so " * 100), (BINARY, bytes(100_000)), (TEXT, b"again " * 50)):
        writer = make(engine, deflater=deflater)
        waiting = writer.send_text(payload.decode()) if opcode == TEXT else writer.send_bytes(bytearray(payload))
        data = sent(writer.data_to_send())
        assert waiting == len(data)
        assert data[0] == 0xC0 | opcode
        compressed = data[2 if data[1] < 126 else 4 :]
        assert inflater.decompress(compressed, last=True, max_length=1 << 20) == payload


def test_large_compressed_message(engine: str) -> None:
    noise = bytes(range(256)) * 2_000
    writer = make(engine, deflater=Deflater(level=0, window_bits=15, threshold=1, context_takeover=True))
    waiting = writer.send_bytes(noise)
    data = sent(writer.data_to_send())
    assert len(data) == waiting > len(noise)
    assert Inflater(context_takeover=True).decompress(data[10:], last=True, max_length=1 << 20) == noise


def test_messages_that_do_not_shrink_go_plain(engine: str) -> None:
    writer = make(engine, deflater=Deflater(threshold=10))
    writer.send_text("short")
    writer.send_bytes(bytes(range(200)))
    assert sent(writer.data_to_send()) == b"\x81\x05short" + b"\x82\x7e\x00\xc8" + bytes(range(200))


def test_text_is_checked_before_it_is_compressed(engine: str) -> None:
    writer = make(engine, deflater=Deflater(threshold=1))
    with pytest.raises(UnicodeEncodeError):
        writer.send_text("\ud800" * 50)
    assert writer.data_to_send() == []


def test_context_takeover(engine: str) -> None:
    reader = make(engine, inflater=Inflater(context_takeover=True))
    hello, again = bytes.fromhex("f248cdc9c90700"), bytes.fromhex("f200110000")
    data = frame(TEXT, hello, rsv=4) + frame(PING) + frame(TEXT, again, rsv=4)  # RFC 7692 section 7.2.3.2
    assert reader.receive_data(data) == ["Hello", Ping(b""), "Hello"]


# --------------------------------------------------------------------------------------------------------------- choice


def test_names(engine: str) -> None:
    assert load_engine(engine).name == engine
    assert ENGINE_NAMES == ("cython", "websockets", "wsproto")


def test_websockets_sansio_is_websockets() -> None:
    assert load_engine("websockets-sansio").name == "websockets"


def test_unknown_engine() -> None:
    with pytest.raises(ConfigError, match="twisted"):
        load_engine("twisted")


WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
from fastws.websocket.engines import load_engine
from fastws.errors import ConfigError
try:
    print(load_engine({engine!r}).name)
except ConfigError as error:
    print("ConfigError:", error)
"""


@pytest.mark.parametrize(
    ("engine", "missing", "expected"),
    [
        ("auto", ["fastws._codec", "wsproto"], "websockets"),
        ("websockets", ["fastws._codec", "wsproto"], "websockets"),
        ("wsproto", ["fastws._codec", "websockets"], "wsproto"),
        ("cython", ["fastws._codec"], "ConfigError: --ws: the cython engine cannot be imported"),
        ("wsproto", ["wsproto"], "ConfigError: --ws: the wsproto engine cannot be imported"),
        ("auto", ["fastws._codec", "websockets"], "ConfigError: --ws: the websockets engine cannot be imported"),
    ],
)
def test_without_the_others(engine: str, missing: list[str], expected: str) -> None:
    script = WITHOUT.format(engine=engine, missing=missing)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(expected)
