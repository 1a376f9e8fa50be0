"""The names that users import, and the version: what changes here changes for them."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from serving import ENGINES

import fastws
from fastws.distribution import DISTRIBUTION

SOURCES = Path(__file__).parents[2] / "fastws"
COMPILED = [
    ".".join(path.relative_to(SOURCES.parent).with_suffix("").parts)
    for path in SOURCES.rglob("*.pxd")
    if path.with_suffix(".py").exists()
]


def test_public_names() -> None:
    assert sorted(fastws.__all__) == ["Config", "Server", "__version__", "run"]
    for name in fastws.__all__:
        assert hasattr(fastws, name)


def test_version_is_the_one_of_the_package() -> None:
    assert fastws.__version__ == importlib.metadata.version(DISTRIBUTION)


def test_command_line_says_the_version() -> None:
    said = subprocess.run([sys.executable, "-m", "fastws", "--version"], capture_output=True, text=True, check=True)
    assert fastws.__version__ in said.stdout


def test_entry_point() -> None:
    scripts = importlib.metadata.distribution(DISTRIBUTION).entry_points.select(group="console_scripts")
    assert [(each.name, each.value) for each in scripts] == [("fastws", "fastws.__main__:main")]


def test_the_pytest_plugin_is_found() -> None:
    plugins = importlib.metadata.distribution(DISTRIBUTION).entry_points.select(group="pytest11")
    assert [(each.name, each.value) for each in plugins] == [("fastws", "fastws.testing.pytest_plugin")]


NOT_AT_RUN_TIME = {"all", "test", "dev", "fuzz", "docs", "examples"}
"""The extras that are for those who work on fastws, and the one that is made of the others."""


def test_all_is_every_extra_that_a_server_may_want() -> None:
    about = importlib.metadata.metadata(DISTRIBUTION)
    extras = set(about.get_all("Provides-Extra") or ())
    (text,) = (each for each in about.get_all("Requires-Dist") or () if re.search(r"extra == ['\"]all['\"]", each))
    assert set(re.findall(r"[\w-]+", text.partition("[")[2].partition("]")[0])) == extras - NOT_AT_RUN_TIME


@pytest.mark.parametrize("name", sorted(COMPILED))
def test_tests_run_on_the_build_that_they_say(name: str) -> None:
    """All modules are compiled where the compiled engine is tested, and none where it is not."""
    file = importlib.import_module(name).__file__
    assert file is not None
    assert file.endswith(tuple(EXTENSION_SUFFIXES)) == ("cython" in ENGINES)
