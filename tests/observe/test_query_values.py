"""--no-log-query-values: what a query string carries is in no log."""

from __future__ import annotations

import logging
import urllib.error
import urllib.request

import pytest
from serving import PATIENCE, serve_process
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from fastws.http.escaped import without_query_values, without_values
from fastws.observe.access_format import FormattedAccessLog


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ""),
        ("token=secret", "token=*"),
        ("a=1&token=sec=ret&b=", "a=*&token=*&b=*"),
        ("secret", "*"),
        ("&&a=1&secret", "&&a=*&*"),
        ("a=1;token=secret", "a=*"),
    ],
)
def test_names_stay_and_values_go(query: str, shown: str) -> None:
    assert without_values(query) == shown


def test_references_lose_the_values_of_query_and_fragment() -> None:
    assert without_query_values("https://a/b?c=secret#d=secret&secret") == "https://a/b?c=*#d=*&*"
    assert without_query_values("/plain") == "/plain"


def test_in_a_format_of_the_operators(caplog: pytest.LogCaptureFixture) -> None:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/p",
        "raw_path": b"/p",
        "query_string": b"token=secret",
        "http_version": "1.1",
        "client": ("192.0.2.7", 1),
        "headers": [(b"referer", b"https://a/?token=secret")],
    }
    logger = logging.getLogger("test.query.values")
    caplog.set_level(logging.INFO, logger.name)
    FormattedAccessLog("%(r)s|%(U)s|%(q)s|%(f)s|%({referer}i)s", logger, query_values=False).request(scope, 200, 0, 0)
    assert caplog.messages == ["GET /p?token=* HTTP/1.1|/p|token=*|https://a/?token=*|https://a/?token=*"]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_in_all_that_a_server_logs(log_format: str) -> None:
    options = ("--no-log-query-values", "--log-format", log_format)
    with serve_process("fault_apps:raises", *options) as process:
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(process.http_url + "/here?token=secret", timeout=PATIENCE)
        with pytest.raises(WebSocketException):
            connect(process.ws_url + "/there?token=secret")
        process.wait_for_line(r"Exception in ASGI application \(127\.0\.0\.1:\d+ - .{1,2}GET /here\?token=\*.{1,2}\)")
        process.wait_for_line(r"Exception in ASGI application \(127\.0\.0\.1:\d+ - .{1,2}WebSocket /there\?token=\*")
        process.wait_for_line(r"GET /here\?token=\* HTTP/1\.1")
        process.stop()
        assert "secret" not in process.output
