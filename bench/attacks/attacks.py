"""The attacks of `make hostile`, each a generator: it attacks, yields while it holds what it has, and then judges.

An attack raises `Missed` where the server's answer is not the right one. What is measured meanwhile, memory, CPU, the
log and the service of others, is the business of hostile.py. All connections are from loopback addresses of their own,
so that what is found is what one connection can do, whatever limits there are for an address.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

KIB = 1
MIB = 1024
PATIENCE = 10.0
BLAST_SECONDS = 1.5
STALL_SECONDS = 0.25
SETUP_REQUEST = (
    b"GET %b HTTP/1.1\r\nHost: hostile\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
CONTINUATION, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9
FIN, RSV1 = 0x80, 0x40

_addresses = (f"127.0.{3 + n // 250 % 200}.{1 + n % 250}" for n in itertools.count())


class Missed(Exception):
    """The server did not do what it should; the message says what it did."""


def frame(first: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """A client's frame, masked with zeros; `first` is its first byte, `length` what it says where that is a lie."""
    size = len(payload) if length is None else length
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0xFE, size)
    else:
        head = struct.pack("!BBQ", first, 0xFF, size)
    return head + bytes(4) + payload


def deflated(payload: bytes, times: int = 1) -> bytes:
    """`payload`, repeated, as permessage-deflate has it (RFC 7692 section 7.2.1)."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [deflater.compress(payload) for _ in range(times)]
    pieces.append(deflater.flush(zlib.Z_SYNC_FLUSH))
    return b"".join(pieces)[:-4]


class Attacker:
    """What attacks: sockets to a server on `port`, all closed at the end."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sockets: list[socket.socket] = []
        self.refused = 0

    def connect(self) -> socket.socket:
        """A TCP connection from an address of its own."""
        sock = socket.socket()
        self.sockets.append(sock)
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((next(_addresses), 0))
        sock.connect(("127.0.0.1", self.port))
        return sock

    def websocket(self, path: bytes = b"/", fields: bytes = b"") -> socket.socket:
        """An open WebSocket. Raises Missed where it is not accepted."""
        sock = self.connect()
        sock.sendall(SETUP_REQUEST % (path, fields))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):  # byte by byte: what follows is for the attack to read, or not
            byte = sock.recv(1)
            if not byte:
                break
            answer += byte
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise Missed(f"handshake answered {answer[:60]!r}")
        return sock

    def close(self) -> None:
        """Close every socket, with a reset where something was left unread."""
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()

    def count_ended(self, seconds: float) -> int:
        """How many of the connections the server has ended, when all have or `seconds` have passed."""
        give_up = time.monotonic() + seconds
        waiting = {sock for sock in self.sockets if sock.fileno() >= 0}
        total = len(waiting)
        while waiting and time.monotonic() < give_up:
            for sock in select.select(waiting, (), (), 0.1)[0]:
                try:
                    if sock.recv(1 << 18, socket.MSG_DONTWAIT):
                        continue
                except BlockingIOError:
                    continue
                except OSError:
                    pass
                waiting.discard(sock)
        return total - len(waiting)


