"""Every option of fastws: one frozen dataclass, one field an option, with its default, help and bounds.

The command line, the environment variables FASTWS_*, `fastws.run(...)` and the reference page are derived from these
fields. Names and meanings are uvicorn's wherever uvicorn has the option. This file is one table and nothing else; what
checks a whole of values is `fastws.config.config`. Numbers are seconds or bytes, as each help text says.
"""

# ruff: noqa: RUF009  # a Group declares a field, as dataclasses.field() does; it is no shared default

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Final

from fastws.config.log_defaults import LOGGING_CONFIG
from fastws.config.option import Group, Option
from fastws.distribution import install_line, requirement
from fastws.websocket.deflate_backends import BACKEND_NAMES

FORWARDED_HEADERS: Final = (
    *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"),
    "forwarded",
)
WS_ENGINES: Final = ("auto", "cython", "websockets", "websockets-sansio", "wsproto", "none")
# What declares a field of a group: kind, default, help, bounds.
_application: Final = Group("Application")
_address: Final = Group("Address")
_websocket: Final = Group("WebSocket")
_topics: Final = Group("Topics")
_http: Final = Group("HTTP")
_limits: Final = Group("Limits")
_timeouts: Final = Group("Timeouts")
_tls: Final = Group("TLS")
_logging: Final = Group("Logging")
_operations: Final = Group("Operations")
_process: Final = Group("Process")


