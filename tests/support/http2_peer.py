"""A client of HTTP/2 whose bytes a test sees: the library h2 plays it, on a fake transport.

`frames` are for what h2 would never send.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
from fake_loop import FakeServer, Peer, settle

from fastws.http.http2_frames import END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, frame, settings

REQUEST = ((":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.org"))


def connect_fields(path: str = "/", *more: tuple[str, str]) -> list[tuple[str, str]]:
    """An extended CONNECT (RFC 8441)."""
    return [
        *((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path)),
        *((":authority", "example.org"), ("sec-websocket-version", "13")),
        *more,
    ]


def block(fields: Iterable[tuple[Any, Any]]) -> bytes:
    """A header block that needs no table."""
    return bytes(hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*each) for each in fields], huffman=False))


def head(stream_id: int, fields: Iterable[tuple[Any, Any]] = REQUEST, ends: bool = True) -> bytes:
    """A frame of HEADERS."""
    return frame(HEADERS, END_HEADERS | (END_STREAM if ends else 0), stream_id, block(fields))


class Http2Peer:
    """A connection to `server`; what it sends arrives whole, or byte by byte where it is `cut`.

    With `automatic` it gives its windows back for whatever it gets.
    """

    def __init__(self, server: FakeServer, *, cut: bool = False, automatic: bool = True, **settings: int) -> None:
        self.peer: Peer = server.connect()
        self.transport = self.peer.transport
        self.events: list[Any] = []
        self.goaways: list[tuple[int, int]] = []
        self.received_bytes = 0
        self._cut = cut
        self._automatic = automatic
        self._settings = settings
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
        )

    async def begin(self) -> Http2Peer:
        if self._settings:
            self.h2.local_settings = h2.settings.Settings(
                client=True, initial_values={h2.settings.SettingCodes[k]: v for k, v in self._settings.items()}
            )
        self.h2.initiate_connection()
        await self.flush()
        return self

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self._cut:
            for byte in data:
                self.transport.feed(bytes((byte,)))
        else:
            self.transport.feed(data)
        await settle()
        await self.read()

    async def flush(self) -> None:
        """Send what h2 has, and read what comes."""
        data = self.h2.data_to_send()
        if data:
            await self.raw(data)
        else:
            await settle()
            await self.read()

    async def read(self) -> None:
        data = self.peer.take()
        if not data:
            return
        self.received_bytes += len(data)
        kept = b""
        for kind, flags, stream_id, payload in frames_in(data):
            if kind == GOAWAY:  # h2 would take nothing behind it
                self.goaways.append((int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")))
            else:
                kept += frame(kind, flags, stream_id, payload)
        events = self.h2.receive_data(kept)
        self.events += events
        for event in events:
            if self._automatic and isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if self.h2._data_to_send:
            await self.flush()

    async def request(
        self, fields: Iterable[tuple[str, str]] = REQUEST, body: bytes | None = None, *, ends: bool = True
    ) -> int:
        stream_id: int = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, list(fields), end_stream=ends and body is None)
        if body is not None:
            self.h2.send_data(stream_id, body, end_stream=ends)
        await self.flush()
        return stream_id

    async def send(self, stream_id: int, data: bytes, *, ends: bool = False) -> None:
        self.h2.send_data(stream_id, data, end_stream=ends)
        await self.flush()

    # What came.

    def of(self, kind: type[Any], stream_id: int | None = None) -> list[Any]:
        return [
            each
            for each in self.events
            if isinstance(each, kind) and (stream_id is None or getattr(each, "stream_id", None) == stream_id)
        ]

    def response(self, stream_id: int) -> dict[str, str]:
        [event] = self.of(h2.events.ResponseReceived, stream_id)
        return dict(event.headers)

    def body(self, stream_id: int) -> bytes:
        return b"".join(event.data for event in self.of(h2.events.DataReceived, stream_id))

    def ended(self, stream_id: int) -> bool:
        return bool(self.of(h2.events.StreamEnded, stream_id))

    def reset(self, stream_id: int) -> int | None:
        """The code that the stream was reset with."""
        found = self.of(h2.events.StreamReset, stream_id)
        return int(found[0].error_code) if found else None

    def goaway(self) -> tuple[int, int] | None:
        """The last stream and the code of the latest GOAWAY."""
        return self.goaways[-1] if self.goaways else None


async def connected(server: FakeServer, **options: Any) -> Http2Peer:
    """A peer that has begun."""
    return await Http2Peer(server, **options).begin()


BEGIN = PREFACE + settings()
"""What a raw client begins with."""


def split_frames(data: bytes) -> tuple[list[tuple[int, int, int, bytes]], bytes]:
    """Kind, flags, stream and payload of the frames that `data` begins with, and what of it is no whole frame."""
    frames = []
    while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
        frames.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:end]))
        data = data[end:]
    return frames, data


def frames_in(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Those frames, with nothing left over."""
    frames, rest = split_frames(data)
    assert not rest, f"the end of a frame is missing: {rest!r:.200}"
    return frames
