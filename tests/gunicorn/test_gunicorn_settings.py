"""What gunicorn's settings become, without gunicorn's processes; and that the page for users has all of them."""

from __future__ import annotations

import logging
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import echo_app
import pytest
from gunicorn.config import Config as GunicornConfig

import fastws
from fastws.asgi.observer import WebSocketEnd
from fastws.config import OPTION
from fastws.errors import ConfigError
from fastws.gunicorn.requests import AccessLog, Duration, Request, Response
from fastws.gunicorn.settings import INSTEAD, SETTINGS, config_for

PAGE = Path(__file__).parents[2] / "docs" / "deployment" / "gunicorn.md"


def config(
    settings: dict[str, Any] | None = None,
    own: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    max_requests: int = sys.maxsize,
) -> fastws.Config:
    cfg = GunicornConfig()
    for name, value in (settings or {}).items():
        if name not in cfg.settings:
            pytest.skip(f"this gunicorn has no setting {name}")
        cfg.set(name, value)
    return config_for(echo_app.app, cfg, own or {}, environ or {}, max_requests)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"keepalive": 75}, {"timeout_keep_alive": 75.0}),
        ({"keepalive": 0}, {"timeout_keep_alive": 0.0}),
        ({}, {"timeout_keep_alive": 2.0, "limit_request_line": 4094, "limit_request_field_size": 8190}),
        ({}, {"limit_concurrency": None, "limit_max_requests": None, "timeout_graceful_shutdown": 29.0}),
        ({"worker_connections": 10_000}, {"limit_concurrency": 10_000}),
        ({"backlog": 100}, {"backlog": 100}),
        ({"graceful_timeout": 100}, {"timeout_graceful_shutdown": 99.0}),
        ({"graceful_timeout": 1}, {"timeout_graceful_shutdown": 0.5}),
        ({"graceful_timeout": 0}, {"timeout_graceful_shutdown": 0.0}),
        ({"limit_request_line": 0}, {"limit_request_line": 65536}),
        ({"limit_request_fields": 0}, {"limit_request_fields": 32768}),
        ({"limit_request_field_size": 0}, {"limit_request_field_size": 65536, "limit_request_head": 65536}),
        ({"limit_request_field_size": 100_000}, {"limit_request_head": 200_000}),
        ({"forwarded_allow_ips": "192.0.2.1, ::1"}, {"forwarded_allow_ips": ("192.0.2.1", "::1", "unix")}),
        ({"forwarded_allow_ips": "*"}, {"forwarded_allow_ips": ("*", "unix")}),
        ({"root_path": "/api"}, {"root_path": "/api"}),
        ({"asgi_loop": "asyncio"}, {"loop": "asyncio"}),
        ({"asgi_lifespan": "off"}, {"lifespan": "off"}),
        ({"websocket_max_message_size": 100}, {"ws_max_size": 100}),
        ({"websocket_max_message_size": 0}, {"ws_max_size": sys.maxsize}),
        ({}, {"proxy_protocol": False, "secure_scheme_headers": ()}),
        ({"proxy_protocol": False}, {"proxy_protocol": False}),
        ({"proxy_protocol": True}, {"proxy_protocol": True}),
        ({"proxy_allow_ips": "192.0.2.1"}, {"proxy_allow_ips": ("192.0.2.1", "unix")}),
        ({"secure_scheme_headers": {"X-TLS": "on"}}, {"secure_scheme_headers": (("X-TLS", "on"),)}),
        ({"certfile": "c.pem"}, {"ssl_certfile": None}),
    ],
)
def test_settings_become_options(settings: dict[str, Any], expected: dict[str, Any]) -> None:
    made = config(settings)
    assert {name: getattr(made, name) for name in expected} == expected


def test_networks_are_forwarded_addresses() -> None:
    try:
        made = config({"forwarded_allow_ips": "192.0.2.0/24"})
    except ValueError:
        pytest.skip("this gunicorn takes no networks")
    assert made.forwarded_allow_ips == ("192.0.2.0/24", "unix")


def test_what_is_stronger() -> None:
    assert config({"keepalive": 5}, {"timeout_keep_alive": 6.0}).timeout_keep_alive == 6.0
    environ = {"FASTWS_TIMEOUT_KEEP_ALIVE": "7"}
    assert config({"keepalive": 5}, {"timeout_keep_alive": 6.0}, environ).timeout_keep_alive == 7.0


def test_deadline_of_a_drain() -> None:
    environ = {"FASTWS_DRAIN_DELAY": "5"}
    assert config({"graceful_timeout": 30}, environ=environ).timeout_graceful_shutdown == 24.0
    assert config({"graceful_timeout": 30}, {"timeout_graceful_shutdown": 3.0}).timeout_graceful_shutdown == 3.0
    assert config({"graceful_timeout": 30}, {"timeout_graceful_shutdown": None}).timeout_graceful_shutdown == 29.0


