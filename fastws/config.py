"""Every option of fastws: one frozen dataclass, one field an option, with its default, help and bounds.

The command line, the environment variables FASTWS_*, `fastws.run(...)` and the reference page are derived from these
fields. Names and meanings are uvicorn's wherever uvicorn has the option. This file holds values only: it imports no
application, opens nothing, and knows neither asyncio nor click. Numbers are seconds or bytes, as each help text says.
"""

# ruff: noqa: RUF009  # option() declares a field, as dataclasses.field() does; it is no shared default

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Final

from fastws.deflate_backends import BACKEND_NAMES
from fastws.errors import ConfigError
from fastws.log_atoms import read_format
from fastws.options import LOG_LEVELS, TOKEN, Option, option
from fastws.redis_url import check_redis_url
from fastws.uvicorn_options import NONE_IS_DEFAULT

LOGGING_CONFIG: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {
            "()": "fastws.log_format.DefaultFormatter",
            "fmt": "%(levelprefix)s %(message)s",
            "use_colors": None,
        },
        "access": {
            "()": "fastws.log_format.AccessFormatter",
            "fmt": '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
            "use_colors": None,
        },
    },
    "handlers": {
        "default": {"formatter": "default", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
        "access": {"formatter": "access", "class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        "fastws": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "fastws.error": {"level": "INFO"},
        "fastws.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
    },
}
"""The default of `log_config`, for `logging.config.dictConfig`. Copy it before you change it."""

FORWARDED_HEADERS: Final = (
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "forwarded",
)
WS_ENGINES: Final = ("auto", "cython", "websockets", "websockets-sansio", "wsproto", "none")


@dataclass(frozen=True)
class Config:
    """The options of one server. Raises ConfigError, one line, for a value that is wrong or does not fit another."""

    app: str | Callable[..., Any]
    """The ASGI application, or where to find it: ``"module:attribute"``."""
    _: KW_ONLY

    factory: bool = option(
        False, "APP is called without arguments and returns the application.", group="Application", kind="flag"
    )
    app_dir: str | os.PathLike[str] = option(
        ".",
        "Look for APP in this directory, before the other places on Python's path.",
        group="Application",
        kind="path",
    )
    env_file: str | os.PathLike[str] | None = option(
        None,
        "Read environment variables from this file before APP is imported; needs fastws[env].",
        group="Application",
        kind="path",
        nullable=True,
    )
    lifespan: str = option(
        "auto",
        "ASGI lifespan events: `auto` goes on without them where the application raises on them.",
        group="Application",
        kind="choice",
        choices=("auto", "on", "off"),
    )
    root_path: str = option(
        "", "The path under which a proxy serves the application (ASGI root_path).", group="Application", kind="text"
    )

    host: str = option(
        "127.0.0.1", "Listen on this address or name; 0.0.0.0 or :: for all of them.", group="Address", kind="text"
    )
    port: int = option(
        8000, "Listen on this port; 0 takes a free one.", group="Address", kind="integer", minimum=0, maximum=65535
    )
    uds: str | os.PathLike[str] | None = option(
        None, "Listen on this Unix domain socket instead.", group="Address", kind="path", nullable=True
    )
    fd: int | None = option(
        None,
        "Listen on the socket with this file descriptor instead.",
        group="Address",
        kind="integer",
        minimum=0,
        nullable=True,
    )
    bind: Sequence[str] = option(
        (),
        "Listen on host:port, unix:path or fd://number instead of --host and --port; may be repeated.",
        group="Address",
        kind="addresses",
    )
    uds_mode: int = option(
        0o666, "Permissions of Unix domain sockets, in octal.  [default: 666]", group="Address", kind="mode"
    )
    uds_owner: str | None = option(
        None,
        "Owner of Unix domain sockets, as user, user:group or :group.",
        group="Address",
        kind="text",
        nullable=True,
    )
    backlog: int = option(
        2048,
        "Connections that the kernel may hold until they are accepted.",
        group="Address",
        kind="integer",
        minimum=1,
    )

    ws: str = option(
        "auto",
        "WebSocket engine: `auto` is cython, or websockets where that is not built; `none` serves HTTP only.",
        group="WebSocket",
        kind="choice",
        choices=WS_ENGINES,
    )
    ws_max_size: int = option(
        16 * 1024 * 1024, "Largest message from a client, in bytes.", group="WebSocket", kind="integer", minimum=1
    )
    ws_max_queue: int = option(
        32,
        "Messages that may wait for the application before reading stops.",
        group="WebSocket",
        kind="integer",
        minimum=1,
    )
    ws_max_queue_bytes: int = option(
        1024 * 1024,
        "Bytes of messages that may wait for the application before reading stops.",
        group="WebSocket",
        kind="integer",
        minimum=1,
    )
    ws_ping_interval: float | None = option(
        20.0,
        "Seconds between keepalive pings; 0 or none sends none.",
        group="WebSocket",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    ws_ping_timeout: float | None = option(
        20.0,
        "Seconds in which a ping must bring any byte from the client; 0 or none waits for ever.",
        group="WebSocket",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    ws_per_message_deflate: bool = option(
        True, "Offer to compress messages (RFC 7692).", group="WebSocket", kind="boolean"
    )
    ws_deflate_threshold: int = option(
        256,
        "Compress messages of at least this many bytes, where it makes them shorter; 0 compresses all of them.",
        group="WebSocket",
        kind="integer",
        minimum=0,
    )
    ws_deflate_backend: str = option(
        "auto",
        "What compresses: `isal` (pip install 'fastws[isal]') takes two thirds of zlib's time for 1 KiB, two fifths "
        "for 16 KiB, for messages as short; `auto` is isal where it is installed and no context is kept.",
        group="WebSocket",
        kind="choice",
        choices=BACKEND_NAMES,
    )
    ws_deflate_level: int = option(
        1,
        "Effort of compression: 6 makes messages of 1 KiB a twentieth shorter than 1 in nearly twice the time, those "
        "of 16 KiB a seventh; isal has only 1, 7 and 9.",
        group="WebSocket",
        kind="integer",
        minimum=1,
        maximum=9,
    )
    ws_deflate_window_bits: int = option(
        12,
        "Compressor's window, as a power of two; a compressor takes 16 KiB for 12, 128 KiB for 15.",
        group="WebSocket",
        kind="integer",
        minimum=9,
        maximum=15,
    )
    ws_deflate_memory_level: int = option(
        5,
        "Compressor's other memory: 16 KiB for 5, 128 KiB for 8.",
        group="WebSocket",
        kind="integer",
        minimum=1,
        maximum=9,
    )
    ws_deflate_context_takeover: bool = option(
        False,
        "Let messages refer to earlier ones, which shortens similar messages: each connection then holds a compressor "
        "and a decompressor (40 KiB) of its own, instead of sharing one.",
        group="WebSocket",
        kind="boolean",
    )
    ws_handshake_timeout: float = option(
        60.0,
        "Seconds in which the application must accept or deny a WebSocket.",
        group="WebSocket",
        kind="number",
        minimum=0.001,
    )
    ws_close_timeout: float = option(
        10.0, "Seconds in which the client must answer a Close.", group="WebSocket", kind="number", minimum=0.001
    )

    ws_idle_timeout: float | None = option(
        None,
        "Seconds without a message in either direction after which a WebSocket is closed (1001); none: never.",
        group="WebSocket",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    ws_max_age: float | None = option(
        None,
        "Seconds after which a WebSocket is closed (1012), less up to a tenth at random, so that clients come back and "
        "spread over the servers anew; none: never.",
        group="WebSocket",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    ws_allowed_origins: Sequence[str] = option(
        (),
        "Origins whose pages may open WebSockets, as https://example.com, with commas between; others get 403."
        "  [default: any]",
        group="WebSocket",
        kind="origins",
    )

    topics_slow: str = option(
        "close",
        "What becomes of publications for a subscriber that is slow, once --topics-backlog bytes wait for it: "
        "`drop-newest`, `drop-oldest`, only the `latest` of each key is kept, or it is closed (1013).",
        group="Topics",
        kind="choice",
        choices=("close", "drop-newest", "drop-oldest", "latest"),
    )
    topics_backlog: int = option(
        1_048_576,
        "Bytes of publications that may wait for a slow subscriber, with 64 for each message, behind the "
        "--write-buffer-bytes.",
        group="Topics",
        kind="integer",
        minimum=0,
    )
    topics_per_connection: int = option(
        1000, "Topics that a WebSocket may subscribe to.", group="Topics", kind="integer", minimum=0
    )
    topics_url: str | None = option(
        None,
        "Redis over which topics reach other servers: redis://, rediss://, unix://, or redis+cluster:// and "
        "rediss+cluster:// for sharded pub/sub; needs fastws[redis].",
        group="Topics",
        kind="text",
        nullable=True,
        secret=True,
    )
    topics_password: str | None = option(
        None,
        "Password of that Redis, if the URL has none; better said as $FASTWS_TOPICS_PASSWORD, which nobody else sees.",
        group="Topics",
        kind="text",
        nullable=True,
        secret=True,
    )
    topics_prefix: str = option(
        "fastws:", "What the channels of topics begin with in that Redis.", group="Topics", kind="text"
    )
    topics_dir: str | os.PathLike[str] | None = option(
        None,
        "Directory in which servers of one machine find each other for topics, where there is no --topics-url."
        "  [default: with --workers, a new one]",
        group="Topics",
        kind="path",
        nullable=True,
    )
    topics_buffer_bytes: int = option(
        16 * 1024 * 1024,
        "Bytes of publications that may wait for Redis, or for each other worker; more are dropped and counted.",
        group="Topics",
        kind="integer",
        minimum=65536,
    )

    http: str = option("auto", "HTTP parser.", group="HTTP", kind="choice", choices=("auto", "httptools"))
    headers: Sequence[tuple[str, str]] = option(
        (), "Add this header field to every response; may be repeated.", group="HTTP", kind="headers"
    )
    server_header: bool = option(True, "Send the header field Server.", group="HTTP", kind="flag")
    date_header: bool = option(True, "Send the header field Date.", group="HTTP", kind="flag")
    proxy_headers: bool = option(
        True, "Take scheme and client from X-Forwarded-Proto and X-Forwarded-For.", group="HTTP", kind="flag"
    )
    forwarded_allow_ips: str | Sequence[str] = option(
        (),
        "Whose X-Forwarded-* to believe: addresses, networks, `unix`, paths, or * for all, with commas between."
        "  [default: $FORWARDED_ALLOW_IPS, else 127.0.0.1,::1]",
        group="HTTP",
        kind="list",
    )

    livez_path: str = option(
        "/livez",
        "Path of a page that says 200 while the event loop runs; empty: none.",
        group="HTTP",
        kind="text",
    )
    readyz_path: str = option(
        "/readyz",
        "Path of a page that says 200 where new clients are welcome, else 503: in a drain, and when the event loop is "
        "late; empty: none.",
        group="HTTP",
        kind="text",
    )
    readyz_max_lag: float | None = option(
        2.0,
        "Seconds that the event loop may be late before --readyz-path says 503; none: any.",
        group="HTTP",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )

    forwarded_headers: str | Sequence[str] = option(
        "x-forwarded-for,x-forwarded-proto",
        "Which header fields of trusted peers to believe, with commas between. Name only what your proxy sets or "
        "removes: others are the client's.",
        group="HTTP",
        kind="list",
        choices=FORWARDED_HEADERS,
    )
    secure_scheme_headers: Sequence[tuple[str, str]] = option(
        (),
        "Header field by which trusted peers say that the client came over TLS, instead of X-Forwarded-Proto; may be "
        "repeated.",
        group="HTTP",
        kind="headers",
    )
    proxy_protocol: bool = option(
        False,
        "Every connection begins with a PROXY header (version 1 or 2), before TLS.",
        group="HTTP",
        kind="flag",
    )
    proxy_allow_ips: str | Sequence[str] = option(
        "127.0.0.1,::1,unix",
        "Whose PROXY headers to believe: addresses, networks, `unix`, or * for all, with commas between. Others are "
        "refused.",
        group="HTTP",
        kind="list",
    )

    limit_concurrency: int | None = option(
        None,
        "HTTP requests served at once and, counted apart, WebSockets; more get a 503.",
        group="Limits",
        kind="integer",
        minimum=1,
        nullable=True,
    )
    limit_websockets: int | None = option(
        None,
        "WebSockets open at once; more get a 503.  [default: --limit-concurrency]",
        group="Limits",
        kind="integer",
        minimum=1,
        nullable=True,
    )
    limit_connections_per_client: int | None = option(
        10_000,
        "Connections from one address (IPv6: one /64); more get a 503. Not for Unix sockets and trusted proxies.",
        group="Limits",
        kind="integer",
        minimum=1,
        nullable=True,
    )
    limit_max_requests: int | None = option(
        None,
        "Requests and WebSockets to serve before the server ends.",
        group="Limits",
        kind="integer",
        minimum=1,
        nullable=True,
    )
    limit_max_requests_jitter: int = option(
        0, "Add up to this many, at random, to --limit-max-requests.", group="Limits", kind="integer", minimum=0
    )
    limit_request_line: int = option(8192, "Longest URL, in bytes.", group="Limits", kind="integer", minimum=1)
    limit_request_fields: int = option(
        100, "Most header fields in a request.", group="Limits", kind="integer", minimum=1
    )
    limit_request_field_size: int = option(
        8192, "Longest header line, in bytes.", group="Limits", kind="integer", minimum=1
    )
    limit_request_head: int = option(
        65536,
        "Longest request head, in bytes, with the framing and trailers of a chunked body.",
        group="Limits",
        kind="integer",
        minimum=1,
    )

    limit_request_body: int | None = option(
        100 * 1024 * 1024,
        "Largest request body, in bytes; more is a 413.",
        group="Limits",
        kind="integer",
        minimum=0,
        nullable=True,
    )
    ws_limit_message_rate: float | None = option(
        None,
        "Messages, pings and pongs a second from one WebSocket; five seconds' worth at once, more is Close 1008.",
        group="Limits",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    ws_limit_byte_rate: float | None = option(
        None,
        "Bytes a second from one WebSocket, as sent; five seconds' worth at once, more is Close 1008.",
        group="Limits",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    write_buffer_bytes: int = option(
        65536,
        "Bytes that may wait for a slow client before the application's sends wait.",
        group="Limits",
        kind="integer",
        minimum=1,
    )

    timeout_request_head: float = option(
        10.0, "Seconds in which a request head must arrive.", group="Timeouts", kind="number", minimum=0.001
    )
    timeout_request_body: float | None = option(
        60.0,
        "Seconds without a byte of a request body that is awaited; then 408. None waits for ever.",
        group="Timeouts",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    timeout_stalled_write: float | None = option(
        60.0,
        "Seconds in which a client whose buffer is full must take 64 KiB, or be cut off. None waits for ever.",
        group="Timeouts",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    timeout_keep_alive: float = option(
        75.0, "Seconds that an idle HTTP connection stays open.", group="Timeouts", kind="number", minimum=0
    )
    timeout_graceful_shutdown: float | None = option(
        30.0,
        "Seconds that open connections get to end at shutdown, and then the application; none waits for ever.",
        group="Timeouts",
        kind="number",
        minimum=0,
        nullable=True,
    )

    drain_delay: float = option(
        0.0,
        "Seconds at shutdown in which new connections are still served, after --readyz-path has turned to 503.",
        group="Timeouts",
        kind="number",
        minimum=0,
    )
    drain_window: float | None = option(
        None,
        "Seconds over which the Closes of WebSockets (1012) are spread at shutdown; half of "
        "--timeout-graceful-shutdown at most.  [default: 10 ms a connection, 10 s at most]",
        group="Timeouts",
        kind="number",
        minimum=0,
        nullable=True,
    )

    ssl_certfile: str | os.PathLike[str] | None = option(
        None, "Certificate chain (PEM); makes the server speak TLS.", group="TLS", kind="path", nullable=True
    )
    ssl_keyfile: str | os.PathLike[str] | None = option(
        None, "Private key (PEM), if it is not in the file of the certificate.", group="TLS", kind="path", nullable=True
    )
    ssl_keyfile_password: str | None = option(
        None, "Password of the private key.", group="TLS", kind="text", nullable=True, secret=True
    )
    ssl_version: int = option(
        17,
        "Protocol constant of Python's ssl module; 17 is PROTOCOL_TLS_SERVER.",
        group="TLS",
        kind="integer",
        minimum=0,
    )
    ssl_cert_reqs: int = option(
        0,
        "Client certificate: 0 is not asked for, 1 is optional, 2 is required.",
        group="TLS",
        kind="integer",
        minimum=0,
        maximum=2,
    )
    ssl_ca_certs: str | os.PathLike[str] | None = option(
        None, "Authorities that client certificates are checked against (PEM).", group="TLS", kind="path", nullable=True
    )
    ssl_min_version: str = option(
        "1.2", "Oldest version of TLS to speak.", group="TLS", kind="choice", choices=("1.2", "1.3")
    )
    ssl_sni: Sequence[tuple[str, str, str | None]] = option(
        (),
        "Certificate (PEM), and its key, for clients that ask for NAME, which may be *.example.com; may be repeated.",
        group="TLS",
        kind="certificates",
    )
    ssl_ciphers: str | None = option(None, "Ciphers, in OpenSSL's notation.", group="TLS", kind="text", nullable=True)

    log_level: str | int | None = option(
        None, "Least severe message to log.  [default: info]", group="Logging", kind="level", nullable=True
    )
    log_config: dict[str, Any] | str | os.PathLike[str] | None = option(
        None,
        "Logging configuration, a .json, .yaml or .ini file; loggers are fastws.error and fastws.access.",
        group="Logging",
        kind="logging",
        nullable=True,
        factory=lambda: copy.deepcopy(LOGGING_CONFIG),
    )
    access_log: bool = option(True, "Log each request and each WebSocket.", group="Logging", kind="flag")
    use_colors: bool | None = option(
        None,
        "Colour the log.  [default: where it goes to a terminal and NO_COLOR is not set]",
        group="Logging",
        kind="flag",
        nullable=True,
    )
    log_format: str = option(
        "text",
        "How lines of the log look: `json` writes an object a line.",
        group="Logging",
        kind="choice",
        choices=("text", "json"),
    )
    access_log_format: str | None = option(
        None,
        "Format of the access log in gunicorn's atoms, as '%(h)s \"%(r)s\" %(s)s %(L)s'.",
        group="Logging",
        kind="text",
        nullable=True,
    )
    request_id_header: str | None = option(
        None,
        "Give each request an id, in this header field and in the log, as X-Request-ID; taken from "
        "--forwarded-allow-ips, else made up.",
        group="Logging",
        kind="text",
        nullable=True,
    )

    metrics_path: str | None = option(
        None,
        "Serve metrics for Prometheus under this path, as /metrics; needs fastws[metrics].",
        group="Operations",
        kind="text",
        nullable=True,
    )
    metrics_port: int | None = option(
        None,
        "Serve metrics on this port instead of the application's; 0 takes a free one.",
        group="Operations",
        kind="integer",
        minimum=0,
        maximum=65535,
        nullable=True,
    )
    metrics_host: str = option(
        "127.0.0.1", "Address or name that --metrics-port listens on.", group="Operations", kind="text"
    )
    metrics_dir: str | os.PathLike[str] | None = option(
        None,
        "Directory in which several workers tell each other their metrics, so that each serves the sum."
        "  [default: with --workers, a new one]",
        group="Operations",
        kind="path",
        nullable=True,
    )
    control_socket: str | os.PathLike[str] | None = option(
        None,
        "Listen for `fastws status`, `close`, `publish` and `drain` on this Unix domain socket; the process id is "
        "added.",
        group="Operations",
        kind="path",
        nullable=True,
    )

    loop: str = option(
        "auto",
        "Event loop: `auto` is uvloop, or asyncio where uvloop is not installed.",
        group="Process",
        kind="choice",
        choices=("auto", "uvloop", "asyncio"),
    )
    workers: int | None = option(
        None,
        "Serve with this many processes, under a supervisor.  [default: $WEB_CONCURRENCY, else 1]",
        group="Process",
        kind="integer",
        minimum=1,
        nullable=True,
    )
    timeout_worker_healthcheck: float | None = option(
        30.0,
        "Seconds without a turn of its event loop after which a worker is killed and replaced; 0 or none: never.",
        group="Process",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    timeout_worker_start: float | None = option(
        600.0,
        "Seconds that a worker may take to start; one that hangs is killed, a restart given up. 0 or none: for ever.",
        group="Process",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    limit_worker_lifetime: float | None = option(
        None,
        "Seconds that a process serves before it drains and, with --workers, is replaced.",
        group="Process",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    limit_worker_memory: float | None = option(
        None,
        "MiB of resident memory above which a process drains and, with --workers, is replaced.",
        group="Process",
        kind="number",
        minimum=0,
        nullable=True,
        zero_is_none=True,
    )
    limit_worker_jitter: float = option(
        0.1,
        "Share of --limit-worker-lifetime and --limit-worker-memory that each process takes off at random, at most.",
        group="Process",
        kind="number",
        minimum=0,
        maximum=1,
    )

    reload: bool = option(
        False,
        "Restart when files change, for development; needs fastws[reload].",
        group="Process",
        kind="flag",
    )
    reload_dirs: Sequence[str] = option(
        (),
        "Watch this directory; may be repeated.  [default: the current one and --app-dir]",
        group="Process",
        kind="texts",
    )
    reload_includes: Sequence[str] = option(
        (),
        "Watch files of this pattern besides *.py, or a directory; may be repeated.",
        group="Process",
        kind="texts",
    )
    reload_excludes: Sequence[str] = option(
        (),
        "Ignore files of this pattern, or a directory, besides .*, *.py[cod], *.sw.* and ~*; may be repeated.",
        group="Process",
        kind="texts",
    )
    reload_delay: float = option(
        0.25, "Seconds between looks for changes.", group="Process", kind="number", minimum=0.01
    )

    def __post_init__(self) -> None:
        if not isinstance(self.app, str) and not callable(self.app):
            raise ConfigError(f"APP: must be module:attribute or an ASGI application, not {self.app!r:.100}")
        if isinstance(self.app, str) and not all(self.app.partition(":")):
            raise ConfigError(f"APP: must be module:attribute, as in main:app, not {self.app!r:.100}")
        for each in OPTIONS:
            value = getattr(self, each.name)
            if value is None and each.name in NONE_IS_DEFAULT:
                value = each.default
            object.__setattr__(self, each.name, each.check(value))
        if not self.forwarded_allow_ips:
            trusted = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
            object.__setattr__(self, "forwarded_allow_ips", OPTION["forwarded_allow_ips"].check(trusted))
        if self.workers is None:
            workers = os.environ.get("WEB_CONCURRENCY") or "1"
            object.__setattr__(self, "workers", OPTION["workers"].parse(workers, "WEB_CONCURRENCY") or 1)
        object.__setattr__(self, "root_path", self.root_path.rstrip("/"))
        self._check_together()

    def _check_together(self) -> None:
        """Refuse options that contradict each other."""
        if self.root_path and not self.root_path.startswith("/"):
            raise ConfigError(f"--root-path: must begin with a slash, as in '/{self.root_path}'")
        for name in ("livez_path", "readyz_path"):
            path = getattr(self, name)
            if path and not path.startswith("/"):
                raise ConfigError(f"{OPTION[name].cli}: must begin with a slash, as in '/{path}', or be empty")
        if self.livez_path and self.livez_path == self.readyz_path:
            raise ConfigError("--readyz-path: must differ from --livez-path")
        if self.uds is not None and self.fd is not None:
            raise ConfigError("--uds: cannot be combined with --fd: choose one place to listen")
        for name, address in (("uds", f"unix:{self.uds}"), ("fd", f"fd://{self.fd}")):
            if self.bind and getattr(self, name) is not None:
                raise ConfigError(f"--{name}: cannot be combined with --bind: write --bind {address}")
        for name in ("ssl_keyfile", "ssl_keyfile_password", "ssl_ca_certs", "ssl_sni", "ssl_ciphers", "ssl_cert_reqs"):
            if getattr(self, name) and not self.ssl_certfile:
                raise ConfigError(f"{OPTION[name].cli}: needs --ssl-certfile, the certificate to serve TLS with")
        if self.ssl_cert_reqs and not self.ssl_ca_certs:
            raise ConfigError("--ssl-cert-reqs: needs --ssl-ca-certs, the authorities to check certificates against")
        if self.metrics_path is not None and not self.metrics_path.startswith("/"):
            raise ConfigError(f"--metrics-path: must begin with a slash, as in '/{self.metrics_path}'")
        if self.access_log_format is not None:
            try:
                read_format(self.access_log_format)
            except ValueError as error:
                raise ConfigError(f"--access-log-format: {error}") from None
        if self.request_id_header is not None and not TOKEN.fullmatch(self.request_id_header):
            raise ConfigError(f"--request-id-header: {self.request_id_header!r:.100} is no name of a header field")
        if self.topics_url is not None:
            try:
                check_redis_url(self.topics_url)
            except ValueError as error:  # the URL may have a password: it is not shown
                raise ConfigError(f"--topics-url: {error}") from None
        if self.topics_password is not None and self.topics_url is None:
            raise ConfigError("--topics-password: needs --topics-url")
        if self.topics_dir is not None and self.topics_url is not None:
            raise ConfigError("--topics-dir: cannot be combined with --topics-url: choose one")
        if self.limit_max_requests_jitter and self.limit_max_requests is None:
            raise ConfigError("--limit-max-requests-jitter: needs --limit-max-requests, the number that it is added to")
        for name in ("reload_dirs", "reload_includes", "reload_excludes"):
            if getattr(self, name) and not self.reload:
                raise ConfigError(f"{OPTION[name].cli}: needs --reload")

    @property
    def is_ssl(self) -> bool:
        """Whether the server speaks TLS."""
        return bool(self.ssl_certfile)

    @property
    def default_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """`headers` as they are sent: names in lower case."""
        return tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers)


def _options() -> tuple[Option, ...]:
    return tuple(Option(name=each.name, **each.metadata) for each in fields(Config) if each.metadata)


OPTIONS: Final = _options()
"""Every option, in the order of the fields."""
OPTION: Final[Mapping[str, Option]] = {each.name: each for each in OPTIONS}
"""The options by the name of their field."""


def read_environment(environ: Mapping[str, str], skip: Iterable[str] = ()) -> dict[str, Any]:
    """The options that `environ` sets by variables FASTWS_*, without those named in `skip`. An empty variable is unset.

    Raises ConfigError, naming the variable, for a value that is wrong.
    """
    skipped = set(skip)
    if environ.get("FASTWS_PORT", "").startswith("tcp://"):
        skipped.add("port")  # Kubernetes sets it, in every pod beside a service that is called fastws
    return {
        each.name: each.parse(environ[each.env], each.env)
        for each in OPTIONS
        if each.name not in skipped and environ.get(each.env)
    }


__all__ = ["LOGGING_CONFIG", "LOG_LEVELS", "OPTION", "OPTIONS", "WS_ENGINES", "Config", "read_environment"]
