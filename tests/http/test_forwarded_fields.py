"""X-Forwarded-Host, -Port, -Prefix and Forwarded (RFC 7239): what is believed of whom, and what applications see."""

from __future__ import annotations

from typing import Any

import pytest
from fake_loop import DrivenApp, FakeServer, on_fake_clock
from hypothesis import given
from hypothesis import strategies as st

import fastws
from fastws.errors import ConfigError
from fastws.http.forwarded import TrustedPeers
from fastws.http.forwarded_fields import ForwardedFields, Seen, apply_host, split_host

PROXY = ("10.0.0.1", 4000)
TRUSTED = TrustedPeers("10.0.0.0/8")
ALL = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix")

FORWARDED: list[tuple[bytes, Any, str, bytes | None]] = [
    (b"for=1.2.3.4", ("1.2.3.4", 0), "http", None),
    (b'For="1.2.3.4:5678";Proto=HTTPS;hOst=a.example', ("1.2.3.4", 5678), "https", b"a.example"),
    (b'for="[2001:db8::1]:4711"', ("2001:db8::1", 4711), "http", None),
    (b'for="[2001:db8::1]" ; proto=https', ("2001:db8::1", 0), "https", None),
    (b'for="\\1.2.3.4"', ("1.2.3.4", 0), "http", None),
    (b"for=6.6.6.6;proto=http;host=bad, for=1.2.3.4;proto=https;host=good", ("1.2.3.4", 0), "https", b"good"),
    (b"for=1.2.3.4;proto=https;host=a, for=10.0.0.2;proto=http;host=b", ("1.2.3.4", 0), "https", b"a"),
    (b"for=1.2.3.4;proto=https, for=10.0.0.2", ("1.2.3.4", 0), "https", None),
    (b"for=1.2.3.4,, for=10.0.0.2,", ("1.2.3.4", 0), "http", None),
    # What hides its address, or is malformed, ends the walk.
    (b"for=6.6.6.6, for=unknown;proto=https", PROXY, "https", None),
    (b"for=6.6.6.6, for=_hidden", PROXY, "http", None),
    (b"for=6.6.6.6, proto=https", PROXY, "https", None),
    (b"for=6.6.6.6, for=1.2.3.4:5678", PROXY, "http", None),
    (b'for="6.6.6.6, for=1.2.3.4', ("1.2.3.4", 0), "http", None),
    (b'for=6.6.6.6, for="1.2.3.4', PROXY, "http", None),
    (b"for=6.6.6.6, for=1.2.3.4;for=1.2.3.5", PROXY, "http", None),
    (b'for=1.2.3.4;proto=ftp;host="a/b"', ("1.2.3.4", 0), "http", None),
    (b'for=1.2.3.4;host=""', ("1.2.3.4", 0), "http", None),
    (b"for=1.2.3.4;host=" + b"a" * 300, ("1.2.3.4", 0), "http", None),
    (b"for =1.2.3.4", PROXY, "http", None),
    (b"=", PROXY, "http", None),
    (b";;;", PROXY, "http", None),
    (b"", PROXY, "http", None),
    (b"for=\xe9", PROXY, "http", None),
]


@pytest.mark.parametrize(("value", "client", "scheme", "host"), FORWARDED)
def test_forwarded(value: bytes, client: Any, scheme: str, host: bytes | None) -> None:
    reader = ForwardedFields(["forwarded"], TRUSTED)
    fields = {b"forwarded": value, b"x-forwarded-for": b"6.6.6.6", b"x-forwarded-host": b"bad"}
    assert reader.read(fields, PROXY, "http") == Seen(client, scheme, host, None, "")
    assert reader.read(fields, ("9.9.9.9", 1), "http") is None


