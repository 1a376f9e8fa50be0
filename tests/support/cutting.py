"""A stream cut into reads, as a socket would cut it; and what an engine makes of it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import chain

from fastws.websocket.engine import Engine
from fastws.websocket.events import Close, Event
from fastws.websocket.failures import INVALID_DEFLATE, INVALID_UTF8, TOO_BIG


def byte_by_byte(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


SMALL_READS = (0, 1, 1, 2, 3, 7, 14, 40, 300, 5000)


def at_random(stream: bytes, seed: int, sizes: tuple[int, ...] = SMALL_READS) -> Iterator[bytes]:
    """Pieces of very different sizes, an empty one now and then."""
    choose = random.Random(seed)
    position = 0
    while position < len(stream):
        size = choose.choice(sizes)
        yield stream[position : position + size]
        position += size


def _while_put_off(engine: Engine) -> Iterator[bytes]:
    while engine.rest is not None:
        yield b""


def read(engine: Engine, pieces: Iterable[bytes]) -> list[Event]:
    """The events of all `pieces`, from a buffer that is overwritten after each, as a loop's receive buffer is.

    What the engine puts off in its `rest` is read with the next piece, and after the last one on its own.
    """
    events: list[Event] = []
    for piece in chain(pieces, _while_put_off(engine)):
        buffer = bytearray(piece)
        found = engine.receive_data(memoryview(buffer))
        buffer[:] = b"\xee" * len(piece)
        if found:
            assert not events or not isinstance(events[-1], Close), "events behind the end"
            events += found
    return events


def same(left: list[Event], right: list[Event]) -> bool:
    return left == right and [type(event) for event in left] == [type(event) for event in right]


_IN_COMPRESSED = (INVALID_DEFLATE, INVALID_UTF8, TOO_BIG)


def same_but_cut(left: list[Event], right: list[Event]) -> bool:
    """`same`, for readings of a stream that was cut in two ways.

    A read is inflated at once: where it holds two faults of a compressed message, the inflater may meet the later one
    before the earlier one has come out of it, so that the cut decides which of them is reported.
    """
    if left and right and left[-1] in _IN_COMPRESSED and right[-1] in _IN_COMPRESSED:
        left, right = left[:-1], right[:-1]
    return same(left, right)
