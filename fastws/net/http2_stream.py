"""One stream of an HTTP/2 connection as a channel: what a WebSocket session or an HTTP exchange has below it.

Bytes that are written wait here as long as the windows, the stream's and the connection's, or the socket have no room
for them. Bytes that came wait here while reading is paused, and the peer gets credit for them when they are delivered:
so much as its window at most, and no other stream waits for that.

`Carrier` is what a stream needs of its connection; `Http2Handler` is one. The module is compiled by Cython where the
extension was built (http2_stream.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import Any

from fastws.http.http2_frames import CANCEL, LARGEST_WINDOW, NO_ERROR
from fastws.http.http2_protocol import Http2Protocol
from fastws.http.http2_sending import StreamState
from fastws.net.channel import NEVER, Channel
from fastws.net.http_handler import HttpHandler

WAITING_BYTES = 524_288
"""Bytes that may wait in all streams of a connection; beyond, who sends waits until its own have gone."""

CREDIT_BYTES = 16384
"""Credit is given back in pieces of this size, or when half of a smaller window is used."""

GROWTH_BYTES = 1_048_576
"""By how much the windows of all streams of a connection may have grown beyond their first size, each as it is used."""


class Carrier(HttpHandler):
    """The HTTP/2 of a connection, as its streams know it."""

    protocol: Http2Protocol
    window: int
    """What a stream may be sent before it gives credit."""
    grown_bytes: int
    """By how much the windows of its streams have grown."""
    waiting_bytes: int
    """Bytes that wait in its streams for windows or the socket."""
    calls_left: int
    """Calls of the application that go on though their streams are gone."""

    def ask_flush(self) -> None:
        """Write what the protocol has to send when the loop's turn ends, at the latest."""
        raise NotImplementedError

    def flush_alone(self, stream: StreamState) -> bool:
        """Write at once where `stream` is the only one, so that nothing would be joined by waiting; whether it is."""
        raise NotImplementedError

    def wait_for_window(self, stream: Http2Stream) -> None:
        """Call `stream.push` when there may be room."""
        raise NotImplementedError

    def must_wait(self) -> bool:
        """Whether the connection's window is used up, or the socket takes no more."""
        raise NotImplementedError

    def stream_gone(self, stream: Http2Stream) -> None:
        """Forget it."""
        raise NotImplementedError


