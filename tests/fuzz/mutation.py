"""What the drivers know of the inputs: how to make frames and heads, and change an input in a way that means something.

Blind changes of masked bytes seldom get past the first header. Nothing here decides what is right.
"""

from __future__ import annotations

import random
import zlib

import wire
from engine_cases import deflated, deflated_final, frame, header

TOKENS = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00", b"GET ", b"POST ", b"HEAD ", b"OPTIONS * ",
    b"CONNECT ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: a\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive, Upgrade\r\n", b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n", b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Expect: 100-continue\r\n", b"TE: trailers\r\n", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Protocol: chat\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", b"permessage-deflate",
    b"client_max_window_bits", b"server_max_window_bits=10", b"client_no_context_takeover", b'="8"', b";", b",",
    b"%00", b"http://a/", b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nTrailer: x\r\n\r\n", b"3;ext=1\r\nabc\r\n",
    b"ffffffffffffffff\r\n",
)  # fmt: skip

HEADS = (
    wire.handshake(),
    wire.handshake(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
    wire.handshake(b"Sec-WebSocket-Protocol: chat, super"),
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /path?query HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/x HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
)

TEXTS = ("", "a", "hello", "h\u00e9llo w\u00f6rld", "\u20ac", "\U0001f600", "\ud7ff\ue000", "x" * 300)


def some_frame(choose: random.Random) -> bytes:
    """A frame, or a fragmented message: sound mostly, and short mostly."""
    kind = choose.randrange(14)
    key = choose.choice((b"\x00\x00\x00\x00", b"\xa1\x02\xf3\x54", choose.randbytes(4)))
    text = choose.choice(TEXTS).encode()
    data = choose.randbytes(choose.choice((0, 1, 5, 20, 125, 126, 400)))
    if kind < 2:
        return frame(wire.TEXT, text, key=key)
    if kind == 2:
        return frame(wire.BINARY, data, key=key)
    if kind == 3:
        return frame(choose.choice((wire.PING, wire.PONG)), data[:125], key=key)
    if kind == 4:
        code = choose.choice((1000, 1001, 1004, 1005, 1006, 1011, 1014, 1015, 2999, 3000, 4999, 5000))
        return frame(wire.CLOSE, code.to_bytes(2, "big") + text[:60], key=key)
    if kind == 5:
        return frame(wire.CLOSE, key=key)
    if kind == 6:
        cut = choose.randint(0, len(text))
        middle = some_frame(choose) if choose.random() < 0.3 else b""
        return frame(wire.TEXT, text[:cut], fin=False, key=key) + middle + frame(0, text[cut:], key=key)
    if kind == 7:
        return frame(choose.choice((wire.TEXT, wire.BINARY)), deflated(text * 3), rsv=4, key=key)
    if kind == 8:
        squeezed = choose.choice((deflated, deflated_final))(text * choose.choice((1, 40)))
        cut = choose.randint(0, len(squeezed))
        middle = frame(wire.PING, b"p", key=key) if choose.random() < 0.5 else b""
        return (
            frame(wire.BINARY, squeezed[:cut], fin=False, rsv=4, key=key) + middle + frame(0, squeezed[cut:], key=key)
        )
    if kind == 9:
        return frame(
            wire.TEXT, text + choose.choice((b"\xff", b"\xed\xa0", b"\xf4\x90", b"\xc0", b"\xe2\x82")), key=key
        )
    if kind == 10:
        length = choose.choice((0, 1, 125, 126, 65535, 65536, 70_000, 1 << 31, (1 << 63) - 1, 1 << 63))
        return header(
            choose.randrange(16), length, fin=choose.random() < 0.8, rsv=choose.choice((0, 0, 0, 4, 2)), size=8
        )
    if kind == 11:
        return frame(
            choose.randrange(16), data[:125], fin=choose.random() < 0.5, rsv=choose.choice((0, 0, 4, 1)), key=key
        )
    if kind == 12:
        stream = zlib.compressobj(choose.randint(0, 9), wbits=-choose.randint(9, 15))
        squeezed = stream.compress(text) + stream.flush(
            choose.choice((zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH))
        )
        return frame(wire.TEXT, squeezed, rsv=4, key=key)
    return frame(0, data[:20], fin=choose.random() < 0.5, key=key)


def mutate(data: bytes, choose: random.Random, *, heads: bool, prefix: int, max_size: int) -> bytes:
    """`data` with one change; `prefix` bytes at its start choose the configuration, `heads` says what the rest is."""
    head, body = bytearray(data[:prefix].ljust(prefix, b"\x00")), bytearray(data[prefix:])
    at = choose.randint(0, len(body))
    match choose.randrange(10):
        case 0 if prefix:
            head[choose.randrange(prefix)] = choose.randrange(256)
        case 1 | 2 | 3:
            body[at:at] = choose.choice(TOKENS) if heads and choose.random() < 0.6 else some_frame(choose)
        case 4:
            body += choose.choice(HEADS) if heads and choose.random() < 0.5 else some_frame(choose)
        case 5:
            del body[at : at + choose.choice((1, 2, 4, 30))]
        case 6:
            body[at:at] = body[choose.randint(0, at) : at]
        case 7:
            body[at:at] = choose.randbytes(choose.choice((1, 2, 4, 8)))
        case 8 if body:
            body[at - 1] ^= 1 << choose.randrange(8)
        case _ if body:
            body[at - 1] = choose.choice((0, 1, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF, 10, 13, 32))
    return bytes(head + body)[:max_size]