@given(st.binary(max_size=200))
def test_nothing_in_a_field_is_an_error(data: bytes) -> None:
    reader = ForwardedFields([*ALL, "forwarded"], TrustedPeers("*"))
    names = [*(name.encode() for name in ALL), b"forwarded"]
    for fields in ({names[-1]: data}, dict.fromkeys(names[:-1], data)):
        seen = reader.read(fields, PROXY, "ws")
        assert seen is not None
        apply_host(seen, [(b"host", b"own")], None)


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"a.example", b"a.example"),
        (b"a.example:8443", b"a.example:8443"),
        (b"[::1]:80", b"[::1]:80"),
        (b"bad, good", b"good"),
        (b"a b", None),
        (b"a/b", None),
        (b"", None),
        (b":80", None),
        (b"good,", None),
        (b"a\r\nb", None),
        (b"a" * 256, None),
    ],
)
def test_host(value: bytes, host: bytes | None) -> None:
    seen = ForwardedFields(["x-forwarded-host"], TRUSTED).read({b"x-forwarded-host": value}, PROXY, "http")
    assert seen is not None
    assert seen.host == host


@pytest.mark.parametrize(
    ("value", "port"),
    [(b"443", 443), (b"1, 65535", 65535), (b"0", None), (b"65536", None), (b"-1", None), (b"4e2", None), (b"", None)],
)
def test_port(value: bytes, port: int | None) -> None:
    seen = ForwardedFields(["x-forwarded-port"], TRUSTED).read({b"x-forwarded-port": value}, PROXY, "http")
    assert seen is not None
    assert seen.port == port


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        (b"/api", "/api"),
        (b"/api/", "/api"),
        (b"/a/b%20c/~d", "/a/b%20c/~d"),
        (b"/bad, /good", "/good"),
        (b"/", ""),
        (b"api", ""),
        (b"//evil.example", ""),
        (b"/a//b", ""),
        (b"/../x", ""),
        (b"/a/..", ""),
        (b"/a/./b", ""),
        (b"/...", "/..."),
        (b"/a?b", ""),
        (b"/a\\b", ""),
        (b"/%zz", ""),
        (b"/\xe9", ""),
        (b"/" + b"a" * 255, ""),
    ],
)
def test_prefix(value: bytes, prefix: str) -> None:
    seen = ForwardedFields(["x-forwarded-prefix"], TRUSTED).read({b"x-forwarded-prefix": value}, PROXY, "http")
    assert seen is not None
    assert seen.prefix == prefix


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [(b"a", b"a", None), (b"a:1", b"a", 1), (b"[::1]", b"[::1]", None), (b"[::1]:1", b"[::1]", 1), (b"a:", b"a", None)],
)
def test_splitting_a_host(host: bytes, name: bytes, port: int | None) -> None:
    assert split_host(host) == (name, port)


# What an application sees.


async def scope_of(*fields: bytes, peer: Any = PROXY, **options: Any) -> dict[str, Any]:
    app = DrivenApp()
    server = FakeServer(app, forwarded_allow_ips="10.0.0.0/8", **options)
    head = b"".join(field + b"\r\n" for field in (b"GET /x?y HTTP/1.1", b"Host: inside:8000", *fields, b""))
    await server.connect(peer).send(head)
    found: dict[str, Any] = app.calls[0].scope
    return found


SENT = (
    b"X-Forwarded-For: 1.2.3.4",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: shop.example",
    b"X-Forwarded-Port: 8443",
    b"X-Forwarded-Prefix: /api",
    b"Forwarded: for=6.6.6.6",
)


@on_fake_clock
async def test_an_application_sees_the_request_of_the_client() -> None:
    scope = await scope_of(*SENT, forwarded_headers=ALL, root_path="/own")
    assert scope["client"] == ("1.2.3.4", 0)
    assert scope["scheme"] == "https"
    assert scope["server"] == ("shop.example", 8443)
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"shop.example:8443"]
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api/own", "/api/own/x", b"/api/own/x")


@pytest.mark.parametrize("options", [{}, {"forwarded_headers": ALL, "proxy_headers": False}])
def test_by_default_only_the_address_and_the_scheme_are_believed(options: dict[str, Any]) -> None:
    @on_fake_clock
    async def check() -> None:
        scope = await scope_of(*SENT, **options)
        assert scope["client"] == (PROXY if options else ("1.2.3.4", 0))
        assert scope["scheme"] == ("http" if options else "https")
        assert scope["server"] == ("192.0.2.2", 80)
        assert (b"host", b"inside:8000") in scope["headers"]
        assert scope["root_path"] == ""

    check()


