"""HTTP/2 of one connection, the server's side: what is sent, and as far as what windows.

Sans-IO. `Http2Protocol` is this and what is received. Compiled by Cython where the extension was built
(http2_sending.pxd), interpreted elsewhere.
"""

from __future__ import annotations

from typing import Any

from fastws.http.block_writer import BlockWriter
from fastws.http.http2_frames import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEADERS,
    PING,
    WINDOW_BYTES,
    frame,
    frame_head,
    goaway,
    rst_stream,
    window_update,
)

UPDATE_SECONDS = 100.0
"""How many seconds' worth of frames that carry nothing may come at once as window updates, besides two for each frame
of DATA that was sent, if windows did not cut that to less than SLIVER_BYTES."""

SLIVER_BYTES = 1024

JOIN_BYTES = 4096
"""Up to this size a payload is copied behind the head of its frame; beyond, both are handed over as they are."""

REMEMBERED = 1000
"""Streams that were reset by us whose late frames are known for what they are."""


class StreamState:
    """What the protocol knows of a stream that is not closed; `owner` is for whoever serves it."""

    __slots__ = ("body_left", "ended", "ended_by_peer", "owner", "receive_window", "send_window", "stream_id")

    def __init__(self, stream_id: int, send_window: int, receive_window: int, ended_by_peer: bool) -> None:
        self.stream_id = stream_id
        # Bytes that we may send; that the peer may send; that it has promised, or -1.
        self.send_window: int = send_window
        self.receive_window: int = receive_window
        self.body_left: int = -1
        self.ended_by_peer: bool = ended_by_peer
        self.ended: bool = False
        self.owner: Any = None


class Http2Sender:
    """The streams of a connection, and what is sent on them; it lies in `take_output`."""

    def __init__(self) -> None:
        self.streams: dict[int, StreamState] = {}
        self.send_window: int = WINDOW_BYTES
        self.output_bytes: int = 0
        """How much lies in `take_output`."""
        self._output: list[bytes] = []
        self._blocks = BlockWriter()
        self._reset_ids: dict[int, None] = {}
        # WINDOW_UPDATEs that the peer may send.
        self._updates: float = 0.0
        self._most_updates: float = 0.0

    def take_output(self) -> list[bytes]:
        """What is to be sent, and was not taken before."""
        output, self._output = self._output, []
        self.output_bytes = 0
        return output

    def send_head(self, stream: StreamState, block: bytes, ends: bool) -> None:
        """Send a header block: an interim or a final head, or trailers."""
        flags = END_STREAM if ends else 0
        block = self._blocks.write(block)
        if len(block) <= FRAME_BYTES:
            self._put(frame(HEADERS, flags | END_HEADERS, stream.stream_id, block))
        else:
            self._put(frame(HEADERS, flags, stream.stream_id, block[:FRAME_BYTES]))
            for begin in range(FRAME_BYTES, len(block), FRAME_BYTES):
                last = begin + FRAME_BYTES >= len(block)
                piece = block[begin : begin + FRAME_BYTES]
                self._put(frame(CONTINUATION, END_HEADERS if last else 0, stream.stream_id, piece))
        if ends:
            stream.ended = True

    def send_data(self, stream: StreamState, data: bytes, begin: int, ends: bool) -> int:
        """Send a frame with what `data` has from `begin` on, as far as windows allow; returns how much that was.

        Where that is all of it and it `ends`, the stream has ended with it. It may be nothing.
        """
        size = len(data)
        left = size - begin
        count = min(left, FRAME_BYTES, self.send_window, stream.send_window)
        if count <= 0 and left:
            return 0
        ends = ends and count == left
        flags = END_STREAM if ends else 0
        piece = data if count == size else data[begin : begin + count]
        if count <= JOIN_BYTES:
            self._put(frame(DATA, flags, stream.stream_id, piece))
        else:
            self._put(frame_head(DATA, flags, stream.stream_id, count))
            self._put(piece)
        if count:
            self.send_window -= count
            stream.send_window -= count
            if self._updates < self._most_updates and (count == left or count >= SLIVER_BYTES):
                self._updates += 2.0  # but not for windows of a few bytes
        if ends:
            stream.ended = True
        return count

    def credit(self, stream: StreamState, size: int) -> None:
        """Let the peer send `size` bytes more on a stream."""
        if not stream.ended_by_peer:
            stream.receive_window += size
            self._put(window_update(stream.stream_id, size))

    def reset(self, stream: StreamState, code: int = CANCEL) -> None:
        """Reset a stream; the receiver is not told."""
        if self.streams.pop(stream.stream_id, None) is not None:
            self._remember(stream.stream_id)
            self._put(rst_stream(stream.stream_id, code))

    def forget(self, stream: StreamState) -> None:
        """Both sides have ended."""
        self.streams.pop(stream.stream_id, None)

    def send_ping(self, payload: bytes) -> None:
        """Send a PING of eight bytes."""
        self._put(frame(PING, 0, 0, payload))

    def send_goaway(self, last_stream_id: int, code: int, detail: str = "") -> None:
        """Say which streams are still served."""
        self._put(goaway(last_stream_id, code, detail.encode("ascii", "replace")))

    def _remember(self, stream_id: int) -> None:
        known = self._reset_ids
        known[stream_id] = None
        if len(known) > REMEMBERED:
            del known[next(iter(known))]

    def _put(self, data: bytes) -> None:
        self._output.append(data)
        self.output_bytes += len(data)
