"""The target `codec`: one engine, any bytes, however cut; and what it writes, read back.

Input: flags, a seed for the cut, then the stream.
"""

from __future__ import annotations

import zlib

import cutting
import wire
from engine_cases import naive_mask

from fastws.errors import ConfigError
from fastws.websocket import failures
from fastws.websocket.deflate import Deflater, Inflater
from fastws.websocket.engine import Engine
from fastws.websocket.engines import ENGINE_NAMES, load_engine
from fastws.websocket.events import Close, Event, Failure, Ping, Pong

try:
    from fastws import _codec
except ImportError:  # the interpreted build
    _codec = None  # type: ignore[assignment]

LIMITS = (125, 200, 1000, 70_000)
FAILURES = {each for each in vars(failures).values() if isinstance(each, Failure)}


def engines() -> list[str]:
    """The names of the engines that this installation has."""
    found = []
    for name in ENGINE_NAMES:
        try:
            load_engine(name)
        except ConfigError:
            continue
        found.append(name)
    return found


ENGINES = engines()


def make(name: str, flags: int) -> Engine:
    inflater = deflater = None
    if flags & 4:
        takeover = bool(flags & 8)
        inflater = Inflater(8 if flags & 16 else 15, context_takeover=takeover)
        deflater = Deflater(9 if flags & 16 else 12, context_takeover=takeover, threshold=32)
    return load_engine(name)(LIMITS[flags & 3], inflater, deflater)


def run(data: bytes) -> None:
    if len(data) < 2:
        return
    flags, seed, stream = data[0], data[1], data[2:]
    name = ENGINES[(flags >> 5) % len(ENGINES)]
    engine = make(name, flags)
    events = engine.receive_data(stream)
    check(events, LIMITS[flags & 3])
    assert cutting.same_but_cut(cutting.read(make(name, flags), cutting.byte_by_byte(stream)), events), "byte by byte"
    assert cutting.same_but_cut(cutting.read(make(name, flags), cutting.at_random(stream, seed)), events), "at random"
    if events and isinstance(events[-1], Close):
        assert engine.receive_data(b"\x81\x80\x00\x00\x00\x00") == [], "events behind the end"
    engine.receive_eof()
    assert engine.receive_data(stream) == []
    write_back(engine, events, bool(flags & 4), bool(flags & 8))
    if _codec is not None:
        check_parts(stream, seed)


def check(events: list[Event], limit: int) -> None:
    """Each event is what it claims to be."""
    for i, event in enumerate(events):
        if isinstance(event, str):
            assert len(event.encode()) <= limit
        elif isinstance(event, bytes):
            assert len(event) <= limit
        elif isinstance(event, Ping):
            assert type(event.payload) is bytes
            assert len(event.payload) <= 125
        else:
            assert i == len(events) - 1
            assert type(event) is not Failure or event in FAILURES
            assert event.code == 1005 or failures.is_close_code(event.code)
            assert len(event.reason.encode()) <= 123


def write_back(engine: Engine, events: list[Event], deflate: bool, takeover: bool) -> None:
    """Send what was read, and read that as a client does."""
    waiting = 0
    for event in events:
        if isinstance(event, str):
            waiting = engine.send_text(event)
        elif isinstance(event, bytes):
            waiting = engine.send_bytes(event)
        elif isinstance(event, Pong):
            waiting = engine.send_pong(event.payload)
        elif isinstance(event, Ping):
            waiting = engine.send_ping(event.payload)
        else:
            waiting = engine.send_close(event.code, event.reason)
    output = b"".join(engine.data_to_send())
    assert len(output) == waiting
    assert engine.data_to_send() == []
    frames = wire.read_frames(output)
    assert len(frames) == len(events)
    stream = zlib.decompressobj(-15)
    for frame, event in zip(frames, events, strict=True):
        payload = frame.payload
        assert frame.fin
        if frame.rsv1:
            assert deflate
            payload = stream.decompress(payload + b"\x00\x00\xff\xff")
            if not takeover:
                stream = zlib.decompressobj(-15)
        if isinstance(event, str):
            assert (frame.opcode, payload) == (wire.TEXT, event.encode())
        elif isinstance(event, bytes):
            assert (frame.opcode, payload) == (wire.BINARY, event)
        elif isinstance(event, Ping):
            assert (frame.opcode, payload) == (wire.PONG if isinstance(event, Pong) else wire.PING, event.payload)
        else:
            code = b"" if event.code == 1005 else event.code.to_bytes(2, "big")
            assert (frame.opcode, payload) == (wire.CLOSE, code + event.reason.encode())


def check_parts(stream: bytes, seed: int) -> None:
    """Every masking kernel against the definition, and the UTF-8 automaton against Python's decoder."""
    key, data = stream[:4].ljust(4, b"\x5a"), stream[4:200]
    expected = naive_mask(data, key, seed)
    for kernel in _codec.KERNELS:
        assert _codec.mask(data, key, seed, kernel) == expected, kernel
        place = bytearray(stream)
        assert _codec.mask_in_place(memoryview(place)[4:200], key, seed, kernel) == expected.isascii()
        assert place == stream[:4] + expected + stream[200:], kernel
    state: int | None = 0
    for piece in cutting.at_random(stream, seed):
        if state is not None:
            state = _codec.utf8_feed(state, piece)
    try:
        stream.decode()
        assert state == 0
    except UnicodeDecodeError:
        assert state != 0
