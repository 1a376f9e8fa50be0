"""The short form of `make soak`: some thousand connections, ended in every way, leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SOAK = Path(__file__).parents[2] / "bench" / "soak.py"


@pytest.mark.timeout(300)
def test_connections_leave_nothing_behind(engine: str) -> None:
    command = [sys.executable, str(SOAK), "--connections", "1000", "--engine", engine]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "nothing has grown"
