"""Count what noise cannot touch: instructions a message and system calls a message. `python bench/instructions.py`.

Instructions: a child process under `valgrind --tool=callgrind` gives messages to a real connection, session, engine and
application over a transport that only collects what is written, on a real event loop. It is run twice, with different
numbers of messages: the difference leaves out starting up, and divided by the difference of the numbers it is exact to
a few in ten thousand. Writes and reads of the kernel are not in it, the driver's own loop is.

System calls: the server that bench.py measures runs under `strace -c -f` while the load client sends a known number of
messages, twice, for the same reason.

`--annotate` prints the functions that cost most, by callgrind's own count. Times mean nothing under either tool.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: " + KEY + b"\r\n\r\n"
)
GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: fastws-load\r\nAccept: */*\r\n\r\n"

# name: (bytes of a message or 0 for HTTP, messages a read, opcode, messages in the shorter run, in the longer one)
SCENARIOS = {
    "64x1": (64, 1, 1, 500, 4500),
    "64x16": (64, 16, 1, 1600, 17600),
    "1kx8": (1024, 8, 1, 800, 8800),
    "64k": (65536, 1, 2, 50, 450),
    "http": (0, 1, 0, 500, 3500),
}


def frame(payload: bytes, opcode: int) -> bytes:
    """One masked client frame (RFC 6455 section 5.2)."""
    mask = b"\x12\x34\x56\x78"
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 65536:
        head = bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + length.to_bytes(8, "big")
    repeated = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ repeated).to_bytes(length, "big")


class Collector(asyncio.Transport):
    """A transport whose peer takes everything at once."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.2", 40000), "sockname": ("127.0.0.1", 8000)})
        self.written = 0
        self.writes = 0

    def write(self, data: Any) -> None:
        self.written += len(data)
        self.writes += 1

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.written += len(data)
        self.writes += 1

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        pass

    abort = close


def feed(protocol: Any, data: bytes) -> None:
    """Give the protocol these bytes as a loop does: through its own buffer."""
    while data:
        buffer = protocol.get_buffer(-1)
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


async def drive(scenario: str, engine: str, count: int) -> None:
    """Send `count` messages through a connection and wait until all answers were written."""
    from apps import app

    from fastws.asgi import Application
    from fastws.config import Config
    from fastws.engines import load_engine
    from fastws.loop_state import LoopState

    size, batch, opcode, _, _ = SCENARIOS[scenario]
    config = Config(app, access_log=False)
    state = LoopState(
        asyncio.get_running_loop(),
        config,
        Application(app, config, state={}, access_log=None),
        load_engine(engine),
        secure=False,
    )
    protocol: Any = state.new_connection()
    transport = Collector()
    protocol.connection_made(transport)
    feed(protocol, UPGRADE if size else GET)
    while not transport.written:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    header = 2 if size < 126 else 4 if size < 65536 else 10
    answer = (size + header) * batch if size else transport.written
    data = frame(b"a" * size, opcode) * batch if size else GET
    wanted = transport.written
    writes = transport.writes
    buffer = protocol.get_buffer(-1)
    rounds = count // batch
    done = asyncio.get_running_loop().create_future()
    call_soon = asyncio.get_running_loop().call_soon

    def turn() -> None:  # as little as can be: it is in the count
        nonlocal rounds, wanted
        if transport.written == wanted:
            if not rounds:
                done.set_result(None)
                return
            rounds -= 1
            wanted += answer
            if len(data) <= len(buffer):
                buffer[: len(data)] = data
                protocol.buffer_updated(len(data))
            else:
                feed(protocol, data)
        call_soon(turn)

    turn()
    await done
    print(json.dumps({"writes": transport.writes - writes}), flush=True)
    os._exit(0)


def total_instructions(path: Path) -> int:
    """The count of a callgrind output file."""
    match = re.search(r"^(?:summary|totals): (\d+)", path.read_text(), re.MULTILINE)
    if match is None:
        raise SystemExit(f"no total in {path}")
    return int(match[1])


def callgrind(scenario: str, engine: str, loop: str, count: int, folder: Path) -> tuple[int, int, Path]:
    """Instructions, writes and the output file of one run with `count` messages."""
    output = folder / f"callgrind.{scenario}.{engine}.{count}"
    child = [sys.executable, str(HERE / "instructions.py"), "--child", scenario, "--engine", engine, "--loop", loop]
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", *child, "--count", str(count)]
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONHASHSEED": "0", "PYTHONMALLOC": "pymalloc"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise SystemExit(f"{scenario} under valgrind: {done.stderr[-2000:]}")
    return total_instructions(output), json.loads(done.stdout)["writes"], output


