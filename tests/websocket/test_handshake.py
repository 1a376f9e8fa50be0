"""The opening handshake: one table of requests through httptools, and what an app may put into the 101."""

from __future__ import annotations

import base64
import contextlib
import secrets

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import receive_head

from fastws.errors import ApplicationError, RequestError
from fastws.http.head import Header
from fastws.websocket.handshake import UpgradeRequest, accept_key, accept_response, read_upgrade

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
STEPS = pytest.mark.parametrize("step", [0, 1], ids=["whole", "byte by byte"])


def request(
    *lines: str,
    method: str = "GET",
    version: str = "HTTP/1.1",
    host: str | None = "Host: a",
    upgrade: str | None = "Upgrade: websocket",
    connection: str | None = "Connection: Upgrade",
    websocket_version: str | None = "Sec-WebSocket-Version: 13",
    key: str | None = f"Sec-WebSocket-Key: {KEY}",
) -> bytes:
    fields = [field for field in (host, upgrade, connection, websocket_version, key, *lines) if field is not None]
    return "\r\n".join([f"{method} /chat {version}", *fields, "", ""]).encode("latin-1")


def upgrade(data: bytes, step: int = 0) -> UpgradeRequest | None:
    head, rest = receive_head(data, step=step)
    found = read_upgrade(head)
    if found is not None:
        # What httptools does not take for an upgrade, it reads frames of as requests.
        parser = httptools.HttpRequestParser(object())
        with pytest.raises(httptools.HttpParserUpgrade) as stop:
            parser.feed_data(data + b"\x81\x80\0\0\0\0")
        assert stop.value.args == (len(data) - len(rest),)
    return found


ACCEPTED = {
    "as in the RFC": request(),
    "any case": request(upgrade="UPGRADE: WebSocket", connection="CONNECTION: upgrade"),
    "Connection with a list": request(connection="Connection: keep-alive, Upgrade"),
    "Connection with blanks": request(connection="Connection: keep-alive\t ,\t Upgrade\t"),
    "Connection with empty elements": request(connection="Connection: ,, Upgrade,"),
    "Connection in two lines": request("Connection: upgrade", connection="Connection: keep-alive"),
    "Connection with close": request(connection="Connection: close, upgrade"),
    "Upgrade with a list": request(upgrade="Upgrade: h2c, websocket"),
    "Upgrade in two lines": request("Upgrade: WEBSOCKET", upgrade="Upgrade: h2c"),
    "an empty body": request("Content-Length: 0"),
    "blanks around the key": request(key=f"Sec-WebSocket-Key: \t{KEY} \t"),
    "blanks around the version": request(websocket_version="Sec-WebSocket-Version:13 "),
}


@STEPS
@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_a_handshake_is_read(data: bytes, step: int) -> None:
    assert upgrade(data, step) == UpgradeRequest(KEY.encode(), [], [])


PLAIN = {
    "no Upgrade": request(upgrade=None, key=None),
    "another protocol": request(upgrade="Upgrade: h2c"),
    "another version of the protocol": request(upgrade="Upgrade: websocket/13"),
    "nearly the word": request(upgrade="Upgrade: xwebsocket"),
    "no Connection and no key": request(connection=None, key=None),
    "HTTP/2 by upgrade": request(
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        upgrade="Upgrade: h2c",
        connection="Connection: Upgrade, HTTP2-Settings",
        key=None,
    ),
}


@STEPS
@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_what_is_no_handshake_is_plain_http(data: bytes, step: int) -> None:
    assert upgrade(data, step) is None


