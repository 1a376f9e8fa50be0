"""Pages that the server itself answers, such as /livez: looked up by path before any limit and before the application.

A page is a function of the request, called in the loop: it must return at once. Only GET and HEAD of plain HTTP reach
one; a WebSocket's handshake goes to the application whatever its path. `LoopState.pages` has them, and
net/http1_handler.py asks it. Requests for pages are neither counted nor in the access log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fastws.http.framing import Framing, frame_response
from fastws.http.head import Header, RequestHead
from fastws.http.response_head import response_head

METHODS = ("GET", "HEAD")


class PageResponse(NamedTuple):
    """What a page answers: `headers` without Date, Server and Content-Length, which are added."""

    status: int
    headers: Sequence[Header]
    body: bytes


Page = Callable[[RequestHead], PageResponse]


def encode_page(response: PageResponse, head: RequestHead, keep_alive: bool, extra: bytes) -> tuple[bytes, bool]:
    """The bytes of `response` to `head`, and whether the connection stays open behind it.

    `keep_alive` is whether it may, `extra` are prebuilt header lines such as Date and Server.
    """
    lines = response_head(response.status, (*response.headers, (b"content-length", b"%d" % len(response.body))))
    framing, keep_alive, framing_lines = frame_response(head.method, head.http_version, keep_alive, lines)
    body = b"" if framing is Framing.NONE else response.body
    return lines.lines + extra + framing_lines + b"\r\n" + body, keep_alive
