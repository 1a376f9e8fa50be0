"""The codec's C headers by themselves, built for this machine and for aarch64, whose NEON kernel QEMU runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
HEADERS = HERE.parents[1] / "fastws"
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def build_and_run(compiler: str, target: Path, *flags: str, run: tuple[str, ...] = ()) -> str:
    """What the tests in C print, built with warnings as errors."""
    command = [compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", *flags, f"-I{HEADERS}", "-o", str(target)]
    subprocess.run([*command, str(HERE / "headers_test.c")], check=True)
    result = subprocess.run([*run, str(target)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize("flags", [(), SANITIZED], ids=["plain", "sanitized"])
def test_on_this_machine(tmp_path: Path, flags: tuple[str, ...]) -> None:
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    assert build_and_run(compiler, tmp_path / "test", *flags).endswith(" passed\n")


def test_on_aarch64(tmp_path: Path) -> None:
    compiler, emulator = "aarch64-linux-gnu-gcc", "qemu-aarch64"
    for program in (compiler, emulator):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}, which tests/install_peers.sh installs")
    assert build_and_run(compiler, tmp_path / "test", "-static", run=(emulator,)) == "portable neon passed\n"
