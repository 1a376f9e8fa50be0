"""The target `deflate`: compression of whole messages, our own use of zlib's library beside Python's.

Input: a byte for the window, one for the limit of what comes out, one for level and memory, then bytes, which are
inflated as they are, and deflated. What inflates has the same answer from both; what was deflated comes out as it was.
"""

from __future__ import annotations

import zlib

from fastws.websocket.deflate_backends import ZLIB, load_decompressor
from fastws.websocket.events import Failure
from fastws.websocket.failures import INVALID_DEFLATE, TOO_BIG

LIMITS = (0, 1, 100, 16_383, 16_384, 16_385, 100_000, 1 << 20)
TAIL = b"\x00\x00\xff\xff"
OURS = load_decompressor()
"""One for all inputs, as a loop has; None where nothing is compiled."""


def run(data: bytes) -> None:
    if len(data) < 3:
        return
    window, limit = 9 + data[0] % 7, LIMITS[data[1] % len(LIMITS)]
    level, memory = 1 + data[2] % 9, 1 + (data[2] >> 4) % 9
    payload = data[3:]
    if OURS is not None:
        said, wanted = OURS.message(payload, window, limit), plainly(payload, window, limit)
        assert type(said) is type(wanted)
        assert isinstance(said, Failure) or said == wanted
    compressor = ZLIB.make(level, window, memory)
    for mode in (zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FULL_FLUSH):
        squeezed = compressor.message(payload, mode)
        if mode == zlib.Z_SYNC_FLUSH:  # the first message, which refers to no earlier one
            assert plainly(squeezed, window, len(payload)) == payload
            if OURS is not None:
                assert OURS.message(squeezed, window, len(payload)) == payload


def plainly(payload: bytes, window: int, limit: int) -> bytes | Failure:
    """What Python's zlib makes of a message (RFC 7692 section 7.2.2), read a piece at a time and judged at its end."""
    stream = zlib.decompressobj(-window)
    try:
        plain = stream.decompress(payload, limit + 1)
        if len(plain) > limit:
            return TOO_BIG
        if stream.eof:  # by a block with BFINAL set, behind which may be one byte 0x00
            return plain if stream.unused_data in (b"", b"\x00") else INVALID_DEFLATE
        more = stream.decompress(stream.unconsumed_tail + TAIL, limit + 1 - len(plain))
        if not stream.eof and not more:
            more = stream.decompress(stream.unconsumed_tail + b"\x01\x00\x00\xff\xff", 1)
            return plain if stream.eof and not more and not stream.unused_data else INVALID_DEFLATE
        ends_well = stream.eof and not more and stream.unused_data == b""
        return plain if ends_well else INVALID_DEFLATE
    except zlib.error:
        return INVALID_DEFLATE


def seeds() -> list[bytes]:
    """Inputs to begin with."""
    found = []
    for number, text in enumerate((b"", b"a", b"hello " * 40, bytes(range(256)) * 3, b"\x00" * 40_000)):
        for window in (9, 12, 15):
            stream = zlib.compressobj(6, zlib.DEFLATED, -window)
            squeezed = stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH)
            found += [bytes([window - 9, number + 3, 37]) + each for each in (squeezed[:-4], squeezed, squeezed[:-5])]
        ended = zlib.compressobj(9, zlib.DEFLATED, -15)
        found.append(bytes([6, 7, 0]) + ended.compress(text) + ended.flush() + b"\x00")
    return found
