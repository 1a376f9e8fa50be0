"""HTTP/2 of one connection, the server's side, as bytes and values: frames, streams, windows (RFC 9113).

Sans-IO. `receive` takes bytes and calls the `Http2Receiver`; what is sent is http2_sending.py's. It has every rule of
the RFC that does not depend on what a request means:

- what breaks a rule of the connection raises `Http2Error`, and the connection ends with its code;
- what breaks a rule of a stream resets the stream, and the others go on;
- nothing grows without a bound: a frame, a block, the number of frames that carry nothing, of resets and of streams.

Windows are given back by hand. The connection's is at once, for what waits is bounded by the streams' windows: nobody
who reads nothing holds up others. A stream's is when its owner says so (`credit`): who does not read is not sent more.

What was measured and why none of the libraries does this is in docs/http2.md. Compiled by Cython where the extension
was built (http2_protocol.pxd), interpreted elsewhere.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from fastws.http.header_blocks import Block, BlockReader
from fastws.http.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITISED,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_BYTES,
    WINDOW_UPDATE,
    Http2Error,
    frame,
    rst_stream,
    settings,
    window_update,
)
from fastws.http.http2_head import Malformed, check_trailers
from fastws.http.http2_sending import UPDATE_SECONDS, Http2Sender, StreamState

CONNECTION_WINDOW = 1_048_576
"""Bytes of all streams that may be on their way to us."""

BURST_SECONDS = 10.0
"""How many seconds' worth of frames that carry nothing, and of resets, may come at once."""

BLOCK_FRAMES = 32
"""Frames of CONTINUATION in one block."""


class Http2Receiver(Protocol):
    """Who is told what came."""

    def head_received(self, stream: StreamState, block: Block) -> None:
        """A request has begun; `stream.ended_by_peer` where it has no body."""

    def stream_data(self, stream: StreamState, data: bytes, size: int) -> None:
        """Bytes for a stream, of whose window they took `size` with their padding."""

    def stream_ended(self, stream: StreamState) -> None:
        """The peer sends no more on it."""

    def stream_reset(self, stream: StreamState) -> None:
        """The stream is gone, by the peer or for what the peer did."""

    def windows_opened(self, stream: StreamState | None) -> None:
        """More may be sent on the stream, or, where it is None, on any."""

    def ping_answered(self, payload: bytes) -> None:
        """A PING of ours came back, with what it carried."""


