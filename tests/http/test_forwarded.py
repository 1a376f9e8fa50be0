"""Which peers are trusted, and what a request behind proxies looks like."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.errors import ConfigError
from fastws.http.forwarded import Client, TrustedPeers, apply_forwarded

TRUST = [
    ("127.0.0.1", "127.0.0.1", True),
    ("127.0.0.1", "127.0.0.2", False),
    ("127.0.0.1", "::ffff:127.0.0.1", True),
    ("127.0.0.1", "", False),
    ("127.0.0.1", None, False),
    ("127.0.0.1", "localhost", False),
    ("127.0.0.1", "x" * 1000, False),
    ("127.0.0.1, 10.0.0.0/8 ,,", "10.255.0.1", True),
    ("10.0.0.0/8", "11.0.0.1", False),
    ("10.0.0.0/8", "::1", False),
    ("10.0.0.0/8", "::ffff:10.0.0.1", True),
    (["::1", "fd00::/8"], "0:0:0:0:0:0:0:1", True),
    (["::1", "fd00::/8"], "fd12::1", True),
    (["::1", "fd00::/8"], "fe80::1", False),
    ("fe80::/10", "fe80::1%eth0", True),
    ("*", "anything", True),
    ("*", None, True),
    (["127.0.0.1", "*"], "10.0.0.1", True),
    ("", "127.0.0.1", False),
    ([], None, False),
    ("/run/proxy.sock", "/run/proxy.sock", True),
    ("/run/proxy.sock", "/run/other.sock", False),
    ("/run/proxy.sock", None, False),
    ("unix", None, True),
    ("unix:", "", True),
    ("unix", "/run/other.sock", True),
    ("unix", "127.0.0.1", False),
    ("unix", "name", False),
    ("testclient", "testclient", True),
]


@pytest.mark.parametrize(("spec", "host", "trusted"), TRUST)
def test_trust(spec: str | list[str], host: str | None, trusted: bool) -> None:
    assert TrustedPeers(spec).trusts(host) is trusted


@pytest.mark.parametrize("spec", ["10.0.0.1/8", "10.0.0.0/33", "127.0.0.256", "127.0.0", "fe80:::1", "a/b", "1"])
def test_a_mistake_in_an_address_is_reported(spec: str) -> None:
    with pytest.raises(ConfigError, match="--forwarded-allow-ips"):
        TrustedPeers(spec)


PROXY = ("10.0.0.1", 4000)
SPEC = "10.0.0.0/8, ::1, unix"
FOR = [
    ("1.2.3.4", ("1.2.3.4", 0)),
    ("1.2.3.4:5678", ("1.2.3.4", 5678)),
    (" 1.2.3.4\t", ("1.2.3.4", 0)),
    ("2001:db8::1", ("2001:db8::1", 0)),
    ("[2001:db8::1]", ("2001:db8::1", 0)),
    ("[2001:db8::1]:80", ("2001:db8::1", 80)),
    ("6.6.6.6, 1.2.3.4", ("1.2.3.4", 0)),
    ("6.6.6.6, 1.2.3.4, 10.0.0.2, [::1]:80", ("1.2.3.4", 0)),
    ("1.2.3.4,,10.0.0.2,", ("1.2.3.4", 0)),
    ("1.2.3.4, unix:, 10.0.0.2", ("1.2.3.4", 0)),
    ("10.0.0.3:1, 10.0.0.2:2", ("10.0.0.3", 1)),
    # What is no address ends the walk: what is before it may come from anybody.
    ("6.6.6.6, unknown, 10.0.0.2", ("10.0.0.2", 0)),
    ("6.6.6.6, unknown", PROXY),
    ("6.6.6.6, 1.2.3.4.5", PROXY),
    ("", PROXY),
    (" , ", PROXY),
    ("1.2.3.4:", PROXY),
    ("1.2.3.4:65536", PROXY),
    ("1.2.3.4:-1", PROXY),
    ("1.2.3.4:8x", PROXY),
    ("01.2.3.4", PROXY),
    ("[1.2.3.4]", PROXY),
    ("[::1", PROXY),
    ("[::1]80", PROXY),
    ("::1::", PROXY),
    ("fe80::1%<script>", PROXY),
    ("1.2.3.4\r\nx", PROXY),
    ("\xe9", PROXY),
    ("localhost", PROXY),
]


@pytest.mark.parametrize(("value", "client"), FOR)
def test_the_client_behind_trusted_proxies(value: str, client: Client) -> None:
    fields = {b"x-forwarded-for": value.encode("latin-1")}
    assert apply_forwarded(fields, PROXY, "http", TrustedPeers(SPEC)) == (client, "http")
    stranger = ("9.9.9.9", 1)
    assert apply_forwarded(fields, stranger, "http", TrustedPeers(SPEC)) == (stranger, "http")


def test_a_peer_on_a_unix_socket() -> None:
    fields = {b"x-forwarded-for": b"1.2.3.4", b"x-forwarded-proto": b"https"}
    assert apply_forwarded(fields, None, "http", TrustedPeers("unix")) == (("1.2.3.4", 0), "https")
    assert apply_forwarded(fields, None, "http", TrustedPeers("127.0.0.1")) == (None, "http")


def test_where_everybody_is_trusted_the_first_address_is_the_client() -> None:
    fields = {b"x-forwarded-for": b"6.6.6.6, 1.2.3.4, 10.0.0.2"}
    assert apply_forwarded(fields, PROXY, "ws", TrustedPeers("*")) == (("6.6.6.6", 0), "ws")
    fields = {b"x-forwarded-for": b"6.6.6.6, unknown, 10.0.0.2"}
    assert apply_forwarded(fields, PROXY, "ws", TrustedPeers("*")) == (("10.0.0.2", 0), "ws")


PROTO = [
    ("https", "https", "wss"),
    ("wss", "https", "wss"),
    ("HTTPS", "https", "wss"),
    ("http", "http", "ws"),
    ("ws", "http", "ws"),
    ("http, https ", "https", "wss"),
    ("https, http", "http", "ws"),
    ("ftp", None, None),
    ("", None, None),
    ("https,", None, None),
    ("https\0", None, None),
]


@pytest.mark.parametrize(("value", "http", "websocket"), PROTO)
@pytest.mark.parametrize("secure", [False, True])
def test_the_scheme(value: str, http: str | None, websocket: str | None, secure: bool) -> None:
    fields = {b"x-forwarded-proto": value.encode()}
    trusted = TrustedPeers(SPEC)
    for before, after in (("https" if secure else "http", http), ("wss" if secure else "ws", websocket)):
        assert apply_forwarded(fields, PROXY, before, trusted) == (PROXY, after or before)
        assert apply_forwarded(fields, ("9.9.9.9", 1), before, trusted) == (("9.9.9.9", 1), before)


def test_nothing_changes_without_the_headers() -> None:
    assert apply_forwarded({b"host": b"a"}, PROXY, "http", TrustedPeers("*")) == (PROXY, "http")


@given(st.lists(st.one_of(st.ip_addresses().map(str), st.text(max_size=8)), max_size=6))
def test_the_client_is_an_address_and_never_from_beyond_a_stranger(elements: list[str]) -> None:
    value = ", ".join(elements).encode("latin-1", "ignore")
    trusted = TrustedPeers(SPEC)
    client, _ = apply_forwarded({b"x-forwarded-for": b"6.6.6.6, 1.2.3.4, " + value}, PROXY, "http", trusted)
    assert client is not None
    assert client[0] != "6.6.6.6" or "6.6.6.6" in elements
    ip_address(client[0])
