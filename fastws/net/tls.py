"""TLS of a server: contexts made from a `Config`, the choice of a certificate by name (SNI), and reloading in place.

Every connection is made by the contexts that are current when it is accepted. A reload makes new ones from the files as
they are now, wholly or not at all, and puts them in the place of the old: connections that are open keep what they
have, and where a file is broken everything stays as it was. What applications learn is in `fastws.asgi.tls_extension`.

Every failure is a ConfigError of one line that names the option: a server never serves in plain instead.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from fastws.config import Config
from fastws.config.http_versions import speaks_http2
from fastws.errors import ConfigError
from fastws.net.tls_reason import CERTIFICATE, PRIVATE_KEY, reason_of, reason_of_file

logger: Final = logging.getLogger("fastws.error")


_MINIMUM: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_ONLY: Final = {3: "1.0", 4: "1.1", 5: "1.2"}
"""PROTOCOL_TLSv1 and so on: the protocols of Python's ssl module that are one version each."""
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----\n"

Signature = tuple[tuple[int, int, int] | None, ...]


class ServerContext(ssl.SSLContext):
    """A context that shows one certificate. It knows its text, which Python's module does not tell of a connection."""

    certificate: str | None = None
    """The server's certificate, PEM."""

    def _encode_hostname(self, hostname: str | None) -> str | None:
        # As it came. Python would pass it through its codec for IDNA, whose errors any client could have us print.
        return hostname


class ReloadableContext(ssl.SSLContext):
    """The context that an event loop is given: it makes each connection by the contexts that are current."""

    def __new__(cls, config: Config) -> ReloadableContext:
        """Protocol and options are those of `current`, nothing of this context is used."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, config: Config) -> None:
        """Load the files that `config` names. Raises ConfigError."""
        self._config = config
        self._paths = _paths(config)
        self._loaded = self._seen = self._signature()
        self.current = server_context(config)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection. Event loops call it for each one that they accept."""
        return self.current.wrap_bio(*arguments, **options)

    def reload(self) -> None:
        """Load the files anew, for connections to come. Raises ConfigError, and then nothing has changed."""
        self._loaded = self._seen = self._signature()
        self.current = server_context(self._config)

    def renew(self) -> None:
        """`reload`, and log how that went."""
        try:
            self.reload()
        except ConfigError as error:
            logger.error("The TLS certificates in use stay: %s", error)
        else:
            logger.info("Reloaded the TLS certificates")

    def changed(self) -> bool:
        """Whether a file is not the one that was loaded, and has not changed since the last call.

        A certificate and its key are written one after the other: what is still changing would not fit together. Each
        change is told once, so that a broken file is complained of once.
        """
        now = self._signature()
        settled, self._seen = now == self._seen, now
        if not settled or now == self._loaded:
            return False
        self._loaded = now
        return True

    def _signature(self) -> Signature:
        return tuple(map(_file_signature, self._paths))


def server_context(config: Config) -> ServerContext:
    """A context for the certificate of `config`, which chooses those of --ssl-sni by name. Raises ConfigError."""
    assert config.ssl_certfile is not None
    keyfile = config.ssl_keyfile and os.fspath(config.ssl_keyfile)
    default = _context(config, "--ssl-certfile", os.fspath(config.ssl_certfile), keyfile or None)
    if config.ssl_sni:
        named = {name: _context(config, "--ssl-sni", cert, key) for name, cert, key in config.ssl_sni}
        default.sni_callback = _chooser(named)
    return default


def alpn(config: Config) -> list[str]:
    """What the server speaks behind TLS (RFC 7301), the first one preferably."""
    if config.http == "2":
        return ["h2"]
    return ["h2", "http/1.1"] if speaks_http2(config) else ["http/1.1"]


def _chooser(named: Mapping[str, ServerContext]) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    """What OpenSSL asks when a client names the server (RFC 6066 section 3). A wildcard is for one label."""

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        name = name.lower().rstrip(".")
        context = named.get(name) or named.get("*." + name.partition(".")[2])
        if context is not None:
            connection.context = context

    return choose


