"""Compare what can compress messages: `python bench/compression.py`, with `pip install isal zlib-ng` for all of them.

JSON of 64 B, 1 KiB and 16 KiB, each message of its own, as a server without context takeover does it: one stream for
all, a full flush behind each; then with context takeover; then inflating, with a new stream for each message. Best of
several runs, CPU time. Memory is what a process grows by for a stream that has been used, each kind in a process of its
own. Prints tables in Markdown, for docs/performance.md.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import multiprocessing
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases import json_payload

MODULES = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib"}
KINDS = (("zlib", 6), ("zlib", 1), ("zlib-ng", 6), ("zlib-ng", 1), ("isal", 1), ("isal", 3))
MESSAGES = {
    "64 B": [json_payload(number, 1)[:64] for number in range(64)],
    "1 KiB": [json_payload(number) for number in range(64)],
    "16 KiB": [json_payload(number, 290) for number in range(32)],
}
STREAMS = 300


def best(run: Callable[[], int], times: int) -> float:
    """Microseconds of CPU time for each of what `run` does, at best."""
    found = []
    for _ in range(times):
        before = time.process_time()
        count = run()
        found.append((time.process_time() - before) / count * 1e6)
    return min(found)


def compress(module: Any, level: int, payloads: list[bytes], keep: bool, times: int) -> tuple[float, float]:
    """Microseconds a message, and how many times shorter messages get."""
    mode = module.Z_SYNC_FLUSH if keep else module.Z_FULL_FLUSH
    made: list[bytes] = []
    repeats = max(1, 400_000 // sum(map(len, payloads)))

    def run() -> int:
        stream = module.compressobj(level, zlib.DEFLATED, -12, 5)
        made.clear()
        for _ in range(repeats):
            for payload in payloads:
                made.append(stream.compress(payload) + stream.flush(mode))
        return len(made)

    cost = best(run, times)
    check = zlib.decompressobj(-12)
    for payload, data in zip(payloads, made, strict=False):
        if (check if keep else zlib.decompressobj(-12)).decompress(data) != payload:
            raise SystemExit(f"{module.__name__} has made something else of a message")
    return cost, repeats * sum(map(len, payloads)) / sum(len(data) - 4 for data in made)


def inflate(module: Any, payloads: list[bytes], times: int) -> float:
    """Microseconds a message."""
    stream = zlib.compressobj(6, zlib.DEFLATED, -12, 5)
    made = [stream.compress(payload) + stream.flush(zlib.Z_FULL_FLUSH) for payload in payloads]

    def run() -> int:
        for _ in range(20):
            for data in made:
                module.decompressobj(-12).decompress(data, 1 << 20)
        return 20 * len(made)

    return best(run, times)


def dirty_kib() -> int:
    """KiB that this process alone has written to."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


def memory(name: str, make: Callable[[Any], Any], use: Callable[[Any, Any], None]) -> float:
    """KiB that a used stream takes; for a process of its own."""
    module = importlib.import_module(MODULES[name])
    first = make(module)
    use(module, first)
    before = dirty_kib()
    streams = [make(module) for _ in range(STREAMS)]
    for stream in streams:
        use(module, stream)
    return (dirty_kib() - before) / STREAMS


def deflate_memory(name: str, level: int, bits: int, mem_level: int) -> float:
    """KiB of a stream that compresses."""

    def use(module: Any, stream: Any) -> None:
        for payload in MESSAGES["1 KiB"] * 3:
            stream.compress(payload)
            stream.flush(module.Z_SYNC_FLUSH)

    return memory(name, lambda module: module.compressobj(level, zlib.DEFLATED, -bits, mem_level), use)


def inflate_memory(name: str, bits: int) -> float:
    """KiB of a stream that inflates."""
    source = zlib.compressobj(6, zlib.DEFLATED, -min(bits, 12), 5)
    made = [source.compress(payload) + source.flush(zlib.Z_SYNC_FLUSH) for payload in MESSAGES["1 KiB"]]

    def use(module: Any, stream: Any) -> None:
        for data in made:
            stream.decompress(data)

    return memory(name, lambda module: module.decompressobj(-bits), use)


def alone(run: Callable[..., float], *arguments: Any) -> float:
    """`run(*arguments)` in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: float = pool.apply(run, arguments)
        return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9, help="runs of which the best counts (default 9)")
    times = parser.parse_args().times
    modules = {}
    for name, path in MODULES.items():
        try:
            modules[name] = importlib.import_module(path)
        except ImportError as error:
            print(f"left out: {name} ({error})")
    for keep, title in ((False, "compressor, nothing kept"), (True, "compressor, context kept")):
        print(f"\n| {title} | {' | '.join(MESSAGES)} | memory |\n| --- |{' ---: |' * (len(MESSAGES) + 1)}")
        for name, level in KINDS:
            if name in modules:
                cells = []
                for payloads in MESSAGES.values():
                    cost, ratio = compress(modules[name], level, payloads, keep, times)
                    cells.append(f"{cost:.1f} µs, {ratio:.2f}")
                used = alone(deflate_memory, name, level, 12, 5)
                print(f"| {name}, level {level} | {' | '.join(cells)} | {used:.0f} KiB |")
    print(f"\n| decompressor | {' | '.join(MESSAGES)} | memory |\n| --- |{' ---: |' * (len(MESSAGES) + 1)}")
    for name, module in modules.items():
        cells = [f"{inflate(module, payloads, times):.1f} µs" for payloads in MESSAGES.values()]
        print(f"| {name} | {' | '.join(cells)} | {alone(inflate_memory, name, 12):.0f} KiB |")
    print("\n| zlib, window bits and memory level | compressor | decompressor |\n| --- | ---: | ---: |")
    for bits, mem_level in ((9, 1), (10, 3), (12, 5), (13, 6), (15, 8), (15, 9)):
        made = alone(deflate_memory, "zlib", 6, bits, mem_level)
        read = f"{alone(inflate_memory, 'zlib', bits):.0f} KiB" if bits >= 12 else ""
        print(f"| {bits}, {mem_level} | {made:.0f} KiB | {read} |")


if __name__ == "__main__":
    main()
