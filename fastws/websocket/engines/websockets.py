"""The engine on the `websockets` package (15 or later): the fallback where nothing is compiled.

What is read is mostly whole messages, one frame each: these are taken at once, unmasked by the package's C. All else
(fragments, control frames, frames that a read has split or that are wrong) is left to `websockets.frames`, which parses
headers, and writes control frames. The package's `Protocol` is not used: it answers pings and closes by itself, buffers
a whole frame before it looks at the text, and forgives lengths that are not minimal. `Assembly` judges each header
first and puts the payloads together, so that no event differs from the other engines'.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from websockets.exceptions import ProtocolError
from websockets.extensions import Extension
from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]  # there in C or in Python

from fastws.websocket.engine import INFLATE_BUDGET, Engine
from fastws.websocket.engines.assembly import BINARY, TEXT, Assembly, check_control, close_payload, to_bytes
from fastws.websocket.events import Close, Event, Failure
from fastws.websocket.failures import INVALID_UTF8

if TYPE_CHECKING:
    from fastws.websocket.deflate_messages import Deflater, Inflater

_FIN: Final = 0x80
_RSV1_BIT: Final = 0x40

_WHOLE: Final = frozenset({_FIN | TEXT, _FIN | BINARY})
_COMPRESSED: Final = _FIN | _RSV1_BIT
_WHOLE_COMPRESSED: Final = frozenset({_COMPRESSED | TEXT, _COMPRESSED | BINARY})
"""First bytes of frames that are messages of their own (RFC 6455 section 5.2, RFC 7692 section 6)."""

_SHORT_HEADERS: Final = {
    first: [bytes((first, length)) for length in range(126)] for first in _WHOLE | _WHOLE_COMPRESSED
}
_pack_medium: Final = struct.Struct("!BBH").pack
_pack_long: Final = struct.Struct("!BBQ").pack

_COPIED: Final = 16_384
"""Bytes up to which a read is copied at once: slices of bytes are cheaper than views while they are small."""

_JOINED: Final = 65_536
"""Bytes up to which frames are joined, for one write; larger payloads are not copied."""


class _Rsv1(Extension):
    """Lets RSV1 pass; what it stands for, Assembly and the inflater do."""

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        return Frame(frame.opcode, frame.data, frame.fin)

    def encode(self, frame: Frame) -> Frame:
        return frame


_RSV1: Sequence[Extension] = (_Rsv1(),)


class WebsocketsEngine(Engine):
    """One open WebSocket, server side, as `fastws.websocket.engines.Engine` describes it."""

    __slots__ = (
        "_assembly",
        "_data",
        "_ended",
        "_events",
        "_header",
        "_inflater",
        "_limit",
        "_output",
        "_parser",
        "_position",
        "_served",
        "_waiting",
        "_whole",
    )

    name: ClassVar[str] = "websockets"

    def __init__(
        self, max_message_size: int, inflater: Inflater | None = None, deflater: Deflater | None = None
    ) -> None:
        self.deflater = deflater
        self.rest = None
        self._output: list[bytes] = []
        self._waiting = 0
        # -- read state
        self._limit = max_message_size
        self._inflater = inflater
        self._whole = _WHOLE if inflater is None else _WHOLE | _WHOLE_COMPRESSED
        self._assembly = Assembly(max_message_size, inflater)
        self._data: bytes | memoryview = b""  # of this call, with the next two
        self._position = 0  # up to which it is read
        self._events: list[Event] = []
        self._header = bytearray()  # of the frame that is being read
        self._served = 0  # bytes of it that `Frame.parse` has
        self._parser: Generator[None, None, None] | None = None  # of a frame, stands still where the data ended
        self._ended = False

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[Event]:
        events: list[Event] = []
        if self._ended:
            return events
        if self.rest is not None:
            data = self.rest + bytes(data)
            self.rest = None
        try:
            size = len(data)
            kept = bytes(data) if size <= _COPIED else memoryview(data)
            position = 0
            if self._inflater is not None:
                self._assembly.inflated = 0
            if self._parser is None and not self._assembly.message:
                position = self._read_messages(kept, 0, events)
            if position < size and not self._ended:
                self._read_rest(kept, position, events)
        except BaseException:  # out of memory, most likely: what was under construction may be lost
            self._data = b""
            self.receive_eof()
            raise
        return events

    def receive_eof(self) -> None:
        self._ended = True
        self._parser = None
        self.rest = None
        self._assembly.drop()

    def _read_messages(self, data: bytes | memoryview, position: int, events: list[Event]) -> int:
        """Read messages of one frame each that are whole and in order; up to where. `Assembly` judges what is not."""
        size, whole, limit = len(data), self._whole, self._limit
        while size - position >= 6:
            first = data[position]
            length = data[position + 1] - 128  # negative where the frame is not masked
            start = position + 6
            if length >= 126:
                if length == 126:
                    length = data[position + 2] << 8 | data[position + 3]
                    start += 2
                    if length < 126:
                        break
                else:
                    length = int.from_bytes(data[position + 2 : position + 10], "big")
                    start += 8
                    if length < 65_536:
                        break
            stop = start + length
            if first not in whole or length < 0 or length > limit or stop > size:
                break
            position = stop
            payload = apply_mask(data[start:stop], bytes(data[start - 4 : start]))
            if first >= _COMPRESSED:
                assert self._inflater is not None
                plain = self._inflater.decompress(payload, last=True, max_length=limit)
                if isinstance(plain, Failure):
                    self._fail(plain, events)
                    break
                payload = plain
                self._assembly.inflated += len(plain)
            if first & TEXT:
                try:
                    events.append(payload.decode())
                except UnicodeDecodeError:
                    self._fail(INVALID_UTF8, events)
                    break
            else:
                events.append(payload)
            if first >= _COMPRESSED and self._assembly.inflated > INFLATE_BUDGET:
                break
        return position

    def _read_rest(self, data: bytes | memoryview, position: int, events: list[Event]) -> None:
        """Read the frames that `_read_messages` has left, and the messages behind them."""
        assembly, size = self._assembly, len(data)
        self._data, self._position, self._events = data, position, events
        while self._position < size and not self._ended:
            if self._parser is None:
                if assembly.inflated > INFLATE_BUDGET:
                    self.rest = bytes(data[self._position :])
                    break
                self._parser = self._parse_frame()
            if next(self._parser, self) is None:
                break  # it wants more
            self._parser = None
            if events and isinstance(events[-1], Close):
                self.receive_eof()
            elif not assembly.message:
                self._position = self._read_messages(data, self._position, events)
        self._data = b""

    def _fail(self, failure: Failure, events: list[Event]) -> None:
        events.append(failure)
        self.receive_eof()

    def _parse_frame(self) -> Generator[None, None, None]:
        """Read a frame, yielding where data is missing."""
        header = bytearray()
        size = 2
        while True:
            header += self._take(size - len(header))
            if len(header) == size == 2:
                size = 6 + {126: 2, 127: 8}.get(header[1] & 0x7F, 0)
                continue
            failure = self._assembly.judge(header)
            if failure is not None:
                self._events.append(failure)
                return
            if len(header) == size:
                break
            yield
        self._header = header
        self._served = 0
        try:
            yield from Frame.parse(self._read_exact, mask=True, extensions=_RSV1)
        except ProtocolError as error:
            # A rule of the package's that we do not know: its word, as ASCII that fits in a Close frame.
            self._events.append(Failure(1002, ascii(str(error))[:123]))

    def _take(self, size: int) -> bytes | memoryview:
        """What there is of the next `size` bytes."""
        piece = self._data[self._position : self._position + size]
        self._position += len(piece)
        return piece

    def _read_exact(self, size: int) -> Generator[None, None, bytes]:
        """What `Frame.parse` asks for: three or four parts of a header, and then the payload.

        The payload goes to Assembly in the pieces that it comes in; the Frame gets none of it.
        """
        header = self._header
        if self._served < len(header):
            self._served += size
            return bytes(header[self._served - size : self._served])
        self._assembly.begin(header[0] & 0x0F, bool(header[0] & _FIN), bool(header[0] & _RSV1_BIT), size)
        key = bytes(header[-4:])
        if header[0] == _FIN | BINARY:
            # Nothing is to be seen in it before it is whole: it is unmasked at once, into its final place.
            masked = bytearray(self._take(size))
            while len(masked) < size:
                yield
                masked += self._take(size - len(masked))
            event = self._assembly.feed(apply_mask(masked, key), True)
            assert event is not None
            self._events.append(event)
            return b""
        while True:
            piece = self._take(size)
            size -= len(piece)
            event = self._assembly.feed(apply_mask(piece, key), size == 0)
            if event is not None:
                self._events.append(event)
            if size == 0 or isinstance(event, Failure):
                return b""
            turn = len(piece) % 4
            key = key[turn:] + key[:turn]
            yield

    def send_text(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"text must be str, not {type(text).__name__}")
        if self.deflater is None:
            return self._put(_FIN | TEXT, text.encode())
        return self._send_compressed(self.deflater, _FIN | TEXT, text.encode())

    def send_bytes(self, data: bytes | bytearray | memoryview) -> int:
        if self.deflater is None:
            return self._put(_FIN | BINARY, to_bytes(data))
        return self._send_compressed(self.deflater, _FIN | BINARY, to_bytes(data))

    def append_frame(self, frame: bytes) -> int:
        self._output.append(frame)
        self._waiting += len(frame)
        return self._waiting

    def send_ping(self, payload: bytes = b"") -> int:
        return self._send_control(Frame(Opcode.PING, check_control(payload)))

    def send_pong(self, payload: bytes = b"") -> int:
        return self._send_control(Frame(Opcode.PONG, check_control(payload)))

    def send_close(self, code: int = 1000, reason: str = "") -> int:
        return self._send_control(Frame(Opcode.CLOSE, close_payload(code, reason)))

    def data_to_send(self) -> list[bytes]:
        output = self._output
        if not output:
            return []
        if len(output) > 1 and self._waiting <= _JOINED:
            output = [b"".join(output)]
        self._output = []
        self._waiting = 0
        return output

    def _send_compressed(self, deflater: Deflater, first: int, payload: bytes) -> int:
        shorter = deflater.compress(payload)
        if shorter is None:
            return self._put(first, payload)
        try:
            return self._put(first | _RSV1_BIT, shorter)
        except BaseException:
            deflater.lose()
            raise

    def _put(self, first: int, payload: bytes) -> int:
        length = len(payload)
        if length < 126:
            data = _SHORT_HEADERS[first][length] + payload
        elif length < 65_536:
            data = _pack_medium(first, 126, length) + payload
        else:
            data = _pack_long(first, 127, length)
            self._output += (data, payload)  # both or, where memory ends, none
            self._waiting += len(data) + length
            return self._waiting
        self._output.append(data)
        self._waiting += len(data)
        return self._waiting

    def _send_control(self, frame: Frame) -> int:
        data = frame.serialize(mask=False)
        self._output.append(data)
        self._waiting += len(data)
        return self._waiting
