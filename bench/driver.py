"""Work for a whole server but its sockets: scenarios, and what gives them to real connections on a fake transport.

Everything is real from `Connection` up: session, engine, application, event loop. The transport only counts what is
written, and rounds are in step: the next one begins when all of the last one was answered. So what is counted of a
round is the same each time. The client's side of a scenario, as bytes, also serves system_calls.py, on real sockets.

As a program (`python bench/driver.py SCENARIO ...`, in a process of its own, for instructions.py and counts.py) it
prints a line of JSON for each scenario: the answers' sizes, what was written, and what was allocated. Under `valgrind
--tool=callgrind` it makes one output file for each, in their order. Nothing here measures time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import itertools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import deflated, json_payload

HERE = Path(__file__).parent
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: fastws-load\r\nAccept: */*\r\n\r\n"
BROWSER_FIELDS = (
    b"Host: 127.0.0.1:8000\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n"
    b"Cookie: session=5f1d7e8b9c0a4d2e8f3b6a7c9d0e1f2a; theme=dark\r\nX-Request-ID: "
)
"""What a browser sends behind a proxy that numbers requests: eight fields, of which the last never repeats."""
SETTLED_TURNS = 20
"""Turns of the loop without a write after which a round is taken to be answered, where its answer is learned."""
STEADY_ROUNDS = 3
"""Rounds in a row with answers of one size, which is then what they keep: HTTP/2 sends what is new, such as the next
second's Date, once."""


def upgrade(path: bytes = b"/", extensions: bytes = b"") -> bytes:
    """A client's handshake (RFC 6455 section 4.1)."""
    offer = b"sec-websocket-extensions: " + extensions + b"\r\n" if extensions else b""
    return (
        b"GET " + path + b" HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: " + KEY + b"\r\n" + offer + b"\r\n"
    )


def frame(payload: bytes, opcode: int, first: int = 0x80) -> bytes:
    """One masked client frame (RFC 6455 section 5.2), with FIN set."""
    mask = b"\x12\x34\x56\x78"
    length = len(payload)
    if length < 126:
        head = bytes((first | opcode, 0x80 | length))
    elif length < 65536:
        head = bytes((first | opcode, 0xFE)) + length.to_bytes(2, "big")
    else:
        head = bytes((first | opcode, 0xFF)) + length.to_bytes(8, "big")
    repeated = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ repeated).to_bytes(length, "big")


def browser_get(number: int) -> bytes:
    """A request whose head is another one for each `number`."""
    return b"GET / HTTP/1.1\r\n%b%032x\r\n\r\n" % (BROWSER_FIELDS, number)


def browser_post(number: int) -> bytes:
    """The same with 1 KiB of JSON."""
    form = b"POST /echo HTTP/1.1\r\n%b%032x\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n%b"
    return form % (BROWSER_FIELDS, number, JSON)


JSON = json_payload(1)[:1022].ljust(1024)
"""1 KiB, which nobody parses."""


Step = bytes | Callable[[int], bytes]
"""What a client sends, or what it sends in a round of that number, from 0 on."""


def step_bytes(step: Step, number: int) -> bytes:
    """The bytes of a step in the round `number`."""
    return step if isinstance(step, bytes) else step(number)


