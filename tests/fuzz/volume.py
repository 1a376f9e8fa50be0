"""Drive the targets without atheris, for volume: `python tests/fuzz/volume.py --bytes 100000000`.

For builds with sanitizers, which atheris does not run under by itself. Inputs are made from the corpus by mutation.py,
from a seed, so that a run can be repeated. Under AddressSanitizer it also asks whether what the engines hold grows.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import random
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import cutting
import wire
from engine_cases import deflated, frame, header

from fastws.websocket.events import Close
from fuzz import codec, corpus, load_target
from fuzz.mutation import mutate
from fuzz.run import FINDINGS, PREFIX, WITH_HEADS

POOL = 400
LEAK = 4_000_000
"""Bytes that a target may hold more at its end than after its first tenth."""


def held() -> int | None:
    """Bytes that are allocated, where AddressSanitizer knows."""
    try:
        allocated = ctypes.CDLL(None).__sanitizer_get_current_allocated_bytes
    except AttributeError:
        return None
    allocated.restype = ctypes.c_size_t
    gc.collect()
    return int(allocated())


def drive(target: str, size: int, seed: int) -> bool:
    """Give `size` bytes to `target`; whether nothing was found."""
    run = load_target(target)
    choose = random.Random(seed)
    pool = [*corpus(target)]
    runs = given = 0
    before = None
    began = time.monotonic()
    while given < size:
        data = choose.choice(pool)
        for _ in range(choose.choice((1, 2, 4, 8))):
            data = mutate(
                data, choose, heads=target in WITH_HEADS, prefix=PREFIX[target], max_size=choose.choice((2000, 20_000))
            )
        if choose.random() < 0.05:
            data += choose.choice(pool)[PREFIX[target] :] * choose.choice((1, 8, 50))
        runs += 1
        given += len(data)
        try:
            run(data)
        except Exception:
            FINDINGS.mkdir(parents=True, exist_ok=True)
            path = FINDINGS / f"{target}-volume-{runs}"
            path.write_bytes(data)
            print(f"{target}: {path}\n{traceback.format_exc()}")
            return False
        if len(pool) < POOL + len(corpus(target)):
            pool.append(data[:4000])
        else:
            pool[choose.randrange(len(pool))] = data[:4000] if choose.random() < 0.5 else choose.choice(corpus(target))
        if before is None and given > size / 10:
            before = held()
    return report(target, runs, given, began, before)


def bulk(size: int, seed: int) -> bool:
    """Give `size` bytes to the compiled engine alone, as fast as it can go: long streams, sound up to their end.

    Only bytes that an engine read before its end are counted.
    """
    choose = random.Random(seed)
    seeds = corpus("codec")
    runs = given = 0
    before = None
    began = time.monotonic()
    while given < size:
        flags = choose.choice((3, 7, 15))
        engine = codec.make(codec.ENGINES[0], flags)
        stream = b"".join(long_frames(choose, bool(flags & 4)) for _ in range(choose.randint(1, 12)))
        stream += mutate(choose.choice(seeds), choose, heads=False, prefix=2, max_size=4000)[2:]
        runs += 1
        for piece in cutting.at_random(stream, choose.randrange(1 << 30), LARGE_READS):
            # A copy of its own: a read behind its end is behind an allocation.
            events = engine.receive_data(bytearray(piece))
            given += len(piece)
            for event in events:
                if isinstance(event, str):
                    engine.send_text(event)
                elif isinstance(event, bytes):
                    engine.send_bytes(event)
            if events and isinstance(events[-1], Close):
                break
        engine.data_to_send()
        if before is None and given > size / 10:
            before = held()
    return report("bulk", runs, given, began, before)


LARGE_READS = (1, 3, 14, 100, 5000, 60_000, 65_536)


def long_frames(choose: random.Random, deflate: bool) -> bytes:
    """A message of up to 70,000 bytes in one frame or several; its bytes are random, behind any mask."""
    length = choose.choice((0, 1, 7, 125, 126, 1000, 4096, 30_000, 65_535, 65_536, 69_000))
    key = choose.randbytes(4)
    kind = choose.randrange(5)
    if kind == 0:
        return header(wire.BINARY, length) + key + choose.randbytes(length)
    if kind == 1:
        cut = choose.randint(0, length)
        first = header(wire.BINARY, cut, fin=False) + key + choose.randbytes(cut)
        return first + frame(wire.PING, key) + header(0, length - cut) + key + choose.randbytes(length - cut)
    text = (choose.choice(("a", "caf\u00e9 ", "\u20ac", "\U0001f600", "ascii only ")) * length)[: length // 4].encode()
    if kind == 2:
        return header(wire.TEXT, len(text)) + bytes(4) + text
    if kind == 3 and deflate:
        squeezed = deflated(text)
        return header(wire.TEXT, len(squeezed), rsv=4) + bytes(4) + squeezed
    cut = choose.randint(0, len(text))
    return (
        header(wire.TEXT, cut, fin=False) + bytes(4) + text[:cut] + header(0, len(text) - cut) + bytes(4) + text[cut:]
    )


ROWS: list[str] = []
"""Of the table for docs/conformance.md."""
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def report(target: str, runs: int, given: int, began: float, before: int | None) -> bool:
    """Print a line of the table; whether what is held has not grown."""
    ROWS.append(f"| {target} | {runs:,} | {given:,} | {time.monotonic() - began:,.0f} s |")
    grown = 0 if before is None else (held() or 0) - before
    shown = "" if before is None else f"{grown:>14,}"
    print(f"{target:14}{runs:>10,}{given:>15,}{time.monotonic() - began:>9.0f} s{shown}", flush=True)
    return grown < LEAK


def write_docs(page: str) -> str:
    """The page, with the rows of this run and their sum where the marks are."""
    begin, end = "<!-- fuzz: long -->\n", "<!-- end -->"
    before, _, rest = page.partition(begin)
    total = sum(int(row.split("|")[3].replace(",", "")) for row in ROWS)
    table = ["| target | runs | bytes | time |", "| --- | ---: | ---: | ---: |", *ROWS, f"| all | | {total:,} | |"]
    return before + begin + "\n" + "\n".join(table) + "\n\n" + rest[rest.index(end) :]


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz fastws without atheris.")
    parser.add_argument("--bytes", type=int, default=10_000_000, help="for all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--write-docs", action="store_true", help="the table into docs/conformance.md, if nothing is found"
    )
    arguments = parser.parse_args()
    print(f"{'target':14}{'runs':>10}{'bytes':>15}{'time':>11}{'' if held() is None else 'grown by':>14}")
    # All that a target checks costs a hundred times what its bytes cost the compiled engine.
    shares = {"codec": 0.02, "differential": 0.01, "heads": 0.02, "connection": 0.01, "http2": 0.01}
    shares |= {"sockets": 0.003, "tls": 0.002, "deflate": 0.01, "topics": 0.01}
    results = [drive(target, int(arguments.bytes * share), arguments.seed) for target, share in shares.items()]
    results.append(bulk(int(arguments.bytes * (1 - sum(shares.values()))) + 1, arguments.seed))
    if all(results) and arguments.write_docs:
        PAGE.write_text(write_docs(PAGE.read_text()))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
