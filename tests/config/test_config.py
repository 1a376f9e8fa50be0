"""The options: their defaults, their bounds, and the one line that a wrong value gets wherever it was given."""

from __future__ import annotations

import ast
import copy
import dataclasses
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from fastws.config import LOGGING_CONFIG, OPTION, OPTIONS, Config
from fastws.config.environment import read_environment
from fastws.config.option import GROUPS, usable_cpus
from fastws.errors import ConfigError

PACKAGE = Path(__file__).parents[2] / "fastws"


def test_every_field_but_the_application_is_an_option() -> None:
    assert [field.name for field in dataclasses.fields(Config)] == ["app", *(option.name for option in OPTIONS)]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_documented_and_its_default_is_right(option: Any) -> None:
    assert option.group in GROUPS
    assert len(option.help) > 10
    assert option.help.endswith((".", "]"))
    checked = option.check(getattr(Config("a:b"), option.name))
    assert checked == getattr(Config("a:b"), option.name)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
@pytest.mark.slow
def test_every_option_is_read_by_something(option: Any) -> None:
    no_readers = ("table.py", "option.py", "main.py", "effects.py")
    readers = [path for path in PACKAGE.rglob("*.py") if path.name not in no_readers]
    # `headers` is read in the form in which it is sent.
    attribute = "default_headers" if option.name == "headers" else option.name
    assert any(
        isinstance(node, ast.Attribute) and node.attr == attribute
        for path in readers
        for node in ast.walk(ast.parse(path.read_text()))
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ws_max_sise", "ws_max_sise: no such option: did you mean 'ws_max_size'?"),
        ("wsMaxSize", "wsMaxSize: no such option: did you mean 'ws_max_size'?"),
        ("zzz", "zzz: no such option: see fastws.Config"),
        ("h11_max_incomplete_event_size", "h11_max_incomplete_event_size: --limit-request-head bounds "),
    ],
)
def test_a_name_that_is_none_is_told_the_nearest(name: str, message: str) -> None:
    """From Python; test_command_line, test_config_file and test_gunicorn_settings have the other ways."""
    given: dict[str, Any] = {name: 1}
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        Config("a:b", **given)
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        dataclasses.replace(Config("a:b"), **given)
    with pytest.raises(TypeError):
        Config()  # type: ignore[call-arg]  # as Python says it


def test_a_configuration_can_be_copied_and_passed_on() -> None:
    config = Config("a:b", ws_max_size=1)
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == copy.copy(config) == config


def test_the_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config("a:b").port = 1  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 65536}, "--port: must be a whole number from 0 to 65535, not 65536"),
        ({"port": "80"}, "--port: must be a whole number from 0 to 65535, not '80'"),
        ({"port": True}, "--port: must be a whole number from 0 to 65535, not True"),
        ({"port": 80.0}, "--port: must be a whole number from 0 to 65535, not 80.0"),
        ({"host": None}, "--host: must be a text, not None"),
        ({"host": "a\0b"}, "--host: must be a text, not 'a\\x00b'"),
        (
            {"ws": "picows"},
            "--ws: must be one of auto, cython, websockets, websockets-sansio, wsproto, none, not 'picows'",
        ),
        (
            {"http": "h11"},
            (
                "--http: must be one of auto, 1, 2, httptools, not 'h11': "
                "fastws parses HTTP/1.1 with httptools alone: leave --http out"
            ),
        ),
        ({"ws_max_size": 0}, "--ws-max-size: must be a number of bytes such as 65536, 64KiB or 1MB, 1 or more, not 0"),
        ({"ws_ping_interval": -1}, "--ws-ping-interval: must be a number, 0 or more, or none, not -1"),
        ({"ws_ping_interval": float("nan")}, "--ws-ping-interval: must be a number, 0 or more, or none, not nan"),
        ({"timeout_keep_alive": float("inf")}, "--timeout-keep-alive: must be a number, 0 or more, not inf"),
        ({"ws_per_message_deflate": "yes"}, "--ws-per-message-deflate: must be true or false, not 'yes'"),
        (
            {"headers": ["x: y"]},
            "--header: must be name:value, a header field without control characters, not ['x: y']",
        ),
        ({"headers": "x:y"}, "--header: must be name:value, a header field without control characters, not 'x:y'"),
        (
            {"headers": [("x", "a\r\nb: c")]},
            "--header: must be name:value, a header field without control characters, not [('x', 'a\\r\\nb: c')]",
        ),
        (
            {"headers": [("x y", "a")]},
            "--header: must be name:value, a header field without control characters, not [('x y', 'a')]",
        ),
        ({"log_level": "loud"}, "--log-level: must be one of critical, error, warning, info, debug, trace, not 'loud'"),
        ({"uds": 3}, "--uds: must be a path, not 3"),
        ({"uds": "/run/a", "fd": 3}, "--uds: cannot be combined with --fd: choose one place to listen"),
        ({"root_path": "api"}, "--root-path: must begin with a slash, as in '/api'"),
        ({"ssl_keyfile": "key.pem"}, "--ssl-keyfile: needs --ssl-certfile, the certificate to serve TLS with"),
        (
            {"ssl_certfile": "cert.pem", "ssl_cert_reqs": 2},
            "--ssl-cert-reqs: needs --ssl-ca-certs, the authorities to check certificates against",
        ),
        (
            {"limit_max_requests_jitter": 3},
            "--limit-max-requests-jitter: needs --limit-max-requests, the number that it is added to",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config("a:b", **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("ws", "cyton", ": did you mean 'cython'?"),
        ("log_level", "wanring", ": did you mean 'warning'?"),
        ("forwarded_headers", "x-forwarded-for, x-forwarded-porto", ": did you mean 'x-forwarded-port'?"),
        ("ws", "protocols:Mine", ": a protocol class of uvicorn's cannot be an engine: leave --ws out"),
        ("ws", object, ": a protocol class of uvicorn's cannot be an engine: leave --ws out"),
        ("port", "80", "not '80'"),
    ],
)
def test_a_mistake_ends_with_what_may_have_been_meant(name: str, value: Any, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config("a:b", **{name: value})
    assert str(caught.value).endswith(hint)


def test_a_long_wrong_value_is_cut() -> None:
    with pytest.raises(ConfigError) as caught:
        Config("a:b", ws="x" * 10_000)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("app", [None, 3, "main", "main:", ":app", ""])
def test_what_cannot_be_an_application_is_refused(app: Any) -> None:
    with pytest.raises(ConfigError, match=r"^APP: must be "):
        Config(app)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "0", 0),
        ("port", " 80 ", 80),
        ("ws_max_size", "65536", 65536),
        ("ws_max_size", "1MB", 1_000_000),
        ("ws_max_size", " 64 kib ", 65536),
        ("limit_request_body", "1.5GiB", 1_610_612_736),
        ("limit_request_body", "none", None),
        ("workers", "3", 3),
        ("workers", "auto", usable_cpus()),
        ("ws_ping_interval", "0", None),
        ("ws_ping_interval", "none", None),
        ("ws_ping_interval", "2.5", 2.5),
        ("ws_ping_timeout", "NONE", None),
        ("timeout_graceful_shutdown", "none", None),
        ("timeout_graceful_shutdown", "0", 0),
        ("ws", "websockets-sansio", "websockets-sansio"),
        ("ws", "CYTHON", "cython"),
        ("ws_per_message_deflate", "false", False),
        ("ws_per_message_deflate", "On", True),
        ("access_log", "0", False),
        ("log_level", "TRACE", 5),
        ("log_level", "warning", 30),
        ("headers", "x-a: b", (("x-a", "b"),)),
        ("headers", "X-A:b:c\nserver:", (("X-A", "b:c"), ("server", ""))),
        ("forwarded_allow_ips", "10.0.0.0/8, ::1,", ("10.0.0.0/8", "::1")),
        ("root_path", "", ""),
    ],
)
def test_texts_are_read(name: str, text: str, value: Any) -> None:
    assert OPTION[name].parse(text) == value


