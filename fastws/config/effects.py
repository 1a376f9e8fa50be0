"""Options that do nothing beside another one: what an operator is told of, instead of being left to find out.

What contradicts itself is refused by `fastws.config.pairs`. Here is what is only in vain: the server does what the
other option says. An option that has its default's value counts as not given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fastws.config.table import OPTION, OPTIONS, Fields


@dataclass(frozen=True)
class InVain:
    """The options `names` have no effect where `when` holds, `because` of what stands there in words."""

    names: tuple[str, ...]
    when: Callable[[Fields], bool]
    because: str


def _names(prefix: str, *but: str) -> tuple[str, ...]:
    return tuple(each.name for each in OPTIONS if each.name.startswith(prefix) and each.name not in but)


def _no_unix_socket(config: Fields) -> bool:
    return config.uds is None and not any("unix:" in str(each) for each in config.bind)


RULES: Final = (
    InVain(("host", "port"), lambda config: bool(config.bind), "with --bind, which says where to listen"),
    InVain(("host", "port"), lambda config: config.uds is not None, "with --uds, which says where to listen"),
    InVain(("host", "port"), lambda config: config.fd is not None, "with --fd, which says where to listen"),
    InVain(("uds_mode", "uds_owner"), _no_unix_socket, "where no Unix domain socket is made: --uds, --bind unix:"),
    InVain(_names("ws_", "ws"), lambda config: config.ws == "none", "with --ws none, which refuses WebSockets"),
    InVain(_names("topics_"), lambda config: config.ws == "none", "with --ws none, which refuses WebSockets"),
    InVain(("limit_websockets",), lambda config: config.ws == "none", "with --ws none, which refuses WebSockets"),
    InVain(
        _names("ws_deflate_"),
        lambda config: not config.ws_per_message_deflate,
        "with --ws-per-message-deflate off, since nothing is compressed",
    ),
    InVain(
        ("ws_ping_timeout",),
        lambda config: config.ws_ping_interval is None,
        "without pings (--ws-ping-interval)",
    ),
    InVain(("topics_prefix",), lambda config: config.topics_url is None, "without --topics-url"),
    InVain(
        ("forwarded_headers", "secure_scheme_headers"),
        lambda config: not config.proxy_headers,
        "with --no-proxy-headers, which believes none of them",
    ),
    InVain(
        ("forwarded_headers", "secure_scheme_headers"),
        lambda config: not config.forwarded_allow_ips,
        "with an empty --forwarded-allow-ips, which trusts nobody",
    ),
    InVain(("proxy_allow_ips",), lambda config: not config.proxy_protocol, "without --proxy-protocol"),
    InVain(("readyz_max_lag",), lambda config: not config.readyz_path, "with an empty --readyz-path"),
    InVain(
        ("timeout_graceful_shutdown", "drain_delay", "drain_window"),
        lambda config: config.reload,
        "with --reload, which waits for nobody",
    ),
    InVain(
        ("ssl_version", "ssl_min_version"), lambda config: not config.ssl_certfile, "without --ssl-certfile: no TLS"
    ),
    InVain(
        ("ssl_ca_certs",),
        lambda config: not config.ssl_cert_reqs,
        "without --ssl-cert-reqs, since clients are asked for no certificate",
    ),
    InVain(
        ("ssl_ciphers",),
        lambda config: config.ssl_min_version == "1.3",
        "with --ssl-min-version 1.3, whose ciphers are OpenSSL's own choice",
    ),
    InVain(("use_colors",), lambda config: config.log_format == "json", "with --log-format json"),
    InVain(("access_log_format",), lambda config: not config.access_log, "with --no-access-log"),
    InVain(
        ("use_colors", "log_format"), lambda config: config.log_config is None, "without a log_config: logging is yours"
    ),
    InVain(
        ("use_colors", "log_format"),
        lambda config: (
            isinstance(config.log_config, str) and not config.log_config.endswith((".json", ".yaml", ".yml"))
        ),
        "with a --log-config in the form of .ini, which names its formatters itself",
    ),
    InVain(("metrics_host",), lambda config: config.metrics_port is None, "without --metrics-port"),
    InVain(
        ("metrics_dir",),
        lambda config: config.metrics_path is None and config.metrics_port is None,
        "without --metrics-path or --metrics-port: there are no metrics",
    ),
    InVain(
        ("timeout_worker_healthcheck", "timeout_worker_start"),
        lambda config: not config.reload and (config.workers or 1) < 2,
        "without --workers: nobody watches",
    ),
    InVain(
        ("limit_worker_jitter",),
        lambda config: config.limit_worker_lifetime is None and config.limit_worker_memory is None,
        "without --limit-worker-lifetime or --limit-worker-memory, which it is a share of",
    ),
    InVain(("reload_delay",), lambda config: not config.reload, "without --reload"),
)


def without_effect(config: Fields) -> list[str]:
    """A line for each option that was given and does nothing, or not what it says; in the order of the rules."""
    lines = {}
    for rule in RULES:
        for name in rule.names:
            if name not in lines and _is_given(config, name) and rule.when(config):
                lines[name] = f"{OPTION[name].cli} has no effect {rule.because}"
    most = None if config.timeout_graceful_shutdown is None else config.timeout_graceful_shutdown / 2
    if config.drain_window is not None and most is not None and config.drain_window > most and not config.reload:
        lines["drain_window"] = f"--drain-window is {most:g}, half of --timeout-graceful-shutdown, which is the most"
    return list(lines.values())


def _is_given(config: Fields, name: str) -> bool:
    option = OPTION[name]
    return bool(getattr(config, name) != option.check(option.default))
