"""Lines of the log that a peer can provoke: so many of a kind a second, and how many were left out.

Each kind has a bucket of lines that fills up by one a second: a kind that peers cause has room for one, so that the
first is seen at once; errors of the application have room for several, since the second and third may differ. What was
left out is counted, and told one kind a second, the one that has waited longest: however many kinds a flood provokes,
it costs a line a second. Time is an argument.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any, Final

MAX_KINDS: Final = 256
"""Kinds that are remembered; beyond, they share one bucket."""


class _Kind:
    """The bucket of one kind, with the last line of it that was left out."""

    __slots__ = ("arguments", "left_out", "level", "message", "room", "since", "tokens")

    def __init__(self, room: int, now: float) -> None:
        self.room = room
        self.tokens = float(room)
        self.since = now
        self.left_out = 0
        self.level = 0
        self.message = ""
        self.arguments: tuple[object, ...] = ()

    def take(self, now: float) -> bool:
        """Whether there is room for a line at `now`."""
        self.tokens = min(self.room, self.tokens + now - self.since)
        self.since = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class LogLimit:
    """Writes to `logger`; `now` is in seconds, of any clock that does not go back."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._kinds: dict[Hashable, _Kind] = {}
        self._waiting: dict[Hashable, _Kind] = {}
        self._told = float("-inf")

    def log(
        self,
        now: float,
        level: int,
        message: str,
        *arguments: object,
        kind: Hashable = None,
        room: int = 1,
        exc_info: Any = None,
        request: Mapping[str, object] | None = None,
    ) -> None:
        """Log `message % arguments`, or count it; its kind is the message if not given, with `room` lines at once.

        The `request` that a line is about is named in it, and its `client`, `method` and `path` are attributes of the
        record; a line that counts is about no single one.
        """
        kind = message if kind is None else kind
        bucket = self._kinds.get(kind)
        if bucket is None:
            if len(self._kinds) >= MAX_KINDS:
                kind = MAX_KINDS
            bucket = self._kinds.setdefault(kind, _Kind(room, now))
        if not bucket.left_out and bucket.take(now):
            if request is not None:
                message = f'{message} (%s - "%s %s")'
                arguments = (*arguments, request["client"], request["method"], request["path"])
            self._logger.log(level, message, *arguments, exc_info=exc_info, extra=request)
            return
        bucket.left_out += 1
        bucket.level, bucket.message, bucket.arguments = level, message, arguments
        self._waiting[kind] = bucket

    def tick(self, now: float) -> None:
        """Tell how many lines were left out of the kind that has waited longest, among those that have room again."""
        if not self._waiting or now - self._told < 1.0:
            return
        for kind, bucket in self._waiting.items():
            if bucket.take(now):
                self._told = now
                message = f"{bucket.message} (%d like it)"
                self._logger.log(bucket.level, message, *bucket.arguments, bucket.left_out)
                bucket.left_out = 0
                bucket.arguments = ()
                del self._waiting[kind]
                return
