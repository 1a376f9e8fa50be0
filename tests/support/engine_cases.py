"""Frames as a client sends them, and the table of what every engine must make of them.

The frames are written here by hand, not by a package under test; `naive_mask` is the definition of masking.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastws.websocket import failures
from fastws.websocket.deflate import Inflater
from fastws.websocket.engine import Engine
from fastws.websocket.engines import load_engine
from fastws.websocket.events import Close, Event, Failure, Ping, Pong

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
LIMIT = 1000
KEY = b"\xa1\x02\xf3\x54"


def naive_mask(data: bytes, key: bytes, offset: int = 0) -> bytes:
    """The definition (RFC 6455 section 5.3)."""
    return bytes(byte ^ key[(offset + i) % 4] for i, byte in enumerate(data))


def header(
    opcode: int, length: int, *, fin: bool = True, rsv: int = 0, mask: bool = True, size: int | None = None
) -> bytes:
    """A header without its masking key; `size` bytes (0, 2, 8) of extended length, the fewest if not given."""
    if size is None:
        size = 0 if length < 126 else 2 if length < 65536 else 8
    short = {0: length, 2: 126, 8: 127}[size]
    return bytes([fin << 7 | rsv << 4 | opcode, mask << 7 | short]) + (length.to_bytes(size, "big") if size else b"")


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, key: bytes = KEY) -> bytes:
    """A whole frame, masked."""
    return header(opcode, len(payload), fin=fin, rsv=rsv) + key + naive_mask(payload, key)


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def deflated(payload: bytes) -> bytes:
    """A message as a compressor without context takeover sends it."""
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def deflated_final(payload: bytes) -> bytes:
    """The same in blocks of which the last has BFINAL set (RFC 7692 section 7.2.3.4)."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(payload) + stream.flush() + b"\x00"


def make(name: str, limit: int = LIMIT, **codecs: Any) -> Engine:
    return load_engine(name)(limit, *(codecs.get(codec) for codec in ("inflater", "deflater")))


@dataclass(frozen=True)
class Case:
    """`data` gives `events`, in whatever pieces it comes. `deflate`: permessage-deflate was negotiated."""

    name: str
    data: bytes
    events: tuple[Event, ...]
    deflate: bool = False
    limit: int = LIMIT