class Http2Stream(Channel):
    """The channel of the stream that `stream` is the state of."""

    def __init__(self, carrier: Carrier, stream: StreamState) -> None:
        self._join(carrier, stream)

    def _join(self, carrier: Carrier, stream: StreamState) -> None:
        """What `__init__` does: a compiled one of another class finds this at once."""
        self._prepare(carrier.connection.state)
        self.carrier = carrier
        self.stream = stream
        self.number = carrier.connection.number
        self.called: bool = False
        """A call of the application goes on."""
        self.abort_code: int = CANCEL
        """What the peer is told where the stream is cut."""
        self._protocol: Http2Protocol = carrier.protocol
        self._out: list[bytes] | None = None  # made when it is needed: most streams never wait
        self._out_begin: int = 0  # of the first one, what is sent
        self._out_bytes: int = 0
        self._trailers: bytes | None = None
        self._held: bytearray | None = None
        self._uncredited: int = 0
        self._window: int = carrier.window
        self._ending: bool = False
        self._finishing: bool = False  # the rest of what the peer may send is refused
        self._deaf: bool = False  # and what it does send is dropped
        self._peer_ended: bool = False
        self._end_told: bool = False
        self._answered: bool = False  # a head was sent that is no interim one
        self._settled: bool = False
        self._gone: bool = False
        stream.owner = self
        self.state.streams.add(self)

    # What it is.

    def peer_address(self) -> Any:
        return self.carrier.connection.peer_address()

    def local_address(self) -> Any:
        return self.carrier.connection.local_address()

    def tls(self) -> Any:
        return self.carrier.connection.tls()

    def may_half_close(self) -> bool:
        return True

    def is_gone(self) -> bool:
        return self._gone

    def is_closing(self) -> bool:
        return self._gone or self._ending

    # Writing.

    def send_head(self, block: bytes, ends: bool = False) -> None:
        """Send a header block, behind what is written; where it `ends` the stream, that is finished."""
        if self._gone or self._ending:
            return
        if self._out:  # trailers: what is before them waits for a window
            self._trailers = block
            self._ending = self._finishing = self._deaf = True
            return
        self._answered = True
        self._protocol.send_head(self.stream, block, ends)
        self.carrier.ask_flush()
        if ends:
            self._ending = self._finishing = self._deaf = True
            self._check_end()

    def send_interim(self, block: bytes) -> None:
        """Send the block of an interim response (1xx), which no end of the stream may follow."""
        if not self._gone and not self._ending:
            self._protocol.send_head(self.stream, block, False)
            self.carrier.ask_flush()

    def write(self, data: bytes) -> None:
        if self._gone or self._ending or not data:
            return
        self.burst += len(data)
        if self.writing_paused:
            self._stalled_unsent += len(data)
        if not self._send_at_once(data, False):
            self._try_push()

    def _send_at_once(self, data: bytes, ends: bool) -> bool:
        """Send `data`, with which the stream `ends`, where nothing waits; whether nothing does after it."""
        sent = 0
        if not self._out and not self.carrier.must_wait():
            sent = self._protocol.send_data(self.stream, data, 0, ends)
            if sent == len(data):
                if not ends or not self.carrier.flush_alone(self.stream):
                    self.carrier.ask_flush()
                return True
            self.carrier.ask_flush()
            self._out_begin = sent
        if self._out is None:
            self._out = []
        self._out.append(data)
        self._out_bytes += len(data) - sent
        self.carrier.waiting_bytes += len(data) - sent
        return False

    def write_all(self, chunks: list[bytes]) -> None:
        if len(chunks) == 1:
            self.write(chunks[0])
        else:
            self.write(b"".join(chunks))  # a frame for each would cost more than the copy

    def write_last(self, data: bytes) -> None:
        """Write `data`, with which the response ends."""
        if self._gone or self._ending:
            return
        self.burst += len(data)
        self._ending = self._finishing = self._deaf = True
        if data and self._send_at_once(data, True):
            self._check_end()
        else:
            self._try_push()

    def send_whole(self, block: bytes, data: bytes) -> None:
        """Send a whole response: as `send_head` and `write_last`, and at once where no other stream would join it."""
        if not data:
            self.send_head(block, True)
        elif not self._gone and not self._ending:
            self._answered = True
            self._protocol.send_head(self.stream, block, False)
            self.write_last(data)

    def unsent(self) -> int:
        return self._out_bytes

    def _try_push(self) -> None:
        if self._gone:
            return
        if (self._out and self.carrier.must_wait()) or not self.push(LARGEST_WINDOW):
            self.carrier.wait_for_window(self)
        size = self._out_bytes
        too_much = size > self.state.write_high_water or (size and self.carrier.waiting_bytes > WAITING_BYTES)
        if too_much and not self.writing_paused:
            self.pause_writing()

    def push(self, most: int) -> bool:
        """Send what waits, up to about `most` bytes, as far as windows allow; whether nothing is left."""
        protocol, stream, out = self._protocol, self.stream, self._out
        done = 0
        ends = self._ending and self._trailers is None
        while out and most > 0:
            chunk = out[done]
            last = done == len(out) - 1
            sent = protocol.send_data(stream, chunk, self._out_begin, ends and last)
            if not sent:
                break
            most -= sent
            self._out_bytes -= sent
            self.carrier.waiting_bytes -= sent
            self._out_begin += sent
            if self._out_begin == len(chunk):
                self._out_begin = 0
                done += 1
                if last:
                    break
        if out is not None:
            del out[:done]
            if not out:
                self._out = None
        if not out and self._ending and not stream.ended:
            if self._trailers is not None:
                protocol.send_head(stream, self._trailers, True)
            else:
                protocol.send_data(stream, b"", 0, True)
        self.carrier.ask_flush()
        if self.writing_paused and self._has_room():
            self.resume_writing()
        if stream.ended:
            self._check_end()
        return not self._out or self._gone

    def _has_room(self) -> bool:
        """Whether who has waited for room may send."""
        size = self._out_bytes
        few = size <= self.state.write_high_water // 4 and self.carrier.waiting_bytes <= WAITING_BYTES
        return few or not size

    # Reading.

    def hold(self) -> None:
        """Keep what comes until `release`: nobody is there yet who could take it."""
        self.reading_paused = True
        self.allowance = 0

    def release(self) -> None:
        """There is somebody now."""
        if self.reading_paused and self.allowance == 0 and not self._gone:
            self.reading_paused = False
            self.allowance = -1
            self._deliver_held()

    def received(self, data: bytes, size: int) -> None:
        """Take `data` from the peer, for which `size` bytes of the window were used."""
        self.last_seen = self.state.now
        if self._deaf:
            self._uncredited += size
        elif self.reading_paused or self._held or 0 < self.allowance < len(data):
            self._uncredited += size - len(data)
            self._held = bytearray(data) if self._held is None else self._held + data
            if not self.reading_paused:
                self._deliver_held()
        else:
            self._uncredited += size
            if data:
                self.deliver(memoryview(data))
        self._give_credit()

    def ended_by_peer(self) -> None:
        """The peer sends no more, behind what it has sent."""
        self._peer_ended = True
        if not self.reading_paused and not self._held:
            self._tell_end()
        else:
            self._check_end()

    def _tell_end(self) -> None:
        if self._gone or self._end_told:
            return
        self._end_told = True
        stays = self.handler is not None and self.handler.eof_received()
        if not stays:
            if self.unfinished:
                self.abort()
            else:
                self.close()
        self._check_end()

    def _deliver_held(self) -> None:
        """Deliver what has waited, as far as reading is not paused again."""
        held = self._held
        while held and not self.reading_paused and not self._gone and not self._deaf:
            room = self.allowance if self.allowance > 0 else len(held)
            piece = bytes(held[:room])
            del held[:room]
            self._uncredited += len(piece)
            self.deliver(memoryview(piece))
        if self._deaf and held:
            self._uncredited += len(held)
            held.clear()
        if not held and not self.reading_paused and not self._gone:
            self._held = None
            if self._peer_ended:
                self._tell_end()
        self._give_credit()

    def _give_credit(self) -> None:
        """Let the peer send again what was taken, and more: who takes what comes gets a larger window."""
        count, carrier = self._uncredited, self.carrier
        if self._gone or self.reading_paused:
            return
        if count and (count >= CREDIT_BYTES or 2 * count >= self._window):
            self._uncredited = 0
            growth = 0 if self._deaf else min(self._window, GROWTH_BYTES - carrier.grown_bytes)
            self._window += growth
            carrier.grown_bytes += growth
            self._protocol.credit(self.stream, count + growth)
            carrier.ask_flush()

    def stop_reading(self) -> None:
        pass  # what comes is held

    def start_reading(self) -> None:
        if self._held or self._peer_ended or self._uncredited:
            self.state.loop.call_soon(self._deliver_held, context=self.state.context)

    # Ends.

    def settle(self) -> None:
        """Nobody above needs to be told of its end."""
        self._settled = True

    def close(self) -> None:
        if self.unfinished:
            self.abort()
        elif not self._gone:
            self._deaf = True
            self._end()

    def finish(self) -> None:
        """End it, and want nothing more of it: the rest of a request's body is refused (RFC 9113 section 8.1)."""
        self._finishing = True
        self.close()
        self._check_end()

    def _end(self) -> None:
        if not self._ending and not self._answered:
            self.abort()  # there is no end without a head
        elif not self._ending:
            self._ending = True
            self._try_push()

    def write_eof(self) -> bool:
        if self._gone or self._ending:
            return False
        if self.unfinished:
            self.abort()
            return False
        self.resume_reading()
        self._end()
        return not self._gone

    def abort(self) -> None:
        if not self._gone:
            self._protocol.reset(self.stream, self.abort_code)
            self.carrier.ask_flush()
            self._leave()
            self.state.loop.call_soon(self.lost, context=self.state.context)

    def cut(self) -> None:
        """The peer has reset it, or the connection is gone."""
        if not self._gone:
            self._leave()
            self.lost()

    def _check_end(self) -> None:
        """Go where both sides have ended, or ours has and nobody wants the rest of the other."""
        stream = self.stream
        if self._gone or not stream.ended:
            return
        if stream.ended_by_peer:
            self._protocol.forget(stream)
        elif self._finishing:
            self._protocol.reset(stream, NO_ERROR)
            self.carrier.ask_flush()
        else:
            return
        self._leave()
        if self._settled and self._drain_waiters is None:
            self.state.stalled.discard(self)
            self.handler = None
        else:
            self.state.loop.call_soon(self.lost, context=self.state.context)

    def _leave(self) -> None:
        self._gone = True
        self._out = None
        self.carrier.waiting_bytes -= self._out_bytes
        self.carrier.grown_bytes -= self._window - self.carrier.window
        self._out_bytes = 0
        self._held = None
        self.deadline = NEVER
        self.stream.owner = None
        self.state.streams.discard(self)
        if self.called:
            self.carrier.calls_left += 1
        self.carrier.stream_gone(self)

    def call_ended(self) -> None:
        self.called = False
        if self._gone:
            self.carrier.calls_left -= 1
