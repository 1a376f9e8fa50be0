"""The lines of the access log, and that nothing that a peer sent can forge one."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fastws.asgi.observer import CLIENT, WebSocketEnd
from fastws.config import Config
from fastws.observe.access_log import AccessLog, escape, is_wanted
from fastws.observe.log_format import AccessFormatter, DefaultFormatter

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/x y",
    "raw_path": b"/x%20y",
    "query_string": b"a=b",
    "http_version": "1.1",
    "client": ["127.0.0.1", 5000],
}


class Kept(logging.Handler):
    """Keeps the records, and the lines that uvicorn's format makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []
        self.formatter = AccessFormatter(
            '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s', use_colors=False
        )

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))


@pytest.fixture
def kept() -> Kept:
    handler = Kept()
    logger = logging.Logger("fastws.access", logging.INFO)
    logger.addHandler(handler)
    handler.log = AccessLog(logger)  # type: ignore[attr-defined]  # one fixture for both ends
    return handler


def test_a_request(kept: Any) -> None:
    kept.log.request(SCOPE, 200, 12, 0.25)
    assert kept.lines == ['INFO:     127.0.0.1:5000 - "GET /x%20y?a=b HTTP/1.1" 200 OK']
    (record,) = kept.records
    assert record.getMessage() == '127.0.0.1:5000 - "GET /x%20y?a=b HTTP/1.1" 200'
    # What filters written for uvicorn read:
    assert record.args == ("127.0.0.1:5000", "GET", "/x%20y?a=b", "1.1", 200)
    assert (record.duration, record.body_bytes) == (0.25, 12)


def test_a_websocket(kept: Any) -> None:
    kept.log.websocket_opened(SCOPE, 101)
    kept.log.websocket_opened(SCOPE, 403)
    kept.log.websocket_closed(SCOPE, WebSocketEnd(1000, "", CLIENT, 1.5, 1, 2, 3, 4))
    kept.log.websocket_closed(SCOPE, WebSocketEnd(4000, 'say "hi"', CLIENT, 1.5, 1, 2, 3, 4))
    line = 'INFO:     127.0.0.1:5000 - "WebSocket /x%20y?a=b" '
    counts = "after 1.500 s, in 1 message 2 bytes, out 3 messages 4 bytes]"
    assert kept.lines == [
        f"{line}[accepted]",
        f"{line}403 Forbidden",
        f"{line}[closed 1000 {counts}",
        f'{line}[closed 4000 "say \\"hi\\"" {counts}',
    ]
    record = kept.records[-1]
    assert (record.close_code, record.close_reason, record.messages_in, record.bytes_in) == (4000, 'say \\"hi\\"', 1, 2)
    assert (record.messages_out, record.bytes_out, record.duration) == (3, 4, 1.5)


@pytest.mark.parametrize(
    ("client", "shown"),
    [
        (["::1", 80], "[::1]:80"),
        (("10.0.0.1", 0), "10.0.0.1:0"),
        (None, "unix"),
        (["", None], "unix"),
        (["/run/x.sock", None], "/run/x.sock"),
        (['a" 200\n', 1], 'a\\" 200\\n:1'),
    ],
)
def test_clients(kept: Any, client: Any, shown: str) -> None:
    kept.log.request({**SCOPE, "client": client}, 200, 0, 0)
    assert kept.records[0].args[0] == shown


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({"query_string": b""}, "/x%20y"),
        ({"raw_path": None, "query_string": b""}, "/x y"),
        ({"raw_path": b'/" 200\r\nINFO: forged \x1b[31m\\', "query_string": b"\xff"}, None),
    ],
)
def test_targets(kept: Any, changes: dict[str, Any], target: str | None) -> None:
    kept.log.request({**SCOPE, **changes}, 200, 0, 0)
    expected = '/\\" 200\\r\\nINFO: forged \\x1b[31m\\\\?\\xff' if target is None else target
    assert kept.records[0].args[2] == expected


@pytest.mark.parametrize("text", ["", "/", "plain ~ text", "\0", "é", "\u2028", "\ud800", "\U0001f600", '\\"', "\x7f"])
def test_escaped_text_is_printable_ascii_without_bare_quotes(text: str) -> None:
    escaped = escape(text)
    assert escaped.isascii()
    assert escaped.isprintable()
    bare = escaped.replace("\\\\", "").replace('\\"', "")
    assert '"' not in bare
    assert escaped.replace('\\"', '"').encode().decode("unicode_escape") == text


def test_nothing_is_made_where_nobody_would_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.Logger("fastws.access", logging.INFO)
    monkeypatch.setattr("fastws.observe.access_log.LOGGER", logger)
    assert not is_wanted(Config("a:b"))
    logger.addHandler(Kept())
    assert is_wanted(Config("a:b"))
    assert not is_wanted(Config("a:b", access_log=False))
    quiet = logging.Logger("fastws.access", logging.WARNING)
    quiet.addHandler(Kept())
    monkeypatch.setattr("fastws.observe.access_log.LOGGER", quiet)
    assert not is_wanted(Config("a:b"))


def test_a_level_raised_later_is_respected(kept: Any) -> None:
    kept.log._logger.setLevel(logging.WARNING)
    kept.log.request(SCOPE, 200, 0, 0)
    kept.log.websocket_opened(SCOPE, 101)
    kept.log.websocket_closed(SCOPE, WebSocketEnd(1000, "", CLIENT, 0, 0, 0, 0, 0))
    assert kept.lines == []


def record(level: int, message: str, *args: Any, **extra: Any) -> logging.LogRecord:
    return logging.Logger("fastws.error").makeRecord("fastws.error", level, "", 0, message, args, None, extra=extra)


def test_the_level_is_coloured_and_padded() -> None:
    plain = DefaultFormatter("%(levelprefix)s %(message)s", use_colors=False)
    colored = DefaultFormatter("%(levelprefix)s %(message)s", use_colors=True)
    line = record(logging.INFO, "on %s", "x", color_message="on <%s>")
    assert plain.format(line) == "INFO:     on x"
    assert colored.format(line) == "\x1b[32mINFO\x1b[0m:     on <x>"
    assert plain.format(line) == "INFO:     on x"  # the record is as it was
    assert plain.format(record(logging.CRITICAL, "100%")) == "CRITICAL: 100%"
    assert colored.format(record(42, "odd", color_message="100%")) == "Level 42: 100%"


def test_the_access_formatter_colours_by_status_and_lets_other_records_be() -> None:
    formatter = AccessFormatter("%(client_addr)s %(request_line)s %(status_code)s", use_colors=True)
    line = record(logging.INFO, '%s - "%s %s HTTP/%s" %d', "c", "GET", "/", "1.1", 404)
    assert formatter.format(line) == "c \x1b[1mGET / HTTP/1.1\x1b[0m \x1b[31m404 Not Found\x1b[0m"
    plain = AccessFormatter("%(client_addr)s %(request_line)s %(status_code)s", use_colors=False)
    assert plain.format(record(logging.INFO, '%s - "%s %s HTTP/%s" %d', "c", "GET", "/", "1.1", 799)).endswith(" 799")
    assert plain.format(record(logging.INFO, "of the %s", "user")) == "- of the user "


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stderr", Terminal())
    assert DefaultFormatter().use_colors
    monkeypatch.setenv("NO_COLOR", "1")
    assert not DefaultFormatter().use_colors
    assert DefaultFormatter(use_colors=True).use_colors