def _cases() -> Iterator[Case]:
    for length in (0, 1, 3, 4, 7, 8, 31, 64, 125, 126, 127, 999, 1000):
        payload = bytes(i * 7 % 256 for i in range(length))
        yield Case(f"binary of {length}", frame(BINARY, payload), (payload,))
        text = "".join(chr(97 + i % 26) for i in range(length))
        yield Case(f"text of {length}", frame(TEXT, text.encode()), (text,))
    for text in ("é", "€uro", "a😀b", "\x00", "\x7f\x80", "퟿", "￿", "\U0010ffff", "日本語" * 50):
        yield Case(f"text {text[:4]!a}", frame(TEXT, text.encode()), (text,))
    long = bytes(range(256)) * 300
    yield Case("64-bit length", frame(BINARY, long), (long,), limit=1 << 20)
    yield Case("64-bit length, text", frame(TEXT, b"long" * 20_000), ("long" * 20_000,), limit=1 << 20)
    yield Case("64-bit length, not ASCII", frame(TEXT, "ü€😀x".encode() * 9_000), ("ü€😀x" * 9_000,), limit=1 << 20)
    yield Case("length of 65,535", frame(BINARY, long[:65_535]), (long[:65_535],), limit=1 << 20)
    yield Case("key of zeros", frame(TEXT, b"plain", key=bytes(4)), ("plain",))

    # Fragments, and control frames between them
    yield Case("two fragments", frame(TEXT, b"ab", fin=False) + frame(0, b"cd"), ("abcd",))
    yield Case("binary fragments", frame(BINARY, b"\xff", fin=False) + frame(0, b"\xfe"), (b"\xff\xfe",))
    yield Case("empty fragments", frame(TEXT, fin=False) + frame(0, fin=False) + frame(0), ("",))
    yield Case("empty binary fragments", frame(BINARY, fin=False) + frame(0), (b"",))
    yield Case("empty, then whole", frame(TEXT, fin=False) + frame(0, b"all"), ("all",))
    yield Case("whole, then empty", frame(TEXT, b"all", fin=False) + frame(0), ("all",))
    yield Case("many", b"".join(frame(0 if i else BINARY, b"%d" % i, fin=i == 9) for i in range(10)), (b"0123456789",))
    yield Case(
        "character in fragments",
        b"".join(frame(0 if i else TEXT, bytes([byte]), fin=i == 3) for i, byte in enumerate("😀".encode())),
        ("😀",),
    )
    yield Case(
        "control frames inside",
        frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(0, b"b", fin=False) + frame(PONG) + frame(0, b"c"),
        (Ping(b"p"), Pong(b""), "abc"),
    )
    yield Case("two messages", frame(TEXT, b"1") + frame(BINARY, b"2") + frame(TEXT, b"3"), ("1", b"2", "3"))
    yield Case("fragments up to the limit", frame(BINARY, b"x" * 600, fin=False) + frame(0, b"x" * 400), (b"x" * 1000,))
    yield Case(
        "limit counts for each message",
        (frame(BINARY, b"x" * 600, fin=False) + frame(0, b"x" * 400)) * 2,
        (b"x" * 1000,) * 2,
    )
    few = failures.MAX_EMPTY_FRAGMENTS
    yield Case(
        "empty fragments allowed", frame(TEXT, b"x", fin=False) + frame(0, fin=False) * few + frame(0, b"y"), ("xy",)
    )
    yield Case(
        "one too many", frame(TEXT, b"x", fin=False) + frame(0, fin=False) * (few + 1), (failures.TOO_MANY_FRAGMENTS,)
    )
    yield Case("limit of 0", frame(BINARY) + frame(TEXT, b"x"), (b"", failures.TOO_BIG), limit=0)

    # Control frames
    yield Case("ping of 125", frame(PING, b"p" * 125), (Ping(b"p" * 125),))
    yield Case("pings", frame(PING) + frame(PING, b"2"), (Ping(b""), Ping(b"2")))
    yield Case("close", frame(CLOSE) + frame(TEXT, b"ignored"), (Close(1005, ""),))
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
        yield Case(f"close {code}", close(code) + frame(8), (Close(code, ""),))
    yield Case("close with a reason", close(1000, "Grüße".encode()), (Close(1000, "Grüße"),))
    yield Case("close with a long reason", close(4000, b"r" * 123), (Close(4000, "r" * 123),))
    yield Case("close inside a message", frame(TEXT, b"a", fin=False) + close(1001, b"bye"), (Close(1001, "bye"),))
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535):
        yield Case(f"close {code}", close(code) + frame(TEXT, b"ignored"), (failures.CLOSE_CODE,))
    yield Case("close of one byte", frame(CLOSE, b"\x03"), (failures.CLOSE_TOO_SHORT,))
    yield Case("close reason not UTF-8", close(1000, b"\xff"), (failures.INVALID_UTF8,))

    # Failures, which come after the messages before them
    for name, data, failure in _bad_frames():
        yield Case(name, data, (failure,))
        yield Case(f"messages, then {name}", frame(TEXT, b"ok") + frame(PING) + data, ("ok", Ping(b""), failure))
        yield Case(f"{name}, with more behind", data + KEY + frame(TEXT, b"ignored"), (failure,))
    for name, text in _bad_texts():
        yield Case(f"UTF-8: {name}", frame(TEXT, text + b"more"), (failures.INVALID_UTF8,))
        yield Case(
            f"UTF-8, fragments: {name}",
            b"".join(frame(0 if i else TEXT, text[i : i + 1], fin=False) for i in range(len(text))),
            (failures.INVALID_UTF8,),
        )
    for text in (b"\xc3", b"a\xe2\x82", b"\xf0\x9f\x98"):
        yield Case(f"UTF-8: ends in {text!r}", frame(TEXT, text), (failures.INVALID_UTF8,))
        yield Case(
            f"UTF-8: fragments end in {text!r}", frame(TEXT, text, fin=False) + frame(0), (failures.INVALID_UTF8,)
        )

    yield from _deflate_cases()