def http2_frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A frame (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def http2_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Kind and payload of the frames that `data` begins with, and what of it is no whole frame."""
    frames = []
    while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
        frames.append((data[3], data[9:end]))
        data = data[end:]
    return frames, data


def http2_field(name: bytes, value: bytes, index: int = 0) -> bytes:
    """A field that enters the table (RFC 7541 section 6.2.1), whose name may have an `index`."""
    head = bytes((0x40 | index,)) if index else b"\x40" + bytes((len(name),)) + name
    return head + bytes((len(value),)) + value


def http2_requests(number: int) -> bytes:
    """Requests on 16 streams; what they ask for is in the table, as from the second request of any client on."""
    block = b"\x82\x86\x84\xc0\xbf\xbe"
    return b"".join(http2_frame(1, 5, 32 * number + 2 * each + 3, block) for each in range(16))


@dataclass(frozen=True)
class Scenario:
    """One kind of work, in rounds.

    In a round the first of `connections` open connections sends `steps`, each when the one before was answered, and
    `units` things of the kind `unit` are then done. With `reconnect`, each round has a connection of its own that
    begins and ends with it. `wire` is "sockets" or "tls" where it is done on real sockets (wired.py), by the compiled
    modules alone, with one step a round.
    """

    title: str
    rounds: int
    steps: tuple[Step, ...]
    units: int = 1
    unit: str = "message"
    request: bytes = upgrade()
    connections: int = 1
    reconnect: bool = False
    wire: str = ""


_OFFER = b"permessage-deflate; client_max_window_bits"
_DEFLATED = b"".join(frame(deflated(json_payload(number)), 1, 0xC0) for number in range(8))

# Windows that are never used up; and what a first request has put into the table.
HTTP2_BEGIN = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + http2_frame(4, 0, 0, b"\x00\x04\x7f\xff\xff\xff")
    + http2_frame(8, 0, 0, (0x7FFF0000).to_bytes(4, "big"))
    + http2_frame(4, 1, 0, b"")
)
_FIELDS = (
    http2_field(b":authority", b"127.0.0.1:8000", 1)
    + http2_field(b"user-agent", b"fastws-load", 58)
    + http2_field(b"accept", b"*/*", 19)
)
HTTP2 = HTTP2_BEGIN + http2_frame(1, 5, 1, b"\x82\x86\x84" + _FIELDS)
HTTP2_CONNECT = HTTP2_BEGIN + http2_frame(
    1,
    4,
    1,
    b"\x42\x07CONNECT\x40\x09:protocol\x09websocket\x86\x84" + _FIELDS + b"\x40\x15sec-websocket-version\x0213",
)


def _in_stream(count: int) -> bytes:
    return http2_frame(0, 0, 1, frame(b"a" * 64, 1) * count)


SCENARIOS = {
    "64x1": Scenario("echo of 64 B, one a read", 1500, (frame(b"a" * 64, 1),)),
    "64x16": Scenario("echo of 64 B, 16 a read", 200, (frame(b"a" * 64, 1) * 16,), 16),
    "1kx8": Scenario("echo of 1 KiB, 8 a read", 300, (frame(b"a" * 1024, 1) * 8,), 8),
    "64k": Scenario("echo of 64 KiB, binary", 300, (frame(b"a" * 65536, 2),)),
    "deflate": Scenario("echo of 1 KiB, deflated, 8 a read", 25, (_DEFLATED,), 8, request=upgrade(b"/", _OFFER)),
    "broadcast": Scenario(
        "64 B to 100 connections", 40, (frame(b"a" * 64, 1),), 100, "delivery", upgrade(b"/fanout"), 100
    ),
    "topics": Scenario(
        "64 B published to 100 connections", 100, (frame(b"a" * 64, 1),), 100, "delivery", upgrade(b"/topics"), 100
    ),
    "http": Scenario("HTTP hello world, the same head each time", 500, (GET,), 1, "request", GET),
    "http-unique": Scenario(
        "HTTP hello world, another head each time", 500, (browser_get,), 1, "request", browser_get(0)
    ),
    "http-post": Scenario("1 KiB of JSON posted and echoed", 500, (browser_post,), 1, "request", browser_post(0)),
    "http2": Scenario("HTTP/2, hello world on 16 streams a read", 60, (http2_requests,), 16, "request", HTTP2),
    "http2-64x1": Scenario("echo of 64 B over HTTP/2, one a read", 1000, (_in_stream(1),), 1, "message", HTTP2_CONNECT),
    "http2-64x16": Scenario(
        "echo of 64 B over HTTP/2, 16 a read", 200, (_in_stream(16),), 16, "message", HTTP2_CONNECT
    ),
    "connection": Scenario(
        "handshake, echo of 64 B, close",
        150,
        (upgrade(), frame(b"a" * 64, 1), frame(b"\x03\xe8", 8)),
        1,
        "connection",
        reconnect=True,
    ),
    "sockets": Scenario("echo of 64 B, one a read, on sockets", 1500, (frame(b"a" * 64, 1),), wire="sockets"),
    "tls": Scenario("echo of 64 B, one a read, over TLS", 1000, (frame(b"a" * 64, 1),), wire="tls"),
    "tls-64x16": Scenario("echo of 64 B, 16 a read, over TLS", 200, (frame(b"a" * 64, 1) * 16,), 16, wire="tls"),
}


NO_EDITABLE = """import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
"""
"""A sitecustomize: an editable install would lend its compiled modules to a package that has none."""


@dataclass(frozen=True)
class Configuration:
    """What a scenario is run on: an engine, with fastws compiled or interpreted around it."""

    name: str
    engine: str
    interpreted: bool = False

    def scenarios(self, names: Sequence[str]) -> list[str]:
        """Those of the named scenarios that it has."""
        return [name for name in names if self.name == "cython" or not SCENARIOS[name].wire]

    @contextlib.contextmanager
    def source(self) -> Iterator[Path | None]:
        """The folder for PYTHONPATH to import fastws from, where that is not what this Python imports anyway."""
        if not self.interpreted:
            yield None
            return
        with tempfile.TemporaryDirectory() as folder:
            package = HERE.parent / "fastws"
            for path in package.rglob("*.py"):
                copy = Path(folder) / "fastws" / path.relative_to(package)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
            Path(folder, "sitecustomize.py").write_text(NO_EDITABLE)
            yield Path(folder)


CONFIGURATIONS = {
    each.name: each
    for each in (
        Configuration("cython", "cython"),
        Configuration("websockets", "websockets"),
        Configuration("interpreted", "websockets", interpreted=True),
    )
}


class Output:
    """What all transports of a driver have written."""

    __slots__ = ("size", "writes")

    def __init__(self) -> None:
        self.size = 0
        self.writes = 0


class Transport(asyncio.Transport):
    """A transport whose peer takes everything at once."""

    def __init__(self, protocol: Any, output: Output) -> None:
        super().__init__({"peername": ("127.0.0.2", 40000), "sockname": ("127.0.0.1", 8000)})
        self.protocol = protocol
        self.output = output
        self.closing = False
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        output = self.output
        output.size += len(data)
        output.writes += 1

    def writelines(self, list_of_data: Any) -> None:
        output = self.output
        for data in list_of_data:
            output.size += len(data)
        output.writes += 1

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close


def feed(protocol: Any, data: bytes) -> None:
    """Give the protocol these bytes as a loop does: through its own buffer."""
    while data:
        buffer = protocol.get_buffer(-1)
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


class Driver:
    """Gives one scenario to the connections of a `LoopState`."""

    def __init__(self, scenario: Scenario, state: Any) -> None:
        self.scenario = scenario
        self.state = state
        self.answers: list[int] = []  # bytes written for each step
        self.transports: list[Transport] = []
        self.output = Output()
        self.rounds = 0

    def connect(self) -> Transport:
        """A new connection."""
        return Transport(self.state.new_connection(), self.output)

    async def settle(self) -> int:
        """Bytes written until nothing more is."""
        before = last = self.output.size
        quiet = 0
        while quiet < SETTLED_TURNS:
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.output.size == last else 0
            last = self.output.size
        return last - before

    async def prepare(self) -> None:
        """Open the connections and learn how much each step is answered with."""
        if not self.scenario.reconnect:
            for _ in range(self.scenario.connections):
                transport = self.connect()
                self.transports.append(transport)
                feed(transport.protocol, self.scenario.request)
                await self.settle()
            transport = self.transports[0]
        else:
            transport = self.connect()
        alike = 0
        while alike < (1 if self.scenario.reconnect else STEADY_ROUNDS):
            answers = []
            for step in self.scenario.steps:
                before = self.output.size
                feed(transport.protocol, step_bytes(step, self.rounds))
                await self.settle()
                answers.append(self.output.size - before)
                if not answers[-1]:
                    raise RuntimeError(f"{self.scenario.title}: no answer")
            self.rounds += 1
            alike = alike + 1 if answers == self.answers else 1
            self.answers = answers

    async def run(self, rounds: int) -> None:
        """Do `rounds` rounds. The steps between two turns of the loop are as few as can be: they are counted too."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        call_soon, output = loop.call_soon, self.output
        steps, answers, reconnect = self.scenario.steps, self.answers, self.scenario.reconnect
        transport = self.connect() if reconnect else self.transports[0]
        number = 0
        count = itertools.count(self.rounds)
        self.rounds += rounds
        wanted = output.size

        def turn() -> None:
            nonlocal number, wanted, rounds, transport
            if output.size >= wanted:
                if number == len(steps):
                    number = 0
                    rounds -= 1
                    if not rounds:
                        done.set_result(None)
                        return
                    if reconnect:
                        transport = self.connect()
                wanted = output.size + answers[number]
                step = steps[number]
                data = step if type(step) is bytes else step(next(count))
                number += 1
                protocol = transport.protocol
                buffer = protocol.get_buffer(-1)
                if len(data) <= len(buffer):
                    buffer[: len(data)] = data
                    protocol.buffer_updated(len(data))
                else:
                    feed(protocol, data)
            call_soon(turn)

        turn()
        await done

    def end(self) -> None:
        """Close the connections."""
        for transport in self.transports:
            transport.protocol.connection_lost(None)


def load_counters(folder: Path) -> ctypes.PyDLL:
    """Build counters.c with $CC or cc, where it is newer than the library in `folder`, and load it."""
    library = folder / f"counters{sysconfig.get_config_var('EXT_SUFFIX')}"
    source = HERE / "counters.c"
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        made = library.with_name(f"{library.name}.{os.getpid()}")  # several may do this at once
        command = [os.environ.get("CC", "cc"), "-O1", "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}"]
        subprocess.run([*command, "-o", str(made), str(source)], check=True)
        made.rename(library)
    counters = ctypes.PyDLL(str(library))
    counters.allocations.restype = counters.allocated_bytes.restype = ctypes.c_ulonglong
    return counters


async def drive(names: Sequence[str], engine: str, allocations: bool, scale: float) -> None:
    """Do the scenarios, one after the other, and print what was counted of each."""
    from servers.apps import app
    from wired import WiredDriver

    from fastws.asgi.application import Application
    from fastws.config import Config
    from fastws.net.loop_state import LoopState
    from fastws.topics.hub import Hub
    from fastws.websocket.engines import load_engine

    counters = load_counters(HERE / ".build")
    if allocations:
        counters.count_allocations()
    config = Config(app, access_log=False, ws_deflate_backend="zlib")
    state = LoopState(
        asyncio.get_running_loop(),
        config,
        Application(app, config, state={}),
        load_engine(engine),
        secure=False,
    )
    Hub(state)
    kernel = "none"
    with contextlib.suppress(ImportError):
        from fastws._codec import KERNELS

        kernel = KERNELS[-1]
    print(json.dumps({"kernel": kernel}), flush=True)
    counters.start_instrumentation()
    for name in names:
        scenario = SCENARIOS[name]
        driver = WiredDriver(scenario, state, counters) if scenario.wire else Driver(scenario, state)
        await driver.prepare()
        await driver.run(max(3, scenario.rounds // 10))
        rounds = max(3, round(scenario.rounds * scale))
        gc.collect()
        gc.freeze()
        writes = driver.output.writes
        called, size = counters.allocations(), counters.allocated_bytes()
        counters.zero_stats()
        await driver.run(rounds)
        counters.dump_stats()
        called, size = counters.allocations() - called, counters.allocated_bytes() - size
        units = rounds * scenario.units
        found: dict[str, Any] = {
            "scenario": name,
            "units": units,
            "answers": driver.answers,
            "writes": (driver.output.writes - writes) / units,
        }
        if allocations:
            found |= {"allocations": called / units, "bytes": size / units}
        print(json.dumps(found), flush=True)
        driver.end()
        await asyncio.sleep(0)
    os._exit(0)  # nothing of the end is of interest


def place_types(number: int) -> None:
    """Let the types to come have other places in CPython's cache of methods, for another `number`.

    It finds a method by the address of its name and the number of its type, which counts on with each type that is
    asked; where two that are used meet there, a message costs up to 5 % more.
    """
    for _ in range(number * 61):
        assert type("Placed", (), {}).__doc__ is None


def run_driver(
    configuration: Configuration, names: Sequence[str], *options: str, wrapper: Sequence[str] = (), loop: str = "uvloop"
) -> tuple[str, list[dict[str, Any]]]:
    """Run this file as a program, behind `wrapper`; the kernel it unmasks with, and what it printed of each scenario.

    Its environment is the same wherever it is run, and so are hashes.
    """
    with configuration.source() as source:
        command = [*wrapper, sys.executable, str(HERE / "driver.py"), *names, "--engine", configuration.engine]
        command += ["--loop", loop, *options]
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONMALLOC": "pymalloc"}
        environment |= {} if source is None else {"PYTHONPATH": str(source)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise SystemExit(f"{configuration.name}: {' '.join(command)}\n{done.stderr[-3000:]}")
    first, *found = map(json.loads, done.stdout.splitlines())
    return first["kernel"], found


def main() -> None:
    """The program that the other files start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="+", choices=SCENARIOS)
    parser.add_argument("--engine", default="cython")
    parser.add_argument("--loop", default="uvloop", choices=("uvloop", "asyncio"))
    parser.add_argument("--allocations", action="store_true", help="count allocations")
    parser.add_argument("--scale", type=float, default=1, help="rounds, as a factor of each scenario's own number")
    parser.add_argument("--places", type=int, default=0, help="another number is another luck in the cache of methods")
    arguments = parser.parse_args()
    place_types(arguments.places)
    if arguments.loop == "uvloop":
        from uvloop import run
    else:
        from asyncio import run
    run(drive(arguments.scenarios, arguments.engine, arguments.allocations, arguments.scale))


if __name__ == "__main__":
    main()
