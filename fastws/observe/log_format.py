"""How log lines look: the formatters that `fastws.config.LOGGING_CONFIG` names, in uvicorn's manner, and JSON.

The first two colour the level where `fastws.observe.terminal` finds that the stream wants colours. A
`log_config` written for uvicorn works with these formatters; what may be logged, and where to, is not decided here.
"""

from __future__ import annotations

import http
import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any, Final, Literal, TextIO

from fastws.asgi.request_id import REQUEST_ID
from fastws.config.log_defaults import TRACE
from fastws.observe.terminal import labelled, wants_colors

_RESET = "\x1b[0m"
_BOLD = "\x1b[1m"
_LEVEL_COLORS: Final = {
    TRACE: "\x1b[34m",
    logging.DEBUG: "\x1b[36m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[91m",
}
_STATUS_COLORS: Final = {1: "\x1b[97m", 2: "\x1b[32m", 3: "\x1b[33m", 4: "\x1b[31m", 5: "\x1b[91m"}
STOPS: Final = "fastws_stops"
"""Attribute of a record: it says why a command cannot do what it was asked for. See `fastws.observe.terminal`."""
_STATUS_TEXTS: Final = {status.value: f"{status.value} {status.phrase}" for status in http.HTTPStatus}


class DefaultFormatter(logging.Formatter):
    """Adds `levelprefix`, the level with its colon, padded; shows `color_message` instead where colours are on."""

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        use_colors: bool | None = None,
    ) -> None:
        super().__init__(fmt, datefmt, style)
        self.use_colors: bool = wants_colors(self._stream()) if use_colors is None else use_colors
        self._prefixes: dict[int, str] = {}

    def _stream(self) -> TextIO:
        return sys.stderr

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format the record. It gets more attributes, and keeps its own for other handlers."""
        if hasattr(record, STOPS):
            record.levelprefix = labelled("Error", self.use_colors)
        else:
            record.levelprefix = self._prefixes.get(record.levelno) or self._prefix(record)
        request_id = request_id_in(record)
        if request_id is not None:
            return f"{self._format(record)} [{request_id}]"
        return self._format(record)

    def _format(self, record: logging.LogRecord) -> str:
        if not self.use_colors or not hasattr(record, "color_message"):
            return super().formatMessage(record)
        plain = record.message
        record.message = record.color_message % record.args if record.args else record.color_message
        try:
            return super().formatMessage(record)
        finally:
            record.message = plain

    def _prefix(self, record: logging.LogRecord) -> str:
        name = record.levelname
        color = _LEVEL_COLORS.get(record.levelno) if self.use_colors else None
        prefix = (f"{color}{name}{_RESET}" if color else name) + ":" + " " * (8 - len(name))
        self._prefixes[record.levelno] = prefix
        return prefix


class AccessFormatter(DefaultFormatter):
    """Adds `client_addr`, `request_line` and `status_code` to the records of `fastws.observe.access_log.AccessLog`."""

    def _stream(self) -> TextIO:
        return sys.stdout

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format a record with the arguments of a request or of a WebSocket; any other as it is."""
        args = record.args
        client, line, outcome, status = "-", record.message, "", 0
        if isinstance(args, tuple) and len(args) == 5:
            client, line, status = str(args[0]), f"{args[1]} {args[2]} HTTP/{args[3]}", int(str(args[4]))
            outcome = _STATUS_TEXTS.get(status) or str(status)
        elif isinstance(args, tuple) and len(args) == 4:
            client, line, outcome = str(args[0]), f"{args[1]} {args[2]}", str(args[3])
            status = int(outcome) if outcome.isdecimal() else 200
            outcome = _STATUS_TEXTS.get(status, outcome) if outcome.isdecimal() else outcome
        if self.use_colors:
            line = f"{_BOLD}{line}{_RESET}"
            outcome = f"{_STATUS_COLORS.get(status // 100, '')}{outcome}{_RESET}"
        record.client_addr, record.request_line, record.status_code = client, line, outcome
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: `time`, `level`, `logger`, `message`, `pid`, and what else the record has.

    `time` is UTC with milliseconds, `pid` the process's id; numbers have six decimals at most. A record of the access
    log has `client`, `method`, `path`, `http_version`, `status` and `reason` (the phrase of the status), or for a
    WebSocket `event` (accepted, denied, closed), and the attributes that `fastws.observe.access_log` gives. An
    exception of the application has `client`, `method` and `path` of its request, and is one text in `exception`. What
    code logs with `extra` is there too, under its name.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        fields |= _access_fields(record)
        for name, value in vars(record).items():
            if name not in _OF_EVERY_RECORD:
                fields.setdefault(name, round(value, 6) if isinstance(value, float) else value)
        request_id = request_id_in(record)
        if request_id is not None:
            fields["request_id"] = request_id
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        return json.dumps(fields, default=str)


def request_id_in(record: logging.LogRecord) -> str | None:
    """The id of the request that a record is about."""
    found = getattr(record, "request_id", None)
    return found if isinstance(found, str) else REQUEST_ID.get()


_OF_EVERY_RECORD: Final = frozenset(
    (
        *vars(logging.makeLogRecord({})),
        *("taskName", "message", "asctime", "levelprefix", "color_message"),
        *("client_addr", "request_line", "status_code", STOPS),
    )
)


def _access_fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the arguments of a record of the access log say."""
    args = record.args
    if record.name != "fastws.access" or not isinstance(args, tuple):
        return {}
    if len(args) == 5:
        fields = dict(zip(("client", "method", "path", "http_version", "status"), args, strict=True))
        return fields | {"reason": _phrase(int(str(args[4])))}
    if len(args) == 4:
        client, _, path, outcome = map(str, args)
        if outcome.isdecimal():
            status = int(outcome)
            return {"client": client, "path": path, "event": "denied", "status": status, "reason": _phrase(status)}
        event = "closed" if hasattr(record, "close_code") else "accepted"
        status = 200 if getattr(record, "http_version", None) == "2" else 101
        return {"client": client, "path": path, "event": event, "status": status, "reason": _phrase(status)}
    return {}


def _phrase(status: int) -> str:
    """The reason phrase; empty for a status that HTTP does not name."""
    return _STATUS_TEXTS.get(status, "").partition(" ")[2]