def _bad_frames() -> Iterator[tuple[str, bytes, Failure]]:
    """Each is decided on this much of the header."""
    for rsv in range(1, 8):
        for opcode in (TEXT, BINARY, PING, CLOSE):
            yield f"reserved bits {rsv} on {opcode}", header(opcode, 5, rsv=rsv), failures.RESERVED_BITS
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield f"opcode {opcode}", header(opcode, 5), failures.RESERVED_OPCODE
    for opcode in (CLOSE, PING, PONG):
        yield f"fragmented {opcode}", header(opcode, 5, fin=False), failures.FRAGMENTED_CONTROL
        yield f"long {opcode}", header(opcode, 126)[:2], failures.LONG_CONTROL
        yield f"very long {opcode}", header(opcode, 65_536)[:2], failures.LONG_CONTROL
        yield f"long form {opcode}", header(opcode, 5, size=2), failures.LONG_CONTROL
    for opcode in (TEXT, BINARY, CLOSE, PING, PONG):
        yield f"unmasked {opcode}", header(opcode, 5, mask=False), failures.UNMASKED
    yield "continuation of nothing", header(0, 5), failures.NO_MESSAGE_TO_CONTINUE
    yield "last continuation of nothing", header(0, 5, fin=False), failures.NO_MESSAGE_TO_CONTINUE
    for opcode in (TEXT, BINARY):
        start = frame(opcode, b"a", fin=False)
        yield f"text inside {opcode}", start + header(TEXT, 5), failures.MESSAGE_INSIDE_MESSAGE
        yield f"binary inside {opcode}", start + header(BINARY, 5, fin=False), failures.MESSAGE_INSIDE_MESSAGE
        yield f"reserved bit inside {opcode}", start + header(0, 5, rsv=4), failures.RESERVED_BITS
        yield f"sum of fragments of {opcode}", start + header(0, LIMIT), failures.TOO_BIG
    for length, size in ((0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65_535, 8)):
        yield f"{length} in {size} bytes", header(BINARY, length, size=size), failures.LENGTH_NOT_MINIMAL
    yield "high bit", header(BINARY, 1 << 63)[:3], failures.LENGTH_HIGH_BIT
    yield "all bits", header(BINARY, (1 << 64) - 1), failures.LENGTH_HIGH_BIT
    for length in (LIMIT + 1, 65_536, 1 << 31, 1 << 32, (1 << 63) - 1, (1 << 63) - 2):
        yield f"length {length}", header(BINARY, length), failures.TOO_BIG


def _bad_texts() -> Iterator[tuple[str, bytes]]:
    """Each ends with the first byte that no text can have there."""
    for text in (
        b"\x80", b"ab\xbf", b"\xc0", b"\xc1", b"\xf5", b"\xf8", b"\xff", b"\xfe", b"\xc3a", b"\xc3\xc3", b"\xe0\x9f",
        b"\xe0\x80", b"\xed\xa0", b"\xed\xbf", b"\xe2\x82a", b"\xe2a", b"\xf0\x8f", b"\xf0\x80", b"\xf4\x90",
        b"\xf0\x9f\x98a",
        b"\xf1\x80\x80\xff", b"long enough for words of eight \xe9\xe9",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90",
    ):  # fmt: skip
        yield repr(text), text


