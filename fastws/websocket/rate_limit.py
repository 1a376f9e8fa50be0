"""Messages and bytes a second of one WebSocket, counted for each read. Sans-IO: time is an argument.

Two buckets that fill at the allowed rate and hold what is allowed in BURST_SECONDS, so that a peer may be lively for a
while; the clock may be as coarse as a second.
"""

from __future__ import annotations

from typing import Final

from fastws.websocket.events import Failure
from fastws.websocket.failures import TOO_MANY_BYTES, TOO_MANY_MESSAGES

BURST_SECONDS: Final = 5.0


class RateLimit:
    """What one peer may still send; a rate, in units a second, may be None."""

    __slots__ = ("_byte_rate", "_bytes", "_message_rate", "_messages", "_since")

    def __init__(self, message_rate: float | None, byte_rate: float | None, now: float) -> None:
        self._message_rate = float("inf") if message_rate is None else message_rate
        self._byte_rate = float("inf") if byte_rate is None else byte_rate
        self._since = now
        # At least one message: a rate may be one in ten seconds.
        self._messages = max(1.0, self._message_rate * BURST_SECONDS)
        self._bytes = self._byte_rate * BURST_SECONDS

    def take(self, messages: int, size: int, now: float) -> Failure | None:
        """Count what a read at `now` has brought: `messages` in `size` bytes. Returns what is too much."""
        passed = now - self._since
        if passed > 0.0:
            self._since = now
            rate = self._message_rate
            self._messages = min(max(1.0, rate * BURST_SECONDS), self._messages + rate * passed)
            rate = self._byte_rate
            self._bytes = min(rate * BURST_SECONDS, self._bytes + rate * passed)
        self._messages -= messages
        self._bytes -= size
        if self._messages < 0.0:
            return TOO_MANY_MESSAGES
        return TOO_MANY_BYTES if self._bytes < 0.0 else None
