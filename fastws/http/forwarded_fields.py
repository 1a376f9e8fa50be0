"""Host, port and prefix of a request as its client sent it, and RFC 7239's Forwarded, where a proxy sets them.

Sans-IO, beside forwarded.py, which has X-Forwarded-For and -Proto. Those two every proxy sets; these many proxies pass
on as the client made them up, so each is believed only where --forwarded-headers names it, and only from trusted peers.
What is malformed is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from fastws.http.forwarded import Client, TrustedPeers, apply_forwarded, read_address, read_scheme
from fastws.http.head import Header, is_host

FOR: Final = "x-forwarded-for"
PROTO: Final = "x-forwarded-proto"
HOST: Final = "x-forwarded-host"
PORT: Final = "x-forwarded-port"
PREFIX: Final = "x-forwarded-prefix"
FORWARDED: Final = "forwarded"
USUAL: Final = (FOR, PROTO)
"""What every proxy sets, and uvicorn believes."""

_PREFIX: Final = re.compile(
    rb"(?:/(?!/)(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*){1,64}"
).fullmatch
_LONGEST: Final = 255  # bytes of a host or of a prefix
_PORT: Final = re.compile(rb"[1-9][0-9]{0,4}").fullmatch
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR: Final = re.compile(rb"[ \t]*(" + _TOKEN + rb")=(?:(" + _TOKEN + rb')|"((?:[^"\\]|\\.)*)")[ \t]*').fullmatch
_QUOTED_PAIR: Final = re.compile(rb"\\(.)")


class Seen(NamedTuple):
    """A request as the nearest trusted proxy to its client saw it; None and "" where nothing was said of it."""

    client: Client
    scheme: str
    host: bytes | None
    port: int | None
    prefix: str


class ForwardedFields:
    """Reads the fields in `names`, as --forwarded-headers has them, from peers in `trusted`.

    Where there are `secure` fields, names with values, those alone say whether the client came over TLS: it did where
    all of them that are there have their value.
    """

    def __init__(self, names: Iterable[str], trusted: TrustedPeers, secure: Iterable[tuple[str, str]] = ()) -> None:
        self._secure = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in secure}
        self._names = frozenset(names) - {PROTO} if self._secure else frozenset(names)
        self._trusted = trusted
        self._usual = tuple(name.encode() for name in USUAL if name in self._names)

    def read(self, fields: Mapping[bytes, bytes], client: Client, scheme: str) -> Seen | None:
        """What `fields` say of a request that came from `client` as `scheme`; None where that is not to be believed."""
        if not self._trusted.trusts(client[0] if client is not None else None):
            return None
        host = port = None
        prefix = ""
        forwarded = fields.get(b"forwarded") if FORWARDED in self._names else None
        own_scheme = scheme
        if forwarded is not None:
            client, scheme, host = self._walk(forwarded, client, scheme)
        else:
            usual = {name: fields[name] for name in self._usual if name in fields}
            client, scheme = apply_forwarded(usual, client, scheme, self._trusted)
            host = _last(fields, HOST, _is_host) if HOST in self._names else None
        if self._secure:
            scheme = self._secure_scheme(fields, own_scheme)
        if PORT in self._names:
            text = _last(fields, PORT, _PORT)
            port = int(text) if text is not None and int(text) <= 65535 else None
        if PREFIX in self._names:
            prefix = (_last(fields, PREFIX, _is_prefix) or b"").decode("ascii").rstrip("/")
        return Seen(client, scheme, host, port, prefix)

    def _secure_scheme(self, fields: Mapping[bytes, bytes], scheme: str) -> str:
        said = [fields[name] == value for name, value in self._secure.items() if name in fields]
        return read_scheme(b"https" if all(said) else b"http", scheme) if said else scheme

    def _walk(self, value: bytes, client: Client, scheme: str) -> tuple[Client, str, bytes | None]:
        """RFC 7239 section 4, from the end: as long as the sender of an element is trusted, it is believed."""
        host = None
        for element in reversed(value.split(b",")):
            if not element.strip(b" \t"):
                continue  # RFC 9110 section 5.6.1
            pairs = _read_element(element)
            if pairs is None:
                break
            scheme = read_scheme(pairs.get(b"proto"), scheme)
            if b"host" in pairs and _is_host(pairs[b"host"]):
                host = pairs[b"host"]
            found = read_address(pairs.get(b"for", b"").decode("latin-1"))
            if found is None:
                break  # a hop that hides its address cannot be told from anybody
            client = found
            if not self._trusted.trusts(found[0]):
                break
        return client, scheme, host


def apply_host(seen: Seen, headers: list[Header], server: Client) -> tuple[list[Header], Client]:
    """`headers` with the Host that the client sent, and the ASGI `server` that it meant."""
    own = next((value for name, value in headers if name == b"host"), b"")
    name, port = split_host(seen.host or own)
    if seen.port is not None:
        port = seen.port
    default = 443 if seen.scheme in ("https", "wss") else 80
    host = name if port is None or port == default else b"%b:%d" % (name, port)
    if not name:
        return headers, server
    others = [each for each in headers if each[0] != b"host"]
    return [(b"host", host), *others], (name.decode("ascii").strip("[]"), default if port is None else port)


def split_host(host: bytes) -> tuple[bytes, int | None]:
    """Name and port of a Host's value, which is valid; None where it has no port."""
    name, colon, port = host.rpartition(b":")
    if not colon or b"]" in port:
        return host, None
    return name, int(port) if port and int(port) <= 65535 else None


def _last(fields: Mapping[bytes, bytes], name: str, valid: Callable[[bytes], Any]) -> bytes | None:
    """The element that the nearest proxy wrote, the last one, where it is valid."""
    value = fields.get(name.encode("ascii"))
    if value is None:
        return None
    value = value.rpartition(b",")[2].strip(b" \t")
    return value if valid(value) else None


def _is_host(value: bytes) -> bool:
    return 0 < len(value) <= _LONGEST and is_host(value)


def _is_prefix(value: bytes) -> bool:
    return len(value) <= _LONGEST and _PREFIX(value) is not None


def _read_element(element: bytes) -> dict[bytes, bytes] | None:
    """The pairs of one element of Forwarded (RFC 7239 section 4), names lower case; None where it is malformed."""
    pairs: dict[bytes, bytes] = {}
    for text in element.split(b";"):
        if not text.strip(b" \t"):
            continue
        match = _PAIR(text)
        if match is None or match[1].lower() in pairs:
            return None
        quoted = match[3]
        pairs[match[1].lower()] = match[2] if quoted is None else _QUOTED_PAIR.sub(rb"\1", quoted)
    return pairs