REFUSED = {
    "no version": (request(websocket_version=None), 426),
    "version 8": (request(websocket_version="Sec-WebSocket-Version: 8"), 426),
    "version 013": (request(websocket_version="Sec-WebSocket-Version: 013"), 426),
    "version 13 and another": (request("Sec-WebSocket-Version: 8"), 426),
    "a list of versions": (request(websocket_version="Sec-WebSocket-Version: 13, 8"), 426),
    "POST": (request(method="POST"), 405),
    "HEAD": (request(method="HEAD"), 405),
    "HTTP/1.0": (request(version="HTTP/1.0"), 400),
    "no Host": (request(host=None), 400),
    "two Hosts": (request("Host: a"), 400),
    "no key": (request(key=None), 400),
    "an empty key": (request(key="Sec-WebSocket-Key:"), 400),
    "two keys": (request(f"Sec-WebSocket-Key: {KEY}"), 400),
    "two different keys": (request("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400),
    "a key of 15 bytes": (request(key="Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"), 400),
    "a key of 17 bytes": (request(key="Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="), 400),
    "a key without padding": (request(key="Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA"), 400),
    "a key with loose bits": (request(key="Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAB=="), 400),
    "a key with a strange digit": (request(key="Sec-WebSocket-Key: AAAAAAAAAAAA-AAAAAAAAA=="), 400),
    "a key with a blank": (request(key="Sec-WebSocket-Key: AAAAAAAAAAA AAAAAAAAAA=="), 400),
    "a body": (request("Content-Length: 1"), 400),
    "a chunked body": (request("Transfer-Encoding: chunked"), 400),
    "no Connection": (request(connection=None), 400),
    "Connection without upgrade": (request(connection="Connection: keep-alive"), 400),
    "Connection with another token": (request(connection="Connection: xupgrade"), 400),
    "Connection with a parameter": (request(connection="Connection: upgrade;q=1"), 400),
    "no Upgrade": (request(upgrade=None), 426),
    "neither Upgrade nor Connection": (request(upgrade=None, connection=None), 426),
    "a subprotocol that is no token": (request("Sec-WebSocket-Protocol: a b"), 400),
    "more than 100 subprotocols": (request(f"Sec-WebSocket-Protocol: {','.join(map(str, range(101)))}"), 400),
    "a subprotocol over 127": (request("Sec-WebSocket-Protocol: \xe9"), 400),
}


@STEPS
@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
def test_a_bad_handshake_is_refused(data: bytes, status: int, step: int) -> None:
    with pytest.raises(RequestError) as caught:
        upgrade(data, step)
    error = caught.value
    assert error.status == status
    if status == 426:
        assert error.headers == ((b"sec-websocket-version", b"13"), (b"upgrade", b"websocket"))
    if status == 405:
        assert error.headers == ((b"allow", b"GET"),)


@pytest.mark.parametrize("options", [{"upgrade": None}, {"upgrade": None, "connection": None}, {"connection": None}])
def test_a_proxy_that_drops_the_upgrade_is_hinted_at(options: dict[str, None]) -> None:
    with pytest.raises(RequestError) as caught:
        upgrade(request(**options))
    assert caught.value.log_hint is not None
    assert "proxy" in caught.value.log_hint
    with pytest.raises(RequestError) as caught:
        upgrade(request(key=None))
    assert caught.value.log_hint is None


OFFERS = [
    (["a"], ["a"]),
    (["a, b"], ["a", "b"]),
    (["a", "b,c"], ["a", "b", "c"]),
    (["b,a,b"], ["b", "a"]),
    (["a, A"], ["a", "A"]),
    ([" ,a,\t,"], ["a"]),
    ([""], []),
    ([",".join(map(str, range(100)))], [*map(str, range(100))]),
    (["x," * 200], ["x"]),
    (["v1.chat!#$%&'*+-^_`|~"], ["v1.chat!#$%&'*+-^_`|~"]),
]


@pytest.mark.parametrize(("values", "expected"), OFFERS)
def test_subprotocols(values: list[str], expected: list[str]) -> None:
    found = upgrade(request(*(f"Sec-WebSocket-Protocol: {value}" for value in values)))
    assert found is not None
    assert found.subprotocols == expected


def test_extensions_are_handed_on() -> None:
    found = upgrade(request("Sec-WebSocket-Extensions: a; x, b", "sec-websocket-extensions: c"))
    assert found is not None
    assert found.extensions == [b"a; x, b", b"c"]


@given(st.binary(min_size=16, max_size=16))
def test_every_key_of_16_bytes_is_valid(nonce: bytes) -> None:
    found = upgrade(request(key=f"Sec-WebSocket-Key: {base64.b64encode(nonce).decode()}"))
    assert found is not None
    assert base64.b64decode(found.key) == nonce


@given(st.from_regex(r"\A[A-Za-z0-9+/=]{20,28}\Z"))
def test_only_canonical_keys_are_valid(key: str) -> None:
    try:
        nonce = base64.b64decode(key, validate=True)
        canonical = len(nonce) == 16 and base64.b64encode(nonce).decode() == key
    except ValueError:
        canonical = False
    try:
        accepted = upgrade(request(key=f"Sec-WebSocket-Key: {key}")) is not None
    except RequestError:
        accepted = False
    assert accepted == canonical


@given(st.lists(st.sampled_from(["upgrade", "Upgrade", "close", "x", "", " ", "\t", "up grade", ";", "upgradex"])))
def test_httptools_stops_wherever_a_handshake_is_read(elements: list[str]) -> None:
    with contextlib.suppress(RequestError):
        upgrade(request(connection="Connection: " + ",".join(elements)))  # it asserts that


# --- The answer -------------------------------------------------------------------------------------------------------

OFFER = UpgradeRequest(KEY.encode(), ["a", "b"], [])
HEAD = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"upgrade: websocket\r\n"
    b"connection: Upgrade\r\n"
    b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
)


def test_the_key_of_the_rfc() -> None:
    assert accept_key(KEY.encode()) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_accept() -> None:
    assert accept_response(OFFER) == HEAD + b"\r\n"
    assert accept_response(
        OFFER,
        subprotocol="b",
        headers=[(b"X", b"y"), (b"set-cookie", b"1"), (b"set-cookie", b"2")],
        extensions=b"permessage-deflate",
        default_headers=b"date: d\r\n",
    ) == (
        HEAD + b"sec-websocket-protocol: b\r\nsec-websocket-extensions: permessage-deflate\r\n"
        b"X: y\r\nset-cookie: 1\r\nset-cookie: 2\r\ndate: d\r\n\r\n"
    )


@pytest.mark.parametrize(
    "default", [b"date: d\r\nserver: s\r\nx: z\r\n", [(b"date", b"d"), (b"Server", b"s"), (b"x", b"z")]]
)
def test_the_apps_date_and_server_replace_the_servers(default: bytes | list[Header]) -> None:
    def accept(*headers: Header) -> bytes:
        response = accept_response(OFFER, headers=headers, default_headers=default)
        return response.removeprefix(HEAD).removesuffix(b"\r\n").lower()

    assert accept() == b"date: d\r\nserver: s\r\nx: z\r\n"
    assert accept((b"Date", b"e")) == b"date: e\r\nserver: s\r\nx: z\r\n"
    assert accept((b"server", b"t"), (b"date", b"e")) == b"server: t\r\ndate: e\r\nx: z\r\n"


@pytest.mark.parametrize("subprotocol", ["c", "A", "", "a\r\nx: y", b"a"])
def test_only_an_offered_subprotocol_can_be_accepted(subprotocol: str) -> None:
    with pytest.raises(ApplicationError, match="not offered"):
        accept_response(OFFER, subprotocol=subprotocol)


@pytest.mark.parametrize(
    "name",
    [
        b"Sec-WebSocket-Protocol",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"Upgrade",
        b"connection",
        b"content-length",
        b"Transfer-Encoding",
    ],
)
def test_the_headers_of_the_handshake_are_the_servers(name: bytes) -> None:
    with pytest.raises(ApplicationError, match="the server's to write"):
        accept_response(OFFER, headers=[(name, b"1")])


@pytest.mark.parametrize(
    "header", [(b":status", b"200"), (b"x", b"a\r\nb: c"), (b"x", b"\0"), (b"x\n", b"a"), ("x", "y")]
)
def test_a_bad_header_is_the_apps_error(header: Header) -> None:
    with pytest.raises(ApplicationError):
        accept_response(OFFER, headers=iter([header]))


def test_a_client_accepts_the_answer() -> None:
    from websockets.client import ClientProtocol
    from websockets.uri import parse_uri

    client = ClientProtocol(parse_uri("ws://a/chat"), subprotocols=["x", "y"])  # type: ignore[list-item]
    handshake = client.connect()
    client.send_request(handshake)
    found = upgrade(b"".join(client.data_to_send()))
    assert found is not None
    client.receive_data(accept_response(found, subprotocol="y", headers=[(secrets.token_hex(4).encode(), b"x")]))
    assert client.handshake_exc is None
    assert client.subprotocol == "y"
