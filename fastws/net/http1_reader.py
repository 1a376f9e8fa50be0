"""HTTP/1.1, read: bytes to requests, in order.

httptools parses; this module decides what it is given, and when: where a head ends, what belongs to a body and to its
framing, what lies behind a request that is still being answered, and what breaks the rules. What a request is answered
with, and how the connection ends, is http1_handler.py's.

The parser is given exactly one message at a time: a head as soon as it is whole and its raw bytes have passed
`scan_head`, then its body. What lies behind a message stays unparsed until the response is complete, and reading stops,
so that a flood of pipelined requests costs its sender and not us, and an upgrade waits its turn by itself.

The module is compiled by Cython where the extension was built (http1_reader.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from fastws.errors import RequestError
from fastws.http.head import RequestHead, plain_head, read_request
from fastws.http.head_scan import asked_for, parse_failure, read_request_line, scan_head
from fastws.net.http_handler import HttpHandler

if TYPE_CHECKING:
    from fastws.net.http_handler import Exchange

DISCARD_BYTES = 262144
"""How much of a request body nobody wanted is read and thrown away before the connection is closed instead."""

REPEATED_HEAD_BYTES = 1024
"""Heads up to this size are remembered where they come again, in `LoopCore.heads`."""

CHUNK_OVERHEAD_BYTES = 12
"""Framing bytes that each chunk of a body may have before they count towards the limit on the head."""


def shown(head: RequestHead) -> str:
    """Method and path of `head` for the log, as `asked_for` has them."""
    return asked_for(b"%b %b" % (head.method.encode("ascii"), head.target))


class Http1Reader(HttpHandler):
    """Makes requests of the bytes of a connection; `Http1Handler` answers them."""

    def _expect_first(self) -> None:
        """Nothing was read yet: what `Http1Handler` begins with."""
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._raw_head: bytes = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: RequestHead | None = None
        self._stash: bytes = b""
        # The body that is arriving.
        self._in_body: bool = False
        self._body_left: int = 0
        self._body_bytes: int = 0
        self._framing_bytes: int = 0
        self._discarded: int = 0
        self._tail_open: bool = False
        self._muted: bool = False
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

    def _hands_over(self) -> bool:
        """Whether what follows the head that was just read is no HTTP, and for somebody else."""
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
        if length <= REPEATED_HEAD_BYTES and self._current is None and not self._in_body:
            head = self.state.heads.found.get(data)
            if head is not None:
                self._repeat(head)
                return
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
                end = scan_head(data, position, self.state.limits)
                if end < 0:
                    self._stash = data[position:] if position else data
                    break
                raw = data if end - position == length else data[position:end]
                self._feed_head(raw)
            except RequestError as error:
                if error.status == 505 and not position and self._goes_to_http2(data):
                    return
                self._fail(error, data.startswith(b"HEAD ", position), asked_for(data, position))
                return
            position = end
            if len(raw) <= REPEATED_HEAD_BYTES and self._current is not None:
                self._remember(raw)
            if not self._goes_on(data, position):
                return
        self.update_reading()

    def _repeat(self, head: RequestHead) -> None:
        """Begin to answer a request whose head, byte by byte, has come before and brought no body and no upgrade.

        The parser does not see it: between two requests it is where it was before the first.
        """
        self._head = head
        try:
            self._begin(head)
        except RequestError as error:
            self._fail(error, head.method == "HEAD", shown(head))
            return
        if self.connection.reading_paused:
            self.update_reading()

    def _remember(self, raw: bytes) -> None:
        """Keep the request that has just begun for when its head, `raw`, comes again."""
        head = self._head
        assert head is not None
        if not self._in_body and b"upgrade" not in head.fields and self.state.heads.keep(raw, head):
            head.headers = head.headers.copy()  # the application has the list, and may change it
            head.repeated = True

    def _feed_head(self, data: bytes) -> None:
        """Parse `data`, a whole head, and begin to answer it. Raises RequestError."""
        parser = self._parser
        assert parser is not None
        self._headers = []
        self._raw_head = data
        try:
            parser.feed_data(data)
        except HttpParserUpgrade:
            if not self._hands_over():
                self._resume_behind_refused_upgrade()
        except HttpParserCallbackError as error:
            if isinstance(error.__context__, RequestError):
                raise error.__context__ from None
            raise
        except HttpParserError as error:
            raise parse_failure(str(error), parser.get_http_version(), data) from None

    def _feed_body(self, data: bytes | memoryview) -> None:
        """Parse `data`, a part of the body that does not reach beyond its end."""
        head = self._head
        parser = self._parser
        assert head is not None
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

    def _resume_behind_refused_upgrade(self) -> None:
        """Go on with HTTP behind the head of a request whose upgrade we do not make (RFC 9110 section 7.8).

        httptools would take what follows for another protocol. A new parser is brought to the same place by a head that
        has the same framing, and whose callbacks are ignored: nothing inside the body can be read as a request.
        """
        head = self._head
        assert head is not None
        self._parser = HttpRequestParser(self)
        if head.has_body:
            self._parser.feed_data(plain_head(head))
        self._muted = False

    # What httptools calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # else it is a trailer field, which ASGI has no place for
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._muted:
            return
        parser, state, headers = self._parser, self.state, self._headers
        assert parser is not None
        self._headers = []
        raw, self._raw_head = self._raw_head, b""
        method, target, version = read_request_line(raw)
        head = read_request(method, target, version, headers, state.limits)
        self._head = head
        self._serve(head)

    def _begin_body(self, head: RequestHead) -> None:
        """Expect the body that `head` promises, if any."""
        self._in_body = head.has_body
        self._body_left = head.content_length or 0
        self._body_bytes = 0
        self._framing_bytes = 0
        self._tail_open = False
        self._discarded = 0
        # On an upgrade httptools reports the end of the message next, body or not.
        assert self._parser is not None
        self._muted = self._parser.should_upgrade()

    def on_body(self, data: bytes) -> None:
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

    def on_chunk_header(self) -> None:
        self._framing_bytes -= CHUNK_OVERHEAD_BYTES

    def on_message_complete(self) -> None:
        if self._in_body and not self._muted:
            self._in_body = False
            if self._current is not None:
                self._current.body_completed()
