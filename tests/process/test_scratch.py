"""Directories of a service: they go with it, and with the next one where it was killed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from serving import serve_process

from fastws.config import Config
from fastws.errors import STARTUP_FAILURE
from fastws.process.scratch import SharedDirectory, scratch_directory
from fastws.process.service import supervise


def names(base: Path) -> set[str]:
    return {each.name for each in base.iterdir()}


def killed_owner(base: Path) -> str:
    """The name of a directory whose owner was killed."""
    program = (
        "import os, sys; from fastws.process.scratch import scratch_directory\n"
        f"with scratch_directory('x-', {str(base)!r}) as path: print(path, flush=True); os.kill(os.getpid(), 9)"
    )
    return Path(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip()).name


def test_it_goes_with_its_block(tmp_path: Path) -> None:
    with scratch_directory("x-", str(tmp_path)) as path:
        Path(path, "something").touch()
        assert Path(path).parent == tmp_path
        assert os.stat(path).st_mode & 0o777 == 0o700
        assert names(tmp_path) == {Path(path).name}
    assert names(tmp_path) == set()


def test_one_of_a_killed_owner_goes_with_the_next(tmp_path: Path) -> None:
    left = killed_owner(tmp_path)
    assert names(tmp_path) == {left}
    with scratch_directory("x-", str(tmp_path)) as path:
        assert names(tmp_path) == {Path(path).name} != {left}


def test_what_is_in_use_or_somebody_elses_stays(tmp_path: Path) -> None:
    (tmp_path / "x-no-lock").mkdir()
    (tmp_path / "x-file").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "owner").touch()
    (tmp_path / "x-link").symlink_to(tmp_path / "elsewhere")
    before = names(tmp_path)
    with scratch_directory("x-", str(tmp_path)) as one, scratch_directory("x-", str(tmp_path)) as two:
        assert names(tmp_path) == before | {Path(one).name, Path(two).name}
    assert names(tmp_path) == before


def test_the_last_of_those_who_share_it_removes_it(tmp_path: Path) -> None:
    path = str(tmp_path / "x-1")
    left = killed_owner(tmp_path)
    one, two = SharedDirectory(path, "x-"), SharedDirectory(path, "x-")
    assert names(tmp_path) == {"x-1"} != {left}
    one.leave()
    with scratch_directory("x-", str(tmp_path)):
        assert os.path.isdir(path)
    two.leave()
    assert names(tmp_path) == set()


def test_a_shared_one_that_is_no_directory_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "x-1").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError, match="somebody else's"):
        SharedDirectory(str(tmp_path / "x-1"), "x-")


@pytest.mark.deploy
def test_what_a_killed_supervisor_left_the_next_one_removes(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    options = ("--workers", "2", "--metrics-path", "/metrics")
    with serve_process("process_apps:app", *options, env=environment) as first:
        left = names(tmp_path)
        assert "fastws-metrics" in {each.rpartition("-")[0] for each in left}
        first.kill()
    with serve_process("process_apps:app", *options, env=environment) as second:
        assert not left & names(tmp_path)
        assert second.stop() == 0
    assert names(tmp_path) == set()


def test_a_file_system_that_cannot_be_written_to_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **options: object) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/tmp/there")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    config = Config("process_apps:app", workers=2, port=0, metrics_path="/metrics")
    assert supervise(config, int, os.environ) == STARTUP_FAILURE  # type: ignore[arg-type]
    [line] = capsys.readouterr().err.splitlines()
    assert "--metrics-dir" in line
    assert "Read-only file system" in line
