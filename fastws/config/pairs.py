"""Which values of options fit neither each other nor a rule of their own: what `Config` checks when each one is right.

A rule of one option that a bound or a list of words expresses is declared with it, in `fastws.config.table`.
"""

from __future__ import annotations

from fastws.config.http_versions import speaks_http2
from fastws.config.log_atoms import read_format
from fastws.config.option import TOKEN
from fastws.config.redis_url import check_prefix, check_redis_url
from fastws.config.systems import check_system
from fastws.config.table import OPTION, Fields
from fastws.errors import ConfigError
from fastws.http.forwarded import names_peer

_FRAMING = (
    *("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"),
    "upgrade",
)
"""Fields that say where a message ends, or hold for one connection only (RFC 9110 section 7.6.1)."""
_SINGLE = ("server", "date")
"""Fields of the server's own that a configured one stands for."""


def check_together(config: Fields) -> None:
    """Refuse options that contradict each other. Raises ConfigError, one line that names the option."""
    check_system(config)
    if config.root_path and not config.root_path.startswith("/"):
        raise ConfigError(f"--root-path: must begin with a slash, as in '/{config.root_path}'")
    for name in ("livez_path", "readyz_path"):
        path = getattr(config, name)
        if path and not path.startswith("/"):
            raise ConfigError(f"{OPTION[name].cli}: must begin with a slash, as in '/{path}', or be empty")
    speaks_http2(config)
    if config.livez_path and config.livez_path == config.readyz_path:
        raise ConfigError("--readyz-path: must differ from --livez-path")
    if config.uds is not None and config.fd is not None:
        raise ConfigError("--uds: cannot be combined with --fd: choose one place to listen")
    for name, address in (("uds", f"unix:{config.uds}"), ("fd", f"fd://{config.fd}")):
        if config.bind and getattr(config, name) is not None:
            raise ConfigError(f"--{name}: cannot be combined with --bind: write --bind {address}")
    for name in ("ssl_keyfile", "ssl_keyfile_password", "ssl_ca_certs", "ssl_sni", "ssl_ciphers", "ssl_cert_reqs"):
        if getattr(config, name) and not config.ssl_certfile:
            raise ConfigError(f"{OPTION[name].cli}: needs --ssl-certfile, the certificate to serve TLS with")
    if config.ssl_cert_reqs and not config.ssl_ca_certs:
        raise ConfigError("--ssl-cert-reqs: needs --ssl-ca-certs, the authorities to check certificates against")
    if config.metrics_path is not None and not config.metrics_path.startswith("/"):
        raise ConfigError(f"--metrics-path: must begin with a slash, as in '/{config.metrics_path}'")
    if config.access_log_format is not None:
        try:
            read_format(config.access_log_format)
        except ValueError as error:
            raise ConfigError(f"--access-log-format: {error}") from None
    if config.request_id_header is not None and not TOKEN.fullmatch(config.request_id_header):
        raise ConfigError(f"--request-id-header: {config.request_id_header!r:.100} is no name of a header field")
    _check_headers(config)
    for name in ("forwarded_allow_ips", "proxy_allow_ips"):
        for peer in getattr(config, name):
            if not names_peer(peer):
                raise ConfigError(
                    f"{OPTION[name].cli}: {peer!r:.100} is no address, network, path, `unix` or `*`, and would trust "
                    "nobody: names are not looked up, and a network is such as 10.0.0.0/24"
                )
    if config.topics_url is not None:
        try:
            check_redis_url(config.topics_url)
        except ValueError as error:  # the URL may have a password: it is not shown
            raise ConfigError(f"--topics-url: {error}") from None
    try:
        check_prefix(config.topics_prefix)
    except ValueError as error:
        raise ConfigError(f"--topics-prefix: {error}") from None
    for name in ("topics_password", "topics_stream_length"):
        if getattr(config, name) is not None and config.topics_url is None:
            raise ConfigError(f"--{name.replace('_', '-')}: needs --topics-url")
    if config.topics_dir is not None and config.topics_url is not None:
        raise ConfigError("--topics-dir: cannot be combined with --topics-url: choose one")
    if config.limit_max_requests_jitter and config.limit_max_requests is None:
        raise ConfigError("--limit-max-requests-jitter: needs --limit-max-requests, the number that it is added to")
    for name in ("reload_dirs", "reload_includes", "reload_excludes"):
        if getattr(config, name) and not config.reload:
            raise ConfigError(f"{OPTION[name].cli}: needs --reload")


def _check_headers(config: Fields) -> None:
    """The fields that are added to each response may not contradict those that the server writes."""
    seen: set[str] = set()
    for name, _ in config.headers:
        lowered = name.lower()
        _check_not_ours("--header", name, _FRAMING)
        if lowered in _SINGLE and lowered in seen:
            raise ConfigError(f"--header: {name.title()} is given twice, and a response has one")
        seen.add(lowered)
    if config.request_id_header is not None:
        _check_not_ours("--request-id-header", config.request_id_header, (*_FRAMING, *_SINGLE))


def _check_not_ours(option: str, name: str, ours: tuple[str, ...]) -> None:
    if name.lower() in ours or name.lower().startswith("sec-websocket-"):
        raise ConfigError(f"{option}: {name} is the server's to write")