def test_the_file_that_the_environment_names(tmp_path: Path) -> None:
    path = tmp_path / "fastws.toml"
    path.write_text("timeout-keep-alive = 7\nws-max-size = 10\n")
    environ = {"FASTWS_CONFIG": str(path), "FASTWS_WS_MAX_SIZE": "20"}
    made = config({"keepalive": 5}, {"timeout_keep_alive": 6.0, "ws_max_queue": 3}, environ)
    assert (made.timeout_keep_alive, made.ws_max_size, made.ws_max_queue) == (7.0, 20, 3)
    for text, message in [
        ("workers = 3", "workers: gunicorn has the workers: --workers"),
        ("app = 'a:b'", "app: gunicorn imports the application"),
        ("prot = 3", "prot: no such option: did you mean 'port'?"),
    ]:
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            config(environ=environ)
        assert str(caught.value) == f"{path}: {message}"


def test_max_requests_come_with_their_jitter() -> None:
    assert config(max_requests=105).limit_max_requests == 105


@pytest.mark.parametrize("name", sorted(INSTEAD.keys() & OPTION.keys()))
def test_what_is_gunicorns_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^CONFIG\['{name}'\]: gunicorn "):
        config(own={name: None})


@pytest.mark.parametrize(
    ("settings", "own", "message"),
    [
        (
            {},
            {"ws_max_size": 0},
            r"^--ws-max-size: must be a number of bytes such as 65536, 64KiB or 1MB, 1 or more, not 0$",
        ),
        ({}, {"app": "a:b"}, r"^CONFIG: app: gunicorn imports the application$"),
        ({}, {"ws_max_sise": 1}, r"^CONFIG: ws_max_sise: no such option: did you mean 'ws_max_size'\?$"),
        ({}, {"WS-PING": 1}, r"^CONFIG: WS-PING: no such option: did you mean 'ws_ping_"),
        ({}, {"http2": True}, r"^CONFIG: http2: install fastws-server\[http2\] and "),
        ({"certfile": "c.pem"}, {"ssl_ciphers": "x"}, r"^ssl_ciphers: gunicorn's certfile and keyfile are set"),
        ({"protocol": "uwsgi"}, {}, r"^protocol: fastws speaks http, not uwsgi$"),
    ],
)
def test_mistakes(settings: dict[str, Any], own: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(settings, own)


def test_page_has_every_setting() -> None:
    table = PAGE.read_text().split("## gunicorn's settings")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)`.*?\| (.*?) \|", table, re.MULTILINE)
    shown = {name: set(re.findall(r"`--([a-z-]+)`", cell)) for name, cell in rows}
    for setting in SETTINGS:
        options = {OPTION[option].cli.removeprefix("--") for option in setting.options if option in OPTION}
        assert options <= shown[setting.name], setting.name


# Values for hooks and the log

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/a\n",
    "raw_path": b"/a%0A",
    "query_string": b"b=c",
    "http_version": "1.1",
    "scheme": "wss",
    "client": ("192.0.2.1", 5000),
    "headers": [(b"x-a", b"1"), (b"x-a", b"2"), (b"user-agent", b"me")],
}


def test_request() -> None:
    request = Request(SCOPE)
    assert (request.method, request.uri, request.path, request.query) == ("GET", "/a%0A?b=c", "/a\n", "b=c")
    assert (request.version, request.scheme, request.remote_addr) == ((1, 1), "https", "192.0.2.1")
    assert request.headers[2] == ("USER-AGENT", "me")
    environ = request.environ()
    assert (environ["HTTP_X_A"], environ["HTTP_USER_AGENT"]) == ("1,2", "me")
    assert environ["PATH_INFO"] == "/a\\n"  # nobody may write lines into a log
    assert Request({**SCOPE, "client": None}).environ()["REMOTE_ADDR"] == "-"
    assert Request({**SCOPE, "client": ("/run/s", None)}).environ()["REMOTE_ADDR"] == "-"


def test_a_request_for_a_log_without_the_values_of_queries() -> None:
    scope = {**SCOPE, "headers": [*SCOPE["headers"], (b"referer", b"https://a.example/?token=secret")]}
    environ = Request(scope, query_values=False).environ()
    assert (environ["RAW_URI"], environ["QUERY_STRING"]) == ("/a%0A?b=*", "b=*")
    assert environ["HTTP_REFERER"] == "https://a.example/?token=*"
    assert Request(scope).environ()["HTTP_REFERER"] == "https://a.example/?token=secret"


def test_duration_of_days() -> None:
    duration = Duration(seconds=200_000.5)
    assert (duration.seconds, duration.microseconds) == (200_000, 500_000)
    assert duration == timedelta(seconds=200_000.5)


class Logger:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, str, float]] = []
        self.error_log = logging.getLogger("gunicorn.error")

    def access(self, resp: Response, req: Request, environ: dict[str, str], request_time: timedelta) -> None:
        self.lines.append((resp.status, resp.sent, environ["RAW_URI"], request_time.total_seconds()))


def test_access_log_has_a_line_for_each_request_and_each_websocket() -> None:
    logger = Logger()
    log = AccessLog(logger, query_values=True)
    log.request(SCOPE, 200, 5, 0.25)
    log.websocket_opened(SCOPE, 101)
    log.websocket_opened(SCOPE, 403)
    log.websocket_closed(SCOPE, WebSocketEnd(1000, "", "client", 3.5, 1, 2, 3, 4))
    assert logger.lines == [
        ("200", 5, "/a%0A?b=c", 0.25),
        ("403", 0, "/a%0A?b=c", 0.0),
        ("101", 4, "/a%0A?b=c", 3.5),
    ]
