"""The engine on the `wsproto` package (1.2 or later), the extra `wsproto`.

Its `FrameDecoder` parses and unmasks, its `FrameProtocol` writes the frames. Its own message decoder and close parser
are not used: they know no limits and answer some faults with other codes. `Assembly` judges each header first and puts
the payloads together, so that no event differs from the other engines'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from wsproto.extensions import Extension
from wsproto.frame_protocol import FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits

from fastws.websocket.engine import INFLATE_BUDGET, Engine
from fastws.websocket.engines.assembly import MAX_HEADER, Assembly, check_control, close_payload, to_bytes
from fastws.websocket.events import Close, Event, Failure

if TYPE_CHECKING:
    from fastws.websocket.deflate_messages import Deflater, Inflater


class _Rsv1(Extension):
    """Lets RSV1 pass both ways; what it stands for, Assembly and the deflater do."""

    name = "permessage-deflate"

    def __init__(self) -> None:
        self.outbound = False  # whether the next frame carries it

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False  # the handshake is not wsproto's here

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> RsvBits:
        return RsvBits(True, False, False)

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        return RsvBits(self.outbound, False, False), data


class WsprotoEngine(Engine):
    """One open WebSocket, server side, as `fastws.websocket.engines.Engine` describes it."""

    __slots__ = ("_assembly", "_decoder", "_encoder", "_ended", "_output", "_rsv1", "_waiting")

    name: ClassVar[str] = "wsproto"

    def __init__(
        self, max_message_size: int, inflater: Inflater | None = None, deflater: Deflater | None = None
    ) -> None:
        self.rest = None
        self._rsv1 = _Rsv1()
        self.deflater = deflater
        self._encoder = FrameProtocol(client=False, extensions=[self._rsv1])
        self._output: list[bytes] = []
        self._waiting = 0
        # -- read state
        self._decoder = FrameDecoder(client=False, extensions=[self._rsv1])
        self._assembly = Assembly(max_message_size, inflater)
        self._ended = False

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[Event]:
        events: list[Event] = []
        if self._ended:
            return events
        data = bytes(data) if self.rest is None else self.rest + bytes(data)
        self.rest = None
        try:
            self._receive(data, events)
        except BaseException:  # out of memory, most likely: what was under construction may be lost
            self.receive_eof()
            raise
        return events

    def _receive(self, data: bytes, events: list[Event]) -> None:
        self._assembly.inflated = 0
        self._decoder.receive_bytes(data)
        unread = self._decoder.buffer.buffer
        while not (events and isinstance(events[-1], Close)):
            if self._assembly.inflated > INFLATE_BUDGET and self._decoder.header is None and unread:
                self.rest = bytes(unread)
                unread.clear()
                return
            event, more = self._next()
            if event is not None:
                events.append(event)
            elif not more:
                return
        self.receive_eof()

    def receive_eof(self) -> None:
        self._ended = True
        self.rest = None
        self._decoder.buffer.buffer.clear()
        self._assembly.drop()

    def _next(self) -> tuple[Event | None, bool]:
        """Read what there is of one frame: the event that it completes, and whether there may be more to read."""
        decoder = self._decoder
        if decoder.header is None:
            head = decoder.buffer.buffer[:MAX_HEADER]
            failure = self._assembly.judge(head)
            if failure is not None:
                return failure, False
            try:
                if not head or not decoder.parse_header():
                    return None, False
            except ParseFailed as error:
                # A rule of the package's that we do not know: its word, as ASCII that fits in a Close frame.
                return Failure(int(error.code), ascii(str(error))[:123]), False
            header = decoder.header
            assert header is not None
            self._assembly.begin(int(header.opcode), header.fin, header.rsv.rsv1, header.payload_len)
        frame = decoder.process_buffer()
        if frame is None:
            return None, False
        assert isinstance(frame.payload, (bytes, bytearray))  # the latter in wsproto 1.2, where it is empty
        return self._assembly.feed(bytes(frame.payload), frame.frame_finished), True

    def send_text(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"text must be str, not {type(text).__name__}")
        if self.deflater is None:
            return self._send(self._encoder.send_data(text))
        return self._send_compressed(self.deflater, text.encode(), Opcode.TEXT)

    def send_bytes(self, data: bytes | bytearray | memoryview) -> int:
        payload = to_bytes(data)
        if self.deflater is None:
            return self._send(self._encoder.send_data(payload))
        return self._send_compressed(self.deflater, payload, Opcode.BINARY)

    def append_frame(self, frame: bytes) -> int:
        self._output.append(frame)
        self._waiting += len(frame)
        return self._waiting

    def send_ping(self, payload: bytes = b"") -> int:
        return self._send(self._encoder.ping(check_control(payload)))

    def send_pong(self, payload: bytes = b"") -> int:
        return self._send(self._encoder.pong(check_control(payload)))

    def send_close(self, code: int = 1000, reason: str = "") -> int:
        payload = close_payload(code, reason)
        return self._send(self._encoder.close(code, reason) if payload else self._encoder.close())

    def data_to_send(self) -> list[bytes]:
        output, self._output = self._output, []
        self._waiting = 0
        return output

    def _send_compressed(self, deflater: Deflater, payload: bytes, opcode: Opcode) -> int:
        shorter = deflater.compress(payload)
        try:
            self._rsv1.outbound = shorter is not None
            data = self._encoder.send_data(payload if shorter is None else shorter)
            data[0] = data[0] & 0xF0 | opcode  # send_data takes text as str only
            return self._send(data)
        except BaseException:
            if shorter is not None:
                deflater.lose()
            raise
        finally:
            self._rsv1.outbound = False

    def _send(self, data: bytearray) -> int:
        self._output.append(bytes(data))
        self._waiting += len(data)
        return self._waiting
