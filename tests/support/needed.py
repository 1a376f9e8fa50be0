"""Programs that tests need and Python packages do not bring: where one is missing, its test fails and says so.

With NO_INSTALL=1, by which somebody asks that nothing is installed on the machine, it is skipped instead, by name.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

DAEMONS = ":/usr/sbin:/usr/local/sbin"
"""What is installed for daemons is not on everybody's path."""


def needed(name: str, package: str = "") -> str:
    """The path of the program; `package` is Debian's name for what has it, where that is another one."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + DAEMONS)
    return found or missing(name, f"apt-get install {package or name}")


def needed_file(path: Path, name: str) -> Path:
    """The path of what tests/install_peers.sh has laid there."""
    return path if path.exists() else missing(name, "tests/install_peers.sh")


def missing(name: str, remedy: str) -> NoReturn:
    """Skip or fail the test."""
    if os.environ.get("NO_INSTALL"):
        pytest.skip(f"{name} is not installed, and NO_INSTALL says that nothing is to be")
    pytest.fail(f"{name} is missing: {remedy}, or NO_INSTALL=1 to skip what needs it", pytrace=False)
