"""What is refused can be traced: address, status, reason, and method and path where they are known."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
import trustme
import uvloop
from fake_loop import DrivenApp, FakeServer, on_fake_clock

from fastws.errors import RequestError
from fastws.net.accepting import accept
from fastws.net.loop_state import LoopState

WHERE = "192.0.2.1:50000"
LINES = {
    "malformed": (b"GET /a?secret=1 HTTP/1.1\r\nHost: t\r\nA b: c\r\n\r\n", "(400, %s, GET /a)"),
    "no Host": (b"GET /a HTTP/1.1\r\n\r\n", "The Host header is missing. (400, %s, GET /a)"),
    "no request line": (b"nonsense\r\n\r\n", "The request line is malformed. (400, %s)"),
    "unknown method": (b"MUX /m HTTP/1.1\r\nHost: t\r\n\r\n", "The method is not known here. (501, %s, MUX /m)"),
    "long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: t\r\n\r\n", "(414, %s, GET /" + "a" * 199 + ")"),
    "long field": (b"GET /f HTTP/1.1\r\nHost: t\r\nA: " + b"b" * 9000 + b"\r\n\r\n", "(431, %s, GET /f)"),
    "HTTP/2": (b"GET /v HTTP/2.0\r\nHost: t\r\n\r\n", "This server speaks HTTP/1.1. (505, %s, GET /v)"),
    "large body": (b"POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\n\r\n", "(413, %s, POST /b)"),
    "chunks": (b"POST /c HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "(400, %s, POST /c)"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "This port speaks HTTP, not TLS. (400, %s)"),
    "SOCKS 5": (b"\x05\x01\x00", "This port speaks HTTP, not SOCKS. (400, %s)"),
    "SOCKS 4": (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "This port speaks HTTP, not SOCKS. (400, %s)"),
    "PROXY 1": (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "This port does not expect a PROXY header. (400, %s"),
    "PROXY 2": (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "This port does not expect a PROXY header. (400, %s"),
}


@pytest.mark.parametrize(("data", "line"), LINES.values(), ids=LINES)
@on_fake_clock
async def test_a_refusal_says_who_and_what(data: bytes, line: str, caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer(DrivenApp(), limit_request_body=50)
    await server.connect().send(data)
    [message] = caplog.messages
    assert line % WHERE in message
    assert "secret" not in message
    assert sum(server.state.counts.errors.values()) == 1


@on_fake_clock
async def test_a_head_that_does_not_come_says_who(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer(DrivenApp(), timeout_request_head=5)
    await server.connect(("2001:db8::1", 7)).send(b"GET /slow?a HTTP/1.1\r\n")
    await asyncio.sleep(8)
    [message] = caplog.messages
    assert message.endswith("The request head did not arrive in time. (408, [2001:db8::1]:7, GET /slow)")


@on_fake_clock
async def test_each_kind_is_counted_apart(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer(DrivenApp())
    for _ in range(3):
        await server.connect().send(b"nonsense\r\n\r\n")
        await server.connect().send(b"GET / HTTP/1.1\r\n\r\n")
    await asyncio.sleep(5)
    assert len(caplog.messages) == 4
    assert sum("(2 like it)" in message for message in caplog.messages) == 2


@on_fake_clock
async def test_a_hint_for_the_operator_says_who(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer(DrivenApp())
    peer = server.connect()
    assert peer.connection.handler is not None
    peer.connection.handler.refuse(RequestError(503, "No.", log_hint="Raise the limit."))
    assert caplog.messages == [f"Raise the limit. (503, {WHERE})"]


@pytest.mark.parametrize("loop_name", ["uvloop", "asyncio"])
def test_tls_handshakes_that_fail_are_logged_and_counted(loop_name: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> LoopState:
        server = FakeServer(DrivenApp())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("localhost").configure_cert(context)
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        accepting = await accept(server.state, listener, 10, context, 10.0)
        for sent in (b"GET / HTTP/1.1\r\nHost: t\r\n\r\n", b""):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(sent)
            if not sent:
                writer.close()
            await reader.read()
            writer.close()
        while sum(server.state.tls_failures.values()) < 2:
            await asyncio.sleep(0.01)
        accepting.close()
        server.state.close()
        return server.state

    loop = uvloop.new_event_loop() if loop_name == "uvloop" else asyncio.SelectorEventLoop()
    try:
        state = loop.run_until_complete(main())
    finally:
        loop.close()
    assert state.tls_failures["protocol"] == 1
    assert any("plain HTTP on this port, which is for TLS (127.0.0.1:" in message for message in caplog.messages)
