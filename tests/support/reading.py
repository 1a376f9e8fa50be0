"""Reads a request head as the connection does: `scan_head`, then httptools, then `read_request`; whole or in steps."""

from __future__ import annotations

import httptools

from fastws.errors import RequestError
from fastws.http.head import Header, RequestHead, read_request
from fastws.http.head_scan import DEFAULT_LIMITS, Limits, parse_failure, read_request_line, scan_head


class IncompleteHead(Exception):
    """The bytes end before the head does."""


class _Callbacks:
    def __init__(self, raw: bytes, limits: Limits) -> None:
        self.raw = raw
        self.limits = limits
        self.target = b""
        self.fields: list[Header] = []
        self.head: RequestHead | None = None
        self.error: RequestError | None = None
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        try:
            line = read_request_line(self.raw)
            assert line == (parser.get_method(), self.target, parser.get_http_version()), "read otherwise by httptools"
            self.head = read_request(*line, self.fields, self.limits)
        except RequestError as error:
            self.error = error


def receive_head(data: bytes, *, step: int = 0, limits: Limits = DEFAULT_LIMITS) -> tuple[RequestHead, bytes]:
    """Read the head at the start of `data`, `step` bytes at a time (0: all at once); returns it and the bytes after it.

    Raises RequestError, or IncompleteHead.
    """
    step = step or len(data) or 1
    buffer = bytearray()
    end = -1
    for i in range(0, len(data), step):
        buffer += data[i : i + step]
        end = scan_head(buffer, 0, limits)
        if end >= 0:
            break
    else:
        raise IncompleteHead
    callbacks = _Callbacks(bytes(buffer[:end]), limits)
    upgraded_at = None
    try:
        for i in range(0, end, step):
            callbacks.parser.feed_data(bytes(buffer[i : min(i + step, end)]))
    except httptools.HttpParserUpgrade as error:
        upgraded_at = i + error.args[0]
    except httptools.HttpParserError as error:
        raise callbacks.error or parse_failure(
            str(error), callbacks.parser.get_http_version(), bytes(buffer[:end])
        ) from None
    if callbacks.error is not None:
        raise callbacks.error
    assert callbacks.head is not None
    assert upgraded_at == (end if callbacks.parser.should_upgrade() else None)
    return callbacks.head, data[end:]


def refusal(data: bytes, *, step: int = 0, limits: Limits = DEFAULT_LIMITS) -> RequestError | None:
    """The error that `data` gets, or None."""
    try:
        receive_head(data, step=step, limits=limits)
    except RequestError as error:
        return error
    return None