class Http2Protocol(Http2Sender):
    """The frames of one connection. `window` is what each stream may send at once, `max_streams` how many there may be.

    A block of more than `block_bytes`, or a list of four times as many, ends the connection, as do more resets and
    frames that carry nothing than `reset_rate` and `control_rate` a second (BURST_SECONDS of them at once; None is no
    limit).
    """

    def __init__(
        self,
        receiver: Http2Receiver,
        *,
        window: int,
        max_streams: int,
        block_bytes: int,
        reset_rate: float | None = 20.0,
        control_rate: float | None = 100.0,
    ) -> None:
        Http2Sender.__init__(self)
        self.last_stream_id: int = 0
        """The latest stream that the peer has begun."""
        self.going_away: bool = False
        """Streams that begin from now on are refused."""
        self._receiver = receiver
        self._window = window
        self._max_streams = max_streams
        self._block_bytes = block_bytes
        self._reader = BlockReader(4 * block_bytes)
        self._rest: bytes = b""
        self._began: bool = False
        self._settled: bool = False
        self._receive_window: int = CONNECTION_WINDOW
        self._initial_window: int = WINDOW_BYTES
        # A block that is not whole: whose, what of it has come, in how many more frames, and whether the stream ends.
        self._block_stream: int = 0
        self._block: bytes = b""
        self._block_frames: int = 0
        self._block_ends: bool = False
        self._block_wrong: bool = False
        # What the peer may still do, beside `_updates`, and since when.
        self._time: float = -1.0
        self._reset_rate: float = inf if reset_rate is None else reset_rate
        self._control_rate: float = inf if control_rate is None else control_rate
        self._resets: float = self._reset_rate * BURST_SECONDS
        self._control: float = self._control_rate * BURST_SECONDS
        self._most_updates = self._updates = self._control_rate * UPDATE_SECONDS
        self._put(
            settings(
                (MAX_CONCURRENT_STREAMS, max_streams),
                (INITIAL_WINDOW_SIZE, window),
                (MAX_HEADER_LIST_SIZE, block_bytes),
                (ENABLE_CONNECT_PROTOCOL, 1),
            )
        )
        self._put(window_update(0, CONNECTION_WINDOW - WINDOW_BYTES))

    def is_quiet(self) -> bool:
        """Whether nothing is half read: no frame, no block, no preface."""
        return self._settled and not self._rest and not self._block_stream

    # What comes.

    def receive(self, data: bytes, now: float) -> None:
        """Read `data`, at the time `now` in seconds. Raises Http2Error."""
        if now > self._time:
            if self._time >= 0.0:
                passed = now - self._time
                rate = self._control_rate
                self._control = min(rate * BURST_SECONDS, self._control + rate * passed)
                self._updates = min(self._most_updates, self._updates + rate * passed)
                self._resets = min(self._reset_rate * BURST_SECONDS, self._resets + self._reset_rate * passed)
            self._time = now
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position = 0
        size = len(data)
        if not self._began:
            if data[:24] != PREFACE[: min(24, size)]:
                raise Http2Error(PROTOCOL_ERROR, "the connection preface is malformed")
            if size < 24:
                self._rest = data
                return
            self._began = True
            position = 24
        while size - position >= 9:
            length = (data[position] << 16) | (data[position + 1] << 8) | data[position + 2]
            if length > FRAME_BYTES:
                raise Http2Error(FRAME_SIZE_ERROR, "a frame is too large")
            end = position + 9 + length
            if end > size:
                break
            stream_id = (
                ((data[position + 5] & 0x7F) << 24)
                | (data[position + 6] << 16)
                | (data[position + 7] << 8)
                | data[position + 8]
            )
            self._take_frame(data[position + 3], data[position + 4], stream_id, data[position + 9 : end])
            position = end
        if position < size:
            self._rest = data[position:]

    def _take_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._settled:
            if kind != SETTINGS or flags & ACK:
                raise Http2Error(PROTOCOL_ERROR, "the first frame is no SETTINGS")
            self._settled = True
        if self._block_stream and (kind != CONTINUATION or stream_id != self._block_stream):
            raise Http2Error(PROTOCOL_ERROR, "a frame stands inside of a header block")
        if kind == DATA:
            self._take_data(flags, stream_id, payload)
        elif kind == WINDOW_UPDATE:
            self._take_window_update(stream_id, payload)
        elif kind == HEADERS:
            self._take_headers(flags, stream_id, payload)
        elif kind == CONTINUATION:
            self._take_continuation(flags, stream_id, payload)
        elif kind == RST_STREAM:
            self._take_reset(stream_id, payload)
        else:
            self._spend_control()
            if kind == SETTINGS:
                self._take_settings(flags, stream_id, payload)
            elif kind == PING:
                self._take_ping(flags, stream_id, payload)
            elif kind == PRIORITY:
                self._take_priority(stream_id, payload)
            elif kind == GOAWAY:
                if stream_id:
                    raise Http2Error(PROTOCOL_ERROR, "a GOAWAY is on a stream")
                if len(payload) < 8:
                    raise Http2Error(FRAME_SIZE_ERROR, "a GOAWAY is too short")
            elif kind == PUSH_PROMISE:
                raise Http2Error(PROTOCOL_ERROR, "a client has pushed")

    def _take_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise Http2Error(PROTOCOL_ERROR, "DATA is on no stream")
        size = len(payload)
        data = payload
        if flags & PADDED:
            if not size or payload[0] >= size:
                raise Http2Error(PROTOCOL_ERROR, "the padding is longer than the frame")
            data = payload[1 : size - payload[0]]
        self._receive_window -= size
        if self._receive_window < 0:
            raise Http2Error(FLOW_CONTROL_ERROR, "more was sent than the connection's window has")
        if self._receive_window < CONNECTION_WINDOW // 2:
            self._put(window_update(0, CONNECTION_WINDOW - self._receive_window))
            self._receive_window = CONNECTION_WINDOW
        ended = bool(flags & END_STREAM)
        if not data and not ended:
            self._spend_control()
        stream = self.streams.get(stream_id)
        if stream is None:
            self._take_late(stream_id)
            return
        if stream.ended_by_peer:
            self._break(stream, STREAM_CLOSED)
            return
        stream.receive_window -= size
        if stream.receive_window < 0:
            self._break(stream, FLOW_CONTROL_ERROR)
            return
        if stream.body_left >= 0:
            stream.body_left -= len(data)
            if stream.body_left < 0 or (ended and stream.body_left):
                self._break(stream, PROTOCOL_ERROR)
                return
        if size:
            self._receiver.stream_data(stream, data, size)
        if ended:
            stream.ended_by_peer = True
            if stream_id in self.streams:
                self._receiver.stream_ended(stream)

    def _take_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id & 1:
            raise Http2Error(PROTOCOL_ERROR, "HEADERS are on no stream of a client")
        begin, end = 0, len(payload)
        if flags & PADDED:
            begin = 1
            if not payload or payload[0] >= end:
                raise Http2Error(PROTOCOL_ERROR, "the padding is longer than the frame")
            end -= payload[0]
        self._block_wrong = False
        if flags & PRIORITISED:
            if end - begin < 5:
                raise Http2Error(FRAME_SIZE_ERROR, "HEADERS are too short for their priority")
            self._block_wrong = int.from_bytes(payload[begin : begin + 4], "big") & LARGEST_WINDOW == stream_id
            begin += 5
        self._block_ends = bool(flags & END_STREAM)
        self._block_frames = 0
        if flags & END_HEADERS:
            self._take_block(stream_id, payload[begin:end])
        else:
            self._block_stream = stream_id
            self._block = payload[begin:end]

    def _take_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._block_stream:
            raise Http2Error(PROTOCOL_ERROR, "CONTINUATION continues nothing")
        self._block_frames += 1
        self._block += payload
        if self._block_frames > BLOCK_FRAMES or len(self._block) > self._block_bytes:
            raise Http2Error(ENHANCE_YOUR_CALM, "a header block is too large")
        if flags & END_HEADERS:
            block, self._block = self._block, b""
            self._block_stream = 0
            self._take_block(stream_id, block)

    def _take_block(self, stream_id: int, block: bytes) -> None:
        found = self._reader.read(block)
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._take_trailers(stream, found)
        elif stream_id <= self.last_stream_id:
            if stream_id not in self._reset_ids:
                raise Http2Error(STREAM_CLOSED, "HEADERS are on a closed stream")
        else:
            self._begin_stream(stream_id, found)

    def _begin_stream(self, stream_id: int, block: Block) -> None:
        self.last_stream_id = stream_id
        if self._block_wrong:
            self._refuse(stream_id, PROTOCOL_ERROR)
        elif self.going_away or len(self.streams) >= self._max_streams:
            self._refuse(stream_id, REFUSED_STREAM)
        else:
            stream = StreamState(stream_id, self._initial_window, self._window, self._block_ends)
            self.streams[stream_id] = stream
            self._receiver.head_received(stream, block)

    def _refuse(self, stream_id: int, code: int) -> None:
        self.spend_reset()
        self._remember(stream_id)
        self._put(rst_stream(stream_id, code))

    def _take_trailers(self, stream: StreamState, block: Block) -> None:
        if stream.ended_by_peer:
            self._break(stream, STREAM_CLOSED)
            return
        try:
            check_trailers(block.fields)
        except Malformed:
            self._break(stream, PROTOCOL_ERROR)
            return
        if not self._block_ends or self._block_wrong or stream.body_left > 0:
            self._break(stream, PROTOCOL_ERROR)
            return
        stream.ended_by_peer = True
        self._receiver.stream_ended(stream)

    def _take_reset(self, stream_id: int, payload: bytes) -> None:
        if not stream_id or stream_id > self.last_stream_id:
            raise Http2Error(PROTOCOL_ERROR, "RST_STREAM is on no stream")
        if len(payload) != 4:
            raise Http2Error(FRAME_SIZE_ERROR, "RST_STREAM has not four bytes")
        self.spend_reset()
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._receiver.stream_reset(stream)

    def _take_window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(FRAME_SIZE_ERROR, "WINDOW_UPDATE has not four bytes")
        self._updates -= 1.0
        if self._updates < 0.0:
            raise Http2Error(ENHANCE_YOUR_CALM, "there are too many WINDOW_UPDATE frames")
        increment = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if not stream_id:
            self.send_window += increment
            if not increment:
                raise Http2Error(PROTOCOL_ERROR, "WINDOW_UPDATE adds nothing")
            if self.send_window > LARGEST_WINDOW:
                raise Http2Error(FLOW_CONTROL_ERROR, "the connection's window is too large")
            self._receiver.windows_opened(None)
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id > self.last_stream_id or not stream_id & 1:
                raise Http2Error(PROTOCOL_ERROR, "WINDOW_UPDATE is on no stream")
            return
        stream.send_window += increment
        if not increment:
            self._break(stream, PROTOCOL_ERROR)
        elif stream.send_window > LARGEST_WINDOW:
            self._break(stream, FLOW_CONTROL_ERROR)
        else:
            self._receiver.windows_opened(stream)

    def _take_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        if stream_id:
            raise Http2Error(PROTOCOL_ERROR, "SETTINGS are on a stream")
        if size % 6 or (flags & ACK and size):
            raise Http2Error(FRAME_SIZE_ERROR, "SETTINGS have a wrong size")
        if flags & ACK:
            return
        for begin in range(0, size, 6):
            name = int.from_bytes(payload[begin : begin + 2], "big")
            value = int.from_bytes(payload[begin + 2 : begin + 6], "big")
            if name == INITIAL_WINDOW_SIZE:
                self._set_initial_window(value)
            elif name == HEADER_TABLE_SIZE:
                self._blocks.limit_table(value)
            elif name in (ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL):
                if value > 1:
                    raise Http2Error(PROTOCOL_ERROR, "a setting has no such value")
            elif name == MAX_FRAME_SIZE and not FRAME_BYTES <= value < 1 << 24:
                raise Http2Error(PROTOCOL_ERROR, "a setting has no such value")
        self._put(frame(SETTINGS, ACK, 0, b""))
        self._receiver.windows_opened(None)

    def _set_initial_window(self, value: int) -> None:
        """RFC 9113 section 6.9.2: windows may become negative by it."""
        if value > LARGEST_WINDOW:
            raise Http2Error(FLOW_CONTROL_ERROR, "the initial window is too large")
        more = value - self._initial_window
        self._initial_window = value
        for stream in self.streams.values():
            stream.send_window += more
            if stream.send_window > LARGEST_WINDOW:
                raise Http2Error(FLOW_CONTROL_ERROR, "a stream's window is too large")

    def _take_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Http2Error(PROTOCOL_ERROR, "a PING is on a stream")
        if len(payload) != 8:
            raise Http2Error(FRAME_SIZE_ERROR, "a PING has not eight bytes")
        if flags & ACK:
            self._receiver.ping_answered(payload)
        else:
            self._put(frame(PING, ACK, 0, payload))

    def _take_priority(self, stream_id: int, payload: bytes) -> None:
        """Checked and ignored (RFC 9113 section 5.3.2)."""
        if not stream_id:
            raise Http2Error(PROTOCOL_ERROR, "PRIORITY is on no stream")
        wrong = 0
        if len(payload) != 5:
            wrong = FRAME_SIZE_ERROR
        elif int.from_bytes(payload[:4], "big") & LARGEST_WINDOW == stream_id:
            wrong = PROTOCOL_ERROR
        if wrong:
            stream = self.streams.get(stream_id)
            if stream is None:
                raise Http2Error(wrong, "PRIORITY is malformed")
            self._break(stream, wrong)

    def _take_late(self, stream_id: int) -> None:
        """DATA of a stream that is not open: on its way when we have reset the stream, or wrong."""
        if stream_id > self.last_stream_id or not stream_id & 1:
            raise Http2Error(PROTOCOL_ERROR, "DATA is on a stream that has not begun")
        if stream_id not in self._reset_ids:
            raise Http2Error(STREAM_CLOSED, "DATA is on a closed stream")

    def _break(self, stream: StreamState, code: int) -> None:
        """Reset a stream for what the peer did."""
        self.spend_reset()
        self.reset(stream, code)
        self._receiver.stream_reset(stream)

    # What a peer may do how often.

    def _spend_control(self) -> None:
        self._control -= 1.0
        if self._control < 0.0:
            raise Http2Error(ENHANCE_YOUR_CALM, "there are too many frames that carry nothing")

    def spend_reset(self) -> None:
        """Count a stream that is reset for what the peer did. Raises Http2Error where there are too many."""
        self._resets -= 1.0
        if self._resets < 0.0:
            raise Http2Error(ENHANCE_YOUR_CALM, "too many streams are reset")
