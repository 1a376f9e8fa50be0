"""What an application learns of the TLS of its connection: the ASGI extension `tls`.

As far as Python's ssl module tells. It does not know which certificate the server showed, so that contexts of
`fastws.net.tls` say it themselves, and others leave it None. A client whose certificate is not good gets no connection:
`client_cert_error` is always None. Before Python 3.13 the chain is the client's own certificate alone.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import Any, Final

VERSIONS: Final = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
"""ProtocolVersion by the name that OpenSSL has for it (RFC 8446 section 4.1.2)."""

_ATTRIBUTES: Final = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
"""The short names of RFC 4514 section 3, by OpenSSL's."""


def tls_extension(connection: ssl.SSLObject) -> dict[str, Any]:
    """``scope["extensions"]["tls"]`` for a connection whose handshake is done."""
    cipher = connection.cipher()
    der = connection.getpeercert(True)
    extension: dict[str, Any] = {
        "server_cert": getattr(connection.context, "certificate", None),
        "client_cert_chain": (),
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": VERSIONS.get(connection.version() or ""),
        "cipher_suite": None if cipher is None else _suites().get(cipher[0]),
    }
    if der is not None:
        extension["client_cert_chain"] = tuple(_pem(each) for each in _chain(connection, der))
        extension["client_cert_name"] = distinguished_name((connection.getpeercert() or {}).get("subject", ()))
    return extension


def distinguished_name(subject: Any) -> str:
    """The subject of a certificate, as `getpeercert()` has it, as text: ``CN=client,O=Example`` (RFC 4514)."""
    names = []
    for relative in reversed(subject):
        names.append("+".join(f"{_ATTRIBUTES.get(kind, kind)}={_escape(value)}" for kind, value in relative))
    return ",".join(names)


def _escape(value: str) -> str:
    """RFC 4514 section 2.4."""
    escaped = "".join("\\" + each if each in '"+,;<>\\' else "\\00" if each == "\0" else each for each in value)
    if escaped.startswith((" ", "#")):
        escaped = "\\" + escaped
    if escaped.endswith(" ") and len(value) > 1:
        escaped = escaped[:-1] + "\\ "
    return escaped


def _chain(connection: ssl.SSLObject, der: bytes) -> list[bytes]:
    verified = getattr(connection, "get_verified_chain", None)  # Python 3.13
    return verified() or [der] if verified is not None else [der]


@lru_cache(maxsize=1024)
def _pem(der: bytes) -> str:
    return ssl.DER_cert_to_PEM_cert(der)


@lru_cache(maxsize=1)
def _suites() -> dict[str, int]:
    """The two bytes of each cipher suite that OpenSSL knows, by its name; OpenSSL's number has them at the end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    return {cipher["name"]: cipher["id"] & 0xFFFF for cipher in context.get_ciphers()}
