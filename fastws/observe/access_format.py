"""The access log in a format of the operator's, with gunicorn's atoms (see `fastws.config.log_atoms`).

A request is a line when its response ends. A WebSocket is a line when it closes, with the status 101 (over HTTP/2
200) and the duration of its life, or when it is denied. What a peer sent is escaped; what is not there is ``-``.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from fastws.asgi.observer import Observer, Scope, WebSocketEnd
from fastws.asgi.request_id import request_id_of
from fastws.asgi.request_text import query, target
from fastws.config.log_atoms import read_format
from fastws.http.escaped import escape, without_query_values
from fastws.observe.access_log import LOGGER, accepted_status, fields_of

if TYPE_CHECKING:
    from fastws.http.response_head import ResponseHead

_INFO: Final = logging.INFO
_MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


class FormattedAccessLog(Observer):
    """Writes the lines to `logger`. Records have the attributes that those of `fastws.observe.access_log` have."""

    __slots__ = ("_atoms", "_format", "_logger", "_query_values")

    def __init__(self, text: str, logger: logging.Logger = LOGGER, query_values: bool = True) -> None:
        """Take a format, and whether values of query strings are shown.

        Raises ValueError for a format that `fastws.config.log_atoms.read_format` refuses.
        """
        self._format = text
        self._atoms = read_format(text)
        self._logger = logger
        self._query_values = query_values

    def request(
        self, scope: Scope, status: int, body_bytes: int, seconds: float, response: ResponseHead | None = None
    ) -> None:
        """See `Observer.request`."""
        if self._logger.isEnabledFor(_INFO):
            extra: dict[str, object] = {"duration": seconds, "body_bytes": body_bytes}
            self._write(scope, status, body_bytes, seconds, response, extra)

    def websocket_opened(self, scope: Scope, status: int) -> None:
        """See `Observer.websocket_opened`."""
        if status != 101 and self._logger.isEnabledFor(_INFO):
            self._write(scope, status, 0, 0.0, None, {})

    def websocket_closed(self, scope: Scope, end: WebSocketEnd) -> None:
        """See `Observer.websocket_closed`."""
        if self._logger.isEnabledFor(_INFO):
            self._write(scope, accepted_status(scope), end.bytes_out, end.seconds, None, fields_of(end))

    def _write(
        self,
        scope: Scope,
        status: int,
        size: int,
        seconds: float,
        response: ResponseHead | None,
        extra: dict[str, object],
    ) -> None:
        request_id = request_id_of(scope)
        if request_id is not None:
            extra["request_id"] = escape(request_id)
        values = {
            atom: self._value(kind, name, scope, status, size, seconds, response, extra)
            for atom, (kind, name) in self._atoms.items()
        }
        line = self._format % values
        logger = self._logger
        logger.handle(logger.makeRecord(logger.name, _INFO, "access_format.py", 0, "%s", (line,), None, None, extra))

    def _value(
        self,
        kind: str,
        name: str,
        scope: Scope,
        status: int,
        size: int,
        seconds: float,
        response: ResponseHead | None,
        extra: dict[str, object],
    ) -> str:
        """What an atom stands for."""
        match kind:
            case "h":
                peer = scope.get("client")
                return escape(peer[0]) if peer and peer[0] else "-"
            case "u":
                return _user(_field(scope["headers"], "authorization"))
            case "t":
                return clf_time(time.time())
            case "r":
                return f"{_method(scope)} {target(scope, self._query_values)} HTTP/{scope['http_version']}"
            case "m":
                return _method(scope)
            case "U":
                return target({**scope, "query_string": b""})
            case "q":
                return escape(query(scope, self._query_values))
            case "H":
                return f"HTTP/{scope['http_version']}"
            case "s":
                return str(status)
            case "B":
                return str(size)
            case "b":
                return str(size) if size else "-"
            case "f":
                return self._request_field(scope, "referer")
            case "a":
                return _shown(_field(scope["headers"], "user-agent"))
            case "T":
                return str(int(seconds))
            case "M":
                return str(int(seconds * 1e3))
            case "D":
                return str(int(seconds * 1e6))
            case "L":
                return f"{seconds:.6f}"
            case "p":
                return f"<{os.getpid()}>"
            case "i":
                return self._request_field(scope, name)
            case "o":
                return _shown(_field(response_fields(response), name))
            case "e":
                return _shown(os.environ.get(name))
            case "x":
                return str(extra.get(name, "-")) or "-"
        return "-"

    def _request_field(self, scope: Scope, name: str) -> str:
        found = _field(scope["headers"], name)
        if found and not self._query_values and name.lower() == "referer":
            found = without_query_values(found)
        return _shown(found)


def clf_time(now: float) -> str:
    """The time as the Common Log Format has it, in the local zone and English."""
    local = time.localtime(now)
    return time.strftime(f"[%d/{_MONTHS[local.tm_mon - 1]}/%Y:%H:%M:%S %z]", local)


def response_fields(response: ResponseHead | None) -> Iterable[tuple[bytes, bytes]]:
    """The header fields of a response as the application set them, from their lines."""
    lines = response.lines.split(b"\r\n")[1:] if response is not None else []
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            yield name, value.strip()


def _method(scope: Scope) -> str:
    return escape(scope.get("method", "CONNECT" if scope["http_version"] == "2" else "GET"))


def _field(fields: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """The values of a header field, joined by a comma, or None."""
    wanted = name.lower().encode("latin-1", "replace")
    found = [value.decode("latin-1") for each, value in fields if each.lower() == wanted]
    return ",".join(found) if found else None


def _shown(text: str | None) -> str:
    return escape(text) if text else "-"


def _user(authorization: str | None) -> str:
    """The user of ``Basic ...`` (RFC 7617)."""
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return "-"
    try:
        return _shown(base64.b64decode(credentials.strip(), validate=True).decode("utf-8").partition(":")[0])
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "-"
