"""Drive the targets with atheris, by `python tests/fuzz/run.py`; `make fuzz` does it, on a build with coverage.

Each target runs in a process of its own for its share of the time, beginning with the corpus; a table says what it did.
A finding is written to build/fuzz/found/, and the exit status is 1; `--replay FILE TARGET` repeats it. `--keep` adds to
the corpus what reached something new.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from fuzz import CORPUS, TARGETS, corpus, load_target

FINDINGS = Path(__file__).parents[2] / "build" / "fuzz" / "found"
MAX_SIZE = 2048
PREFIX = {
    "codec": 2,
    "differential": 2,
    "heads": 2,
    "connection": 4,
    "http2": 4,
    "sockets": 0,
    "tls": 1,
    "deflate": 3,
    "topics": 2,
}
WITH_HEADS = ("heads", "connection")


def fuzz(target: str, folder: Path, arguments: list[str]) -> None:
    """Be the process that fuzzes `target`; does not return."""
    # The compiled modules find libFuzzer among the symbols that all see (gcc_coverage.h).
    sys.setdlopenflags(os.RTLD_LAZY | os.RTLD_GLOBAL)
    import atheris
    import atheris.core_with_libfuzzer

    with atheris.instrument_imports(include=["fastws"], enable_loader_override=False):
        run = load_target(target)
    with (folder / "count").open("r+b") as file:
        count = mmap.mmap(file.fileno(), 16)
    runs = size = 0

    def test(data: bytes) -> None:
        nonlocal runs, size
        runs += 1
        size += len(data)
        struct.pack_into("QQ", count, 0, runs, size)
        run(data)

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        from fuzz.mutation import mutate

        choose = random.Random(seed)
        if choose.random() < 0.4:
            return bytes(atheris.Mutate(data, max_size))
        for _ in range(choose.choice((1, 1, 2, 4))):
            data = mutate(data, choose, heads=target in WITH_HEADS, prefix=PREFIX[target], max_size=max_size)
        return data

    # To merge, libFuzzer calls what it takes for its program again, by the shell.
    program = f"{sys.executable} {__file__} --child {target} {folder}"
    atheris.Setup([program, *arguments], test, custom_mutator=mutator, internal_libfuzzer=True)
    atheris.Fuzz()


def drive(target: str, until: list[str], keep: bool) -> bool:
    """Fuzz `target` `until` libFuzzer's options say; print its line of the table; whether nothing was found."""
    FINDINGS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "count").write_bytes(bytes(16))
        (folder / "seeds").mkdir()
        (folder / "found").mkdir()
        for i, data in enumerate(corpus(target)):
            (folder / "seeds" / f"{i:05}").write_bytes(data)
        command = [sys.executable, __file__, "--child", target, str(folder)]
        options = [
            f"-max_len={MAX_SIZE}",
            "-timeout=20",
            "-rss_limit_mb=2048",
            f"-artifact_prefix={FINDINGS}/{target}-",
        ]
        found = [str(folder / "found"), str(folder / "seeds")]
        done = subprocess.run(
            [*command, *options, *until, *found],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )  # fmt: skip
        runs, size = struct.unpack("QQ", (folder / "count").read_bytes())
        covered = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", done.stdout) or [("?", "?", "?")]
        cov, ft, units = covered[-1]
        verdict = "nothing" if done.returncode == 0 else f"exit status {done.returncode}"
        print(f"{target:14}{runs:>10,}{size:>15,}{cov:>8}{ft:>8}{units:>8}   {verdict}", flush=True)
        if done.returncode:
            print(done.stdout[-4000:])
        elif keep:
            (folder / "merged").mkdir()
            merge = [
                *command,
                *options,
                "-merge=1",
                str(folder / "merged"),
                str(folder / "seeds"),
                str(folder / "found"),
            ]
            subprocess.run(merge, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            write_corpus(target, [path.read_bytes() for path in (folder / "merged").iterdir()])
        return done.returncode == 0


def write_corpus(target: str, inputs: list[bytes]) -> None:
    """Keep the shortest inputs of a target, as many as make up 60 KB of text."""
    lines: list[str] = []
    size = 0
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        size += 2 * len(data) + 1
        if size > 60_000:
            break
        lines.append(data.hex() + "\n")
    assert lines, "there must be a corpus"
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{target}.txt").write_text("".join(lines), "ascii")


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        fuzz(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    parser = argparse.ArgumentParser(description="Fuzz fastws with atheris.")
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--runs", type=int, help="inputs for each target, from a fixed seed, instead of a time")
    parser.add_argument("--keep", action="store_true", help="add what reached something new to the corpus")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input, without atheris")
    arguments = parser.parse_args()
    if arguments.replay:
        try:
            load_target(arguments.targets[0])(arguments.replay.read_bytes())
        except Exception:
            traceback.print_exc()
            return 1
        return 0
    print(f"{'target':14}{'runs':>10}{'bytes':>15}{'cov':>8}{'ft':>8}{'corpus':>8}   found")
    until = [f"-max_total_time={max(1, round(arguments.seconds / len(arguments.targets)))}"]
    if arguments.runs is not None:
        until = ["-seed=1", "-entropic=0", f"-runs={arguments.runs}"]
    results = [drive(target, until, arguments.keep) for target in arguments.targets]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
