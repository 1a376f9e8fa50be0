"""What an engine reports: the values between the WebSocket engines and the session above them.

A data message is the plain ``str`` or ``bytes`` that the application will get, so that the common case
needs no object of ours. Control frames and failures are the small classes below. Nothing here acts.
"""

from __future__ import annotations

from typing import Final, TypeAlias


class Ping:
    """A Ping frame (RFC 6455 section 5.5.2); `payload` has at most 125 bytes."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload: Final = payload

    def __repr__(self) -> str:
        return f"Ping({self.payload!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.payload == self.payload

    def __hash__(self) -> int:
        return hash((type(self), self.payload))


class Pong(Ping):
    """A Pong frame (RFC 6455 section 5.5.3); `payload` has at most 125 bytes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Pong({self.payload!r})"


class Close:
    """A valid Close frame of the peer (RFC 6455 section 5.5.1); `code` is 1005 where the frame had none."""

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str) -> None:
        self.code: Final = code
        self.reason: Final = reason

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code}, {self.reason!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and (other.code, other.reason) == (self.code, self.reason)

    def __hash__(self) -> int:
        return hash((type(self), self.code, self.reason))


class Failure(Close):
    """The peer broke the protocol or a limit: `code` and `reason` belong in the Close frame we send."""

    __slots__ = ()


Event: TypeAlias = str | bytes | Ping | Close
"""One thing an engine read. After a `Close` or a `Failure` an engine reports nothing more."""
