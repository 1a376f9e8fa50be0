"""The engine on the `websockets` package (15 or later): the fallback where nothing is compiled.

`websockets.frames` parses the headers, unmasks, and writes the frames. Its `Protocol` is not used: that answers pings
and closes by itself, buffers a whole frame before it looks at the text, and forgives lengths that are not minimal.
`Assembly` judges each header first and puts the payloads together, so that no event differs from the other engines'.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, ClassVar

from websockets.exceptions import ProtocolError
from websockets.extensions import Extension
from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]  # there in C or in Python

from fastws.engine import INFLATE_BUDGET, Engine
from fastws.engines.assembly import Assembly, check_control, close_payload, to_bytes
from fastws.events import Close, Event, Failure

if TYPE_CHECKING:
    from fastws.deflate import Deflater, Inflater


class _Rsv1(Extension):
    """Lets RSV1 pass both ways; what it stands for, Assembly and the deflater do."""

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        return Frame(frame.opcode, frame.data, frame.fin)

    def encode(self, frame: Frame) -> Frame:
        return Frame(frame.opcode, frame.data, frame.fin, rsv1=True)


_RSV1: Sequence[Extension] = (_Rsv1(),)


class WebsocketsEngine(Engine):
    """One open WebSocket, server side, as `fastws.engines.Engine` describes it."""

    __slots__ = ("_assembly", "_data", "_deflater", "_ended", "_events", "_header", "_output", "_parser", "_waiting")

    name: ClassVar[str] = "websockets"

    def __init__(
        self, max_message_size: int, inflater: Inflater | None = None, deflater: Deflater | None = None
    ) -> None:
        self._deflater = deflater
        self.rest = None
        self._output: list[bytes] = []
        self._waiting = 0
        # -- read state
        self._assembly = Assembly(max_message_size, inflater)
        self._events: list[Event] = []
        self._data = memoryview(b"")  # what this call has not used yet
        self._header = bytearray()  # of the frame that is being read
        self._parser: Generator[None, None, None] | None = None  # stands still where the data ended
        self._ended = False

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[Event]:
        if self._ended:
            return []
        if self.rest is not None:
            data = self.rest + bytes(data)
            self.rest = None
        self._assembly.inflated = 0
        self._data = memoryview(data)
        if self._parser is None:
            self._parser = self._parse()
        next(self._parser, None)
        self._data = memoryview(b"")
        events, self._events = self._events, []
        if events and isinstance(events[-1], Close):
            self.receive_eof()
        return events

    def receive_eof(self) -> None:
        self._ended = True
        self._parser = None
        self.rest = None
        self._assembly.drop()

    def _parse(self) -> Generator[None, None, None]:
        """Read frames until a Close or a Failure, yielding where data is missing."""
        while not (self._events and isinstance(self._events[-1], Close)):
            self._header.clear()
            if self._assembly.inflated > INFLATE_BUDGET and self._data:
                self.rest = bytes(self._data)
                self._data = memoryview(b"")
                yield
            try:
                yield from Frame.parse(self._read_exact, mask=True, extensions=_RSV1)
            except ProtocolError as error:
                if not isinstance(self._events[-1] if self._events else None, Failure):
                    # A rule of the package's that we do not know: its word, as ASCII that fits in a Close frame.
                    self._events.append(Failure(1002, ascii(str(error))[:123]))

    def _read_exact(self, size: int) -> Generator[None, None, bytes]:
        """What `Frame.parse` asks for: three or four parts of a header, and then the payload.

        The payload goes to Assembly in the pieces that it comes in; the Frame gets none of it.
        """
        header = self._header
        if len(header) < 2 or len(header) < 6 + {126: 2, 127: 8}.get(header[1] & 0x7F, 0):
            start = len(header)
            while True:
                missing = size - (len(header) - start)
                header += self._data[:missing]
                self._data = self._data[missing:]
                failure = self._assembly.judge(header)
                if failure is not None:
                    self._events.append(failure)
                    raise ProtocolError(failure.reason)
                if len(header) - start == size:
                    return bytes(header[start:])
                yield
        self._assembly.begin(header[0] & 0x0F, bool(header[0] & 0x80), bool(header[0] & 0x40), size)
        key = bytes(header[-4:])
        while True:
            piece = self._data[:size]
            self._data = self._data[size:]
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
        return self._send_message(Opcode.TEXT, text.encode())

    def send_bytes(self, data: bytes | bytearray | memoryview) -> int:
        return self._send_message(Opcode.BINARY, to_bytes(data))

    def send_ping(self, payload: bytes = b"") -> int:
        return self._send(Frame(Opcode.PING, check_control(payload)))

    def send_pong(self, payload: bytes = b"") -> int:
        return self._send(Frame(Opcode.PONG, check_control(payload)))

    def send_close(self, code: int = 1000, reason: str = "") -> int:
        return self._send(Frame(Opcode.CLOSE, close_payload(code, reason)))

    def data_to_send(self) -> list[bytes]:
        output, self._output = self._output, []
        self._waiting = 0
        return output

    def _send_message(self, opcode: Opcode, payload: bytes) -> int:
        shorter = None if self._deflater is None else self._deflater.compress(payload)
        if shorter is None:
            return self._send(Frame(opcode, payload))
        return self._send(Frame(opcode, shorter), _RSV1)

    def _send(self, frame: Frame, extensions: Sequence[Extension] = ()) -> int:
        data = frame.serialize(mask=False, extensions=extensions)
        self._output.append(data)
        self._waiting += len(data)
        return self._waiting
