"""What compresses messages: zlib, or ISA-L where the package `isal` is installed (the extra `isal`).

A backend makes compressors of raw deflate streams that know zlib's flushes; what flows through them is deflate.py's
business. Inflating is always zlib's: ISA-L is slower at it for small messages, and what a peer sends is better read by
one implementation than by two. docs/performance.md has the figures, and why zlib-ng is no backend.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fastws.distribution import install_line
from fastws.errors import ConfigError
from fastws.websocket.events import Failure

BACKEND_NAMES: Final = ("auto", "zlib", "isal")

_ISAL_LEVELS: Final = (1, 1, 1, 1, 1, 1, 2, 2, 3)
"""ISA-L's levels for 1 to 9: its second takes longer than its first for hardly a byte less, its third much longer."""


class Compressor(Protocol):
    """A stream that compresses."""

    def message(self, data: bytes, mode: int, /) -> bytes:
        """What one message leads to, without the four bytes 00 00 FF FF of the flush that it ends with.

        `mode` is zlib's Z_SYNC_FLUSH or Z_FULL_FLUSH.
        """


class Decompressor(Protocol):
    """What inflates whole messages that refer to no earlier one; it holds nothing of one between two calls."""

    def message(self, data: bytes, window_bits: int, limit: int, /) -> bytes | Failure:
        """The message, or why it cannot be had: it is none, or longer than `limit` bytes."""


class _Stream:
    """A `Compressor` of what `zlib.compressobj` and its likes return."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def message(self, data: bytes, mode: int, /) -> bytes:
        made: bytes = (self._stream.compress(data) + self._stream.flush(mode))[:-4]
        return made


@dataclass(frozen=True)
class Backend:
    """One way to compress. `make(level, window_bits, mem_level)` returns a new compressor: 1 to 9, 9 to 15, 1 to 9."""

    name: str
    make: Callable[[int, int, int], Compressor]


def _make_zlib(level: int, window_bits: int, mem_level: int) -> Compressor:
    # Late: a supervisor reads options without anything compiled.
    try:
        from fastws.websocket import _zlib
    except ImportError:
        return _Stream(zlib.compressobj(level, zlib.DEFLATED, -window_bits, mem_level))
    return _zlib.Compressor(level, window_bits, mem_level)


def load_decompressor() -> Decompressor | None:
    """A decompressor for whole messages, where there is one that is faster than `zlib.decompressobj`."""
    try:
        from fastws.websocket import _zlib
    except ImportError:
        return None
    return _zlib.Decompressor()


ZLIB: Final = Backend("zlib", _make_zlib)


def load_backend(name: str, *, context_takeover: bool = False) -> Backend:
    """The backend of that name, one of BACKEND_NAMES.

    "auto" is isal where that can be imported and no context is kept between messages, else zlib: with a context, zlib's
    messages are a quarter shorter, and its streams take less memory. Raises ConfigError where isal was asked for and
    cannot be imported.
    """
    if name == "zlib" or (name == "auto" and context_takeover):
        return ZLIB
    try:
        from isal import isal_zlib
    except ImportError as error:
        if name == "auto":
            return ZLIB
        raise ConfigError(f"--ws-deflate-backend: isal cannot be imported ({error}); {install_line('isal')}") from error

    def make(level: int, window_bits: int, mem_level: int) -> Compressor:
        return _Stream(isal_zlib.compressobj(_ISAL_LEVELS[level - 1], zlib.DEFLATED, -window_bits, mem_level))

    return Backend("isal", make)
