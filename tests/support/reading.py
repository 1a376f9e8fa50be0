"""Reads a request head as the connection does, whole or in steps, and by httptools alone: both must say the same."""

from __future__ import annotations

from fastws.errors import RequestError
from fastws.http.head import RequestHead
from fastws.http.head_reader import HeadReader
from fastws.http.head_scan import DEFAULT_LIMITS, Limits

ATTRIBUTES = sorted(name.lstrip("_") for name in RequestHead.__slots__)


class IncompleteHead(Exception):
    """The bytes end before the head does."""


def said(head: RequestHead) -> tuple[object, ...]:
    """All that `head` says."""
    return tuple(getattr(head, name) for name in ATTRIBUTES)


def receive_head(data: bytes, *, step: int = 0, limits: Limits = DEFAULT_LIMITS) -> tuple[RequestHead, bytes]:
    """Read the head at the start of `data`, `step` bytes at a time (0: all at once); returns it and the bytes after it.

    Raises RequestError, or IncompleteHead.
    """
    step = step or len(data) or 1
    reader, strict = HeadReader(limits), HeadReader(limits, strict=True)
    for i in range(0, len(data), step):
        come = data[: i + step]
        found = _read(reader, come)
        expected = _read(strict, come)
        assert _shown(found) == _shown(expected), "not as httptools reads it"
        if found is None:
            continue
        # What has come before is read from memory.
        for _ in range(3):
            assert _shown(_read(reader, come)) == _shown(expected), "another time otherwise"
        if isinstance(found, RequestError):
            raise found
        head, end = found
        return head, data[end:]
    raise IncompleteHead


def _read(reader: HeadReader, data: bytes) -> tuple[RequestHead, int] | RequestError | None:
    try:
        head = reader.read(data, 0)
    except RequestError as error:
        return error
    return None if head is None else (head, reader.end)


def _shown(found: tuple[RequestHead, int] | RequestError | None) -> object:
    if isinstance(found, RequestError):
        return (found.status, found.detail)
    return found and (said(found[0]), found[1])


def refusal(data: bytes, *, step: int = 0, limits: Limits = DEFAULT_LIMITS) -> RequestError | None:
    """The error that `data` gets, or None."""
    try:
        receive_head(data, step=step, limits=limits)
    except RequestError as error:
        return error
    return None
