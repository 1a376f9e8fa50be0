"""`--log-level trace`: the events of an application and the connections, without what is in them."""

from __future__ import annotations

import asyncio
import logging
import urllib.request
from typing import Any

import pytest
from serving import PATIENCE, serve_process
from websockets.sync.client import connect

from fastws.asgi.tracing import Traced
from fastws.config.log_defaults import TRACE


def test_events_and_connections_are_logged() -> None:
    with serve_process("process_apps:app", "--log-level", "trace", "--no-log-query-values") as process:
        with urllib.request.urlopen(process.http_url + "/a?token=secret", timeout=PATIENCE) as response:
            response.read()
        with connect(process.ws_url) as websocket:
            websocket.send("hidden")
            assert websocket.recv() == "hidden"
        for pattern in (
            r"^TRACE:    ASGI \[1\] Started scope=\{'type': 'lifespan'",
            r"^TRACE:    ASGI \[1\] Send \{'type': 'lifespan\.startup\.complete'\}",
            r"^TRACE:    127\.0\.0\.1:\d+ - HTTP connection made$",
            r"^TRACE:    127\.0\.0\.1:\d+ - ASGI \[2\] Started scope=.*'query_string': b'token=\*'.*'headers': '<",
            r"^TRACE:    127\.0\.0\.1:\d+ - ASGI \[2\] Send \{'type': 'http\.response\.body', 'body': '<2 bytes>'\}",
            r"^TRACE:    127\.0\.0\.1:\d+ - ASGI \[2\] Completed$",
            r"^TRACE:    127\.0\.0\.1:\d+ - ASGI \[3\] Receive \{'type': 'websocket\.receive', 'text': '<6 chars>'",
            r"^TRACE:    127\.0\.0\.1:\d+ - HTTP connection lost$",
        ):
            process.wait_for_line(pattern)
        assert process.stop() == 0
        assert "secret" not in process.output
        assert "hidden" not in process.output


def test_nothing_of_it_is_logged_below_that_level() -> None:
    with serve_process("process_apps:app", "--log-level", "debug") as process:
        with urllib.request.urlopen(process.http_url, timeout=PATIENCE) as response:
            response.read()
        assert process.stop() == 0
        assert "ASGI [" not in process.output
        assert "HTTP connection" not in process.output


def test_what_an_application_raises_is_logged_and_raised(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == "no event at all"
        await send({"type": "odd", "body": 5, "headers": [], "text": None})
        raise KeyError("x")

    async def receive() -> Any:
        return "no event at all"

    async def send(event: Any) -> None:
        pass

    caplog.set_level(TRACE, "fastws.asgi")
    with pytest.raises(KeyError):
        asyncio.run(Traced(app)({"type": "http", "query_string": b"a=b"}, receive, send))
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (TRACE, "ASGI [1] Started scope={'type': 'http', 'query_string': b'a=b'}"),
        (TRACE, "ASGI [1] Receive no event at all"),
        (TRACE, "ASGI [1] Send {'type': 'odd', 'body': '<...>', 'headers': [], 'text': None}"),
        (TRACE, "ASGI [1] Raised exception KeyError"),
    ]
    assert logging.getLevelName(TRACE) in ("TRACE", "Level 5")