def test_values_take_their_one_form() -> None:
    config = Config(
        "a:b",
        ws_ping_interval=0,
        uds=Path("/run/a.sock"),
        headers=[("X-A", " b "), (b"x-b", b"c")],  # type: ignore[list-item]  # bytes are accepted, uvicorn's users have them
        root_path="/api/",
        log_level="debug",
        forwarded_allow_ips="*",
    )
    assert config.ws_ping_interval is None
    assert config.uds == "/run/a.sock"
    assert config.headers == (("X-A", "b"), ("x-b", "c"))
    assert config.default_headers == ((b"x-a", b"b"), (b"x-b", b"c"))
    assert config.root_path == "/api"
    assert config.log_level == 10
    assert Config("a:b", host="[::1]").host == "::1"
    assert Config("a:b", uds="unix:/run/a.sock").uds == "/run/a.sock"
    assert config.forwarded_allow_ips == ("*",)


def test_forwarded_allow_ips_comes_from_the_environment_as_with_uvicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    assert Config("a:b").forwarded_allow_ips == ("127.0.0.1", "::1")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")
    assert Config("a:b").forwarded_allow_ips == ("10.0.0.1",)
    assert Config("a:b", forwarded_allow_ips=["10.0.0.2"]).forwarded_allow_ips == ("10.0.0.2",)


def test_the_default_log_config_is_not_shared() -> None:
    config = Config("a:b")
    assert config.log_config == LOGGING_CONFIG
    assert isinstance(config.log_config, dict)
    config.log_config["formatters"].clear()
    assert Config("a:b").log_config == LOGGING_CONFIG


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(Config("a:b", ssl_certfile="c.pem", ssl_keyfile_password="hunter2"))


def test_environment_variables_set_options() -> None:
    environ = {"FASTWS_PORT": "81", "FASTWS_WS": "wsproto", "FASTWS_ACCESS_LOG": "no", "FASTWS_HOST": "", "PORT": "1"}
    assert read_environment(environ) == {"port": 81, "ws": "wsproto", "access_log": False}
    assert read_environment(environ, skip=["port"]) == {"ws": "wsproto", "access_log": False}


def test_what_kubernetes_sets_for_a_service_called_fastws_is_no_port() -> None:
    assert read_environment({"FASTWS_PORT": "tcp://10.0.0.1:80", "FASTWS_HOST": "::"}) == {"host": "::"}


def test_a_mistake_in_the_environment_names_the_variable() -> None:
    with pytest.raises(ConfigError) as caught:
        read_environment({"FASTWS_PORT": "eighty"})
    assert str(caught.value) == "FASTWS_PORT: must be a whole number from 0 to 65535, not 'eighty'"
