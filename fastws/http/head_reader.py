"""Request heads of HTTP/1.1, read: from raw bytes to a `RequestHead`, or to the answer that they get.

Sans-IO. Where the extension was built, plain heads are read in C in one pass (`_plain_heads`). What is not plain, and
everything elsewhere, is looked at by `head_scan`, parsed by httptools and made sense of by `head`: what is refused, and
with which status, is decided there alone. What follows a head is not read here.

The module is compiled by Cython where the extension was built (head_reader.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from fastws.errors import RequestError
from fastws.http.head import Header, RequestHead, read_request
from fastws.http.head_scan import Limits, parse_failure, read_request_line, scan_head

if TYPE_CHECKING:
    from fastws.http._plain_heads import PlainHeads

plain_heads: Any
try:
    from fastws.http import _plain_heads as plain_heads
except ImportError:
    plain_heads = None


class HeadReader:
    """Reads the heads of all connections of a loop, each where it is whole; `strict`: all of them by httptools."""

    def __init__(self, limits: Limits, strict: bool = False) -> None:
        self.end: int = 0  # of the head that was read last, behind its empty line
        self._limits = limits
        self._plain: PlainHeads | None = None if strict or plain_heads is None else plain_heads.PlainHeads(limits)
        # What httptools has read of a head.
        self._raw: bytes = b""
        self._headers: list[Header] = []
        self._head: RequestHead | None = None

    def read(self, data: bytes, start: int) -> RequestHead | None:
        """The head that begins at `start` of `data`, and `end` is where it ends; None where it is not whole.

        Then it is to be asked again with more bytes. Raises RequestError: 400, 414, 417, 431, 501, 505.
        """
        plain = self._plain
        if plain is not None:
            head = plain.read(data, start)
            if head is not None:
                self.end = plain.end
                return head
        return self._read_strictly(data, start)

    def _read_strictly(self, data: bytes, start: int) -> RequestHead | None:
        end = scan_head(data, start, self._limits)
        if end < 0:
            return None
        self.end = end
        self._raw = raw = data[start:end]
        self._headers = []
        # A new one: what one has read decides what it refuses next, such as bytes behind `Proxy-Connection: close`.
        parser = HttpRequestParser(self)
        try:
            parser.feed_data(raw)
        except HttpParserUpgrade:
            pass  # whether it is made is decided elsewhere
        except HttpParserCallbackError as error:
            if isinstance(error.__context__, RequestError):
                raise error.__context__ from None
            raise
        except HttpParserError as error:
            raise parse_failure(str(error), parser.get_http_version(), raw) from None
        head, self._head = self._head, None
        assert head is not None
        return head

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        method, target, version = read_request_line(self._raw)
        self._head = read_request(method, target, version, self._headers, self._limits)
