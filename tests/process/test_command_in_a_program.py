"""The command, called by a program that goes on: a server that has not started does not end it later."""

from __future__ import annotations

import subprocess
import sys

from serving import PATIENCE, SUPPORT

PROGRAM = """
import time
from click.testing import CliRunner
from fastws.cli.main import main
ended = CliRunner().invoke(main, ["nowhere_at_all:app", "--timeout-graceful-shutdown", "0.1"])
assert ended.exit_code == 3, ended.output
time.sleep(0.5)
print("goes on")
"""


def test_a_program_goes_on_behind_the_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=SUPPORT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "goes on\n"), ended.stderr
