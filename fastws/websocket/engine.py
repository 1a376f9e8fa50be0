"""The seam between WebSocket implementations: what an engine is. The engines are in fastws/websocket/engines/.

An engine is a sans-IO object for one open WebSocket, server side, made after the handshake. It turns bytes into events
and messages into bytes, and does nothing of its own accord: it answers no Ping and no Close, and a protocol error is a
value (`fastws.websocket.events.Failure`) with the code that the session above should send. The same bytes give the same
events on every engine. The handshake, keepalive, flow control and timeouts are not here.

It is a base class and not a `typing.Protocol` so that the compiled session reaches the compiled engine without looking
its methods up (engine.pxd); an engine in Python overrides the same methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from fastws.websocket.deflate_messages import Deflater, Inflater
    from fastws.websocket.events import Event

INFLATE_BUDGET: Final = 262_144
"""Inflated bytes after which one call of `receive_data` begins no further frame: a read can hold a thousand times its
size in compressed messages, and the session must be able to stop."""


class Engine:
    """One open WebSocket, server side, as bytes and events (RFC 6455 sections 5 to 7)."""

    name: ClassVar[str] = ""
    """What `--ws` calls it."""

    def __init__(
        self, max_message_size: int, inflater: Inflater | None = None, deflater: Deflater | None = None
    ) -> None:
        """Make an engine for messages of at most `max_message_size` bytes, inflated; text counts as UTF-8.

        `inflater` and `deflater` are given where permessage-deflate was negotiated.
        """
        self.deflater: Deflater | None = deflater
        self.rest: bytes | None = None
        """What the last call of `receive_data` has not read, since its messages inflate to over INFLATE_BUDGET."""
        raise NotImplementedError

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """The events that `data` completes, in order. `data` is not used after the call.

        Where compressed messages inflate to over INFLATE_BUDGET, the frames behind them are kept, as they came, in
        `rest`: the next call reads them before its own data, which may be empty.

        Messages before a bad frame come first, then the Failure: on the header alone where that shows it, at the first
        impossible byte of a text. After a Close or a Failure all further data is ignored.
        """
        raise NotImplementedError

    def receive_from(self, buffer: memoryview, size: int) -> list[Event]:
        """As `receive_data`, of the first `size` bytes of `buffer`."""
        return self.receive_data(buffer[:size])

    def wanted(self) -> int:
        """How many bytes at most may be read to `place`, where they are not copied again; 0 where nothing is to be.

        They are for a transport that reads in C (`fastws.net._sockets`) and an engine with a large frame under way.
        """
        return 0

    def place(self) -> int:
        """The address where `wanted` bytes may be read to, after which comes `receive_placed`."""
        raise NotImplementedError

    def receive_placed(self, size: int) -> list[Event]:
        """As `receive_data`, of `size` bytes that were read to `place`."""
        raise NotImplementedError

    def receive_eof(self) -> None:
        """The peer will send nothing more: a message or frame that was begun is dropped."""
        raise NotImplementedError

    def send_text(self, text: str) -> int:
        """Append a text message to the output; the bytes that wait there.

        Raises UnicodeEncodeError for a lone surrogate, TypeError for anything but str. Nothing is written then.
        """
        raise NotImplementedError

    def send_bytes(self, data: bytes | bytearray | memoryview) -> int:
        """Append a binary message to the output; the bytes that wait there.

        Raises TypeError or BufferError for anything but contiguous bytes.
        """
        raise NotImplementedError

    def append_frame(self, frame: bytes) -> int:
        """Append a frame that was built elsewhere, or several, as they are; the bytes that wait there."""
        raise NotImplementedError

    def send_ping(self, payload: bytes = b"") -> int:
        """Append a Ping; the bytes that wait. Raises ValueError for over 125 bytes."""
        raise NotImplementedError

    def send_pong(self, payload: bytes = b"") -> int:
        """Append a Pong; the bytes that wait. Raises ValueError for over 125 bytes."""
        raise NotImplementedError

    def send_close(self, code: int = 1000, reason: str = "") -> int:
        """Append a Close; the bytes that wait. Code 1005, without a reason, sends a Close without a code.

        Raises ValueError for a code that may not be sent or a reason over 123 bytes of UTF-8.
        """
        raise NotImplementedError

    def data_to_send(self) -> list[bytes]:
        """Take the output: frames, or parts of frames, to be written in this order."""
        raise NotImplementedError
