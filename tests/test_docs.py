"""The pages that are written from the source are current, and what they point to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

ELSEWHERE = {"--full", "--quick", "--strict", "--interface", "--reload", "--workers", "--ssl"}
"""Options of other programs that the pages name, and the beginning of `--ssl-*`."""


def test_options_page_is_current() -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "write_options.py", "--check"], check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_pages_name_exist(page: Path) -> None:
    from fastws.config import OPTIONS

    known = {option.cli for option in OPTIONS} | {f"--no-{option.cli.removeprefix('--')}" for option in OPTIONS}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", page.read_text()))
    assert named - ELSEWHERE <= known | {"--help", "--version"}
