"""Responses over HTTP/2: the same cycle, written as header blocks and data of a stream.

What an application may send, and when, is http_cycle.py's and opening.py's; here is only what differs on the wire. A
block that an application sends again and again is written once, for all connections. The module is compiled by Cython
where the extension was built (http2_cycle.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastws.asgi.http_cycle import HttpCycle
from fastws.asgi.opening import Opening
from fastws.asgi.responder import Responder
from fastws.errors import ApplicationError, RequestError
from fastws.http.framing import Framing, frame_response
from fastws.http.head import Header
from fastws.http.header_blocks import lines_block, status_field
from fastws.http.response_head import ResponseHead, response_head
from fastws.net.channel import Channel
from fastws.net.http2_request import error_block, error_body
from fastws.net.http2_stream import Http2Stream
from fastws.websocket.handshake import accept_fields, accept_key

if TYPE_CHECKING:
    from fastws.net.loop_state import LoopState

NO_BODY = Framing.NONE


class Http2Responder(Responder):
    """Writes the response that denies a WebSocket."""

    def _write_body(self, body: bytes, more: bool) -> None:
        stream: Http2Stream = self.connection  # type: ignore[assignment]
        write_body(self, stream, body, more, False)


class Http2Cycle(HttpCycle):
    """A request on a stream, and its response."""

    def _write_hint(self, hint: ResponseHead) -> None:
        stream: Http2Stream = self.connection  # type: ignore[assignment]
        stream.send_interim(status_field(103) + lines_block(hint.fields))

    def _ask_for_body(self) -> None:
        stream: Http2Stream = self.connection  # type: ignore[assignment]
        stream.send_interim(status_field(100))

    def _write_body(self, body: bytes, more: bool) -> None:
        stream: Http2Stream = self.connection  # type: ignore[assignment]
        write_body(self, stream, body, more, True)

    def _write_trailers(self, fields: Iterable[Header]) -> None:
        stream: Http2Stream = self.connection  # type: ignore[assignment]
        if self._framing is not NO_BODY and fields:
            stream.send_head(lines_block(response_head(204, fields).fields), True)


def write_body(responder: Responder, stream: Http2Stream, body: bytes, more: bool, settles: bool) -> None:
    """`Responder._write_body` on a stream; `settles`: its end settles the stream."""
    response = responder._response
    assert response is not None
    framing = responder._framing
    block = b""
    if framing is None:
        whole = None if more or responder._trailers else len(body)
        framing, _, lines = frame_response(responder.head.method, "1.1", True, response, whole)
        own, with_lines = responder.own_lines, responder.shared.head_lines
        if own is None and response.block_with is with_lines:
            block = response.block
        else:
            block = status_field(response.status) + lines_block(response.fields + responder._default_lines(response))
            if own is None:
                response.block, response.block_with = block, with_lines
        if lines:
            block += lines_block(lines)
    size = len(body)
    responder._check_length(framing, size, more)
    responder._framing = framing
    if framing is NO_BODY:
        stream.burst += size
        body = b""
    else:
        responder.body_bytes += size
    ends = not more and not responder._trailers
    if ends and settles:
        stream.settle()
    if block and ends:
        stream.send_whole(block, body)
    else:
        if block:
            stream.send_head(block)
        if ends:
            stream.write_last(body)
        elif body:
            stream.write(body)


class Http2Opening(Opening):
    """A handshake by extended CONNECT (RFC 8441)."""

    __slots__ = ()

    def _accepted(self, event: dict[str, Any], extensions: bytes | None, shared: LoopState) -> bytes:
        headers = event.get("headers") or ()
        lines = accept_fields(self._upgrade, event.get("subprotocol"), headers, extensions, shared.head_lines)
        key = self._upgrade.key
        if key:
            lines = b"sec-websocket-accept: " + accept_key(key) + b"\r\n" + lines
        return status_field(200) + lines_block(lines)

    def answer(self, connection: Channel, response: bytes) -> None:
        stream: Http2Stream = connection  # type: ignore[assignment]
        stream.send_head(response)

    def refuse(self, error: RequestError, connection: Channel, shared: LoopState) -> None:
        stream: Http2Stream = connection  # type: ignore[assignment]
        stream.send_head(error_block(error, shared.head_lines))
        stream.write_last(error_body(error))

    def start_denial(self, event: dict[str, Any], connection: Channel, shared: LoopState) -> None:
        status = event.get("status")
        if isinstance(status, int) and 200 <= status < 300:  # that would accept it (RFC 8441 section 5)
            raise ApplicationError(f"A WebSocket over HTTP/2 cannot be denied with the status {status}.")
        Opening.start_denial(self, event, connection, shared)

    def _responder(self, connection: Channel, shared: LoopState) -> Responder:
        return Http2Responder(connection, shared, self._head, False)