def blast(sockets: Sequence[socket.socket], chunk: bytes, total: int | None = None) -> int:
    """Send `chunk` again and again on all sockets, at most `total` bytes on each; returns the bytes sent.

    Ends after BLAST_SECONDS, or when no socket has taken anything for STALL_SECONDS.
    """
    left = dict.fromkeys(sockets, total)
    view = memoryview(chunk)
    offset = dict.fromkeys(sockets, 0)
    sent = 0
    give_up = time.monotonic() + BLAST_SECONDS
    while left and time.monotonic() < give_up:
        writable = select.select((), left, (), STALL_SECONDS)[1]
        if not writable:
            break
        for sock in writable:
            end = len(view)
            rest = left[sock]
            if rest is not None:
                end = min(end, offset[sock] + rest)
            try:
                count = sock.send(view[offset[sock] : end], socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError:
                del left[sock]
                continue
            sent += count
            offset[sock] = (offset[sock] + count) % len(view)
            if rest is not None:
                left[sock] = rest - count
                if rest == count:
                    del left[sock]
    return sent


def send(sock: socket.socket, data: bytes) -> None:
    """Send all of `data`, or as much as the server takes before it ends the connection."""
    with contextlib.suppress(ConnectionError):
        sock.sendall(data)


def received(sock: socket.socket, size: int | None = None) -> bytes:
    """What the server sends: `size` bytes, or everything up to its end of the connection."""
    pieces = []
    missing = size
    try:
        while missing is None or missing > 0:
            piece = sock.recv(1 << 18 if missing is None else missing)
            if not piece:
                break
            pieces.append(piece)
            if missing is not None:
                missing -= len(piece)
    except ConnectionError:
        pass
    except TimeoutError:
        raise Missed(f"neither answer nor end within {PATIENCE:.0f} s") from None
    return b"".join(pieces)


def expect_status(sock: socket.socket, *statuses: int) -> None:
    """The server answers with one of these and closes."""
    answer = received(sock)
    if not any(answer.startswith(b"HTTP/1.1 %d " % status) for status in statuses):
        raise Missed(f"answered {answer[:40]!r}")


def expect_close(sock: socket.socket, code: int) -> None:
    """The last frame before the server's end of the connection is a Close with this code."""
    sock.settimeout(PATIENCE)
    answer = received(sock)
    place = answer.rfind(struct.pack("!H", code))
    if place < 2 or answer[place - 2] != FIN | CLOSE or answer[place - 1] != len(answer) - place:
        raise Missed(f"no Close {code}: {answer[-40:]!r}")


# ------------------------------------------------------------------------------------------------- WebSocket, flow


def slow_reader(attacker: Attacker) -> Iterator[None]:
    """The application offers 256 MiB to a client that reads nothing."""
    for _ in range(10):
        attacker.websocket(b"/offer")
    yield


def slow_reader_http(attacker: Attacker) -> Iterator[None]:
    """The same as a response."""
    for _ in range(10):
        send(attacker.connect(), b"GET /offer HTTP/1.1\r\nHost: hostile\r\n\r\n")
    yield


def slow_app(attacker: Attacker) -> Iterator[None]:
    """Messages of two bytes, as fast as they go, to an application that takes none."""
    sockets = [attacker.websocket(b"/slow") for _ in range(10)]
    blast(sockets, frame(FIN | BINARY, b"ab") * 8000)
    yield


def slow_app_deflate(attacker: Attacker) -> Iterator[None]:
    """Compressed messages of 1,000 bytes, ten on the wire, to the same."""
    sockets = [attacker.websocket(b"/slow", DEFLATE) for _ in range(10)]
    blast(sockets, frame(FIN | RSV1 | BINARY, deflated(bytes(1000))) * 4000)
    yield


def slow_app_bombs(attacker: Attacker) -> Iterator[None]:
    """Compressed messages of 15 MiB each, four in what is read at once, to the same."""
    sockets = [attacker.websocket(b"/slow", DEFLATE) for _ in range(4)]
    blast(sockets, frame(FIN | RSV1 | BINARY, deflated(bytes(1 << 20), 15)) * 8, 256 << 10)  # of 256 MiB
    yield


def echoed_bombs(attacker: Attacker) -> Iterator[None]:
    """Compressed messages of 1 MiB, 1 KiB on the wire, to an application that answers each; nothing is read."""
    sockets = [attacker.websocket(b"/", DEFLATE) for _ in range(4)]
    blast(sockets, frame(FIN | RSV1 | BINARY, deflated(bytes(1 << 20))) * 64, 128 << 10)  # of 128 MiB
    yield


def early_data(attacker: Attacker) -> Iterator[None]:
    """Frames behind a handshake that the application does not decide."""
    sockets = [attacker.connect() for _ in range(10)]
    for sock in sockets:
        send(sock, SETUP_REQUEST % (b"/undecided", b""))
    blast(sockets, frame(FIN | BINARY, bytes(65536)) * 4)
    yield


# ---------------------------------------------------------------------------------------------- WebSocket, frames


def unread_pongs(attacker: Attacker) -> Iterator[None]:
    """Pings as fast as they go; their pongs are not read."""
    blast([attacker.websocket() for _ in range(10)], frame(FIN | PING, bytes(125)) * 500)
    yield


def read_pongs(attacker: Attacker) -> Iterator[None]:
    """Pings as fast as they go, and their pongs are read."""
    sock = attacker.websocket()
    chunk = frame(FIN | PING) * 1000
    give_up = time.monotonic() + BLAST_SECONDS
    while time.monotonic() < give_up:
        blast([sock], chunk, len(chunk))
        with contextlib.suppress(BlockingIOError):
            sock.recv(1 << 20, socket.MSG_DONTWAIT)
    yield


def fragments(attacker: Attacker) -> Iterator[None]:
    """A message in 200,000 fragments of a byte, which must be echoed."""
    sockets = [attacker.websocket() for _ in range(5)]
    body = frame(CONTINUATION, b"x") * 1000
    for sock in sockets:
        send(sock, frame(BINARY) + body * 200)
    yield
    for sock in sockets:
        send(sock, frame(FIN | CONTINUATION, b"y"))
        if received(sock, 10 + 200_001)[10:] != b"x" * 200_000 + b"y":
            raise Missed("the message was not echoed")


def empty_fragments(attacker: Attacker) -> Iterator[None]:
    """A message in fragments without a byte, which must end in Close 1008."""
    sockets = [attacker.websocket() for _ in range(5)]
    for sock in sockets:
        send(sock, frame(TEXT) + frame(CONTINUATION) * 200_000)
    yield
    for sock in sockets:
        expect_close(sock, 1008)


def bomb(attacker: Attacker) -> Iterator[None]:
    """256 MiB of zeros, deflated to 256 KiB: Close 1009."""
    data = frame(FIN | RSV1 | BINARY, deflated(bytes(1 << 20), 256))
    sockets = [attacker.websocket(fields=DEFLATE) for _ in range(4)]
    for sock in sockets:
        send(sock, data)
    yield
    for sock in sockets:
        expect_close(sock, 1009)


def promised(attacker: Attacker) -> Iterator[None]:
    """The head of a frame of 16 MiB, without its payload."""
    for _ in range(50):
        send(attacker.websocket(), frame(FIN | BINARY, b"x", length=16 * 1024 * 1024))
    yield


def unfinished(attacker: Attacker) -> Iterator[None]:
    """A message of 16 MiB but for its last byte."""
    sockets = [attacker.websocket() for _ in range(3)]
    for sock in sockets:
        send(sock, frame(FIN | BINARY, bytes(16 * 1024 * 1024 - 1), length=16 * 1024 * 1024))
    yield


def too_big(attacker: Attacker) -> Iterator[None]:
    """The head of a frame of 2^62 bytes, with as many as the server takes: Close 1009."""
    sockets = [attacker.websocket() for _ in range(20)]
    for sock in sockets:
        send(sock, frame(FIN | BINARY, bytes(1 << 20), length=1 << 62))
    yield
    for sock in sockets:
        expect_close(sock, 1009)


def long_close(attacker: Attacker) -> Iterator[None]:
    """A Close with a reason of 64 KiB: Close 1002."""
    sockets = [attacker.websocket() for _ in range(20)]
    for sock in sockets:
        send(sock, frame(FIN | CLOSE, struct.pack("!H", 1000) + bytes(65536)))
    yield
    for sock in sockets:
        expect_close(sock, 1002)


def reset(attacker: Attacker) -> Iterator[None]:
    """RST in the middle of a message, 300 times."""
    for _ in range(300):
        sock = attacker.websocket()
        send(sock, frame(FIN | TEXT, b"x" * 1000, length=1 << 20))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    yield


def silent_websockets(attacker: Attacker) -> Iterator[None]:
    """Clients that just stop, with an open WebSocket: no pong, no FIN. Keepalive must cut them."""
    for _ in range(50):
        attacker.websocket()
    yield
    expect_ended(attacker, 4.0)


def stalled_websockets(attacker: Attacker) -> Iterator[None]:
    """Clients that just stop, while the application sends to them. Keepalive must cut them."""
    for _ in range(10):
        attacker.websocket(b"/offer")
    yield
    time.sleep(2.5)  # unread: a client that takes what waits is one that reads
    expect_ended(attacker, 4.0)


def expect_ended(attacker: Attacker, seconds: float) -> None:
    """The server ends all connections by itself."""
    ended = attacker.count_ended(seconds)
    if ended < len(attacker.sockets):
        raise Missed(f"only {ended} of {len(attacker.sockets)} were cut")


# ------------------------------------------------------------------------------------------------------ handshakes


def subprotocols(attacker: Attacker) -> Iterator[None]:
    """As many subprotocols as 56 KiB of header lines hold; accepted, and held open."""
    names = [b"%c%c%c" % each for each in itertools.product(b"abcdefghijklmnopqrstuvwxyz0123456789", repeat=3)]
    lines = []
    for start in range(0, 14_000, 2000):
        lines.append(b"Sec-WebSocket-Protocol: " + b",".join(names[start : start + 2000]) + b"\r\n")
    for _ in range(20):
        request = SETUP_REQUEST % (b"/", b"".join(lines))
        sock = attacker.connect()
        send(sock, request)
        if not sock.recv(16).startswith((b"HTTP/1.1 101", b"HTTP/1.1 4")):
            raise Missed("no answer to the handshake")
    yield


def offers(attacker: Attacker) -> Iterator[None]:
    """Offers of extensions, 56 KiB of them, the last one right."""
    line = b"Sec-WebSocket-Extensions: " + b", ".join([b"permessage-deflate;x=1"] * 330) + b"\r\n"
    quoted = b'Sec-WebSocket-Extensions: permessage-deflate; x="' + b"\\a" * 4000 + b"\r\n"
    for _ in range(20):
        attacker.websocket(fields=line * 6 + DEFLATE)
        attacker.websocket(fields=quoted * 6 + DEFLATE)
    yield


def connection_options(attacker: Attacker) -> Iterator[None]:
    """Requests whose Connection names as many options as fit into 56 KiB, on connections that are kept alive."""
    names = b",".join(b"%c%c" % each for each in itertools.product(b"abcdefghijklmnopqrstuvwxyz0123456789", repeat=2))
    line = b"Connection: " + (names + b",") * 2 + b"\r\n"
    for _ in range(20):
        sock = attacker.connect()
        send(sock, b"GET / HTTP/1.1\r\nHost: hostile\r\n" + line * 7 + b"\r\n")
        if not received(sock, 16).startswith(b"HTTP/1.1 "):
            raise Missed("no answer")
    yield


def churn(attacker: Attacker) -> Iterator[None]:
    """Connections that come and go: 1,000 without a byte, 300 with a WebSocket that is dropped."""
    for _ in range(1000):
        attacker.connect().close()
    for _ in range(300):
        attacker.websocket().close()
    attacker.sockets.clear()
    yield


# ------------------------------------------------------------------------------------------------------------ HTTP


def long_header(attacker: Attacker) -> Iterator[None]:
    """A header line of 8 MiB: 431."""
    sockets = [attacker.connect() for _ in range(10)]
    for sock in sockets:
        send(sock, b"GET / HTTP/1.1\r\nHost: hostile\r\nX: " + b"x" * (8 << 20) + b"\r\n\r\n")
    yield
    for sock in sockets:
        expect_status(sock, 431)


def many_headers(attacker: Attacker) -> Iterator[None]:
    """A million header lines: 431."""
    sockets = [attacker.connect() for _ in range(10)]
    for sock in sockets:
        send(sock, b"GET / HTTP/1.1\r\nHost: hostile\r\n" + b"X: x\r\n" * 1_000_000 + b"\r\n")
    yield
    for sock in sockets:
        expect_status(sock, 431)


def long_url(attacker: Attacker) -> Iterator[None]:
    """A URL of 8 MiB: 414."""
    sockets = [attacker.connect() for _ in range(10)]
    for sock in sockets:
        send(sock, b"GET /" + b"x" * (8 << 20) + b" HTTP/1.1\r\nHost: hostile\r\n\r\n")
    yield
    for sock in sockets:
        expect_status(sock, 414)


def chunked(attacker: Attacker, path: bytes = b"/upload") -> socket.socket:
    """A connection in the middle of a chunked request body."""
    sock = attacker.connect()
    send(sock, b"POST %b HTTP/1.1\r\nHost: hostile\r\nTransfer-Encoding: chunked\r\n\r\n" % path)
    return sock


def long_chunk_extension(attacker: Attacker) -> Iterator[None]:
    """A chunk extension of 8 MiB: 431."""
    sockets = [chunked(attacker) for _ in range(10)]
    for sock in sockets:
        send(sock, b"1;" + b"x" * (8 << 20) + b"\r\nx\r\n0\r\n\r\n")
    yield
    for sock in sockets:
        expect_status(sock, 400, 431)


def long_trailers(attacker: Attacker) -> Iterator[None]:
    """Trailers of 8 MiB: 431."""
    sockets = [chunked(attacker) for _ in range(10)]
    for sock in sockets:
        send(sock, b"1\r\nx\r\n0\r\n" + b"X: x\r\n" * (8 << 17) + b"\r\n")
    yield
    for sock in sockets:
        expect_status(sock, 400, 431)


def tiny_chunks(attacker: Attacker) -> Iterator[None]:
    """A body in chunks of two bytes, as fast as they go, to an application that does not read it."""
    blast([chunked(attacker, b"/slow") for _ in range(10)], b"2\r\nab\r\n" * 8000)
    yield


def unread_body(attacker: Attacker) -> Iterator[None]:
    """A body of 256 MiB to an application that does not read it."""
    sockets = [attacker.connect() for _ in range(10)]
    for sock in sockets:
        send(sock, b"POST /slow HTTP/1.1\r\nHost: hostile\r\nContent-Length: 268435456\r\n\r\n")
    blast(sockets, bytes(1 << 18))
    yield


def pipelined(attacker: Attacker) -> Iterator[None]:
    """20,000 requests at once; their answers are not read, then are and must be 20,000."""
    sockets = [attacker.connect() for _ in range(4)]
    request = b"GET / HTTP/1.1\r\nHost: hostile\r\n\r\n"
    blast(sockets, request * 20_000, 20_000 * len(request))
    yield
    sock = attacker.connect()
    sock.setblocking(False)
    data = memoryview(request * 19_999 + b"GET / HTTP/1.1\r\nHost: hostile\r\nConnection: close\r\n\r\n")
    answers = 0
    tail = b""
    give_up = time.monotonic() + 20.0
    while time.monotonic() < give_up:
        readable, writable, _ = select.select((sock,), (sock,) if data else (), (), 1.0)
        if writable:
            data = data[sock.send(data) :]
        if readable:
            piece = sock.recv(1 << 18)
            if not piece:
                break
            answers += (tail + piece).count(b"HTTP/1.1 200 ")
            tail = piece[-12:]
    if answers != 20_000:
        raise Missed(f"{answers:,} answers to 20,000 requests")


def continues(attacker: Attacker) -> Iterator[None]:
    """Requests that expect 100 Continue, pipelined; nothing is read."""
    sockets = [attacker.connect() for _ in range(5)]
    request = b"POST /upload HTTP/1.1\r\nHost: hostile\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx"
    blast(sockets, request * 500)
    yield


def bad_requests(attacker: Attacker) -> Iterator[None]:
    """600 requests that are not HTTP, each on a connection of its own, as fast as they go: the log must not flood."""
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    requests = (b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\nHost: hostile\r\n" + key + b"\r\n")
    give_up = time.monotonic() + 2 * BLAST_SECONDS
    for request in itertools.islice(itertools.cycle(requests), 600):
        sock = attacker.connect()
        send(sock, request)
        received(sock, 1)
        sock.close()
        if time.monotonic() > give_up:
            break
    attacker.sockets.clear()
    yield


def trickle(attacker: Attacker, head: bytes, byte: bytes, count: int) -> Iterator[None]:
    """Send `head` on `count` connections, then a byte each tenth of a second, through the time that is measured."""
    sockets = [attacker.connect() for _ in range(count)]
    for sock in sockets:
        send(sock, head)

    def drip() -> None:
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.send(byte, socket.MSG_DONTWAIT)

    for _ in range(10):
        drip()
        time.sleep(0.1)
    yield
    for _ in range(15):
        drip()
        time.sleep(0.1)


def trickled_header(attacker: Attacker) -> Iterator[None]:
    """Slowloris: a header that comes byte by byte. The deadline of the head must cut it."""
    yield from trickle(attacker, b"GET / HTTP/1.1\r\nHost: hostile\r\nX: ", b"x", 100)
    expect_ended(attacker, 2.0)


def trickled_body(attacker: Attacker) -> Iterator[None]:
    """A body that comes byte by byte."""
    yield from trickle(attacker, b"POST /upload HTTP/1.1\r\nHost: hostile\r\nContent-Length: 9999\r\n\r\n", b"x", 50)


def silent(attacker: Attacker) -> Iterator[None]:
    """Connections on which nothing is ever sent. The deadline of the head must cut them."""
    for _ in range(200):
        attacker.connect()
    yield
    expect_ended(attacker, 5.0)


def silent_tls(attacker: Attacker) -> Iterator[None]:
    """TLS handshakes that never end: half of them never begin, half stop in the ClientHello."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    for n in range(100):
        sock = attacker.connect()
        if n % 2:
            send(sock, hello[:-1])
    yield
    expect_ended(attacker, 5.0)


def descriptors(attacker: Attacker) -> Iterator[None]:
    """More connections than the server may have descriptors (ulimit -n 64)."""
    for _ in range(200):
        with contextlib.suppress(ConnectionError):
            attacker.connect()
    yield


@dataclass(frozen=True)
class Attack:
    """An attack, the settings of the server that it needs, and what the documentation grants it."""

    run: Callable[[Attacker], Iterator[None]]
    connections: int
    """How many connections share the memory that is held."""
    granted_kib: int = 0
    """KiB a connection that documented limits allow."""
    server: str = "default"
    """Which of the servers in hostile.py it attacks."""
    newcomers: bool = True
    """Whether new connections of others must be served meanwhile."""

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return self.run.__name__.replace("_", "-")

    @property
    def title(self) -> str:
        """What it does, in a line."""
        return (self.run.__doc__ or "").splitlines()[0]


ATTACKS = (
    Attack(slow_reader, 10),
    Attack(slow_reader_http, 10),
    Attack(slow_app, 10, 1 * MIB),
    Attack(slow_app_deflate, 10, 1 * MIB),
    Attack(slow_app_bombs, 4, 2 * 16 * MIB),
    Attack(echoed_bombs, 4, 4 * MIB),  # the queue, the message that fills it, the next one, the one in the application
    Attack(early_data, 10),
    Attack(unread_pongs, 10),
    Attack(read_pongs, 1),
    Attack(fragments, 5),
    Attack(empty_fragments, 5),
    Attack(bomb, 4, 2 * 16 * MIB),
    Attack(promised, 50),
    Attack(unfinished, 3, 16 * MIB),
    Attack(too_big, 20),
    Attack(long_close, 20),
    Attack(reset, 300),
    Attack(subprotocols, 20),
    Attack(offers, 40),
    Attack(connection_options, 20),
    Attack(churn, 1300),
    Attack(long_header, 10),
    Attack(many_headers, 10),
    Attack(long_url, 10),
    Attack(long_chunk_extension, 10),
    Attack(long_trailers, 10),
    Attack(tiny_chunks, 10),
    Attack(unread_body, 10),
    Attack(pipelined, 4),
    Attack(continues, 5),
    Attack(bad_requests, 600),
    Attack(trickled_header, 100, server="impatient"),
    Attack(trickled_body, 50, server="impatient"),
    Attack(silent, 200, server="impatient"),
    Attack(silent_websockets, 50, server="impatient"),
    Attack(stalled_websockets, 10, server="impatient"),
    Attack(silent_tls, 100, server="tls"),
    Attack(descriptors, 200, server="narrow", newcomers=False),
    Attack(descriptors, 200, server="narrow-asyncio", newcomers=False),
)
