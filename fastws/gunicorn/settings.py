"""gunicorn's settings as options of fastws: one table, `SETTINGS`, and how options are put together for a worker.

What is stronger comes later: gunicorn's settings, the worker class's own `CONFIG`, the file that FASTWS_CONFIG names,
the other variables FASTWS_*.
Where the two disagree about who decides, as on the address, gunicorn does, and saying it to fastws is an error. Nothing
here imports gunicorn; docs/deployment/gunicorn.md shows the table to users, a test compares.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from fastws.config import OPTION, Config
from fastws.config import file as config_file
from fastws.config.environment import read_environment
from fastws.config.sources import CONFIG_VARIABLE
from fastws.config.uvicorn_options import no_such_option
from fastws.errors import ConfigError
from fastws.http.forwarded import UNIX

SPARE_SECONDS: Final = 1.0
"""How long before graceful_timeout connections have ended; half of that time where it is shorter than two of these."""
UNLIMITED_FIELDS: Final = 32768
"""What gunicorn makes of `limit_request_fields = 0`."""
DEFAULT_WORKER_CONNECTIONS: Final = 1000
DEFAULT_SECURE_SCHEME_HEADERS: Final = {
    "X-FORWARDED-PROTOCOL": "ssl",
    "X-FORWARDED-PROTO": "https",
    "X-FORWARDED-SSL": "on",
}

Options = dict[str, Any]


class Setting(NamedTuple):
    """One of gunicorn's settings: the options that it becomes, and how."""

    name: str
    options: tuple[str, ...]
    read: Callable[[Any], Options]


def _same(option: str) -> Callable[[Any], Options]:
    return lambda value: {option: value}


def _worker_connections(value: int) -> Options:
    return {} if value == DEFAULT_WORKER_CONNECTIONS else {"limit_concurrency": value}


def _request_line(value: int) -> Options:
    return {"limit_request_line": value or OPTION["limit_request_head"].default}


def _request_field_size(value: int) -> Options:
    """One field of the size that is allowed must fit into the head."""
    head = OPTION["limit_request_head"].default
    return {"limit_request_field_size": value or head, "limit_request_head": max(head, 2 * value)}


def _forwarded_allow_ips(value: str | list[str]) -> Options:
    """gunicorn believes every peer of a Unix socket."""
    return {"forwarded_allow_ips": (*(value.split(",") if isinstance(value, str) else value), UNIX)}


def _secure_scheme_headers(value: dict[str, str]) -> Options:
    """gunicorn's default has two more fields than X-Forwarded-Proto, which nobody sends who does not know of them."""
    return {} if value == DEFAULT_SECURE_SCHEME_HEADERS else {"secure_scheme_headers": tuple(value.items())}


def _proxy_protocol(value: str | bool) -> Options:
    """A bool until gunicorn 24, then off, v1, v2 or auto."""
    return {"proxy_protocol": value not in (False, "off")}


def _proxy_allow_ips(value: str | list[str]) -> Options:
    return {"proxy_allow_ips": (*(value.split(",") if isinstance(value, str) else value), UNIX)}


def _protocol(value: str) -> Options:
    if value != "http":
        raise ConfigError(f"protocol: fastws speaks http, not {value}")
    return {}


SETTINGS: Final = (
    Setting("backlog", ("backlog",), _same("backlog")),
    Setting("keepalive", ("timeout_keep_alive",), lambda value: {"timeout_keep_alive": float(value)}),
    Setting("worker_connections", ("limit_concurrency",), _worker_connections),
    Setting("limit_request_line", ("limit_request_line",), _request_line),
    Setting(
        "limit_request_fields",
        ("limit_request_fields",),
        lambda value: {"limit_request_fields": value if value > 0 else UNLIMITED_FIELDS},
    ),
    Setting("limit_request_field_size", ("limit_request_field_size", "limit_request_head"), _request_field_size),
    Setting("forwarded_allow_ips", ("forwarded_allow_ips",), _forwarded_allow_ips),
    Setting("secure_scheme_headers", ("secure_scheme_headers",), _secure_scheme_headers),
    Setting("proxy_protocol", ("proxy_protocol",), _proxy_protocol),
    Setting("proxy_allow_ips", ("proxy_allow_ips",), _proxy_allow_ips),
    Setting("protocol", (), _protocol),
    Setting("root_path", ("root_path",), _same("root_path")),
    Setting("asgi_loop", ("loop",), _same("loop")),
    Setting("asgi_lifespan", ("lifespan",), _same("lifespan")),
    Setting("websocket_max_message_size", ("ws_max_size",), lambda value: {"ws_max_size": value or sys.maxsize}),
)
"""Settings that become options as they are; one that this gunicorn does not have is left out."""

