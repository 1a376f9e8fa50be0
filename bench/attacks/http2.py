"""The attacks of `make hostile` over HTTP/2: floods, streams that are reset or not read, blocks that unpack to much.

As in attacks.py, each is a generator. What the server should do is in docs/http2.md.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from driver import http2_frame, http2_frames

from attacks.attacks import MIB, PATIENCE, Attack, Attacker, Missed, blast, expect_ended, send

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
CALM = 0xB
BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(SETTINGS, 0, 0, b"")
STREAMS = 120
"""Under the limit of fastws."""


def block(path: bytes, method: bytes = b"\x82") -> bytes:
    """A header block that enters no table: GET, or POST with b"\\x83", of `path`."""
    return method + b"\x86\x04" + bytes((len(path),)) + path + b"\x01\x07hostile"


def connected(attacker: Attacker, begin: bytes = BEGIN) -> socket.socket:
    """A connection that has begun."""
    sock = attacker.connect()
    sock.sendall(begin)
    return sock


def expect_goaway(sock: socket.socket, code: int) -> None:
    """The server's last frame is GOAWAY with this code, or what it sent was lost in a reset; then it closes."""
    data, give_up = b"", time.monotonic() + PATIENCE
    sock.settimeout(PATIENCE)
    last = -1
    while time.monotonic() < give_up:
        try:
            got = sock.recv(1 << 18)
        except ConnectionError:
            return
        except TimeoutError:
            break
        if not got:
            if last not in (-1, code):
                raise Missed(f"GOAWAY with {last}")
            return
        frames, data = http2_frames(data + got)
        for kind, payload in frames:
            if kind == GOAWAY:
                last = int.from_bytes(payload[4:8], "big")
    raise Missed(f"neither GOAWAY nor end within {PATIENCE:.0f} s")


def flood(attacker: Attacker, chunk: bytes, begin: bytes = BEGIN) -> Iterator[None]:
    """Send `chunk` for as long as the server takes it; it should end the connections with ENHANCE_YOUR_CALM."""
    sockets = [connected(attacker, begin) for _ in range(10)]
    blast(sockets, chunk)
    yield
    for sock in sockets:
        expect_goaway(sock, CALM)


