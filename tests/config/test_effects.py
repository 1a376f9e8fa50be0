"""Options that do nothing are refused or named; and one that is empty means nobody, not everybody's default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from serving import run_process, serve_process

from fastws import Config
from fastws.config.effects import RULES, without_effect
from fastws.errors import ConfigError

IN_VAIN: list[tuple[dict[str, Any], str]] = [
    ({"bind": ["127.0.0.1:0"], "port": 9000}, "--port has no effect with --bind"),
    ({"bind": ["127.0.0.1:0"], "host": "::"}, "--host has no effect with --bind"),
    ({"uds": "/x", "port": 9000}, "--port has no effect with --uds"),
    ({"fd": 3, "host": "::"}, "--host has no effect with --fd"),
    ({"uds_mode": "600"}, "--uds-mode has no effect where no Unix domain socket is made"),
    ({"uds_owner": ":x"}, "--uds-owner has no effect where no Unix domain socket is made"),
    ({"ws": "none", "ws_max_size": 5}, "--ws-max-size has no effect with --ws none"),
    ({"ws": "none", "topics_slow": "latest"}, "--topics-slow has no effect with --ws none"),
    ({"ws": "none", "limit_websockets": 5}, "--limit-websockets has no effect with --ws none"),
    ({"ws_per_message_deflate": False, "ws_deflate_level": 6}, "--ws-deflate-level has no effect with --ws-per-"),
    ({"ws_ping_interval": 0, "ws_ping_timeout": 5}, "--ws-ping-timeout has no effect without pings"),
    ({"topics_prefix": "x:"}, "--topics-prefix has no effect without --topics-url"),
    ({"proxy_headers": False, "forwarded_headers": "forwarded"}, "--forwarded-headers has no effect with --no-proxy-"),
    (
        {"forwarded_allow_ips": "", "secure_scheme_headers": [("x", "y")]},
        "--secure-scheme-header has no effect with an empty --forwarded-allow-ips",
    ),
    ({"proxy_allow_ips": "10.0.0.1"}, "--proxy-allow-ips has no effect without --proxy-protocol"),
    ({"readyz_path": "", "readyz_max_lag": 5}, "--readyz-max-lag has no effect with an empty --readyz-path"),
    ({"reload": True, "drain_delay": 5}, "--drain-delay has no effect with --reload"),
    ({"ssl_min_version": "1.3"}, "--ssl-min-version has no effect without --ssl-certfile"),
    ({"ssl_certfile": "c", "ssl_ca_certs": "d"}, "--ssl-ca-certs has no effect without --ssl-cert-reqs"),
    (
        {"ssl_certfile": "c", "ssl_min_version": "1.3", "ssl_ciphers": "x"},
        "--ssl-ciphers has no effect with --ssl-min-version 1.3",
    ),
    ({"log_format": "json", "use_colors": True}, "--use-colors has no effect with --log-format json"),
    ({"access_log": False, "access_log_format": "%(h)s"}, "--access-log-format has no effect with --no-access-log"),
    (
        {"log_config": "x.ini", "log_format": "json"},
        "--log-format has no effect with a --log-config in the form of .ini",
    ),
    ({"log_config": None, "use_colors": True}, "--use-colors has no effect without a log_config"),
    ({"metrics_host": "::"}, "--metrics-host has no effect without --metrics-port"),
    ({"metrics_dir": "/x"}, "--metrics-dir has no effect without --metrics-path"),
    ({"timeout_worker_start": 5}, "--timeout-worker-start has no effect without --workers"),
    ({"limit_worker_jitter": 0.5}, "--limit-worker-jitter has no effect without --limit-worker-lifetime"),
    ({"reload_delay": 5}, "--reload-delay has no effect without --reload"),
    ({"drain_window": 60, "timeout_graceful_shutdown": 10}, "--drain-window is 5, half of --timeout-graceful-"),
]


@pytest.mark.parametrize(
    ("options", "line"), IN_VAIN, ids=[line.partition(" ")[0] + f" {n}" for n, (_, line) in enumerate(IN_VAIN)]
)
def test_an_option_in_vain_is_named(options: dict[str, Any], line: str) -> None:
    [found] = without_effect(Config("a:b", **options))
    assert found.startswith(line)


def test_every_rule_is_tested_and_defaults_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert without_effect(Config("a:b")) == []
    tested = [Config("a:b", **options) for options, _ in IN_VAIN]
    assert [rule.because for rule in RULES if not any(rule.when(config) for config in tested)] == []


@pytest.mark.slow
def test_the_log_names_it_once(tmp_path: Path) -> None:
    with serve_process("process_apps:app", "--bind", "127.0.0.1:0", "--port", "9") as process:
        process.wait_for_line("^WARNING:  --port has no effect with --bind, which says where to listen$")
        process.stop()
        assert process.output.count("--port has no effect") == 1


@pytest.mark.deploy
def test_a_supervisor_names_it_for_all_its_workers() -> None:
    options = ("--workers", "2", "--bind", "127.0.0.1:0", "--port", "9")
    with serve_process("worker_apps:app", *options) as process:
        process.wait_for_line("2 workers serve")
        process.stop()
        assert process.output.count("--port has no effect") == 1


# Whose fields are believed.


@pytest.mark.parametrize("given", ["", (), [], " , "])
def test_an_empty_list_trusts_nobody(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(each.strip() for each in Config("a:b", forwarded_allow_ips=given).forwarded_allow_ips)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")
    assert not any(each.strip() for each in Config("a:b", forwarded_allow_ips=given).forwarded_allow_ips)


def test_what_is_not_given_is_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    assert tuple(Config("a:b").forwarded_allow_ips) == ("127.0.0.1", "::1")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "")
    assert tuple(Config("a:b", forwarded_allow_ips=None).forwarded_allow_ips) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["forwarded_allow_ips", "proxy_allow_ips"])
@pytest.mark.parametrize("wrong", ["proxy.internal", "10.0.0.*", "localhost", "fe80::*", "127.0.0.1,nginx"])
def test_a_name_or_a_pattern_is_refused(option: str, wrong: str) -> None:
    name = "--" + option.replace("_", "-")
    with pytest.raises(ConfigError, match=rf"{name}: '{wrong.split(',')[-1].replace('*', '.')}' is no address"):
        Config("a:b", **{option: wrong})  # type: ignore[arg-type]


def test_an_empty_list_on_the_command_line() -> None:
    with run_process("process_apps:app", "--port", "0", "--forwarded-allow-ips", "proxy.internal") as process:
        assert process.wait() == 2
        assert "--forwarded-allow-ips: 'proxy.internal' is no address" in process.output
