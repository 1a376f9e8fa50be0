"""The access log: a line for each request, and for each WebSocket when it opens and when it closes.

Lines go to the logger ``fastws.access``, whose records carry uvicorn's arguments (client, method, path, HTTP version,
status), so that filters written for uvicorn keep working. Records also have `duration` (seconds), `body_bytes` for a
request, and for a WebSocket that closed `close_code`, `close_reason`, `messages_in`, `bytes_in`, `messages_out` and
`bytes_out`, for formatters that want them. Everything that the peer sent is escaped. This file counts nothing itself.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from fastws.config import Config

LOGGER: Final = logging.getLogger("fastws.access")
_REQUEST: Final = '%s - "%s %s HTTP/%s" %d'
_WEBSOCKET: Final = '%s - "%s %s" %s'
_INFO: Final = logging.INFO


def access_log(config: Config) -> AccessLog | None:
    """The log for a server, or None where it is off or nobody would see it: then a request costs nothing for it."""
    if not config.access_log or not LOGGER.hasHandlers() or not LOGGER.isEnabledFor(_INFO):
        return None
    return AccessLog()


class AccessLog:
    """Writes the lines. One for each server; it holds no state but the logger."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger = LOGGER) -> None:
        self._logger = logger

    def request(self, scope: Mapping[str, Any], status: int, body_bytes: int, seconds: float) -> None:
        """A response was sent: `body_bytes` of body, `seconds` after the request's head was read."""
        if self._logger.isEnabledFor(_INFO):
            args = (_client(scope), escape(scope["method"]), _target(scope), scope["http_version"], status)
            self._write(_REQUEST, args, {"duration": seconds, "body_bytes": body_bytes})

    def websocket_opened(self, scope: Mapping[str, Any], status: int) -> None:
        """The handshake was answered: 101, or the status that denied it."""
        if self._logger.isEnabledFor(_INFO):
            outcome = "[accepted]" if status == 101 else str(status)
            self._write(_WEBSOCKET, (_client(scope), "WebSocket", _target(scope), outcome), {})

    def websocket_closed(
        self,
        scope: Mapping[str, Any],
        code: int,
        reason: str,
        seconds: float,
        messages_in: int,
        bytes_in: int,
        messages_out: int,
        bytes_out: int,
    ) -> None:
        """The WebSocket ended with a close code (RFC 6455 section 7.4); in and out as the server sees it."""
        if not self._logger.isEnabledFor(_INFO):
            return
        quoted = f' "{escape(reason)}"' if reason else ""
        outcome = (
            f"[closed {code}{quoted} after {seconds:.3f} s, "
            f"in {messages_in} messages {bytes_in} bytes, out {messages_out} messages {bytes_out} bytes]"
        )
        extra = {
            "duration": seconds,
            "close_code": code,
            "close_reason": escape(reason),
            "messages_in": messages_in,
            "bytes_in": bytes_in,
            "messages_out": messages_out,
            "bytes_out": bytes_out,
        }
        self._write(_WEBSOCKET, (_client(scope), "WebSocket", _target(scope), outcome), extra)

    def _write(self, message: str, args: tuple[object, ...], extra: dict[str, object]) -> None:
        # Logger.info() would walk the stack for the caller's file and line: more than all the rest costs.
        logger = self._logger
        logger.handle(
            logger.makeRecord(logger.name, _INFO, "fastws/access_log.py", 0, message, args, None, None, extra)
        )


def escape(text: str) -> str:
    """The text with everything outside printable ASCII, quotes and backslashes written as an escape."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii").replace('"', '\\"')


def _target(scope: Mapping[str, Any]) -> str:
    """Path and query as they came."""
    raw_path: bytes | None = scope.get("raw_path")
    path = raw_path.decode("latin-1") if raw_path is not None else scope["path"]
    query: bytes = scope.get("query_string", b"")
    return escape(f"{path}?{query.decode('latin-1')}" if query else path)


def _client(scope: Mapping[str, Any]) -> str:
    """``127.0.0.1:5000``, ``[::1]:5000``, or ``unix`` where the peer has no address."""
    client = scope.get("client")
    if not client or not client[0]:
        return "unix"
    host, port = client
    if port is None:
        return escape(host)
    return escape(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