@on_fake_clock
async def test_a_peer_that_is_not_trusted_changes_nothing() -> None:
    scope = await scope_of(*SENT, peer=("9.9.9.9", 1), forwarded_headers=[*ALL, "forwarded"])
    assert scope["client"] == ("9.9.9.9", 1)
    assert scope["scheme"] == "http"
    assert (b"host", b"inside:8000") in scope["headers"]
    assert scope["path"] == "/x"


@on_fake_clock
async def test_the_default_port_of_the_scheme_is_left_out() -> None:
    scope = await scope_of(
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Port: 443",
        forwarded_headers=["x-forwarded-proto", "x-forwarded-port"],
    )
    assert (b"host", b"inside") in scope["headers"]
    assert scope["server"] == ("inside", 443)


@on_fake_clock
async def test_forwarded_goes_before_the_others() -> None:
    scope = await scope_of(*SENT[:3], b"Forwarded: for=1.1.1.1;host=other", forwarded_headers=[*ALL, "forwarded"])
    assert scope["client"] == ("1.1.1.1", 0)
    assert scope["scheme"] == "http"
    assert scope["server"] == ("other", 80)


@on_fake_clock
async def test_a_request_that_comes_again_is_read_again() -> None:
    app = DrivenApp()
    server = FakeServer(app, forwarded_allow_ips="10.0.0.0/8", forwarded_headers=ALL)
    head = b"".join(field + b"\r\n" for field in (b"GET / HTTP/1.1", b"Host: inside", *SENT, b""))
    plain = b"GET / HTTP/1.1\r\nHost: inside\r\n\r\n"
    for number in range(10):
        await server.connect(PROXY if number % 2 else ("9.9.9.9", 1)).send(head)
        await server.connect(PROXY).send(plain)
        assert app.calls[-2].scope["server"] == (("shop.example", 8443) if number % 2 else ("192.0.2.2", 80))
        for call in app.calls[-2:]:
            assert b"host" in dict(call.scope["headers"])
            call.scope["headers"].clear()


@pytest.mark.parametrize(
    ("fields", "http", "https"),
    [
        ({}, "http", "https"),
        ({b"x-tls": b"on"}, "https", "https"),
        ({b"x-tls": b"off"}, "http", "http"),
        ({b"x-tls": b"on", b"x-scheme": b"tls"}, "https", "https"),
        ({b"x-tls": b"on", b"x-scheme": b"plain"}, "http", "http"),
        ({b"x-forwarded-proto": b"https"}, "http", "https"),
        ({b"x-forwarded-proto": b"http", b"x-tls": b"on"}, "https", "https"),
    ],
)
def test_fields_of_ones_own_for_the_scheme(fields: dict[bytes, bytes], http: str, https: str) -> None:
    own = [("X-TLS", "on"), ("X-Scheme", "tls")]
    reader = ForwardedFields(["x-forwarded-for", "x-forwarded-proto"], TRUSTED, own)
    seen = [reader.read(fields, PROXY, scheme) for scheme in ("http", "https", "ws", "wss")]
    schemes = [None if each is None else each.scheme for each in seen]
    assert schemes == [http, https, http.replace("http", "ws"), https.replace("http", "ws")]
    assert reader.read(fields, ("192.0.2.99", 1), "http") is None


def test_a_field_that_is_not_known_is_a_mistake() -> None:
    with pytest.raises(
        ConfigError, match="--forwarded-headers: must be a list, separated by commas, of x-forwarded-for,"
    ):
        fastws.Config("app:app", forwarded_headers="X-Real-IP")
    config = fastws.Config("app:app", forwarded_headers="X-Forwarded-For, Forwarded")
    assert config.forwarded_headers == ("x-forwarded-for", "forwarded")
