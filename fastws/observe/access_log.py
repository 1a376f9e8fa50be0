"""The access log: a line for each request, and for each WebSocket when it opens and when it closes.

Lines go to the logger ``fastws.access``, whose records carry uvicorn's arguments (client, method, path, HTTP version,
status), so that filters written for uvicorn keep working. Records also have `duration` (seconds), `body_bytes` for a
request, and for a WebSocket that closed `close_code`, `close_reason`, `closed_by`, `messages_in`, `bytes_in`,
`messages_out` and `bytes_out`, for formatters that want them; with --request-id-header they have `request_id`, and over
HTTP/2 `http_version` and `stream`.
Everything that the peer sent is escaped. Lines in a format of the operator's are `fastws.observe.access_format`'s.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from fastws.asgi.observer import Observer, Scope, WebSocketEnd
from fastws.asgi.request_id import request_id_of
from fastws.asgi.request_text import client, target
from fastws.asgi.scopes import STREAM_EXTENSION
from fastws.config import Config
from fastws.counted import counted
from fastws.http.escaped import escape

if TYPE_CHECKING:
    from fastws.http.response_head import ResponseHead

LOGGER: Final = logging.getLogger("fastws.access")
_REQUEST: Final = '%s - "%s %s HTTP/%s" %d'
_WEBSOCKET: Final = '%s - "%s %s" %s'
_WEBSOCKET_2: Final = '%s - "%s %s HTTP/2" %s'
_INFO: Final = logging.INFO


def is_wanted(config: Config) -> bool:
    """Whether the log is on and somebody would see it; where not, a request costs nothing for it."""
    return config.access_log and LOGGER.hasHandlers() and LOGGER.isEnabledFor(_INFO)


class AccessLog(Observer):
    """Writes the lines to `logger`, with the values of query strings or without."""

    __slots__ = ("_logger", "_query_values")

    def __init__(self, logger: logging.Logger = LOGGER, query_values: bool = True) -> None:
        self._logger = logger
        self._query_values = query_values

    def request(
        self, scope: Scope, status: int, body_bytes: int, seconds: float, response: ResponseHead | None = None
    ) -> None:
        """See `Observer.request`."""
        if self._logger.isEnabledFor(_INFO):
            args = (
                client(scope),
                escape(scope["method"]),
                target(scope, self._query_values),
                scope["http_version"],
                status,
            )
            self._write(scope, _REQUEST, args, {"duration": seconds, "body_bytes": body_bytes})

    def websocket_opened(self, scope: Scope, status: int) -> None:
        """See `Observer.websocket_opened`."""
        if self._logger.isEnabledFor(_INFO):
            outcome = "[accepted]" if status == 101 else str(status)
            self._write_websocket(scope, outcome, {})

    def websocket_closed(self, scope: Scope, end: WebSocketEnd) -> None:
        """See `Observer.websocket_closed`."""
        if not self._logger.isEnabledFor(_INFO):
            return
        quoted = f' "{escape(end.reason)}"' if end.reason else ""
        outcome = (
            f"[closed {end.code}{quoted} after {end.seconds:.3f} s, "
            f"in {counted(end.messages_in, 'message')} {counted(end.bytes_in, 'byte')}, "
            f"out {counted(end.messages_out, 'message')} {counted(end.bytes_out, 'byte')}]"
        )
        self._write_websocket(scope, outcome, fields_of(end))

    def _write_websocket(self, scope: Scope, outcome: str, extra: dict[str, object]) -> None:
        message = _WEBSOCKET if scope["http_version"] != "2" else _WEBSOCKET_2
        self._write(scope, message, (client(scope), "WebSocket", target(scope, self._query_values), outcome), extra)

    def _write(self, scope: Scope, message: str, args: tuple[object, ...], extra: dict[str, object]) -> None:
        if scope["http_version"] == "2":
            extra |= {"http_version": "2", "stream": stream_of(scope)}
        found = request_id_of(scope)
        if found is not None:
            extra["request_id"] = escape(found)
        # Logger.info() would walk the stack for the caller's file and line: more than all the rest costs.
        logger = self._logger
        logger.handle(
            logger.makeRecord(logger.name, _INFO, "fastws/observe/access_log.py", 0, message, args, None, None, extra)
        )


def stream_of(scope: Scope) -> int:
    """The stream of HTTP/2 that a call came by; 0 over HTTP/1.1."""
    extensions = scope.get("extensions")  # which the application may have changed
    found = extensions.get(STREAM_EXTENSION) if isinstance(extensions, dict) else None
    return found["stream"] if isinstance(found, dict) and isinstance(found.get("stream"), int) else 0


def accepted_status(scope: Scope) -> int:
    """What answered a handshake that was accepted: 101, or over HTTP/2 200 (RFC 8441 section 5)."""
    return 200 if scope["http_version"] == "2" else 101


def fields_of(end: WebSocketEnd) -> dict[str, object]:
    """The attributes that a record of a WebSocket's end has."""
    return {
        "duration": end.seconds,
        "close_code": end.code,
        "close_reason": escape(end.reason),
        "closed_by": end.by,
        "messages_in": end.messages_in,
        "bytes_in": end.bytes_in,
        "messages_out": end.messages_out,
        "bytes_out": end.bytes_out,
    }
