"""Bytes out of the buffer that all connections of a loop are read to."""

from __future__ import annotations

from contextlib import suppress


def copied(buffer: memoryview, size: int) -> bytes:
    """The first `size` bytes of `buffer`."""
    return bytes(buffer[:size])


with suppress(ImportError):  # the same, compiled
    from fastws.net._copying import copied  # noqa: F401
