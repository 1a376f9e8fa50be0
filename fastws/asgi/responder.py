"""A response, from an application's events to bytes: to a request (fastws.asgi.http_cycle), or denying a WebSocket.

This module is compiled by Cython where the extension was built (responder.pxd), else interpreted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

from fastws.errors import ApplicationError, ClientDisconnected
from fastws.http.framing import LAST_CHUNK, Framing, encode_chunk, frame_response, last_chunk
from fastws.http.head import Header, RequestHead
from fastws.http.response_head import ResponseHead, repeated_response_head, response_head
from fastws.net.channel import Channel
from fastws.net.http_handler import Exchange

if TYPE_CHECKING:
    from fastws.net.loop_state import LoopState

JOIN_BYTES = 65536
"""Up to this size a body is copied behind its head to be written as one; beyond, both are handed over as they are."""


class Stage(Enum):
    """Where a response is."""

    START = "before http.response.start"
    BODY = "in the response body"
    TRAILERS = "before http.response.trailers"
    DONE = "after the response"


START = Stage.START
BODY = Stage.BODY
TRAILERS = Stage.TRAILERS
DONE = Stage.DONE

NO_BODY = Framing.NONE
LENGTH = Framing.LENGTH
CHUNKED = Framing.CHUNKED
UNTIL_CLOSE = Framing.CLOSE

SENDABLE: dict[Stage, dict[str, str]] = {
    START: {"http.response.start": "_start", "http.response.early_hint": "_early_hint"},
    BODY: {"http.response.body": "_send_body"},
    TRAILERS: {"http.response.trailers": "_send_trailers"},
    DONE: {},
}
"""What an application may send at which stage, and the method of `Responder` that does it."""


class Responder(Exchange):
    """Writes the response to the request of `head`, as the application's events describe it."""

    def __init__(self, connection: Channel, state: LoopState, head: RequestHead, keep_alive: bool) -> None:
        self._prepare(connection, state, head, keep_alive)

    def _prepare(self, connection: Channel, state: LoopState, head: RequestHead, keep_alive: bool) -> None:
        """What `__init__` does: a compiled one of another class finds this at once."""
        self.connection = connection
        self.shared = state
        self.head = head
        self.stage: Stage = START
        self.status: int = 0
        self.body_bytes: int = 0
        self.gone: bool = False
        self.keep_alive: bool = keep_alive
        self.own_lines: bytes | None = None  # header lines that the server adds to this response alone
        self._response: ResponseHead | None = None
        self._framing: Framing | None = None
        self._trailers: bool = False
        self._trailer_fields: list[Header] | tuple[()] = ()

    def response_started(self) -> bool:
        """Whether anything of the response has been written."""
        return self._framing is not None

    def finished(self) -> bool:
        """Whether nothing more is expected of the application."""
        return self.gone or self.stage is DONE

    def disconnected(self) -> None:
        """The peer is gone: what is sent from now on raises ClientDisconnected."""
        self.gone = True

    def send_event(self, event: Any) -> asyncio.Future[None] | None:
        """Do what `event` asks; returns a future where the application must wait for the peer to read.

        Raises ApplicationError for an event that is malformed or not allowed now, ClientDisconnected when the
        peer is gone.
        """
        return self._send_event(event if type(event) is dict else plain_event(event))

    def _send_event(self, event: dict[str, Any]) -> asyncio.Future[None] | None:
        stage = self.stage
        if self.gone:
            if stage is DONE:
                return None
            raise ClientDisconnected("the client is gone, the response cannot be sent")
        kind: Any = event.get("type")
        if stage is BODY and kind == "http.response.body":
            self._send_body(event)
        elif stage is START and kind == "http.response.start":
            self._start(event)
        elif stage is DONE:
            return None  # ASGI: messages after the end are ignored.
        else:
            method = SENDABLE[stage].get(kind) if isinstance(kind, str) else None
            if method is None:
                raise ApplicationError(not_allowed(kind, stage.value, SENDABLE[stage]))
            getattr(self, method)(event)
        return self.connection.wait_for_room()

    def fail(self) -> None:
        """The application has ended without a whole response: 500 where nothing was written, else cut it short."""
        if self.gone or self.stage is DONE:
            return
        if self._framing is not None:
            # A response cut short must not look like a whole one.
            self.keep_alive = False
            self.connection.abort()
            return
        self.stage = START
        self._trailers = False
        self.keep_alive = False
        body = b"Internal Server Error"
        self._start({"status": 500, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
        self._send_body({"body": body})

    def _start(self, event: dict[str, Any]) -> None:
        if "status" not in event:
            raise ApplicationError("The event 'http.response.start' has no 'status'.")
        self._response = repeated_response_head(self.shared.responses, event["status"], event.get("headers", ()))
        self.status = self._response.status
        if self.status < 200:
            raise ApplicationError(f"A final response cannot have the status {self.status}.")
        trailers = event.get("trailers", False)
        if trailers is not False and trailers is not True:
            raise ApplicationError(f"'trailers' of 'http.response.start' must be bool, not {trailers!r}.")
        self._trailers = trailers
        self.stage = BODY

    def _early_hint(self, event: dict[str, Any]) -> None:
        links = event.get("links")
        if not isinstance(links, Iterable):
            raise ApplicationError("The event 'http.response.early_hint' must have 'links', an iterable of bytes.")
        self._write_hint(response_head(103, [(b"link", link) for link in links]))

    def _write_hint(self, hint: ResponseHead) -> None:
        if self.head.http_version == "1.1":
            self.connection.write(hint.lines + b"\r\n")

    def _send_body(self, event: dict[str, Any]) -> None:
        body = event.get("body", b"")
        more = event.get("more_body", False)
        if more is not False and more is not True:
            raise ApplicationError(f"'more_body' of 'http.response.body' must be bool, not {more!r}.")
        self._write_body(body if type(body) is bytes else plain_body(body), more)
        if not more:
            if self._trailers:
                self.stage = TRAILERS
            else:
                self._complete()

    def _check_length(self, framing: Framing, size: int, more: bool) -> None:
        """Raise ApplicationError where `size` bytes more make the body another than its Content-Length says."""
        response = self._response
        assert response is not None
        if framing is LENGTH and response.content_length is not None:
            promised: int = response.content_length
            sent = self.body_bytes + size
            if sent > promised or (not more and sent < promised):
                raise wrong_length(promised, sent)

    def _write_body(self, body: bytes, more: bool) -> None:
        """Write a piece of the body, and the head before the first one."""
        framing = self._framing
        lines = b""
        response = self._response
        assert response is not None
        if framing is None:
            head, shared = self.head, self.shared
            keep_alive = self._may_keep_alive()
            usual = keep_alive and head.http_version == "1.1" and head.method != "HEAD"
            if usual and response.whole_with is shared.head_lines:
                framing = LENGTH
                lines = response.whole
            else:
                whole = None if more or self._trailers else len(body)
                framing, keep_alive, framing_lines = frame_response(
                    head.method, head.http_version, keep_alive, response, whole
                )
                lines = b"".join((response.lines, self._default_lines(response), framing_lines, b"\r\n"))
                if usual and framing is LENGTH and not framing_lines:
                    response.whole = lines
                    response.whole_with = shared.head_lines
        else:
            keep_alive = self.keep_alive
        size = len(body)
        self._check_length(framing, size, more)
        self._framing = framing
        self.keep_alive = keep_alive
        if framing is UNTIL_CLOSE:
            self.connection.unfinished = more
        if framing is NO_BODY:
            self.connection.burst += size  # a response without a body must not keep the loop for itself either
            body = b""
        else:
            self.body_bytes += size
            if framing is CHUNKED:
                body = encode_chunk(body)
                if not more and not self._trailers:
                    body += LAST_CHUNK
        if not lines:
            if body:
                self.connection.write(body)
        elif len(body) <= JOIN_BYTES:
            self.connection.write(lines + body)
        else:
            self.connection.write_all([lines, body])

    def _send_trailers(self, event: dict[str, Any]) -> None:
        headers = event.get("headers", ())
        if isinstance(headers, Iterable):
            headers = list(headers)
        last_chunk(headers)  # it checks them: an error must name the event that brought it
        self._trailer_fields = [*self._trailer_fields, *headers]
        if not event.get("more_trailers", False):
            self._write_trailers(self._trailer_fields)
            self._complete()

    def _write_trailers(self, fields: Iterable[Header]) -> None:
        if self._framing is CHUNKED:
            self.connection.write(last_chunk(fields if self.head.te_trailers else ()))

    def _may_keep_alive(self) -> bool:
        return self.keep_alive and not self.shared.draining

    def _default_lines(self, response: ResponseHead) -> bytes:
        """The header lines that the server adds by itself."""
        shared = self.shared
        lines = shared.head_lines
        if response.has_date or response.has_server:
            lines = shared.default_lines(not response.has_date, not response.has_server)
        return lines if self.own_lines is None else lines + self.own_lines

    def _complete(self) -> None:
        self.stage = DONE


def plain_body(body: object) -> bytes:
    """The body of an event, where it is not bytes. Raises ApplicationError where it is nothing like them."""
    if not isinstance(body, bytearray | memoryview):
        raise ApplicationError(f"'body' of 'http.response.body' must be bytes, not {type(body).__name__}.")
    return bytes(body)


def wrong_length(promised: int, sent: int) -> ApplicationError:
    """The error of a body of which `sent` bytes are sent, where its head has promised another length."""
    if sent > promised:
        return ApplicationError(f"The response body is longer than its Content-Length, {promised}.")
    return ApplicationError(f"The response body ends after {sent} of {promised} bytes of Content-Length.")


def plain_event(event: object) -> dict[str, Any]:
    """`event` as a dict, where it is one of a subclass. Raises ApplicationError where it is anything else."""
    if isinstance(event, dict):
        return dict(event)
    raise ApplicationError(f"An event must be a dict, not {type(event).__name__}.")


def not_allowed(kind: object, state: str, allowed: dict[str, str]) -> str:
    """The message for an event that cannot be sent now."""
    choice = " or ".join(repr(each) for each in allowed) or "nothing"
    return f"The event {kind!r} cannot be sent {state}: allowed is {choice}."