def _deflate_cases() -> Iterator[Case]:
    def case(name: str, data: bytes, *events: Event, limit: int = LIMIT) -> Case:
        return Case(f"deflate: {name}", data, events, deflate=True, limit=limit)

    hello, long = deflated(b"Hello"), deflated(b"abc" * 333)
    yield case("text", frame(TEXT, hello, rsv=4), "Hello")
    yield case("binary", frame(BINARY, hello, rsv=4), b"Hello")
    yield case("RFC 7692 7.2.3.1", frame(TEXT, bytes.fromhex("f248cdc9c90700"), rsv=4), "Hello")
    yield case("no compression", frame(TEXT, bytes.fromhex("000500faff48656c6c6f00"), rsv=4), "Hello")
    yield case("two blocks", frame(TEXT, bytes.fromhex("f248050000 00ffffcac9c90700"), rsv=4), "Hello")
    yield case(
        "BFINAL", frame(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=4) * 2 + frame(TEXT, hello, rsv=4), *["Hello"] * 3
    )
    yield case(
        "BFINAL without its empty block", frame(TEXT, bytes.fromhex("f348cdc9c90700"), rsv=4) * 2, "Hello", "Hello"
    )
    yield case(
        "BFINAL on the empty block whose end is cut off",
        frame(TEXT, b"\x01", rsv=4) + frame(TEXT, hello + b"\x00\x00\xff\xff\x01", rsv=4) + frame(TEXT, hello, rsv=4),
        "", "Hello", "Hello",
    )  # fmt: skip
    yield case("BFINAL, then more", frame(TEXT, deflated_final(b"Hello") + b"x", rsv=4), failures.INVALID_DEFLATE)
    yield case(
        "BFINAL, then a block", frame(TEXT, deflated_final(b"Hello")[:-1] + hello, rsv=4), failures.INVALID_DEFLATE
    )
    yield case(
        "plain beside", frame(TEXT, b"plain") + frame(TEXT, hello, rsv=4) + frame(TEXT, b"x"), "plain", "Hello", "x"
    )
    yield case("empty", frame(TEXT, b"\x00", rsv=4) + frame(BINARY, b"\x00", rsv=4), "", b"")
    yield case("empty without a byte", frame(TEXT, rsv=4) + frame(TEXT, hello, rsv=4), "", "Hello")
    yield case("fragments", frame(TEXT, long[:5], fin=False, rsv=4) + frame(0, long[5:]), "abc" * 333)
    yield case("last fragment empty", frame(BINARY, long, fin=False, rsv=4) + frame(0), b"abc" * 333)
    yield case(
        "control frames inside",
        frame(TEXT, hello[:3], fin=False, rsv=4) + frame(PING, b"p") + frame(0, hello[3:]) + frame(TEXT, hello, rsv=4),
        Ping(b"p"), "Hello", "Hello",
    )  # fmt: skip
    yield case("not ASCII", frame(TEXT, deflated("Grüße 😀".encode()), rsv=4), "Grüße 😀")
    yield case("invalid UTF-8", frame(TEXT, deflated(b"abc\xff"), rsv=4), failures.INVALID_UTF8)
    yield case("unfinished UTF-8", frame(TEXT, deflated(b"abc\xc3"), rsv=4), failures.INVALID_UTF8)
    yield case("up to the limit", frame(BINARY, deflated(bytes(LIMIT)), rsv=4), bytes(LIMIT))
    yield case("over the limit", frame(BINARY, deflated(bytes(LIMIT + 1)), rsv=4), failures.TOO_BIG)
    yield case("bomb", frame(BINARY, deflated(bytes(1_000_000)), rsv=4), failures.TOO_BIG)
    fragments = frame(BINARY, deflated(bytes(900))[:4], fin=False, rsv=4)
    yield case("length over what any compressor makes", fragments + header(0, LIMIT + 200), failures.TOO_BIG)
    noise = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb924")
    yield case("longer than its text", frame(BINARY, deflated(noise), rsv=4), noise, limit=len(noise))
    yield case("bad block", frame(TEXT, b"\xff\xff", rsv=4), failures.INVALID_DEFLATE)
    yield case("cut short", frame(TEXT, hello[:-2], rsv=4), failures.INVALID_DEFLATE)
    for rsv in (1, 2, 3, 5, 6, 7):
        yield case(f"reserved bits {rsv}", header(TEXT, 5, rsv=rsv), failures.RESERVED_BITS)
    for opcode in (CLOSE, PING, PONG):
        yield case(f"RSV1 on {opcode}", header(opcode, 5, rsv=4), failures.RESERVED_BITS)
    yield case(
        "RSV1 on a continuation", frame(TEXT, hello, fin=False, rsv=4) + header(0, 5, rsv=4), failures.RESERVED_BITS
    )


CASES = list(_cases())


def make_for(name: str, case: Case) -> Engine:
    """A new engine for the case."""
    return make(name, case.limit, inflater=Inflater() if case.deflate else None)
