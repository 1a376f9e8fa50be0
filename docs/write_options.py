"""Writes docs/options.md, the limits in SECURITY.md, and the tables of docs/observability.md, from the source.

`make options` runs it, a test compares.

python docs/write_options.py [--check]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fastws.config import OPTIONS
from fastws.config.log_atoms import ATOMS, KINDS
from fastws.config.option import GROUPS, NUMBERS, Option
from fastws.observe.metrics import METRICS

PAGE = Path(__file__).with_name("options.md")
OBSERVABILITY = Path(__file__).with_name("observability.md")
SECURITY = Path(__file__).parents[1] / "SECURITY.md"

HEAD = """\
# Options

<!-- written by `make options` from fastws/config/table.py -->

You can give an option in four places: on the command line (`--ws-max-size 65536`), in the environment
(`FASTWS_WS_MAX_SIZE=65536`), in a [configuration file](cli.md#the-configuration-file) (`ws-max-size = 65536`), and in
Python (`fastws.run(app, ws_max_size=65536)`, `fastws.Config(app, ws_max_size=65536)`). The command line is stronger
than the environment, and the environment is stronger than the file. Python reads none of the others.

An option that uvicorn has, too, has uvicorn's name and meaning. Sizes are in bytes, and times are in seconds. For a
wrong value the server prints the option's name and what would be right, and does not start. `fastws --help NAME`
shows the text of this page in a terminal.
"""

_DEFAULT = re.compile(r"\s*\[default: (.*)\]$")


def default(option: Option) -> str:
    """The default as somebody would write it."""
    if found := _DEFAULT.search(option.help):
        return found[1]
    value = option.default
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ("", ()):
        return "none" if option.kind in NUMBERS else ""
    if isinstance(value, float):
        return f"{value:g}"
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if isinstance(value, int) and value >= size and value % size == 0 and "bytes" in option.help.lower():
            return f"{value} ({value // size} {unit})"
    return str(value)


def spelling(option: Option) -> str:
    """How the command line has it."""
    if option.default is False and option.metavar is None:
        return f"`{option.cli}`"
    if option.metavar is None:
        return f"`{option.cli}`, `--no-{option.cli.removeprefix('--')}`"
    return f"`{option.cli} {option.metavar}`"


def cell(text: str) -> str:
    return text.replace("|", r"\|")


def page() -> str:
    """The whole of docs/options.md."""
    parts = [HEAD]
    for group in GROUPS:
        rows = [option for option in OPTIONS if option.group == group]
        if not rows:
            continue
        taken = {option.cli.removeprefix("--") for option in OPTIONS}
        parts.append(f"\n## {group} options\n" if group.lower() in taken else f"\n## {group}\n")
        for option in rows:
            parts.append(f"\n{section(option)}")
    return "".join(parts)


def section(option: Option) -> str:
    """An option under a heading, which is its address on the page: `#ws-ping-interval`."""
    names = f"{spelling(option)}, `{option.env}`"
    value = f"; default: {default(option)}" if default(option) else ""
    return f"### {option.cli.removeprefix('--')}\n\n{_DEFAULT.sub('', option.help)}\n\n{names}{value}\n"


# What bounds a client's cost; the other options of these groups say when the server ends.
_LIMIT = re.compile(
    r"ws_(max|limit|ping|allowed)_|ws_\w+_timeout$|limit_(?!max_requests|worker)|timeout_(?!graceful|worker)|write_"
    r"|http2_|topics_(backlog|per_connection)$"
)
_MARKED = re.compile(r"(?<=`make options` from fastws/config/table.py -->\n).*(?=<!-- end -->\n)", re.DOTALL)


def security() -> str:
    """SECURITY.md as it is, with the table of limits of today."""
    table = "| option | default | |\n| --- | --- | --- |\n"
    for option in OPTIONS:
        if _LIMIT.match(option.name):
            columns = (f"`{option.cli}`", default(option), _DEFAULT.sub("", option.help))
            table += "| " + " | ".join(map(cell, columns)) + " |\n"
    text, count = _MARKED.subn(lambda _: table, SECURITY.read_text())
    assert count == 1, "SECURITY.md has lost its marks"
    return text


def observability() -> str:
    """docs/observability.md as it is, with the tables of the metrics and of the atoms of today."""
    metrics = "| metric | type | labels | |\n| --- | --- | --- | --- |\n" + "".join(
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.help} |\n"
        for each in METRICS
    )
    atoms = "| atom | |\n| --- | --- |\n" + "".join(f"| `%({atom})s` | {what} |\n" for atom, what in ATOMS.items())
    atoms += "".join(f"| `%({{name}}{kind})s` | {what} |\n" for kind, what in KINDS.items())
    text = OBSERVABILITY.read_text()
    for source, table in (("observe/metrics", metrics), ("config/log_atoms", atoms)):
        marks = re.compile(rf"(?<=`make options` from fastws/{source}\.py -->\n).*?(?=<!-- end -->\n)", re.DOTALL)
        found = marks.search(text)
        assert found is not None, f"observability.md has lost the marks for {source}"
        text = text[: found.start()] + table + text[found.end() :]
    return text


if __name__ == "__main__":
    for path, text in ((PAGE, page()), (SECURITY, security()), (OBSERVABILITY, observability())):
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif path.read_text() != text:
            sys.exit(f"{path.name} is out of date: run `make options`")
