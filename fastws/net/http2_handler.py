"""HTTP/2 of one connection: its streams, who of them may write, and how the connection ends.

`Http2Protocol` has the frames. A request on a stream is answered by an `Http2Request`. Requests that came in one read
begin when all of it was read, those only that the peer has not reset meanwhile. What is to be sent is written once in a
turn of the loop.

Who has more to send than windows or the socket take waits in a queue, and each gets a quantum in its turn. While the
socket takes nothing, nothing is read either: whoever asks without reading the answers is not served on.

The module is compiled by Cython where the extension was built (http2_handler.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.errors import RequestError
from fastws.http.http2_frames import (
    ENHANCE_YOUR_CALM,
    LARGEST_WINDOW,
    LAST_STREAM,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    Http2Error,
)
from fastws.http.http2_head import Http2Head, Malformed, read_head
from fastws.http.http2_protocol import Http2Protocol
from fastws.http.http2_sending import StreamState
from fastws.net.channel import NEVER, Channel
from fastws.net.copying import copied
from fastws.net.http2_request import Http2Request
from fastws.net.http2_stream import Carrier, Http2Stream

if TYPE_CHECKING:
    from fastws.http.header_blocks import Block
    from fastws.net.http_handler import Exchange
    from fastws.net.loop_core import LoopCore

QUANTUM_BYTES = 16384
"""What a stream sends in its turn when others wait."""

RETIRE = b"shutdown"
KEEPALIVE = b"\0alive?\0"
"""What our PINGs carry, by which their answers are known."""

GOAWAY_SECONDS = 1.0
"""How long, at shutdown, a peer may take to answer the PING behind the first GOAWAY."""

CLOSE_SECONDS = 5.0
"""How long a peer may take none of what waits for it, behind the end."""


SEEN = "seen"
"""What a block has instead of a head after its first time, when an application was given what it says."""


class Http2Handler(Carrier):
    """The HTTP/2 of `connection`; the preface comes first."""

    def __init__(self, connection: Channel, state: LoopCore) -> None:
        self._attach(connection, state)
        config = state.config
        self.window = config.http2_initial_stream_window_size
        self.waiting_bytes = self.grown_bytes = self.calls_left = 0
        self._max_streams: int = config.http2_max_concurrent_streams
        self.protocol = Http2Protocol(
            self,
            window=self.window,
            max_streams=self._max_streams,
            block_bytes=config.limit_request_head,
            reset_rate=config.http2_limit_reset_rate,
            control_rate=config.http2_limit_control_rate,
        )
        self._begun: list[tuple[StreamState, Http2Head]] = []
        self._waiting: dict[Http2Stream, None] = {}
        self._reading: bool = False
        self._corked: bool = False
        self._closing: bool = False
        self._retiring: int = 0  # 1: the first GOAWAY was sent, 2: the last
        self._ping_interval: float = NEVER if config.ws_ping_interval is None else config.ws_ping_interval
        self._pinged: float = 0.0  # when the PING was sent that nothing has come behind, or 0
        connection.deadline = state.now + state.timeout_request_head
        self.ask_flush()

    # What the connection calls.

    def bytes_received(self, buffer: memoryview, size: int) -> None:
        self._take(copied(buffer, size))

    def data_received(self, data: memoryview) -> None:
        self._take(bytes(data))

    def _take(self, data: bytes) -> None:
        if self._closing:
            return
        self._reading = True
        try:
            self.protocol.receive(data, self.state.now)
        except Http2Error as error:
            self._reading = False
            self._fail(error.code, str(error))
            return
        self._serve_begun()
        self._reading = False
        self._flush()
        self._update_deadline()

    def eof_received(self) -> bool:
        if not self._closing:  # a peer that sends nothing more can neither acknowledge nor open windows
            self._flush()
            self._end()
        return False

    def connection_lost(self) -> None:
        self._closing = True
        self._begun.clear()
        self._waiting.clear()
        self._cut_streams()

    def on_deadline(self, now: float) -> None:
        connection = self.connection
        if self._closing:
            if connection.peer_takes():
                connection.deadline = now + CLOSE_SECONDS
            else:
                connection.abort()
        elif self._retiring == 1:
            self._go_away()
            self._flush()
        elif not self.protocol.is_quiet():
            self._fail(PROTOCOL_ERROR, "a frame did not arrive in time")
        elif self.protocol.streams:
            self._keep_alive(now)
        else:
            self._close(NO_ERROR)

    def writing_resumed(self) -> None:
        self._pump()
        self._flush()
        if not self.connection.writing_paused:
            self.connection.resume_reading()

    def shut_down(self) -> None:
        """Two GOAWAYs, the second after a round trip, so that no request that is on its way is lost (section 6.8)."""
        if not self._closing and not self._retiring:
            self._retiring = 1
            self.protocol.send_goaway(LAST_STREAM, NO_ERROR)
            self.protocol.send_ping(RETIRE)
            self.ask_flush()
            self.connection.deadline = self.state.now + GOAWAY_SECONDS
        for stream in list(self.protocol.streams.values()):
            owner = stream.owner
            if owner is not None and owner.handler is not None:
                self._apart(owner.handler.shut_down, owner)

    def _apart(self, call: Any, channel: Http2Stream) -> None:
        """Call for one of many: one that raises costs itself only."""
        try:
            call()
        except Exception as error:
            self.state.give_up(channel, error)

    def refuse(self, error: RequestError) -> None:
        """There is no room for the connection, whatever it asks for."""
        self._fail(ENHANCE_YOUR_CALM, error.detail)

    def exchange(self) -> Exchange | None:
        return None

    def response_completed(self, exchange: Exchange, keep_alive: bool) -> None:
        raise NotImplementedError  # it is a stream that has exchanges

    def update_reading(self) -> None:
        raise NotImplementedError

    # What the protocol calls.

    def head_received(self, stream: StreamState, block: Block) -> None:
        if self.calls_left + len(self.protocol.streams) > self._max_streams:
            self.protocol.reset(stream, REFUSED_STREAM)
            self.protocol.spend_reset()
            return
        owner = Http2Stream.__new__(Http2Stream)
        owner._join(self, stream)
        asked = Http2Request.__new__(Http2Request)
        asked._take(owner)
        owner.handler = asked
        try:
            request = self._read(block, stream.ended_by_peer)
        except Malformed as error:
            self.state.warn("Invalid HTTP/2 request received: %s (%s)", error, self.client(), kind=f"h2 {error}")
            self.state.counts.error(400, False)
            owner.abort_code = PROTOCOL_ERROR
            owner.abort()
            self.protocol.spend_reset()
        except RequestError as error:
            asked.refuse(error)
        else:
            length = request.head.content_length
            if length is not None and request.protocol is None:
                stream.body_left = length
            owner.hold()  # what comes in the same read, until it has begun
            self._begun.append((stream, request))

    def _read(self, block: Block, ended: bool) -> Http2Head:
        """The head that `block` is: from its second time on the same object for each request, if it has no body."""
        known = block.head
        if isinstance(known, Http2Head) and ended:
            return known
        request = read_head(block.fields, ended, self.state.limits)
        if ended and request.protocol is None:
            if known is not None:
                request.head.repeated = True
            block.head = SEEN if known is None else request
        return request

    def stream_data(self, stream: StreamState, data: bytes, size: int) -> None:
        owner: Http2Stream | None = stream.owner
        if owner is not None:
            owner.received(data, size)

    def stream_ended(self, stream: StreamState) -> None:
        owner: Http2Stream | None = stream.owner
        if owner is not None:
            owner.ended_by_peer()

    def stream_reset(self, stream: StreamState) -> None:
        if stream.owner is not None:
            self._apart(stream.owner.cut, stream.owner)

    def windows_opened(self, stream: StreamState | None) -> None:
        if stream is None:
            self._pump()
            return
        owner = stream.owner
        if owner in self._waiting and not self.must_wait():
            del self._waiting[owner]
            if not owner.push(LARGEST_WINDOW):
                self._waiting[owner] = None

    def ping_answered(self, payload: bytes) -> None:
        if payload == RETIRE:
            self._go_away()

    def _go_away(self) -> None:
        """Serve the streams there are, and no others."""
        if self._retiring == 1:
            self._retiring = 2
            self.protocol.going_away = True
            self.protocol.send_goaway(self.protocol.last_stream_id, NO_ERROR)
            self._update_deadline()

    # What a stream calls.

    def ask_flush(self) -> None:
        if not self._reading and not self._corked:
            self._corked = True
            self.state.cork_carrier(self)

    def flush_alone(self, stream: StreamState) -> bool:
        if self._reading or len(self.protocol.streams) != 1 or stream.stream_id not in self.protocol.streams:
            return False
        self._flush()
        return True

    def must_wait(self) -> bool:
        return self.connection.writing_paused or self.protocol.send_window <= 0

    def wait_for_window(self, stream: Http2Stream) -> None:
        self._waiting[stream] = None

    def stream_gone(self, stream: Http2Stream) -> None:
        self._waiting.pop(stream, None)
        if not self._reading:
            self._update_deadline()

    # The end of a turn.

    def end_of_turn(self) -> None:
        self._corked = False
        self._flush()

    def give_up(self, error: Exception) -> None:
        self.state.give_up(self.connection, error)

    # Steps.

    def _serve_begun(self) -> None:
        """Begin what was asked for in this read and is still wanted."""
        begun, self._begun = self._begun, []
        for stream, request in begun:
            owner = stream.owner
            if owner is not None:
                handler: Any = owner.handler
                try:
                    handler.begin(request, stream.ended_by_peer)
                    owner.release()
                except Exception as error:
                    self.state.give_up(owner, error)

    def _pump(self) -> None:
        """Let those who wait send, in turns, as far as windows and the socket allow."""
        waiting, connection, protocol = self._waiting, self.connection, self.protocol
        high = self.state.write_high_water
        stuck: list[Http2Stream] = []
        while waiting and protocol.send_window > 0 and not connection.writing_paused:
            stream = next(iter(waiting))
            del waiting[stream]
            before = stream.unsent()
            if not stream.push(QUANTUM_BYTES):
                if stream.unsent() < before:
                    waiting[stream] = None
                else:
                    stuck.append(stream)
            if protocol.output_bytes >= high:
                self._flush()
        for stream in stuck:
            if not stream.is_gone():
                waiting[stream] = None

    def _flush(self) -> None:
        if self.protocol.output_bytes:
            self.connection.write_all(self.protocol.take_output())
            self.connection.burst = 0
            if self.connection.writing_paused and not self._closing:
                self.connection.pause_reading()

    def _update_deadline(self) -> None:
        """Until when something must come, or nothing is expected."""
        connection, state = self.connection, self.state
        if self._closing or self._retiring == 1:
            return
        if not self.protocol.is_quiet():
            connection.deadline = min(connection.deadline, state.now + state.timeout_request_head)
        elif self.protocol.streams:
            connection.deadline = state.now + self._ping_interval
        elif self._retiring:
            self._close(NO_ERROR, told=True)
        else:
            connection.deadline = state.now + state.timeout_keep_alive

    def _keep_alive(self, now: float) -> None:
        """Ping a silent peer that has streams open (RFC 9113 section 6.7), and give up one that does not answer.

        Each WebSocket has pings of its own; but a peer that has vanished is noticed here for all of its streams, for
        requests too. Where it is we who do not read, or bytes that it takes, it is there.
        """
        connection, timeout = self.connection, self.state.config.ws_ping_timeout
        if connection.peer_takes() or connection.reading_paused:
            connection.last_seen = now
        if connection.last_seen + self._ping_interval > now:
            self._pinged = 0.0
            connection.deadline = connection.last_seen + self._ping_interval
        elif timeout is not None and self._pinged > connection.last_seen:
            if self._pinged + timeout > now:
                connection.deadline = self._pinged + timeout
                return
            self.state.warn("HTTP/2 connection ended: no answer to a PING (%s)", self.client(), kind="h2 ping")
            connection.abort()
        else:
            self._pinged = now
            self.protocol.send_ping(KEEPALIVE)
            self._flush()
            connection.peer_takes()
            connection.deadline = now + (self._ping_interval if timeout is None else timeout)

    # Ends.

    def _fail(self, code: int, detail: str) -> None:
        self.state.warn("HTTP/2 connection ended: %s (%s)", detail, self.client(), kind=f"h2 {detail}")
        self._close(code, detail)

    def _close(self, code: int, detail: str = "", told: bool = False) -> None:
        """Say which streams were served, and close; streams that are open are cut."""
        if self._closing:
            return
        protocol, connection = self.protocol, self.connection
        if not told:
            protocol.send_goaway(protocol.last_stream_id, code, detail)
        self._end()
        self._flush()
        connection.resume_reading()
        if code == NO_ERROR:
            connection.close()
        else:
            connection.write_eof()

    def _end(self) -> None:
        """Cut the streams that are open, and give the peer some time to take what waits."""
        self._closing = True
        self._cut_streams()
        self.connection.peer_takes()
        self.connection.deadline = self.state.now + CLOSE_SECONDS

    def _cut_streams(self) -> None:
        for stream in list(self.protocol.streams.values()):
            if stream.owner is not None:
                self._apart(stream.owner.cut, stream.owner)