def http2_rapid_reset(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: requests that are reset in the same breath."""
    head = block(b"/")
    sockets = [connected(attacker) for _ in range(10)]
    for sock in sockets:
        for number in range(0, 2000, 50):
            ids = range(2 * number + 1, 2 * number + 101, 2)
            send(
                sock,
                b"".join(
                    http2_frame(HEADERS, END_STREAM | END_HEADERS, each, head)
                    + http2_frame(RST_STREAM, 0, each, b"\0\0\0\x08")
                    for each in ids
                ),
            )
    yield
    for sock in sockets:
        expect_goaway(sock, CALM)


def http2_provoked_resets(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: requests that are malformed, so that the server resets them."""
    sockets = [connected(attacker) for _ in range(10)]
    bad = block(b"/") + b"\x00\x02Aa\x01b"
    for sock in sockets:
        for number in range(0, 2000, 50):
            ids = range(2 * number + 1, 2 * number + 101, 2)
            send(sock, b"".join(http2_frame(HEADERS, END_STREAM | END_HEADERS, each, bad) for each in ids))
    yield
    for sock in sockets:
        expect_goaway(sock, CALM)


def http2_settings(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: a flood of SETTINGS, whose answers nobody reads."""
    return flood(attacker, http2_frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64") * 100)


def http2_pings(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: a flood of PING, whose answers nobody reads."""
    return flood(attacker, http2_frame(PING, 0, 0, bytes(8)) * 100)


def http2_empty_data(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: a flood of DATA with nothing in it."""
    begin = BEGIN + http2_frame(HEADERS, END_HEADERS, 1, block(b"/upload", b"\x83"))
    return flood(attacker, http2_frame(DATA, 0, 1, b"") * 100, begin)


def http2_window_updates(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: a flood of WINDOW_UPDATE."""
    begin = BEGIN + http2_frame(HEADERS, END_HEADERS, 1, block(b"/upload", b"\x83"))
    return flood(attacker, http2_frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1") * 100, begin)


def http2_continuations(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: a header block without an end."""
    begin = BEGIN + http2_frame(HEADERS, 0, 1, block(b"/"))
    return flood(attacker, http2_frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 10), begin)


def http2_block_bomb(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: a header block that unpacks to a thousand times its size, by the table."""
    entry = b"\x40\x01a\x7f\xd1\x1e" + b"v" * 4000
    bomb = block(b"/") + entry + b"\xbe" * 15_000
    sockets = [connected(attacker) for _ in range(10)]
    for sock in sockets:
        pieces = [bomb[begin : begin + 16_000] for begin in range(0, len(bomb), 16_000)]
        data = http2_frame(HEADERS, END_STREAM, 1, pieces[0])
        data += b"".join(http2_frame(CONTINUATION, 0, 1, each) for each in pieces[1:-1])
        send(sock, data + http2_frame(CONTINUATION, END_HEADERS, 1, pieces[-1]))
    yield
    for sock in sockets:
        expect_goaway(sock, CALM)


def http2_zero_windows(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: a hundred responses of 256 MiB on each connection, without a window for one of them."""
    begin = BEGIN[:24] + http2_frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")
    for _ in range(5):
        sock = connected(attacker, begin)
        heads = (http2_frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, block(b"/offer")) for n in range(STREAMS))
        send(sock, b"".join(heads))
    yield


def http2_one_byte_windows(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: a response of 256 MiB, taken byte by byte."""
    begin = BEGIN[:24] + http2_frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")
    begin += http2_frame(HEADERS, END_STREAM | END_HEADERS, 1, block(b"/offer"))
    return flood(attacker, http2_frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1") * 100, begin)


def http2_unread_bodies(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: bodies on a hundred streams of each connection that the application does not read."""
    for _ in range(4):
        sock = connected(attacker)
        sock.setblocking(False)
        pieces = b"".join(
            http2_frame(HEADERS, END_HEADERS, 2 * n + 1, block(b"/slow", b"\x83")) for n in range(STREAMS)
        )
        pieces += b"".join(http2_frame(DATA, 0, 2 * n + 1, bytes(16384)) for _ in range(3) for n in range(STREAMS))
        blast([sock], pieces, len(pieces))
    yield


def http2_drip(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: a request head, byte by byte."""
    data = BEGIN + http2_frame(HEADERS, END_STREAM | END_HEADERS, 1, block(b"/"))
    sockets = [attacker.connect() for _ in range(50)]
    give_up, position = time.monotonic() + PATIENCE, 0
    live = set(sockets)
    while live and position < len(data) - 1 and time.monotonic() < give_up:
        for sock in list(live):
            try:
                sock.send(data[position : position + 1])
            except OSError:
                live.discard(sock)
        position += 1
        time.sleep(0.1)
    yield
    expect_ended(attacker, PATIENCE)


def http2_vanished(attacker: Attacker) -> Iterator[None]:
    """HTTP/2: requests that are under way, and PINGs that nobody answers."""
    sockets = [connected(attacker) for _ in range(50)]
    for sock in sockets:
        send(sock, http2_frame(HEADERS, END_HEADERS, 1, block(b"/slow", b"\x83")))
    yield
    expect_ended(attacker, PATIENCE)


HTTP2_ATTACKS = (
    Attack(http2_rapid_reset, 10),
    Attack(http2_provoked_resets, 10),
    Attack(http2_settings, 10),
    Attack(http2_pings, 10),
    Attack(http2_empty_data, 10),
    Attack(http2_window_updates, 10),
    Attack(http2_continuations, 10),
    Attack(http2_block_bomb, 10),
    Attack(http2_zero_windows, 5),
    Attack(http2_one_byte_windows, 10),
    Attack(http2_unread_bodies, 4, STREAMS * 80 + MIB),  # the first window of each, and by what they may grow
    Attack(http2_drip, 50, server="impatient"),
    Attack(http2_vanished, 50, server="impatient"),
)
