"""What the pages of docs/ show to be run: blocks of code, and commands; a helper, not a test.

A block that is a file has its name in the info string (title="app.py"); one that needs packages which the tests do not
install names them there (requires="django"), and is then only compiled. Commands are the lines of `console` blocks that
begin with a $, and those of indented blocks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>\w+)?(?P<rest>[^\n]*)\n(?P<text>.*?)^(?P=fence)$", re.M | re.S)
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_COMMAND = re.compile(
    r"(?P<environment>(?:\w+=\S* +)*)(?P<words>(?:fastws|uvicorn|hypercorn|granian|gunicorn|pip|curl|make|python3?) .*)"
)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, and what its info string says."""

    page: str
    language: str
    text: str
    title: str = ""
    requires: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.page}:{self.title or self.text.strip().partition(chr(10))[0][:30]}"


@dataclass(frozen=True)
class Command:
    """A command line of a page, without a $ and with its continuation lines."""

    page: str
    environment: dict[str, str]
    words: list[str]

    def __str__(self) -> str:
        return f"{self.page}:{shlex.join(self.words)[:60]}"


def blocks() -> Iterator[Block]:
    """Every fenced block of the pages."""
    for page in PAGES:
        for found in _FENCE.finditer(page.read_text()):
            about = dict(_ATTRIBUTE.findall(found["rest"]))
            requires = tuple(re.findall(r"\w+", about.get("requires", "")))
            name = page.relative_to(ROOT).as_posix()
            yield Block(name, found["language"] or "", found["text"], about.get("title", ""), requires)


def commands() -> Iterator[Command]:
    """Every command of the pages that begins with a program that we know."""
    for page in PAGES:
        text = page.read_text()
        shown = [found["text"] for found in _FENCE.finditer(text) if found["language"] in ("console", "sh", "bash")]
        lines = [line[2:] for each in shown for line in _joined(each) if line.startswith("$ ")]
        outside = _FENCE.sub("", text)
        lines += [line.strip() for line in _joined(outside) if re.match(r" {4}\S", line)]
        for line in lines:
            for part in re.split(r" (?:&&|\|) ", re.sub(r"(?:^|\s)#.*| </dev/null", "", line)):
                if found := _COMMAND.fullmatch(part.strip()):
                    environment = dict(each.split("=", 1) for each in shlex.split(found["environment"]))
                    yield Command(page.relative_to(ROOT).as_posix(), environment, shlex.split(found["words"]))


def _joined(text: str) -> list[str]:
    return re.sub(r"\\\n\s*", "", text).splitlines()
