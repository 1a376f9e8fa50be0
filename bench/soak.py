"""Opens and closes connections in every way, and shows that nothing of them stays: `python bench/soak.py`, `make soak`.

A real server process serves soak_app.py. One client opens connections of all kinds, some at a time and in turn, and
ends them as peers do: politely, by a reset, in the middle of a frame, a handshake, an upload or a download, and by
faults of the application, which also forks children that live among them for a while. Ten times it waits until they are
gone and reads what the server holds: connections, tasks, file descriptors, objects that the garbage collector knows,
and memory. It fails where anything has grown since the second of these samples; those before are to warm up. Linux
only: it reads /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Generator
from pathlib import Path

HERE = Path(__file__).parent
SAMPLES = 10
AT_A_TIME = 40
SOURCES = [f"127.0.0.{number}" for number in range(2, 34)]
"""Addresses of the client: each has its own ports, of which TIME_WAIT keeps some 28,000 for a minute."""
NO_PORT_YET = 24  # IP_BIND_ADDRESS_NO_PORT

BYTES_PER_CONNECTION = 16
"""How much memory may grow for a connection before it is called a leak; noise is a few pages."""
NOISE_KIB = 1024
OBJECTS = 100
"""How many more objects there may be at the end than at the beginning."""

Way = Generator[None, None, None]


class Mismatch(Exception):
    """The server answered something else."""


def handshake(path: str, *fields: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: soak",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *fields,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: soak", *fields]).encode() + b"\r\n\r\n"


def frame(opcode: int, payload: bytes, bits: int = 0x80) -> bytes:
    """A frame of a client, with a mask of zeros; up to 65,535 bytes."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return bytes([bits | opcode]) + length + bytes(4) + payload


def close(code: int = 1000) -> bytes:
    return frame(8, struct.pack("!H", code))


def until(sock: socket.socket, *ends: bytes) -> bytes:
    """What comes, until each of `ends` was in it."""
    data = b""
    while not all(end in data for end in ends):
        more = sock.recv(65536)
        if not more:
            raise Mismatch(f"no {ends!r} in {data!r:.300}")
        data += more
    return data


def rest(sock: socket.socket) -> bytes:
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# ----------------------------------------------------------------------------------------------------------- the ways
#
# Each is a generator that gets a connected socket and yields where others may go on; the socket is closed at its end.


def opened(sock: socket.socket, path: str = "/", *fields: str) -> Way:
    sock.sendall(handshake(path, *fields))
    yield
    until(sock, b" 101 ", b"\r\n\r\n")
    sock.sendall(frame(1, b"hello"))
    yield
    if path == "/":
        until(sock, b"\x81\x05hello")


def closed_by_client(sock: socket.socket) -> Way:
    yield from opened(sock)
    sock.sendall(close())
    yield
    if rest(sock) != b"\x88\x02\x03\xe8":
        raise Mismatch("the Close was not echoed")


def closed_by_server(sock: socket.socket) -> Way:
    sock.sendall(handshake("/close"))
    yield
    until(sock, b"\x88\x08\x0f\xa0enough")
    sock.sendall(close(4000))
    yield
    rest(sock)


def closed_by_return(sock: socket.socket) -> Way:
    sock.sendall(handshake("/return"))
    yield
    until(sock, b"\x88\x02\x03\xe8")
    sock.sendall(close())
    yield
    rest(sock)


def close_of_server_ignored(sock: socket.socket) -> Way:
    sock.sendall(handshake("/close"))
    yield
    until(sock, b"enough")


def reset_after_message(sock: socket.socket) -> Way:
    yield from opened(sock)
    reset(sock)


def lost_without_close(sock: socket.socket) -> Way:
    yield from opened(sock)


def half_closed(sock: socket.socket) -> Way:
    yield from opened(sock)
    sock.shutdown(socket.SHUT_WR)
    yield
    rest(sock)


def closed_and_half_closed(sock: socket.socket) -> Way:
    yield from opened(sock)
    sock.sendall(frame(1, b"one") + close())
    sock.shutdown(socket.SHUT_WR)
    yield
    rest(sock)


def lost_in_a_frame(sock: socket.socket) -> Way:
    yield from opened(sock)
    sock.sendall(frame(2, bytes(60_000))[:30_000])
    yield


def lost_in_a_message(sock: socket.socket) -> Way:
    yield from opened(sock)
    sock.sendall(frame(2, bytes(1000), bits=0))
    yield
    reset(sock)


def breach(sock: socket.socket) -> Way:
    yield from opened(sock)
    sock.sendall(b"\xff\xff")
    yield
    if rest(sock)[2:4] != b"\x03\xea":
        raise Mismatch("no 1002")


def compressed(sock: socket.socket) -> Way:
    sock.sendall(handshake("/", "Sec-WebSocket-Extensions: permessage-deflate"))
    yield
    until(sock, b" 101 ", b"permessage-deflate", b"\r\n\r\n")
    deflate = zlib.compressobj(wbits=-15)
    message = deflate.compress(b"to be compressed " * 100) + deflate.flush(zlib.Z_SYNC_FLUSH)
    sock.sendall(frame(1, message[:-4], bits=0xC0))
    yield
    sock.recv(65536)
    sock.sendall(close())
    yield
    rest(sock)


