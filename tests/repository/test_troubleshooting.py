"""docs/troubleshooting.md knows what fastws says: answers, close reasons, warnings and errors, failed starts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = " ".join((ROOT / "docs" / "troubleshooting.md").read_text().replace(r"\|", "|").split())
SOURCES = [path for path in sorted((ROOT / "fastws").rglob("*.py")) if not {"demo", "testing"} & set(path.parts)]

SPEAKERS = {"RequestError": 1, "Failure": 1, "StartupError": 0, "_at_limit": 0, "_refuse": 0}
SPEAKERS |= {"warning": 0, "error": 0, "critical": 0, "exception": 0, "warn": 0, "log_application_error": 0}
SPEAKERS |= {"_send_close": 1, "send_close": 1, "close": 1}
"""What says something to an operator or to a peer, and in which of its arguments."""


def said(path: Path) -> Iterator[str]:
    """The longest piece of each text, without what is filled in."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = SPEAKERS.get(name)
            if place is not None and len(node.args) > place:
                pieces = [
                    piece.strip(" \n:;,.()'\"")
                    for text in literals(node.args[place])
                    for piece in re.split(r"%(?:\.\d+)?[sdgfr]|%%", text)
                ]
                longest = max(pieces, key=len, default="")
                if len(longest) > 8:
                    yield longest


def literals(node: ast.expr) -> list[str]:
    if isinstance(node, ast.JoinedStr):
        return [text for value in node.values for text in literals(value)]
    if isinstance(node, ast.BinOp):
        return literals(node.left) + literals(node.right)
    if isinstance(node, ast.IfExp):
        return literals(node.body)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_page_has_what_the_server_says(path: Path) -> None:
    missing = [text for text in said(path) if text not in PAGE]
    assert missing == [], "a line for each of them in docs/troubleshooting.md: what one sees, why, what to do"


def test_quoted_answers_are_those_of_the_server() -> None:
    """The other way round: what the page quotes as an answer, the sources have."""
    sources = "".join(re.sub(r'"\n\s+f?"', "", path.read_text()) for path in SOURCES)
    answers = re.findall(r'"([A-Z][^"]+\.)"', PAGE)
    assert len(answers) > 30
    assert [answer for answer in answers if answer not in sources] == []
