"""A channel without a socket: what a class above `Channel` does to it is there to be looked at."""

from __future__ import annotations

from typing import Any

from fastws.config import Config
from fastws.net.channel import Channel
from fastws.net.loop_core import LoopCore


class FakeChannel(Channel):
    """Keeps what is written, a list for each write, and what was asked of it."""

    def __init__(self, state: LoopCore) -> None:
        super().__init__(state)
        self.written: list[bytes] = []
        self.ended = ""
        """How we have ended it: "closed", "half-closed" or "aborted"."""
        self.waiting = 0
        """Bytes that the peer has not taken."""

    def put(self, chunks: list[bytes]) -> None:
        self.written.append(b"".join(chunks))

    def take(self) -> list[bytes]:
        """The writes since the last call."""
        written, self.written = self.written, []
        return written

    def unsent(self) -> int:
        return self.waiting

    def stop_reading(self) -> None:
        pass

    def start_reading(self) -> None:
        pass

    def is_gone(self) -> bool:
        return self.ended == "aborted"

    def is_closing(self) -> bool:
        return self.ended in ("closed", "aborted")

    def may_half_close(self) -> bool:
        return True

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def write_eof(self) -> bool:
        self.ended = "half-closed"
        return True


def loop_core(loop: Any, **options: Any) -> LoopCore:
    """What a loop shares, with these options of Config's."""
    return LoopCore(loop, Config("app:app", **options), None, None, secure=False, on_error=None)