INSTEAD: Final[Mapping[str, str]] = {
    "host": "gunicorn listens: --bind",
    "port": "gunicorn listens: --bind",
    "uds": "gunicorn listens: --bind unix:PATH",
    "fd": "gunicorn listens: --bind fd://FD",
    "bind": "gunicorn listens: --bind",
    "uds_mode": "gunicorn listens: --umask",
    "uds_owner": "gunicorn listens: --user, --group",
    "backlog": "gunicorn listens: --backlog",
    "app_dir": "gunicorn imports the application: --pythonpath",
    "factory": "gunicorn imports the application: 'module:factory()'",
    "env_file": "gunicorn sets the environment: --env",
    "workers": "gunicorn has the workers: --workers",
    "timeout_worker_healthcheck": "gunicorn watches its workers: --timeout",
    "timeout_worker_start": "gunicorn watches its workers: --timeout",
    "reload": "gunicorn reloads: --reload",
    "reload_dirs": "gunicorn reloads: --reload",
    "reload_includes": "gunicorn reloads: --reload-extra-file",
    "reload_excludes": "gunicorn reloads: --reload",
    "reload_delay": "gunicorn reloads: --reload",
    "limit_max_requests": "gunicorn counts: --max-requests",
    "limit_max_requests_jitter": "gunicorn counts: --max-requests-jitter",
    "log_config": "gunicorn logs: --log-config",
    "log_level": "gunicorn logs: --log-level",
    "access_log": "gunicorn logs: --access-logfile",
    "access_log_format": "gunicorn logs: --access-logformat",
    "log_format": "gunicorn logs: --logger-class, --log-config",
    "use_colors": "gunicorn logs",
}
"""Options that are gunicorn's business, and what to say to it."""


def config_for(app: Any, cfg: Any, own: Mapping[str, Any], environ: Mapping[str, str], max_requests: int) -> Config:
    """The configuration of a worker: `cfg` is gunicorn's, `own` what its class says. Raises ConfigError.

    `max_requests` is the number with its jitter, `sys.maxsize` for none, as gunicorn's worker has it.
    """
    options: Options = {}
    for setting in SETTINGS:
        if setting.name in cfg.settings:
            options.update(setting.read(getattr(cfg, setting.name)))
    path = environ.get(CONFIG_VARIABLE)
    file = config_file.read(path) if path else None
    if file is not None and file.app is not None:
        raise ConfigError(f"{path}: app: gunicorn imports the application")
    given = {**own, **(file.options if file is not None else {}), **read_environment(environ)}
    for name in given:
        if name == "app":
            raise ConfigError("CONFIG: app: gunicorn imports the application")
        if name not in OPTION:
            raise ConfigError(f"CONFIG: {no_such_option(name, OPTION)}")
        if name in INSTEAD:
            where = f"CONFIG[{name!r}]"
            if environ.get(OPTION[name].env):
                where = OPTION[name].env
            elif file is not None and name in file.keys:
                where = f"{path}: {file.keys[name]}"
            raise ConfigError(f"{where}: {INSTEAD[name]}")
        if name.startswith("ssl_") and cfg.is_ssl:
            raise ConfigError(f"{name}: gunicorn's certfile and keyfile are set; say it to one of the two")
    options.update(given)
    checked = Config(app, log_config=None, access_log=False, **options)
    graceful = graceful_seconds(cfg.graceful_timeout, checked)
    wanted = checked.timeout_graceful_shutdown if "timeout_graceful_shutdown" in given else None
    options["timeout_graceful_shutdown"] = graceful if wanted is None else min(graceful, wanted)
    if max_requests < sys.maxsize:
        options["limit_max_requests"] = max_requests
    return Config(app, log_config=None, access_log=False, **options)


def graceful_seconds(graceful_timeout: float, config: Config) -> float:
    """How long connections may take to end, so that all is over a second before gunicorn's patience."""
    spare = min(SPARE_SECONDS, graceful_timeout / 2)
    delay = min(getattr(config, "drain_delay", 0.0), graceful_timeout / 2)
    return float(max(0.0, graceful_timeout - spare - delay))
