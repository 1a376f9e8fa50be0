"""The target `http2`: as `connection`, but what comes is made by the library h2, and by bytes that it would never send.

Input: as there, but that the second byte chooses nothing but the engine; then operations, a byte each with the bytes
that they take: requests, WebSockets, bodies, messages, resets, windows, pings, settings, and frames of any kind.

Whatever comes, all that is written is HTTP/2 to the letter, as h2 too finds where nothing was sent that it would not
send; a stream is answered once and in order; in the end no connection, no stream and no task is left.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.exceptions
import h2.settings
import hpack
from fake_loop import FakeServer, Peer
from http2_peer import connect_fields, split_frames

from fastws.http import http2_frames as h2f
from fuzz import connection
from fuzz.mutation import some_frame

FIELDS: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("cookie", "a=1"), ("cookie", "b=2"), ("user-agent", "fuzz/1.0 " + "x" * 40)),
    (("content-length", "5"),),
    (("expect", "100-continue"), ("te", "trailers")),
    (("Upper", "x"),),
    (("connection", "close"),),
    (("x-long", "y" * 3000),),
    (("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"), ("sec-websocket-protocol", "chat")),
)
SETTINGS: tuple[dict[int, int], ...] = (
    {4: 0},
    {4: 1},
    {4: 70_000},
    {4: 2**31 - 1},
    {5: 16384, 6: 100},
    {1: 0},
    {3: 1},
)


class Operations:
    """Bytes of a client, from bytes that say what it does."""

    def __init__(self, data: bytes) -> None:
        self.left = data
        self.sent = b""
        self.sound = True
        """Whether h2 has made all that is sent, and would take every answer to it."""
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.streams: list[int] = []
        self.h2.initiate_connection()
        self.h2.max_outbound_frame_size = 16384
        self.h2.remote_settings = h2.settings.Settings(client=False, initial_values={8: 1, 4: 65_535, 3: 128})
        self.h2.remote_settings.acknowledge()

    def take(self) -> int:
        byte, self.left = (self.left[0], self.left[1:]) if self.left else (0, b"")
        return byte

    def stream(self) -> int:
        return self.streams[self.take() % len(self.streams)] if self.streams else 1

    def play(self) -> bytes:
        while self.left:
            operation = OPERATIONS[self.take() % len(OPERATIONS)]
            try:
                operation(self)
            except (h2.exceptions.ProtocolError, ValueError, KeyError):
                self.sound = False  # what h2 would not send is the raw frames' business; it takes the stream for closed
            self.sent += self.h2.data_to_send()
        return self.sent

    # What it does.

    def begin(self, fields: Any, ends: bool) -> None:
        stream_id = self.h2.get_next_available_stream_id()
        more = FIELDS[self.take() % len(FIELDS)]
        if any(name != name.lower() or name == "connection" for name, _ in more):
            self.sound = False
        self.h2.send_headers(stream_id, [*fields, *more], end_stream=ends)
        self.streams.append(stream_id)

    def get(self) -> None:
        method = ("GET", "HEAD", "OPTIONS", "MUX")[self.take() % 4]
        self.begin([(":method", method), (":scheme", "http"), (":path", "/a?b"), (":authority", "a")], True)

    def post(self) -> None:
        self.begin([(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")], False)

    def websocket(self) -> None:
        self.begin(connect_fields("/"), False)

    def body(self) -> None:
        stream, size, ends = self.stream(), self.take(), self.take() & 1
        data, self.left = self.left[:size], self.left[size:]
        self.h2.send_data(stream, data, end_stream=bool(ends), pad_length=size % 7 if ends else None)

    def much(self) -> None:
        self.h2.send_data(self.stream(), bytes(self.take() * 50))

    def message(self) -> None:
        self.h2.send_data(self.stream(), some_frame(random.Random(self.take())))

    def trailers(self) -> None:
        self.h2.send_headers(self.stream(), [("x-sum", "1")], end_stream=True)

    def end(self) -> None:
        self.h2.end_stream(self.stream())

    def reset(self) -> None:
        self.sound = False  # an answer may have been on its way, which h2 forgets in an input that is made at once
        self.h2.reset_stream(self.stream(), self.take() % 14)

    def open_window(self) -> None:
        self.h2.increment_flow_control_window((self.take() + 1) ** 2, self.stream())

    def open_windows(self) -> None:
        self.h2.increment_flow_control_window((self.take() + 1) ** 3)

    def ping(self) -> None:
        self.h2.ping(bytes([self.take()]) * 8)

    def settings(self) -> None:
        self.sound = False  # windows that it has opened may become too large by it, which h2 finds late
        self.h2.update_settings(SETTINGS[self.take() % len(SETTINGS)])

    def priority(self) -> None:
        self.h2.prioritize(self.stream(), weight=16, depends_on=0)

    def frame(self) -> None:
        self.sound = False
        kind, flags, stream_id, size = self.take() % 12, self.take(), self.take() % 64, self.take() % 40
        payload, self.left = self.left[:size], self.left[size:]
        self.sent += h2f.frame(kind, flags, stream_id, payload)

    def bytes(self) -> None:
        self.sound = False
        size = self.take() % 20
        self.sent += self.left[:size]
        self.left = self.left[size:]


OPERATIONS: tuple[Callable[[Operations], None], ...] = (
    Operations.get,
    Operations.post,
    Operations.websocket,
    Operations.body,
    Operations.much,
    Operations.message,
    Operations.message,
    Operations.trailers,
    Operations.end,
    Operations.reset,
    Operations.open_window,
    Operations.open_windows,
    Operations.ping,
    Operations.settings,
    Operations.priority,
    Operations.frame,
    Operations.frame,
    Operations.bytes,
)


class Script(connection.Script):
    """One input, played."""

    def __init__(self, data: bytes) -> None:
        super().__init__(bytes((data[0], data[1] & 0x18, *data[2:4])))
        self.operations = Operations(data[4:])
        self.stream = self.operations.h2.data_to_send() + self.operations.play()

    def check(self, output: bytes, *, cut: bool) -> None:
        if output.startswith(b"HTTP/1.1 408 "):
            return  # the preface took too long to come
        frames, rest = split_frames(output)
        assert cut or not rest, f"the end of a frame is missing: {rest!r:.200}"
        check_frames(frames)
        if self.operations.sound and not self.restless:
            kept = b"".join(h2f.frame(*each) for each in frames if each[0] != h2f.GOAWAY)
            self.operations.h2.receive_data(kept)

    async def end(self, server: FakeServer, peer: Peer) -> None:
        await super().end(server, peer)
        assert not server.state.streams, "a stream is left"
        assert not server.state.websockets
        assert not server.state.requests


def check_frames(frames: list[tuple[int, int, int, bytes]]) -> None:
    """A stream has interim heads, a head, data, trailers, an end, in this order; nothing is behind a reset."""
    stages: dict[int, str] = {}
    table = hpack.Decoder()
    block = b""
    for kind, flags, stream_id, payload in frames:
        assert len(payload) <= 16384
        stage = stages.get(stream_id, "idle")
        if kind in (h2f.DATA, h2f.HEADERS, h2f.RST_STREAM, h2f.CONTINUATION):
            assert stream_id & 1, (kind, stream_id)
            assert stage != "reset", f"a frame of kind {kind} behind RST_STREAM"
        if kind == h2f.HEADERS:
            assert stage in ("idle", "open"), stage
            if flags & h2f.END_HEADERS:
                fields = table.decode(payload, raw=True)
                assert all(name == name.lower() for name, _ in fields)
                if stage == "idle":
                    assert fields[0][0] == b":status"
                    status = int(fields[0][1])
                    stages[stream_id] = "idle" if status < 200 else "open"
                else:
                    assert flags & h2f.END_STREAM, "trailers end a stream"
            else:
                stages[stream_id] = "open"
                block = payload
        elif kind == h2f.CONTINUATION:
            block += payload
            if flags & h2f.END_HEADERS:
                table.decode(block, raw=True)  # what it adds to the table is referred to later
        elif kind == h2f.DATA:
            assert stage == "open", stage
        elif kind == h2f.RST_STREAM:
            stages[stream_id] = "reset"
        elif kind in (h2f.SETTINGS, h2f.PING, h2f.GOAWAY):
            assert stream_id == 0
        if kind in (h2f.DATA, h2f.HEADERS) and flags & h2f.END_STREAM:
            stages[stream_id] = "ended"


def run(data: bytes) -> None:
    if len(data) >= 4:
        connection.play(Script(data))
