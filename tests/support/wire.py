"""What raw clients say and hear: WebSocket frames and HTTP responses as bytes, and a blocking socket to carry them.

Written for tests, from the RFCs, and strict: a response that is not framed to the letter fails the test that reads it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from serving import PATIENCE, Serving

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

HANDSHAKE = (
    b"GET /chat?room=1 HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
"""A handshake's head, still open for more fields; see `handshake`."""


def handshake(*fields: bytes) -> bytes:
    """A handshake request with these additional header fields."""
    return HANDSHAKE + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


class Frame(NamedTuple):
    """A frame as the server sent it (RFC 6455 section 5.2)."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False, mask: bytes | None = b"\x12\x34\x56\x78"
) -> bytes:
    """A frame as a client sends it; `mask=None` is a client that breaks the rules."""
    masked = 0x80 if mask else 0
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode])
    if size < 126:
        head += bytes([masked | size])
    elif size < 65536:
        head += bytes([masked | 126]) + struct.pack("!H", size)
    else:
        head += bytes([masked | 127]) + struct.pack("!Q", size)
    if mask is None:
        return head + payload
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def text(message: str) -> bytes:
    return frame(TEXT, message.encode())


def close(code: int | None = None, reason: str = "") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


def closing(code: int | None = None, reason: str = "") -> Frame:
    """The Close frame that a server sends."""
    return Frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


def messages(*texts: str) -> list[Frame]:
    """The text frames that a server sends."""
    return [Frame(TEXT, each.encode()) for each in texts]


def read_frame(data: bytes) -> tuple[Frame, bytes] | None:
    """The server's frame at the start of `data` and the bytes after it, or None where it is not whole."""
    if len(data) < 2:
        return None
    assert not data[1] & 0x80, "a server masks nothing"
    assert not data[0] & 0x30, "reserved bits"
    size, begin = data[1], 2
    if size == 126:
        size, begin = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, begin = int.from_bytes(data[2:10], "big"), 10
    if len(data) < begin + size:
        return None
    payload = data[begin : begin + size]
    return Frame(data[0] & 0x0F, payload, bool(data[0] & 0x80), bool(data[0] & 0x40)), data[begin + size :]


def read_frames(data: bytes) -> list[Frame]:
    """The server's frames that make up `data`, with nothing left over."""
    return _read_all(read_frame, data, "a frame")


Read = TypeVar("Read")


def _read_all(read: Callable[[bytes], tuple[Read, bytes] | None], data: bytes, what: str) -> list[Read]:
    """All that make up `data`, by `read`, which knows the first and what is behind it."""
    found = []
    while data:
        each = read(data)
        assert each is not None, f"the end of {what} is missing: {data!r:.200}"
        found.append(each[0])
        data = each[1]
    return found


class Response(NamedTuple):
    """A response, its body without framing; `lines` are the header lines as sent."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    lines: list[bytes]
    trailers: list[bytes]


def read_response(data: bytes, method: str = "GET", *, ended: bool = False) -> tuple[Response, bytes] | None:
    """The response at the start of `data` and the bytes after it, or None where more must come.

    RFC 9112 section 6.3, in its order. `ended` says that the connection has ended.
    """
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return None
    status_line, *lines = head.split(b"\r\n")
    version, status_text, _ = status_line.split(b" ", 2)
    assert version == b"HTTP/1.1"
    status = int(status_text)
    headers = {}
    for line in lines:
        name, _, value = line.partition(b": ")
        assert name not in headers or name in (b"set-cookie", b"link"), f"twice: {line!r}"
        headers[name] = value
    assert not (b"transfer-encoding" in headers and b"content-length" in headers)
    if method == "HEAD" or status < 200 or status in (204, 304):
        assert b"transfer-encoding" not in headers
        return Response(status, headers, b"", lines, []), rest
    if b"transfer-encoding" in headers:
        assert headers[b"transfer-encoding"] == b"chunked"
        chunked = _read_chunked(rest)
        if chunked is None:
            return None
        body, trailers, rest = chunked
        return Response(status, headers, body, lines, trailers), rest
    if b"content-length" in headers:
        size = int(headers[b"content-length"])
        return (Response(status, headers, rest[:size], lines, []), rest[size:]) if len(rest) >= size else None
    assert headers[b"connection"] == b"close"
    return (Response(status, headers, rest, lines, []), b"") if ended else None


def read_responses(data: bytes) -> list[Response]:
    """The responses that make up `data`, with nothing left over."""
    return _read_all(read_response, data, "a response")


def _read_chunked(data: bytes) -> tuple[bytes, list[bytes], bytes] | None:
    body = b""
    while True:
        line, found, data = data.partition(b"\r\n")
        if not found:
            return None
        size = int(line, 16)
        if size == 0:
            break
        if len(data) < size + 2:
            return None
        assert data[size : size + 2] == b"\r\n"
        body += data[:size]
        data = data[size + 2 :]
    trailers = []
    while True:
        line, found, data = data.partition(b"\r\n")
        if not found:
            return None
        if not line:
            return body, trailers, data
        trailers.append(line)


class Client:
    """A blocking TCP client of a server in this process."""

    def __init__(self, serving: Serving) -> None:
        self.socket = socket.create_connection((serving.host, serving.port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_byte_by_byte(self, data: bytes) -> None:
        for i in range(len(data)):
            self.socket.send(data[i : i + 1])

    def send_eof(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def response(self, method: str = "GET") -> Response:
        """The next response, as soon as it is whole."""
        ended = False
        while (found := read_response(self.received, method, ended=ended)) is None:
            assert not ended, f"the server closed the connection; it had sent {self.received!r:.200}"
            ended = not self._receive()
        response, self.received = found
        return response

    def open(self, *fields: bytes, early: bytes = b"") -> Response:
        """Do a handshake that is accepted; `early` is sent in the same segment."""
        self.send(handshake(*fields) + early)
        response = self.response()
        assert response.status == 101
        return response

    def frame(self) -> Frame:
        """The next frame, as soon as it is whole."""
        while (found := read_frame(self.received)) is None:
            assert self._receive(), f"the server closed the connection; it had sent {self.received!r:.200}"
        result, self.received = found
        return result

    def rest(self) -> bytes:
        """What comes until the server closes its direction."""
        while self._receive():
            pass
        rest, self.received = self.received, b""
        return rest

    def _receive(self) -> bool:
        data = self.socket.recv(65536)
        self.received += data
        return bool(data)
