"""The target `differential`: the same bytes to every engine, however cut, and to the oracles.

Input: flags, a seed for the cut, then the stream. The engines must agree on everything; an oracle and we on everything
but what `oracles.DIFFERENCES` names.
"""

from __future__ import annotations

import re

import cutting

from fastws.websocket.events import Close, Event, Failure
from fuzz import codec
from fuzz.oracles import DIFFERENCES, ORACLES, Reading

REPORTED = codec.ENGINES[0]


def run(data: bytes) -> None:
    if len(data) < 2:
        return
    flags, seed, stream = data[0] & ~16, data[1], data[2:]
    events = codec.make(REPORTED, flags).receive_data(stream)
    random_cut = list(cutting.at_random(stream, seed))
    for name in codec.ENGINES:
        whole = cutting.read(codec.make(name, flags), [stream])
        assert cutting.same(whole, events), f"{name}: {whole!r:.500} instead of {events!r:.500}"
        for cut in (cutting.byte_by_byte(stream), random_cut):
            found = cutting.read(codec.make(name, flags), cut)
            assert cutting.same_but_cut(found, events), f"{name}: {found!r:.500} instead of {events!r:.500}"
    for name in ORACLES:
        if flags & 4:
            # Where an oracle loses its way among compressed messages, it can say nothing about what follows.
            stream = before_what_breaks(name, stream, takeover=bool(flags & 8))
            random_cut = list(cutting.at_random(stream, seed))
            events = codec.make(REPORTED, flags).receive_data(stream)
        compare(name, events, flags, stream, random_cut)


def before_what_breaks(oracle: str, stream: bytes, takeover: bool) -> bytes:
    """`stream` up to what `oracle` is known to read wrongly with permessage-deflate.

    wsproto forgets that a message is compressed when a control frame comes between its fragments. And with context
    `takeover` a compressed message of no byte at all, an empty one to us, leaves a decompressor inside a block.
    """
    position = payload = 0
    compressed = False
    while (size := naive_frame_size(stream[position:])) is not None:
        first, length = stream[position : position + 2]
        if first & 8 and compressed and oracle == "wsproto":
            return stream[:position]
        position += size
        if not first & 8:
            if first & 15:
                compressed, payload = bool(first & 0x40), 0
            payload += length & 0x7F
            if first & 0x80 and compressed and not payload and takeover:
                return stream[:position]
            compressed = compressed and not first & 0x80
    return stream


def compare(oracle: str, events: list[Event], flags: int, stream: bytes, cut: list[bytes]) -> None:
    """Fail where `oracle` reads `stream` in another way that is not one of the intended differences."""
    deflate, limit = bool(flags & 4), codec.LIMITS[flags & 3]
    theirs = ORACLES[oracle](cut, limit, deflate, bool(flags & 8))
    ours = Reading(events)
    failure = None
    if events and isinstance(events[-1], Failure):
        failure = events[-1]
        ours = Reading(events[:-1], failure.code)
    # What both have is the same: they may only differ in where they end.
    shared = min(len(ours.events), len(theirs.events))
    what = f"{oracle}: {theirs!r:.500} instead of {ours!r:.500} {failure and failure.reason}"
    assert cutting.same(ours.events[:shared], theirs.events[:shared]), what
    if theirs.lost:
        return
    if ours.failure == theirs.failure and len(ours.events) == len(theirs.events):
        return
    for difference in DIFFERENCES:
        if (
            difference.oracle == oracle
            and failure in difference.ours
            and theirs.failure in difference.theirs
            and (deflate or not difference.deflate)
            and re.search(difference.why, theirs.why)
        ):
            return
    if failure is not None and theirs.failure is None and len(ours.events) == len(theirs.events):
        # It may still be waiting for the rest of the frame that we have refused.
        assert not frame_is_whole(events, flags, stream), what
        return
    raise AssertionError(what)


def frame_is_whole(events: list[Event], flags: int, stream: bytes) -> bool:
    """Whether all of the frame that ends `events` is in `stream`."""
    engine = codec.make(REPORTED, flags)
    refused_at = 0
    for refused_at in range(len(stream)):
        found = engine.receive_data(stream[refused_at : refused_at + 1])
        if found and isinstance(found[-1], Close):
            break
    position = 0
    while True:
        size = naive_frame_size(stream[position:])
        if size is None:
            return False
        position += size
        if position > refused_at:
            return True


def naive_frame_size(data: bytes) -> int | None:
    """Bytes of the frame at the start of `data`, or None where it is not whole (RFC 6455 section 5.2)."""
    if len(data) < 2:
        return None
    size, begin = data[1] & 0x7F, 2
    if size >= 126:
        begin = 4 if size == 126 else 10
        if len(data) < begin:
            return None
        size = int.from_bytes(data[2:begin], "big")
    begin += 4 if data[1] & 0x80 else 0
    return begin + size if len(data) >= begin + size else None