@contextlib.contextmanager
def quiet_names(config: Config, warn: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, say with `warn`, in one line, that a client asked for a name that is no ASCII.

    Python would print a traceback for each of them, where --ssl-sni is in use; its hook gets everything else as before.
    """
    if not config.ssl_sni:
        yield
        return
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if _is_about_a_name(unraisable):
            warn("A TLS client asked for a server by a name that is none.")
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        if sys.unraisablehook is hook:
            sys.unraisablehook = before


def _is_about_a_name(unraisable: Any) -> bool:
    """Whether Python could not decode a server's name: the bytes are the object, or from 3.14 on quoted in the text."""
    error = unraisable.exc_value
    if not isinstance(error, UnicodeDecodeError):
        return False
    return isinstance(unraisable.object, bytes) or repr(error.object) in (unraisable.err_msg or "")


def _context(config: Config, option: str, certfile: str, keyfile: str | None) -> ServerContext:
    """A context for one certificate, named by `option`; the rest is the same for all of them."""
    try:
        context = ServerContext(config.ssl_version)
    except (ValueError, OverflowError):
        raise ConfigError(f"--ssl-version: {config.ssl_version} is no protocol of Python's ssl module") from None
    if context.protocol is ssl.PROTOCOL_TLS_CLIENT:
        raise ConfigError(f"--ssl-version: {config.ssl_version} is for clients; {ssl.PROTOCOL_TLS_SERVER} is right")
    only = _ONLY.get(config.ssl_version)
    if only is None:
        context.minimum_version = _MINIMUM[config.ssl_min_version]
    elif only < config.ssl_min_version:
        raise ConfigError(f"--ssl-version: TLS {only} is below --ssl-min-version, {config.ssl_min_version}")
    context.options |= ssl.OP_NO_RENEGOTIATION  # costs the server more than the client; OpenSSL 1.1 lets clients ask
    context.set_alpn_protocols(alpn(config))
    _load_certificate(context, config.ssl_keyfile_password, option, certfile, keyfile)
    if config.ssl_ca_certs:
        text = _check_readable("--ssl-ca-certs", config.ssl_ca_certs)
        try:
            context.load_verify_locations(config.ssl_ca_certs)
        except ssl.SSLError as error:
            raise ConfigError(
                f"--ssl-ca-certs: cannot use {config.ssl_ca_certs}: {reason_of_file(error, text, CERTIFICATE)}"
            ) from None
    context.verify_mode = ssl.VerifyMode(config.ssl_cert_reqs)
    if config.ssl_ciphers:
        try:
            context.set_ciphers(config.ssl_ciphers)
        except ssl.SSLError as error:
            raise ConfigError(f"--ssl-ciphers: {reason_of(error)}: {config.ssl_ciphers!r:.100}") from None
    return context


def _load_certificate(
    context: ServerContext, password: str | None, option: str, certfile: str, keyfile: str | None
) -> None:
    key_option = "--ssl-keyfile" if option == "--ssl-certfile" else option
    text = _check_readable(option, certfile)
    key_text = text if keyfile is None else _check_readable(key_option, keyfile)
    asked = False

    def tell_password() -> str:
        # Without a function OpenSSL would ask for the password on the terminal, and a service would hang there.
        nonlocal asked
        asked = True
        return password or ""

    try:
        context.load_cert_chain(certfile, keyfile, tell_password)
    except (ssl.SSLError, ValueError) as error:
        if reason_of(error) == "key values mismatch":
            where = f"the key in {keyfile}" if keyfile else "the key that is in the same file"
            raise ConfigError(f"{key_option}: {where} is not that of the certificate in {certfile}") from None
        if asked and password:
            reason = reason_of_file(error, key_text, PRIVATE_KEY, decrypting=True)
            raise ConfigError(f"--ssl-keyfile-password: cannot decrypt {keyfile or certfile}: {reason}") from None
        what = f"{certfile} and {keyfile}" if keyfile else f"{certfile}, which must hold the private key too"
        if asked:
            reason = "the key is encrypted: give --ssl-keyfile-password"
        else:
            file, content, wanted = certfile, text, CERTIFICATE
            if _is_certificate(certfile):
                file, content, wanted = keyfile or certfile, key_text, PRIVATE_KEY
            reason = reason_of_file(error, content, wanted)
            if keyfile and reason != reason_of(error):
                reason = f"{file}: {reason}"
        raise ConfigError(f"{option}: cannot use {what}: {reason}") from None
    begin = text.find(_BEGIN)
    end = text.find(_END.rstrip(), begin)
    if begin >= 0 and end >= 0:
        context.certificate = text[begin:end] + _END


def _check_readable(option: str, path: str | os.PathLike[str]) -> str:
    """The text of a file. Raises ConfigError where it cannot be read."""
    try:
        with open(path, encoding="latin-1") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"{option}: cannot read {os.fspath(path)}: {error.strerror}") from None


def _paths(config: Config) -> tuple[str, ...]:
    """The files that the contexts of `config` are made from."""
    given = [config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs]
    given += [path for _, *paths in config.ssl_sni for path in paths]
    return tuple(os.fspath(path) for path in given if path)


def _file_signature(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _is_certificate(path: str) -> bool:
    """Whether a certificate can be read from the file, whatever else is in it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True
