"""HTTP/1.1, read: bytes to requests, in order.

Heads are `HeadReader`'s. This module decides what is read, and when: what belongs to a body and to its framing, what
lies behind a request that is still being answered, and what breaks the rules. What a request is answered with, and how
the connection ends, is http1_handler.py's.

A body of a length is counted here. One in chunks is httptools's, which is given no byte behind its end. What lies
behind a request stays as it came until the response is complete, and reading stops, so that a flood of pipelined
requests costs its sender and not us, and an upgrade waits its turn by itself.

The module is compiled by Cython where the extension was built (http1_reader.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, HttpRequestParser

from fastws.errors import RequestError
from fastws.http.head import RequestHead
from fastws.http.head_scan import asked_for
from fastws.net.http_handler import HttpHandler

if TYPE_CHECKING:
    from fastws.net.http_handler import Exchange

DISCARD_BYTES = 262144
"""How much of a request body nobody wanted is read and thrown away before the connection is closed instead."""

CHUNK_OVERHEAD_BYTES = 12
"""Framing bytes that each chunk of a body may have before they count towards the limit on the head."""

CHUNKED_HEAD = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
"""What lets httptools read a body in chunks, whatever the real head was: on an Upgrade it would take none for one."""


def shown(head: RequestHead) -> str:
    """Method and path of `head` for the log, as `asked_for` has them."""
    return asked_for(b"%b %b" % (head.method.encode("ascii"), head.target))


class Http1Reader(HttpHandler):
    """Makes requests of the bytes of a connection; `Http1Handler` answers them."""

    def _expect_first(self) -> None:
        """Nothing was read yet: what `Http1Handler` begins with."""
        self._head: RequestHead | None = None
        self._stash: bytes = b""
        # The body that is arriving, and who reads its chunks.
        self._parser: HttpRequestParser | None = None
        self._in_body: bool = False
        self._body_left: int = 0
        self._body_bytes: int = 0
        self._framing_bytes: int = 0
        self._discarded: int = 0
        self._tail_open: bool = False
        # The request that is being answered; what comes behind it waits.
        self._current: Exchange | None = None
        self._closing: bool = False

    # What becomes of what was read: `Http1Handler` has it.

    def _serve(self, head: RequestHead) -> None:
        """The head of a request is read: begin to answer it. Raises RequestError."""
        raise NotImplementedError

    def _begin(self, head: RequestHead) -> None:
        """Begin to answer the request of `head` by the application. Raises RequestError."""
        raise NotImplementedError

    def _goes_on(self, data: bytes, position: int) -> bool:
        """Whether what lies behind the head that ends at `position` of `data` is parsed; else it was seen to."""
        raise NotImplementedError

    def _goes_to_http2(self, data: bytes) -> bool:
        """Whether `data`, which is no request, is the beginning of HTTP/2 and was seen to."""
        raise NotImplementedError

    def _fail(self, error: RequestError, head_only: bool = False, asked: str = "") -> None:
        """Refuse the request that is arriving, and close; `asked` is its method and path for the log, if known."""
        raise NotImplementedError

    def _linger(self) -> None:
        """Close, but let a peer that still sends read our last response first (RFC 9112 section 9.6)."""
        raise NotImplementedError

    # Bytes to requests.

    def _parse(self, data: bytes) -> None:
        """Parse `data` up to the end of a request whose response is not complete, and stash the rest."""
        position = 0
        length = len(data)
        self._stash = b""
        while position < length and not self._closing:
            if self._in_body:
                end = self._body_end(data, position)
                self._feed_body(data if end - position == length else data[position:end])
                position = end
                continue
            if self._current is not None:
                self._stash = data[position:] if position else data
                break
            try:
                head = self.state.heads.read(data, position)
                if head is None:
                    self._stash = data[position:] if position else data
                    break
                end = self.state.heads.end
                self._head = head
                self._serve(head)
            except RequestError as error:
                if error.status == 505 and not position and self._goes_to_http2(data):
                    return
                self._fail(error, data.startswith(b"HEAD ", position), asked_for(data, position))
                return
            position = end
            if not self._goes_on(data, position):
                return
        self.update_reading()

    def _feed_body(self, data: bytes) -> None:
        """Parse `data`, a part of the body that does not reach beyond its end."""
        head = self._head
        parser = self._parser
        assert head is not None
        if not head.chunked:
            self._take_body(data)
            if not self._body_left:
                self._end_body()
        else:
            assert parser is not None
            try:
                parser.feed_data(data)
            except HttpParserCallbackError:
                raise
            except HttpParserError:
                self._fail(RequestError(400, "The request body is malformed."))
                return
        config = self.state.config
        if config.limit_request_body is not None and self._body_bytes > config.limit_request_body:
            self._fail(RequestError(413, "The request body is too large."))
            return
        if self._in_body and head.chunked:
            self._framing_bytes += len(data)
            if self._framing_bytes > config.limit_request_head:
                self._fail(RequestError(431, "The framing of the request body is too long."))
        if self._discarded > DISCARD_BYTES and not self._closing:
            self._linger()

    def _body_end(self, data: bytes, position: int) -> int:
        """Where to stop so that the parser is never given a byte behind the body.

        A chunked body can only end with an empty line, so each of those is a stop; one that began in the bytes before
        is met by going on byte by byte.
        """
        head = self._head
        assert head is not None
        if not head.chunked:
            return min(len(data), position + self._body_left)
        if self._tail_open:
            end = position + 1
        else:
            found = data.find(b"\r\n\r\n", position)
            end = found + 4 if found >= 0 else len(data)
        self._tail_open = data[end - 1] in b"\r\n"
        return end

    def _begin_body(self, head: RequestHead) -> None:
        """Expect the body that `head` promises, if any."""
        self._in_body = head.has_body
        self._body_left = head.content_length or 0
        self._body_bytes = 0
        self._framing_bytes = 0
        self._tail_open = False
        self._discarded = 0
        if head.chunked:
            parser = self._parser
            if parser is None:
                parser = self._parser = HttpRequestParser(self)
            parser.feed_data(CHUNKED_HEAD)

    def _take_body(self, data: bytes) -> None:
        """A piece of the body."""
        size = len(data)
        self._body_left -= size
        self._body_bytes += size
        self._framing_bytes -= size
        limit = self.state.limit_request_body
        if limit is not None and self._body_bytes > limit:
            return  # whoever feeds the parser sees it too
        if self._current is not None:
            self._current.body_received(data)
        else:
            self._discarded += size

    def _end_body(self) -> None:
        self._in_body = False
        if self._current is not None:
            self._current.body_completed()

    # What httptools calls for a body in chunks.

    def on_body(self, data: bytes) -> None:
        self._take_body(data)

    def on_chunk_header(self) -> None:
        self._framing_bytes -= CHUNK_OVERHEAD_BYTES

    def on_message_complete(self) -> None:
        if self._in_body:
            self._end_body()
