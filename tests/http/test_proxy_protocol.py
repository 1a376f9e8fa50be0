"""PROXY headers: what they say, what is refused, and connections that begin with one, with and without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest
import trustme
import wire
from fake_loop import DrivenApp, FakeServer, on_fake_clock, settle
from hypothesis import given
from hypothesis import strategies as st
from serving import PATIENCE, serve

from fastws.http.proxy_protocol import SHORTEST, SIGNATURE, ProxyHeader, ProxyProtocolError, crc32c, read_proxy_header

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
V4 = bytes([192, 0, 2, 7, 192, 0, 2, 1]) + struct.pack("!HH", 56324, 443)
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "::1") + b"\xdc\x04\x01\xbb"
PATHS = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")


def v2(family: int, rest: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(rest)) + rest


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + struct.pack("!H", len(value)) + value


def with_checksum(family: int, addresses: bytes, tlvs: bytes = b"") -> bytes:
    blank = v2(family, addresses + tlv(3, bytes(4)) + tlvs)
    return v2(family, addresses + tlv(3, struct.pack("!I", crc32c(blank))) + tlvs)


CLIENT, SERVER = ("192.0.2.7", 56324), ("192.0.2.1", 443)
SSL = tlv(0x20, b"\x01" + bytes(4) + tlv(0x21, b"TLSv1.3"))
HEADERS: list[tuple[bytes, Any, Any, bool]] = [
    (b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n", CLIENT, SERVER, False),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", *[("255.255.255.255", 65535)] * 2, False),
    (b"PROXY TCP6 2001:db8::7 ::1 0 443\r\n", ("2001:db8::7", 0), ("::1", 443), False),
    (
        b"PROXY TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 1 2\r\n",
        *[("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", port) for port in (1, 2)],
        False,
    ),
    (b"PROXY UNKNOWN\r\n", None, None, False),
    (b"PROXY UNKNOWN ffff::ffff anything at all\r\n", None, None, False),
    (v2(0x11, V4), CLIENT, SERVER, False),
    (v2(0x21, V6), ("2001:db8::7", 56324), ("::1", 443), False),
    (v2(0x31, PATHS), ("/run/client", None), ("/run/server", None), False),
    (v2(0x00, b""), None, None, False),
    (v2(0x00, b"whatever this is"), None, None, False),
    (v2(0x11, V4, command=0x20), None, None, False),
    (v2(0x00, b"", command=0x20), None, None, False),
    (v2(0x11, V4 + tlv(0x01, b"h2") + tlv(0x05, b"id") + tlv(0x04, bytes(300))), CLIENT, SERVER, False),
    (v2(0x11, V4 + SSL), CLIENT, SERVER, True),
    (v2(0x11, V4 + tlv(0x20, bytes(5))), CLIENT, SERVER, False),
    (with_checksum(0x11, V4), CLIENT, SERVER, False),
    (with_checksum(0x11, V4, SSL), CLIENT, SERVER, True),
]
WRONG = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01",
    b"PROX\0",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 56324\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443 \r\n",
    b"PROXY  TCP4 192.0.2.7 192.0.2.1 56324 443\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 65536\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 056324 443\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 -1 443\r\n",
    b"PROXY TCP4 192.0.2.256 192.0.2.1 1 443\r\n",
    b"PROXY TCP4 2001:db8::7 ::1 1 443\r\n",
    b"PROXY TCP6 192.0.2.7 192.0.2.1 1 443\r\n",
    b"PROXY UDP4 192.0.2.7 192.0.2.1 1 443\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN " + b"x" * 100,
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1 443\nx" + b"x" * 100,
    v2(0x11, V4, command=0x11),
    v2(0x11, V4, command=0x22),
    v2(0x12, V4),
    v2(0x13, V4),
    v2(0x41, V4),
    v2(0x11, V4[:-1]),
    v2(0x21, V4),
    v2(0x31, V6),
    v2(0x11, V4 + b"\x01"),
    v2(0x11, V4 + b"\x01\x00\x05abcd"),
    v2(0x11, V4 + tlv(3, b"\1\2\3\4")),
    v2(0x11, V4 + tlv(3, b"")),
    SIGNATURE + b"\x21\x11\xff\xff",
]


@pytest.mark.parametrize(("header", "source", "destination", "secure"), HEADERS)
def test_headers(header: bytes, source: Any, destination: Any, secure: bool) -> None:
    expected = ProxyHeader(len(header), source, destination, secure)
    for behind in (b"", GET, b"\r\n" * 60):
        assert read_proxy_header(header + behind) == expected


@pytest.mark.parametrize("header", [each[0] for each in HEADERS])
def test_headers_that_come_in_the_steps_that_are_asked_for_are_read_and_not_a_byte_more(header: bytes) -> None:
    wanted: Any = SHORTEST
    position = 0
    while isinstance(wanted, int):
        assert wanted > 0
        position += wanted
        assert position <= len(header)
        wanted = read_proxy_header(header[:position])
    assert wanted.size == position == len(header)


@pytest.mark.parametrize("header", [each[0] for each in HEADERS])
def test_a_part_of_a_header_is_no_header(header: bytes) -> None:
    for end in range(1, len(header)):
        wanted = read_proxy_header(header[:end])
        assert isinstance(wanted, int)
        assert 0 < wanted <= len(header) - end


@pytest.mark.parametrize("header", WRONG)
def test_what_is_refused(header: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        read_proxy_header(header)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_anything_is_a_header_a_part_of_one_or_refused(data: bytes, before: bytes) -> None:
    with contextlib.suppress(ProxyProtocolError):
        found = read_proxy_header(before + data)
        assert isinstance(found, ProxyHeader) or found > 0


def test_crc32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283


# A connection.


@on_fake_clock
async def test_a_connection_has_the_addresses_of_its_header() -> None:
    app = DrivenApp()
    server = FakeServer(app, proxy_protocol=True)
    for number, (header, source, destination, secure) in enumerate(HEADERS):
        peer = server.connect(("127.0.0.1", 1))
        await peer.send(header + GET)
        scope = app.calls[number].scope
        assert scope["client"] == (source or ("127.0.0.1", 1))
        assert scope["server"] == (destination or ("192.0.2.2", 80))
        assert scope["scheme"] == ("https" if secure else "http")


@on_fake_clock
async def test_a_head_that_comes_again_on_another_connection_is_of_another_client() -> None:
    app = DrivenApp()
    server = FakeServer(app, proxy_protocol=True)
    for header in 4 * [v2(0x11, V4 + SSL), v2(0x21, V6), with_checksum(0x11, V4, SSL)]:
        peer = server.connect(("127.0.0.1", 1))
        await peer.send(header + GET)
        scope = app.calls[-1].scope
        secure = header.endswith(SSL)
        assert (scope["client"][0], scope["scheme"]) == (("192.0.2.7", "https") if secure else ("2001:db8::7", "http"))
        scope["headers"].clear()


@on_fake_clock
async def test_a_websocket_behind_a_header_that_comes_byte_by_byte() -> None:
    app = DrivenApp()
    server = FakeServer(app, proxy_protocol=True)
    peer = server.connect(("127.0.0.1", 1))
    for byte in v2(0x11, V4 + SSL) + wire.handshake():
        peer.transport.feed(bytes([byte]))
    await settle()
    [call] = app.calls
    assert (call.scope["type"], call.scope["client"], call.scope["scheme"]) == ("websocket", CLIENT, "wss")


@on_fake_clock
async def test_what_a_client_says_is_not_believed_because_its_proxy_is() -> None:
    app = DrivenApp()
    server = FakeServer(app, proxy_protocol=True)
    peer = server.connect(("127.0.0.1", 1))
    await peer.send(HEADERS[0][0] + GET[:-2] + b"X-Forwarded-For: 6.6.6.6\r\n\r\n")
    assert app.calls[0].scope["client"] == CLIENT


@pytest.mark.parametrize("header", WRONG)
def test_a_wrong_header_ends_the_connection(header: bytes, caplog: pytest.LogCaptureFixture) -> None:
    @on_fake_clock
    async def check() -> None:
        app = DrivenApp()
        peer = FakeServer(app, proxy_protocol=True).connect(("127.0.0.1", 1))
        await peer.send(header + GET)
        assert peer.transport.aborted
        assert not app.calls
        assert not peer.take()

    check()
    assert "PROXY header" in caplog.text
    assert "(127.0.0.1:1)" in caplog.text


@on_fake_clock
async def test_a_header_has_the_time_of_a_head(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer(DrivenApp(), proxy_protocol=True, timeout_request_head=2.0)
    peer = server.connect(("127.0.0.1", 1))
    await peer.send(b"PROXY TCP4")
    await asyncio.sleep(1.5)
    assert not peer.transport.closing
    await asyncio.sleep(1.5)
    assert peer.transport.aborted
    assert caplog.messages == ["A connection did not send a whole PROXY header in time (127.0.0.1:1)"]


@pytest.mark.parametrize(
    ("peer", "served"), [(("10.1.2.3", 1), True), (("11.1.2.3", 1), False), ("", False), (("::ffff:10.0.0.1", 1), True)]
)
def test_who_may_send_a_header(peer: Any, served: bool, caplog: pytest.LogCaptureFixture) -> None:
    @on_fake_clock
    async def check() -> None:
        app = DrivenApp()
        server = FakeServer(app, proxy_protocol=True, proxy_allow_ips="10.0.0.0/8")
        connected = server.connect(peer)
        if served:
            await connected.send(HEADERS[0][0] + GET)
        await settle()
        assert bool(app.calls) is served
        assert connected.transport.aborted is not served

    check()
    assert ("--proxy-allow-ips" in caplog.text) is not served


@on_fake_clock
async def test_connections_are_counted_for_the_client_and_not_for_the_proxy() -> None:
    app = DrivenApp()
    server = FakeServer(app, proxy_protocol=True, proxy_allow_ips="10.0.0.1", limit_connections_per_client=1)
    for source, served in ((b"192.0.2.7", 1), (b"192.0.2.8", 2), (b"192.0.2.7", 2)):
        peer = server.connect(("10.0.0.1", 1))
        await peer.send(b"PROXY TCP4 %b 192.0.2.1 56324 443\r\n" % source + GET)
        assert len(app.calls) == served
    assert peer.take().startswith(b"HTTP/1.1 503 ")


@on_fake_clock
async def test_a_connection_that_waits_for_its_header_does_not_hold_up_a_shutdown() -> None:
    server = FakeServer(DrivenApp(), proxy_protocol=True)
    server.connect(("127.0.0.1", 1))
    server.state.shut_down()
    began = server.loop.time()
    await server.state.wait_closed()
    assert server.loop.time() - began < 3


async def tell(scope: Any, receive: Any, send: Any) -> None:
    body = repr((scope["scheme"], scope["client"], scope["server"], "tls" in scope["extensions"])).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


TOLD = repr(("https", CLIENT, SERVER, True)).encode()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("header", [HEADERS[0][0], v2(0x11, V4 + tlv(4, bytes(500)))])
@pytest.mark.parametrize("apart", [False, True])
def test_tls_begins_behind_the_header(loop: str, header: bytes, apart: bool, tmp_path: Path) -> None:
    certificate = tmp_path / "server.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    options = {"ssl_certfile": certificate, "proxy_protocol": True, "loop": loop, "lifespan": "off"}
    with serve(tell, **options) as serving, socket.create_connection((serving.host, serving.port), PATIENCE) as raw:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = ssl._create_unverified_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        raw.sendall(header if apart else header + outgoing.read())  # the hello in the header's own segment
        while True:
            if outgoing.pending:
                raw.sendall(outgoing.read())
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65536))
        client.write(GET[:-2] + b"Connection: close\r\n\r\n")
        raw.sendall(outgoing.read())
        answer = b""
        while not answer.endswith(TOLD):
            received = raw.recv(65536)
            assert received
            incoming.write(received)
            with contextlib.suppress(ssl.SSLWantReadError):
                answer += client.read(65536)
        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_no_tls_behind_the_header_ends_the_connection(loop: str, tmp_path: Path) -> None:
    certificate = tmp_path / "server.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    with serve(tell, ssl_certfile=certificate, proxy_protocol=True, loop=loop, lifespan="off") as serving:
        with socket.create_connection((serving.host, serving.port), PATIENCE) as raw:
            raw.sendall(HEADERS[0][0] + GET)
            with contextlib.suppress(ConnectionResetError):
                while raw.recv(65536):
                    pass
        with socket.create_connection((serving.host, serving.port), PATIENCE) as raw:
            raw.sendall(HEADERS[0][0])
            raw.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while raw.recv(65536):
                    pass
        assert not serving.server.exit_code
