"""Count instructions a message, which noise cannot touch: `python bench/instructions.py`.

driver.py gives work to real connections on a fake transport, under `valgrind --tool=callgrind`, which counts only while
it does: starting up is left out, reads and writes of the kernel are not in it, the driver's own steps are. Counts of
the same build are the same to about one in a hundred, whatever else the machine does. A large copy counts one for each
byte (callgrind takes `rep movsb` apart), which is more than it costs, and shows it.

`--annotate` prints the functions that cost most, by callgrind's own count. Time means nothing under callgrind. The gate
that CI runs is counts.py; system calls are counted by system_calls.py.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from driver import CONFIGURATIONS, SCENARIOS, Configuration, run_driver


def total_instructions(path: Path) -> int:
    """The count of a callgrind output file."""
    match = re.search(r"^(?:summary|totals): (\d+)", path.read_text(), re.MULTILINE)
    if match is None:
        raise SystemExit(f"no total in {path}")
    return int(match[1])


def by_function(path: Path) -> Counter[str]:
    """Instructions of each function itself, recursion included, from a callgrind output file."""
    command = ["callgrind_annotate", "--threshold=100", str(path)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: Counter[str] = Counter()
    for count, name in re.findall(r"^ *([\d,]+) \([^)]*\)  \S*?([^/\s]+:[^\n]*)$", listing, re.MULTILINE):
        name = re.sub(r"'\d+", "", name)
        found[re.sub(r"\[.*/", "[", name)] += int(count.replace(",", ""))
    return found


def count_instructions(
    configuration: Configuration,
    names: Sequence[str],
    loop: str = "uvloop",
    annotate: bool = False,
    places: int = 0,
) -> tuple[str, dict[str, float]]:
    """The kernel that unmasks under valgrind, and the instructions a unit of each scenario.

    Other `places` of types make another count where two methods met in the interpreter's cache (`driver.place_types`).
    """
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "callgrind"
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}"]
        kernel, found = run_driver(configuration, names, "--places", str(places), wrapper=valgrind, loop=loop)
        for number, each in enumerate(found, 1):
            path = output.with_suffix(f".{number}")
            counts[each["scenario"]] = total_instructions(path) / each["units"]
            if annotate:
                print(f"{each['scenario']}: {counts[each['scenario']]:,.0f}")
                for name, count in by_function(path).most_common(50):
                    print(f"  {count / each['units']:>10,.1f}  {name}")
    return kernel, counts


def main() -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="64x1,64x16,http", help=f"comma-separated, of {', '.join(SCENARIOS)}")
    parser.add_argument("--engine", default="cython", help="cython, websockets or wsproto")
    parser.add_argument("--interpreted", action="store_true", help="with nothing of fastws compiled")
    parser.add_argument("--loop", default="uvloop", choices=("uvloop", "asyncio"))
    parser.add_argument("--annotate", action="store_true", help="list the functions that cost most")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed")
    configuration = CONFIGURATIONS.get(
        "interpreted" if arguments.interpreted else arguments.engine,
        Configuration(arguments.engine, arguments.engine, arguments.interpreted),
    )
    names = arguments.cases.split(",")
    _, counts = count_instructions(configuration, names, arguments.loop, arguments.annotate)
    for name, count in counts.items():
        print(f"{name:<12} {count:>12,.0f} instructions a {SCENARIOS[name].unit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
