"""The target `topics`: what other processes send, of another version perhaps, or somebody else on the same Redis.

Input: a byte that says which of the readers it is for, one that seeds how it is cut, then the bytes. Whatever comes is
read, or refused with the documented error, the same however it is cut; and what was read can be sent on as it was.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import cutting

from fastws.topics import envelope, mesh_frames, redis_control
from fastws.topics.envelope import EnvelopeError
from fastws.topics.mesh_frames import Frame, FrameReader

MOST = 4096
"""Bytes of a frame."""


def run(data: bytes) -> None:
    if len(data) < 2:
        return
    if data[0] & 1:
        read_envelope(data[2:])
    else:
        stream = data[2:]
        whole = read_frames([stream])
        assert read_frames(cutting.at_random(stream, data[1])) == whole
        assert read_frames(cutting.byte_by_byte(stream)) == whole


def read_frames(pieces: Iterable[bytes]) -> tuple[list[Frame | str], str | None]:
    """The frames, with the word "bad" for one that is none, and why reading had to end."""
    reader = FrameReader(MOST)
    found: list[Frame | str] = []
    try:
        for piece in pieces:
            for frame in reader.feed(piece):
                found.append("bad" if isinstance(frame, ValueError) else frame)
    except ValueError as error:
        return found, str(error)
    for frame in found:
        if isinstance(frame, Frame):
            message = frame.message.encode() if isinstance(frame.message, str) else frame.message
            [again] = FrameReader().feed(mesh_frames.encode(frame.kind, frame.topic, message, frame.key))
            assert again == frame
    return found, None


def read_envelope(data: bytes) -> None:
    try:
        found = envelope.decode(data)
    except EnvelopeError:
        return
    if data[:1] == bytes([envelope.MAGIC]):
        assert envelope.decode(envelope.encode(found)) == found
    try:
        told = redis_control.read(found)
    except EnvelopeError:
        return
    if told is not None:
        assert told.word in redis_control.WORDS
        assert all(0 <= number <= redis_control.MOST for number in (told.value, told.subscribers))
        assert all(isinstance(topic, str) for topic in told.topics)


def seeds() -> list[bytes]:
    """Inputs to begin with."""
    frames = [
        mesh_frames.encode(kind, topic, message, key)
        for kind, message in ((0, b"name"), (1, b"text"), (2, b"\xff\x00"), (3, b"7"), (4, bytes(8)))
        for topic, key in (("t", None), ("caf\u00e9", "key"), ("", ""))
    ]
    streams = [*frames, b"".join(frames), frames[4][:-1], b"\x00\x00\x00\x01" + frames[0], b"\xff" * 12]
    control = [
        redis_control.encode(9, word, value)
        for word, value in (("ask", 3), ("sync", ["a", "b"]), ("roll", 1), ("mark", 1 << 62), ("probe", -1), ("no", 1))
    ]
    some = [
        envelope.Envelope("text", "key", 5, 6, True),
        envelope.Envelope(b"\xf5", None, 1, 2, sender=4),
        envelope.Envelope(""),
    ]
    envelopes = [*map(envelope.encode, some), *control, redis_control.encode(9, "answer", 3, 4), b"plain", b"\xfe\xf5"]
    return [
        bytes([kind, 5]) + each
        for kind, each in [*zip(itertools.repeat(0), streams), *zip(itertools.repeat(1), envelopes)]
    ]