def lost_in_a_handshake(sock: socket.socket) -> Way:
    sock.sendall(handshake("/")[:60])
    yield


def reset_in_a_handshake(sock: socket.socket) -> Way:
    sock.sendall(handshake("/")[:60])
    yield
    reset(sock)


def lost_before_the_accept(sock: socket.socket) -> Way:
    sock.sendall(handshake("/hang") + frame(1, b"early"))
    yield


def nothing_sent(sock: socket.socket) -> Way:
    yield


def answered(request: bytes, *ends: bytes) -> Callable[[socket.socket], Way]:
    """A request, or handshake, whose answer ends the connection."""

    def way(sock: socket.socket) -> Way:
        sock.sendall(request)
        yield
        data = rest(sock)
        if not all(end in data for end in ends):
            raise Mismatch(f"no {ends!r} in {data!r:.300}")

    return way


def fault_after_accept(sock: socket.socket) -> Way:
    yield from opened(sock, "/fault")
    until(sock, b"\x03\xf3")
    sock.sendall(close(1011))
    yield
    rest(sock)


def task_left_behind(sock: socket.socket) -> Way:
    yield from opened(sock, "/left")
    until(sock, b"\x88\x02\x03\xe8")
    sock.sendall(close())
    yield
    rest(sock)


def keep_alive(sock: socket.socket) -> Way:
    for _ in range(3):
        sock.sendall(get("/"))
        yield
        until(sock, b" 200 ", b"Hello, world!")


def pipelined(sock: socket.socket) -> Way:
    sock.sendall(get("/") * 4 + get("/", "Connection: close"))
    yield
    if rest(sock).count(b"Hello, world!") != 5:
        raise Mismatch("not all pipelined requests were answered")


def pipelined_and_lost(sock: socket.socket) -> Way:
    sock.sendall(get("/") * 20)
    yield
    reset(sock)


def upload(sock: socket.socket) -> Way:
    sock.sendall(b"POST / HTTP/1.1\r\nHost: soak\r\nContent-Length: 30000\r\n\r\n" + bytes(30_000))
    yield
    until(sock, b"Hello, world!")


def upload_aborted(sock: socket.socket) -> Way:
    sock.sendall(b"POST / HTTP/1.1\r\nHost: soak\r\nContent-Length: 30000\r\n\r\n" + bytes(20_000))
    yield


def upload_reset(sock: socket.socket) -> Way:
    sock.sendall(b"POST / HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n2")
    yield
    reset(sock)


def upload_half_closed(sock: socket.socket) -> Way:
    sock.sendall(b"POST / HTTP/1.1\r\nHost: soak\r\nContent-Length: 30000\r\n\r\n" + bytes(20_000))
    sock.shutdown(socket.SHUT_WR)
    yield
    if b" 400 " not in rest(sock):
        raise Mismatch("no 400")


def download_aborted(sock: socket.socket) -> Way:
    sock.sendall(get("/large"))
    yield
    until(sock, b" 200 ")


def download_reset(sock: socket.socket) -> Way:
    sock.sendall(get("/large"))
    yield
    sock.recv(1000)
    reset(sock)


WAYS: dict[str, Callable[[socket.socket], Way]] = {
    "WebSocket closed by the client": closed_by_client,
    "closed by the server": closed_by_server,
    "closed by the application's return": closed_by_return,
    "closed by the server, unanswered": close_of_server_ignored,
    "reset": reset_after_message,
    "lost without a Close": lost_without_close,
    "half-closed": half_closed,
    "closed and half-closed": closed_and_half_closed,
    "lost in a frame": lost_in_a_frame,
    "lost in a message": lost_in_a_message,
    "breach of the protocol": breach,
    "compressed": compressed,
    "handshake lost": lost_in_a_handshake,
    "handshake reset": reset_in_a_handshake,
    "lost before the accept": lost_before_the_accept,
    "nothing sent": nothing_sent,
    "denied": answered(handshake("/deny"), b" 403 "),
    "denied with a response": answered(handshake("/denial"), b" 401 ", b"never"),
    "bad handshake": answered(handshake("/").replace(b": 13", b": 12"), b" 426 "),
    "fault before the accept": answered(handshake("/raise"), b" 500 "),
    "exit before the accept": answered(handshake("/exit"), b" 500 "),
    "cancelled before the accept": answered(handshake("/cancel"), b" 500 "),
    "fault after the accept": fault_after_accept,
    "task left behind": task_left_behind,
    "HTTP, keep-alive": keep_alive,
    "HTTP, close": answered(get("/", "Connection: close"), b" 200 ", b"Hello"),
    "pipelined": pipelined,
    "pipelined and reset": pipelined_and_lost,
    "upload": upload,
    "upload aborted": upload_aborted,
    "upload reset": upload_reset,
    "upload half-closed": upload_half_closed,
    "download aborted": download_aborted,
    "download reset": download_reset,
    "fault in a request": answered(get("/raise"), b" 500 "),
    "exit in a request": answered(get("/exit"), b" 500 "),
    "cancelled in a request": answered(get("/cancel"), b" 500 "),
    "a child forked meanwhile": answered(get("/fork", "Connection: close"), b" 200 ", b"Hello, world!"),
    "bad request": answered(b"GET / HTTP/1.1\r\n\r\n", b" 400 "),
}