@dataclass(frozen=True)
class Fields:
    """One field an option. `fastws.Config` is this with its values checked."""

    app: str | Callable[..., Any]
    """The ASGI application, or where to find it: ``"module:attribute"``."""
    _: KW_ONLY

    factory: bool = _application("flag", False, "APP is called without arguments and returns the application.")
    app_dir: str | os.PathLike[str] = _application(
        "path", ".", "Look for APP in this directory, before the other places on Python's path."
    )
    env_file: str | os.PathLike[str] | None = _application(
        "path",
        None,
        f"Read environment variables from this file before APP is imported; needs {requirement('env')}.",
    )
    lifespan: str = _application(
        "choice",
        "auto",
        "ASGI lifespan events: `auto` goes on without them if the application raises on them.",
        choices=("auto", "on", "off"),
    )
    root_path: str = _application("text", "", "The path under which a proxy serves the application (ASGI root_path).")

    host: str = _address(
        "text",
        "127.0.0.1",
        "Listen on this address or name; 0.0.0.0 or :: means all addresses.  [default: 0.0.0.0 with $PORT, else "
        "127.0.0.1]",
    )
    port: int = _address(
        "integer",
        8000,
        "Listen on this port; 0 takes a free one.  [default: $PORT, else 8000]",
        minimum=0,
        maximum=65535,
    )
    uds: str | os.PathLike[str] | None = _address("path", None, "Listen on this Unix domain socket instead.")
    fd: int | None = _address("integer", None, "Listen on the socket with this file descriptor instead.", minimum=0)
    bind: Sequence[str] = _address(
        "addresses", (), "Listen on host:port, unix:path or fd://number instead of --host and --port; may be repeated."
    )
    uds_mode: int | None = _address(
        "mode",
        None,
        "Permissions of Unix domain sockets, in octal.  [default: those of the socket that is there already, else 666]",
    )
    uds_owner: str | None = _address("text", None, "Owner of Unix domain sockets, as user, user:group or :group.")
    backlog: int = _address("integer", 2048, "Connections that the kernel may hold until they are accepted.", minimum=1)

    ws: str = _websocket(
        "choice",
        "auto",
        "WebSocket engine: `auto` is cython, or websockets if cython is not built; `none` serves HTTP only.",
        choices=WS_ENGINES,
    )
    ws_max_size: int = _websocket("size", 16 * 1024 * 1024, "Largest message from a client, in bytes.", minimum=1)
    ws_max_queue: int = _websocket(
        "integer", 32, "Messages that may wait for the application before reading stops.", minimum=1
    )
    ws_max_queue_bytes: int = _websocket(
        "size", 1024 * 1024, "Bytes of messages that may wait for the application before reading stops.", minimum=1
    )
    ws_ping_interval: float | None = _websocket(
        "number", 20.0, "Seconds between keepalive pings; 0 or none sends none.", zero_is_none=True
    )
    ws_ping_timeout: float | None = _websocket(
        "number",
        20.0,
        "Seconds within which the client must send any byte after a ping; 0 or none waits for ever.",
        zero_is_none=True,
    )
    ws_per_message_deflate: bool = _websocket("boolean", True, "Offer to compress messages (RFC 7692).")
    ws_deflate_threshold: int = _websocket(
        "size",
        256,
        "Compress messages of at least this many bytes, where it makes them shorter; 0 compresses all of them.",
        minimum=0,
    )
    ws_deflate_backend: str = _websocket(
        "choice",
        "auto",
        f"What compresses: `isal` ({install_line('isal')}) makes messages as short as zlib does, in two thirds of the "
        "time for 1 KiB and two fifths for 16 KiB; `auto` is isal if it is installed and no context is kept.",
        choices=BACKEND_NAMES,
    )
    ws_deflate_level: int = _websocket(
        "integer",
        1,
        "Effort of compression: 6 takes nearly twice the time of 1, and makes messages of 1 KiB a twentieth shorter, "
        "those of 16 KiB a seventh; isal has only 1, 7 and 9.",
        minimum=1,
        maximum=9,
    )
    ws_deflate_window_bits: int = _websocket(
        "integer",
        12,
        "Compressor's window, as a power of two; a compressor takes 16 KiB for 12, 128 KiB for 15.",
        minimum=9,
        maximum=15,
    )
    ws_deflate_memory_level: int = _websocket(
        "integer", 5, "Compressor's other memory: 16 KiB for 5, 128 KiB for 8.", minimum=1, maximum=9
    )
    ws_deflate_context_takeover: bool = _websocket(
        "boolean",
        False,
        "Let messages refer to earlier ones, which shortens similar messages: each connection then holds a compressor "
        "and a decompressor (40 KiB) of its own, instead of sharing one.",
    )
    ws_handshake_timeout: float = _websocket(
        "number", 60.0, "Seconds in which the application must accept or deny a WebSocket.", minimum=0.001
    )
    ws_close_timeout: float = _websocket(
        "number", 10.0, "Seconds in which the client must answer a Close.", minimum=0.001
    )
    ws_idle_timeout: float | None = _websocket(
        "number",
        None,
        "Seconds without a message in either direction after which a WebSocket is closed (1001); none: never.",
        zero_is_none=True,
    )
    ws_max_age: float | None = _websocket(
        "number",
        None,
        "Seconds after which a WebSocket is closed (1012), less up to a tenth at random, so that clients come back and "
        "spread over the servers anew; none: never.",
        zero_is_none=True,
    )
    ws_allowed_origins: Sequence[str] = _websocket(
        "origins",
        (),
        "Origins whose pages may open WebSockets, as https://example.com, with commas between; others get 403."
        "  [default: any]",
    )

    topics_slow: str = _topics(
        "choice",
        "close",
        "What to do with publications when --topics-backlog bytes wait for a slow subscriber: `drop-newest`, "
        "`drop-oldest`, keep only the `latest` of each key, or `close` its connection (1013).",
        choices=("close", "drop-newest", "drop-oldest", "latest"),
    )
    topics_backlog: int = _topics(
        "size",
        1_048_576,
        "Bytes of publications that may wait for a slow subscriber behind --write-buffer-bytes; each message counts "
        "64 more.",
        minimum=0,
    )
    topics_per_connection: int = _topics("integer", 1000, "Topics that a WebSocket may subscribe to.", minimum=0)
    topics_url: str | None = _topics(
        "text",
        None,
        "Redis over which topics reach other servers: redis://, unix://, redis+sentinel://host,host2/name, or "
        f"redis+cluster:// for sharded pub/sub; with rediss for TLS; needs {requirement('redis')}.",
        secret=True,
    )
    topics_password: str | None = _topics(
        "text",
        None,
        "Password of that Redis, if the URL has none; prefer $FASTWS_TOPICS_PASSWORD, which nobody else sees.",
        secret=True,
    )
    topics_prefix: str = _topics(
        "text", "fastws:", "Beginning of the names of topics' channels in that Redis: a name and a colon."
    )
    topics_stream_length: int | None = _topics(
        "integer",
        None,
        "Keep about this many publications of each topic in a stream of that Redis, so that subscribers can resume; "
        "none keeps none.",
        minimum=1,
    )
    topics_dir: str | os.PathLike[str] | None = _topics(
        "path",
        None,
        "Directory in which servers of one machine find each other for topics, if there is no --topics-url."
        "  [default: with --workers, a new one]",
    )
    topics_buffer_bytes: int = _topics(
        "size",
        16 * 1024 * 1024,
        "Bytes of publications that may wait for Redis, or for each other worker; more are dropped and counted.",
        minimum=65536,
    )

    http: str = _http(
        "choice",
        "auto",
        f"Versions of HTTP: `auto` is HTTP/1.1, and HTTP/2 where {requirement('http2')} is installed; `1` and `2` "
        "are that one alone. `httptools` is 1, as uvicorn names it.",
        choices=("auto", "1", "2", "httptools"),
    )
    http2_max_concurrent_streams: int = _http(
        "integer",
        128,
        "Requests and WebSockets at once on one connection of HTTP/2; a client opens another one for more.",
        minimum=1,
        maximum=100_000,
    )
    http2_initial_stream_window_size: int = _http(
        "integer",
        65_535,
        "Bytes that a client may send on one stream of HTTP/2 before the application takes any; the window grows "
        "with use.",
        minimum=65_535,
        maximum=16_777_216,
    )
    headers: Sequence[tuple[str, str]] = _http(
        "headers",
        (),
        "Add this header field to every response; Server and Date replace the server's own. May be repeated.",
    )
    server_header: bool = _http("flag", True, "Send the header field Server.")
    date_header: bool = _http("flag", True, "Send the header field Date.")
    proxy_headers: bool = _http("flag", True, "Take scheme and client from X-Forwarded-Proto and X-Forwarded-For.")
    forwarded_allow_ips: str | Sequence[str] = _http(  # type: ignore[assignment]  # Config replaces None
        "list",
        None,
        "Peers whose X-Forwarded-* to believe: addresses, networks, `unix`, paths, or * for all, with commas "
        "between; empty: nobody.  [default: $FORWARDED_ALLOW_IPS, else 127.0.0.1,::1]",
    )
    livez_path: str = _http("text", "/livez", "Path of a page that says 200 while the event loop runs; empty: none.")
    readyz_path: str = _http(
        "text",
        "/readyz",
        "Path of a page that says 200 when the server wants new clients, and 503 in a drain or when the event loop "
        "is late; empty: none.",
    )
    readyz_max_lag: float | None = _http(
        "number",
        2.0,
        "Seconds that the event loop may be late before --readyz-path says 503; none: any.",
        zero_is_none=True,
    )
    forwarded_headers: str | Sequence[str] = _http(
        "list",
        "x-forwarded-for,x-forwarded-proto",
        "Which header fields of trusted peers to believe, with commas between. Name only fields that your proxy "
        "sets or removes: clients can set all others.",
        choices=FORWARDED_HEADERS,
    )
    secure_scheme_headers: Sequence[tuple[str, str]] = _http(
        "headers",
        (),
        "Header field by which trusted peers say that the client came over TLS, instead of X-Forwarded-Proto; may be "
        "repeated.",
    )
    proxy_protocol: bool = _http(
        "flag", False, "Every connection begins with a PROXY header (version 1 or 2), before TLS."
    )
    proxy_allow_ips: str | Sequence[str] = _http(
        "list",
        "127.0.0.1,::1,unix",
        "Peers whose PROXY headers to believe: addresses, networks, `unix`, or * for all, with commas between. "
        "Others are refused.",
    )

    limit_concurrency: int | None = _limits(
        "integer", None, "HTTP requests at one time and, counted separately, WebSockets; more get a 503.", minimum=1
    )
    limit_websockets: int | None = _limits(
        "integer", None, "WebSockets open at one time; more get a 503.  [default: --limit-concurrency]", minimum=1
    )
    limit_connections_per_client: int | None = _limits(
        "integer",
        10_000,
        "Connections from one address (IPv6: one /64); more get a 503. Not for Unix sockets and trusted proxies.",
        minimum=1,
        nullable=True,
    )
    limit_max_requests: int | None = _limits(
        "integer", None, "Requests and WebSockets to serve before the server ends.", minimum=1
    )
    limit_max_requests_jitter: int = _limits(
        "integer", 0, "Add up to this many, at random, to --limit-max-requests.", minimum=0
    )
    limit_request_line: int = _limits("size", 8192, "Longest URL, in bytes.", minimum=1)
    limit_request_fields: int = _limits("integer", 100, "Most header fields in a request.", minimum=1)
    limit_request_field_size: int = _limits("size", 8192, "Longest header line, in bytes.", minimum=1)
    limit_request_head: int = _limits(
        "size", 65536, "Longest request head, in bytes, with the framing and trailers of a chunked body.", minimum=1
    )
    limit_request_body: int | None = _limits(
        "size", 100 * 1024 * 1024, "Largest request body, in bytes; more is a 413.", minimum=0, nullable=True
    )
    http2_limit_reset_rate: float | None = _limits(
        "number",
        20.0,
        "Streams a second that the client of one HTTP/2 connection may reset, or break so that the server resets them; "
        "ten seconds' worth may come at once, more end the connection.",
        zero_is_none=True,
    )
    http2_limit_control_rate: float | None = _limits(
        "number",
        100.0,
        "Frames a second that carry nothing, such as SETTINGS and PING, on one HTTP/2 connection; ten seconds' worth "
        "may come at once, of WINDOW_UPDATE a hundred; more end the connection.",
        zero_is_none=True,
    )
    ws_limit_message_rate: float | None = _limits(
        "number",
        None,
        "Messages, pings and pongs a second from one WebSocket; five seconds' worth may come at once, more bring "
        "Close 1008.",
        zero_is_none=True,
    )
    ws_limit_byte_rate: float | None = _limits(
        "number",
        None,
        "Bytes a second from one WebSocket, as sent; five seconds' worth may come at once, more bring Close 1008.",
        zero_is_none=True,
    )
    write_buffer_bytes: int = _limits(
        "size", 65536, "Bytes that may wait for a slow client before the application's sends wait.", minimum=1
    )

    timeout_request_head: float = _timeouts(
        "number", 10.0, "Seconds in which a request head must arrive.", minimum=0.001
    )
    timeout_request_body: float | None = _timeouts(
        "number",
        60.0,
        "Seconds without a byte of a request body that the application waits for; then 408. None waits for ever.",
        zero_is_none=True,
    )
    timeout_stalled_write: float | None = _timeouts(
        "number",
        60.0,
        "Seconds in which a client whose buffer is full must take 64 KiB; then it is cut off. None waits for ever.",
        zero_is_none=True,
    )
    timeout_keep_alive: float = _timeouts("number", 75.0, "Seconds that an idle HTTP connection stays open.", minimum=0)
    timeout_graceful_shutdown: float | None = _timeouts(
        "number",
        30.0,
        "Seconds that open connections get to end at shutdown, and then the application; none waits for ever.",
        minimum=0,
        nullable=True,
    )
    drain_delay: float = _timeouts(
        "number",
        0.0,
        "Seconds at shutdown in which new connections are still served, after --readyz-path has turned to 503.",
        minimum=0,
    )
    drain_window: float | None = _timeouts(
        "number",
        None,
        "Seconds over which the Closes of WebSockets (1012) are spread at shutdown; half of "
        "--timeout-graceful-shutdown at most.  [default: 10 ms a connection or stream, 10 s at most]",
        minimum=0,
    )

    ssl_certfile: str | os.PathLike[str] | None = _tls(
        "path", None, "Certificate chain (PEM); makes the server speak TLS."
    )
    ssl_keyfile: str | os.PathLike[str] | None = _tls(
        "path", None, "Private key (PEM), if it is not in the certificate's file."
    )
    ssl_keyfile_password: str | None = _tls("text", None, "Password of the private key.", secret=True)
    ssl_version: int = _tls(
        "integer", 17, "Protocol constant of Python's ssl module; 17 is PROTOCOL_TLS_SERVER.", minimum=0
    )
    ssl_cert_reqs: int = _tls(
        "integer",
        0,
        "Client certificates: 0 asks for none, 1 makes them optional, 2 requires them.",
        minimum=0,
        maximum=2,
    )
    ssl_ca_certs: str | os.PathLike[str] | None = _tls(
        "path", None, "Authorities (PEM) that must have signed client certificates."
    )
    ssl_min_version: str = _tls("choice", "1.2", "Oldest version of TLS to speak.", choices=("1.2", "1.3"))
    ssl_sni: Sequence[tuple[str, str, str | None]] = _tls(
        "certificates",
        (),
        "Certificate (PEM), and its key, for clients that ask for NAME, which may be *.example.com; may be repeated.",
    )
    ssl_ciphers: str | None = _tls("text", None, "Ciphers, in OpenSSL's notation.")

    log_level: str | int | None = _logging("level", None, "Least severe message to log.  [default: info]")
    log_config: dict[str, Any] | str | os.PathLike[str] | None = _logging(
        "logging",
        None,
        "Logging configuration, a .json, .yaml or .ini file; loggers are fastws.error and fastws.access.",
        factory=lambda: copy.deepcopy(LOGGING_CONFIG),
    )
    log_query_values: bool = _logging(
        "flag", True, "Log the values of query strings; otherwise ?token=secret is logged as ?token=*."
    )
    access_log: bool = _logging("flag", True, "Log each request and each WebSocket.")
    use_colors: bool | None = _logging(
        "flag", None, "Colour the log.  [default: where it goes to a terminal and NO_COLOR is not set]"
    )
    log_format: str = _logging(
        "choice", "text", "Form of log lines: `json` writes an object a line.", choices=("text", "json")
    )
    access_log_format: str | None = _logging(
        "text", None, "Format of the access log in gunicorn's atoms, as '%(h)s \"%(r)s\" %(s)s %(L)s'."
    )
    request_id_header: str | None = _logging(
        "text",
        None,
        "Give each request an id in this header field, such as X-Request-ID, and in the log. Peers in "
        "--forwarded-allow-ips may send the id; otherwise the server makes one.",
    )

    metrics_path: str | None = _operations(
        "text", None, f"Serve metrics for Prometheus under this path, such as /metrics; needs {requirement('metrics')}."
    )
    metrics_port: int | None = _operations(
        "integer",
        None,
        "Serve metrics on this port instead of the application's; 0 takes a free one.",
        minimum=0,
        maximum=65535,
    )
    metrics_host: str = _operations("text", "127.0.0.1", "Address or name that --metrics-port listens on.")
    metrics_dir: str | os.PathLike[str] | None = _operations(
        "path",
        None,
        "Directory in which several workers tell each other their metrics, so that each serves the sum."
        "  [default: with --workers, a new one]",
    )
    control_socket: str | os.PathLike[str] | None = _operations(
        "path",
        None,
        "Listen for `fastws status`, `close`, `publish` and `drain` on this Unix domain socket; each process adds "
        "its id to the path.  [default: in a terminal or with --reload, one that they find]",
    )

    loop: str = _process(
        "choice",
        "auto",
        "Event loop: `auto` is uvloop, or asyncio if uvloop is not installed.",
        choices=("auto", "uvloop", "asyncio"),
    )
    transport: str = _process(
        "choice",
        "auto",
        "What moves the bytes of connections, TLS included: `sockets` is fastws's own code in C, on Linux, `loop` "
        "the event loop; `auto` is sockets if they were built.",
        choices=("auto", "loop", "sockets"),
    )
    app_wakeup: str = _process(
        "choice",
        "auto",
        "How a call of the application begins and goes on: `task` leaves both to its task and a turn of the loop; with "
        "`auto` it begins at once when its request is read, on CPython 3.12 or later, and one that waits for a "
        "WebSocket's message goes on at once, where fastws is compiled, on 3.11 or later.",
        choices=("auto", "task"),
    )
    workers: int | None = _process(
        "count",
        None,
        "Serve with this many processes, under a supervisor; `auto`: one for each CPU."
        "  [default: $WEB_CONCURRENCY, else 1]",
        minimum=1,
    )
    timeout_worker_healthcheck: float | None = _process(
        "number",
        30.0,
        "Seconds without a turn of its event loop after which a worker is killed and replaced; 0 or none: never.",
        zero_is_none=True,
    )
    timeout_worker_start: float | None = _process(
        "number",
        600.0,
        "Seconds that a worker may take to start; then it is killed, and a restart is given up. 0 or none: for ever.",
        zero_is_none=True,
    )
    limit_worker_lifetime: float | None = _process(
        "number",
        None,
        "Seconds that a process serves before it drains and, with --workers, is replaced.",
        zero_is_none=True,
    )
    limit_worker_memory: float | None = _process(
        "number",
        None,
        "MiB of resident memory above which a process drains and, with --workers, is replaced.",
        zero_is_none=True,
    )
    limit_worker_jitter: float = _process(
        "number",
        0.1,
        "Largest share of --limit-worker-lifetime and --limit-worker-memory that each process subtracts at random.",
        minimum=0,
        maximum=1,
    )
    reload: bool = _process(
        "flag", False, f"Restart when files change, for development; needs {requirement('reload')}."
    )
    reload_dirs: Sequence[str] = _process(
        "texts", (), "Watch this directory; may be repeated.  [default: the current one and --app-dir]"
    )
    reload_includes: Sequence[str] = _process(
        "texts", (), "Watch files that match this pattern, besides *.py, or this directory; may be repeated."
    )
    reload_excludes: Sequence[str] = _process(
        "texts",
        (),
        "Ignore files that match this pattern, besides .*, *.py[cod], *.sw.* and ~*, or this directory; may be "
        "repeated.",
    )
    reload_delay: float = _process("number", 0.25, "Seconds between checks for changes.", minimum=0.01)


OPTIONS: Final = tuple(Option(name=each.name, **each.metadata) for each in fields(Fields) if each.metadata)
"""Every option, in the order of the fields."""
OPTION: Final[Mapping[str, Option]] = {each.name: each for each in OPTIONS}
"""The options by the name of their field."""