def by_function(path: Path) -> Counter[str]:
    """Instructions of each function itself, recursion included, from a callgrind output file."""
    command = ["callgrind_annotate", "--threshold=100", str(path)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: Counter[str] = Counter()
    for count, name in re.findall(r"^ *([\d,]+) \([^)]*\)  \S*?([^/\s]+:[^\n]*)$", listing, re.MULTILINE):
        name = re.sub(r"'\d+", "", name)
        found[re.sub(r"\[.*/", "[", name)] += int(count.replace(",", ""))
    return found


def show_functions(low: Counter[str], high: Counter[str], messages: int) -> None:
    """Print the functions that grew most between the two runs, in instructions a message."""
    for name, count in (high - low).most_common(50):
        print(f"  {count / messages:>10,.1f}  {name}")


def count_instructions(names: list[str], engine: str, loop: str, annotate: bool) -> dict[str, dict[str, float]]:
    """Instructions and writes a message, of each scenario."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            *_, few, many = SCENARIOS[name]
            low, low_writes, low_output = callgrind(name, engine, loop, few, Path(folder))
            high, high_writes, high_output = callgrind(name, engine, loop, many, Path(folder))
            each = {
                "instructions": (high - low) / (many - few),
                "writes": (high_writes - low_writes) / (many - few),
            }
            found[name] = each
            print(
                f"{name:<8} {each['instructions']:>12,.0f} instructions  {each['writes']:.3f} writes a message",
                flush=True,
            )
            if annotate:
                show_functions(by_function(low_output), by_function(high_output), many - few)
    return found


def count_system_calls(names: list[str], server_name: str) -> dict[str, dict[str, float]]:
    """System calls a message of the running server, by name."""
    from servers import CONTENDERS, running

    from bench import build_client

    client = build_client(HERE / ".build")
    found = {}
    for name in names:
        size, window, opcode, few, many = SCENARIOS[name]
        counts = []
        for count in (few, many):
            with running(CONTENDERS[server_name]) as server, tempfile.NamedTemporaryFile("r") as table:
                command = ["strace", "-c", "-f", "-o", table.name, "-p", str(server.process.pid)]
                tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
                assert tracer.stderr is not None
                tracer.stderr.readline()  # it says that it has attached
                command = [str(client), "--port", str(server.port), "--connections", "1", "--window", str(window)]
                command += ["--mode", "echo", "--size", str(size)] if size else ["--mode", "http"]
                command += ["--binary"] if opcode == 2 else []
                command += ["--messages", str(count), "--seconds", "60", "--warmup", "0"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                tracer.send_signal(signal.SIGINT)
                tracer.communicate(timeout=10)
                calls = {}
                for line in table:
                    fields = line.split()
                    if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
                        calls[fields[-1]] = int(fields[3])
                counts.append((json.loads(done.stdout)["messages"], calls))
        (low, low_calls), (high, high_calls) = counts
        each = {call: (high_calls.get(call, 0) - low_calls.get(call, 0)) / (high - low) for call in high_calls}
        each = {call: round(number, 4) for call, number in each.items() if number > 0.005}
        found[name] = each
        listed = "  ".join(f"{call} {number:.2f}" for call, number in sorted(each.items(), key=lambda c: -c[1]))
        print(f"{name:<8} {sum(each.values()):6.2f} system calls a message: {listed}", flush=True)
    return found


def main() -> int:
    """Print the counts; --json prints them once more for programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="64x1,64x16,http", help=f"comma-separated, of {', '.join(SCENARIOS)}")
    parser.add_argument("--engine", default="cython")
    parser.add_argument("--loop", default="uvloop", choices=("uvloop", "asyncio"))
    parser.add_argument("--server", default="fastws", help="whose system calls are counted; see bench.py")
    parser.add_argument("--annotate", action="store_true", help="list the functions that cost most")
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=1000, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        if arguments.loop == "uvloop":
            import uvloop

            uvloop.run(drive(arguments.child, arguments.engine, arguments.count))
        else:
            asyncio.run(drive(arguments.child, arguments.engine, arguments.count))
        return 0
    names = arguments.cases.split(",")
    found: dict[str, Any] = {}
    if shutil.which("valgrind") and importlib.util.find_spec("fastws.asgi"):
        found["instructions"] = count_instructions(names, arguments.engine, arguments.loop, arguments.annotate)
    if shutil.which("strace"):
        found["system_calls"] = count_system_calls(names, arguments.server)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
