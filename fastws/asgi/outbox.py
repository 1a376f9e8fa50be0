# cython: nonecheck=False
"""What is written on one WebSocket, in which order, and when.

An output is written as late as helps and as early as matters: at once when the application sends a first message,
together with others when more messages wait to be answered (it is corked), and at the latest when the application
waits, at CORK_BYTES or when the turn of the loop ends. What subscriptions bring is written in the order in which it
came.

What may be sent in which state is decided above (session.py). This module is compiled by Cython where the extension was
built (outbox.pxd), else interpreted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastws.asgi.inbox import Inbox
from fastws.asgi.responder import plain_event
from fastws.asgi.states import describe_bad_message
from fastws.asgi.subscriber import Subscriber
from fastws.errors import ApplicationError
from fastws.net.channel import Channel

if TYPE_CHECKING:
    from fastws.net.loop_state import LoopState

CORK_BYTES = 65536
"""Bytes of corked output that are written without waiting for more."""


class Outbox(Inbox):
    """The way out of a WebSocket whose `engine` is there."""

    def _prepare(self, connection: Channel, state: LoopState) -> None:
        Inbox._prepare(self, connection, state)
        self.subscriber: Subscriber | None = None  # where it has subscribed to topics
        self._direct: bool = True  # the next message is the first since the application came back for more
        self._corked: bool = False  # the loop's turn is asked to end with a call of `end_of_turn`

    # What the application sends.

    def send_event(self, event: Any) -> asyncio.Future[None] | None:
        """Do what `event` asks; returns a future where the application must wait for the peer to read.

        Raises ApplicationError for an event that is malformed or not allowed now, ClientDisconnected after the end.
        """
        return self._send_event(event if type(event) is dict else plain_event(event))

    def _send_event(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        return self._send_message(event)

    def _send_message(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        """Send the message in `event`; returns what the application must wait for. Raises ApplicationError."""
        engine = self.engine
        assert engine is not None
        text = event.get("text")
        data = event.get("bytes") if text is None or len(event) > 2 else None
        if self.subscriber is not None:
            self.subscriber.settle()
        if data is None and isinstance(text, str):
            pending = engine.send_text(text)
        elif text is None and isinstance(data, (bytes, bytearray, memoryview)):
            pending = engine.send_bytes(data)
        else:
            raise ApplicationError(describe_bad_message(text, data))
        self._last_message = self.shared.now
        if self._traffic is not None:
            self._traffic.sent(text if data is None else data)
        if self._queue is None and self._direct:
            self._direct = False
            self._flush()
        elif pending >= CORK_BYTES:
            self._flush()
        elif not self._corked:
            self._corked = True
            self.shared.cork(self)
        return self.connection.wait_for_room()

    def _application_waits(self) -> None:
        """The application has come back for more, and there is nothing: write what it has sent."""
        self._busy = False
        self._direct = True
        self._flush()
        self.connection.burst = 0  # The loop turns before the application goes on.

    def end_of_turn(self) -> None:
        self._corked = False
        self._direct = True
        self._flush()

    def give_up(self, error: Exception) -> None:
        self.shared.give_up(self.connection, error)

    def _flush(self) -> None:
        engine = self.engine
        if engine is not None:
            chunks = engine.data_to_send()
            if chunks:
                self.connection.write_all(chunks)

    # What its subscriptions bring.

    def count_sent(self, size: int) -> None:
        """A publication of `size` bytes is sent."""
        if self._traffic is not None:
            self._traffic.sent_size(size)

    def write_frames(self, frames: list[bytes] | None) -> None:
        """Write `frames`, which are others' too, behind what waits to be written."""
        connection, engine = self.connection, self.engine
        assert engine is not None
        self._last_message = self.shared.now
        chunks = engine.data_to_send()
        if chunks and frames:
            chunks.extend(frames)
            frames = chunks
        elif frames is None:
            frames = chunks
        if frames:
            connection.write_all(frames)

    def writing_resumed(self) -> None:
        if self.subscriber is not None:
            self.subscriber.resume()