# ----------------------------------------------------------------------------------------------------------- the server


class Server:
    """The server's process."""

    def __init__(self, options: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastws", "soak_app:app", "--port", "0", "--no-access-log", *options],
            cwd=HERE / "servers",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = 0

    def wait_until_it_listens(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            raise SystemExit("the server did not start")

    def state(self) -> dict[str, int]:
        """What the server holds; connections that are about to end get some time."""
        deadline = time.monotonic() + 20
        while True:
            with contextlib.closing(socket.create_connection(("127.0.0.1", self.port), 10)) as sock:
                sock.sendall(get("/state", "Connection: close"))
                held: dict[str, int] = json.loads(rest(sock).partition(b"\r\n\r\n")[2])
            if not (held["connections"] or held["calls"]) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        for name, field in (("memory", "RssAnon"), ("threads", "Threads")):
            found = re.search(rf"^{field}:\s+(\d+)", status, re.MULTILINE)
            assert found is not None
            held[name] = int(found[1])
        return held


def connected(port: int, source: str) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(30)
    sock.setsockopt(socket.IPPROTO_IP, NO_PORT_YET, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind((source, 0))
    sock.connect(("127.0.0.1", port))
    return sock


def wear_out(port: int, count: int, dice: random.Random) -> None:
    """Open and end `count` connections, AT_A_TIME of them at a time."""
    names = itertools.cycle(dice.sample(list(WAYS), len(WAYS)))
    sources = itertools.cycle(SOURCES)
    running: list[tuple[str, socket.socket, Way]] = []
    left = count
    while left or running:
        while left and len(running) < AT_A_TIME:
            left -= 1
            name = next(names)
            sock = connected(port, next(sources))
            running.append((name, sock, WAYS[name](sock)))
        index = dice.randrange(len(running))
        name, sock, way = running[index]
        try:
            next(way)
        except StopIteration:
            sock.close()
            running[index] = running[-1]
            running.pop()
        except (Mismatch, OSError) as error:
            raise SystemExit(f"{name}: {type(error).__name__}: {error}") from error


COLUMNS = ("connections", "calls", "tasks", "threads", "descriptors", "objects", "memory")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--engine", default="auto", help="--ws of the server")
    parser.add_argument("--loop", default="auto", choices=("auto", "uvloop", "asyncio"))
    parser.add_argument("--seed", type=int, default=1, help="of the order")
    given = parser.parse_args()
    dice = random.Random(given.seed)
    server = Server(["--ws", given.engine, "--loop", given.loop, "--ws-close-timeout", "1"])
    began = time.monotonic()
    samples: list[dict[str, int]] = []
    try:
        server.wait_until_it_listens()
        drain = subprocess.Popen(["cat"], stdin=server.process.stderr, stdout=subprocess.DEVNULL)
        print(f"{given.connections} connections in {len(WAYS)} ways, {AT_A_TIME} at a time; memory in KiB")
        print(f"{'opened':>9} {'seconds':>8}  " + " ".join(f"{name:>11}" for name in COLUMNS))
        for number in range(SAMPLES + 1):
            if number:
                wear_out(server.port, given.connections // SAMPLES, dice)
            held = server.state()
            samples.append(held)
            row = " ".join(f"{held[name]:11}" for name in COLUMNS)
            print(f"{number * given.connections // SAMPLES:9} {time.monotonic() - began:8.1f}  {row}", flush=True)
    finally:
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(60)
    drain.wait(10)
    problems = grown(samples, given.connections)
    if status:
        problems.append(f"the server ended with status {status}")
    print("\n".join(problems) if problems else "nothing has grown")
    return 1 if problems else 0


def grown(samples: list[dict[str, int]], connections: int) -> list[str]:
    """What is more at the end than it was when the server was warm."""
    warm, last = samples[2], samples[-1]
    problems = [f"{name}: {last[name]} are left" for name in ("connections", "calls") if last[name]]
    for name, slack in (("tasks", 0), ("threads", 0), ("descriptors", 0), ("objects", OBJECTS)):
        if last[name] > warm[name] + slack:
            problems.append(f"{name}: {last[name]} at the end, {warm[name]} in the beginning")
    allowed = NOISE_KIB + connections * BYTES_PER_CONNECTION // 1024
    if last["memory"] > warm["memory"] + allowed:
        problems.append(f"memory: {last['memory'] - warm['memory']} KiB more than in the beginning, {allowed} allowed")
    return problems


if __name__ == "__main__":
    sys.exit(main())
