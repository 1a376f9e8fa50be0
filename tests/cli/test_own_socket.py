"""The control socket that nobody named: a server in a terminal has it, and `fastws status` finds it."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from serving import PATIENCE, SUPPORT

from fastws.cli.main import main
from fastws.cli.own_socket import own_socket, wanted


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where sockets of this user belong, for this test: a short path. The working directory is another one."""
    for name in ("FASTWS_CONFIG", "FASTWS_CONTROL_SOCKET", "FASTWS_TOPICS_URL"):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        directory = Path(runtime, "project")
        directory.mkdir()
        monkeypatch.chdir(directory)
        yield Path(runtime)
        monkeypatch.undo()  # a directory that is gone cannot be left


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.slow
def test_a_server_in_a_terminal_is_found_in_its_directory(
    runtime: Path, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "fastws", "echo_app:app", "--port", "0", "--workers", workers]
    with subprocess.Popen([*command, "--app-dir", str(SUPPORT)], stderr=its_end, stdout=its_end) as server:
        os.close(its_end)
        try:
            with open(terminal, encoding="utf-8", closefd=False) as said:
                awaited = "running on" if workers == "1" else "2 workers serve"
                assert any(awaited in line for line in said)
            shown = CliRunner().invoke(main, ["status", "--json", "--seconds", "0"])
            assert shown.exit_code == 0, shown.output
            assert len(shown.output.splitlines()) == int(workers)
            if workers == "1":
                assert json.loads(shown.output)["worker"] == server.pid
            published = CliRunner().invoke(main, ["publish", "room", "x"])
            assert published.output == "published to 0 subscribers in 0 processes\n"
            assert stat.S_IMODE((runtime / "fastws").stat().st_mode) == 0o700
            monkeypatch.chdir(runtime)
            elsewhere = CliRunner().invoke(main, ["status"])
            assert elsewhere.exit_code == 1
            assert elsewhere.output.startswith("Error: no server runs that was started in a terminal in this directory")
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(PATIENCE)
            os.close(terminal)
    assert list((runtime / "fastws").iterdir()) == []


def test_a_service_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        assert not wanted(reload=False)
        assert wanted(reload=True)


def test_what_others_can_enter_is_not_used(runtime: Path) -> None:
    assert own_socket() is None  # no server has made the folder
    folder = runtime / "fastws"
    folder.mkdir(mode=0o700)
    assert own_socket() == own_socket(make=True) is not None
    folder.chmod(0o750)
    assert own_socket(make=True) is None
    folder.rmdir()
    other = runtime / "other"
    other.mkdir(mode=0o700)
    folder.symlink_to(other)
    assert own_socket(make=True) is None


def test_a_long_path_cannot_be_one(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = runtime / ("x" * 90)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    assert own_socket(make=True) is None


def test_there_is_a_place_without_a_directory_of_the_session(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(runtime))
    path = own_socket(make=True)
    assert path is not None
    assert Path(path).parent == runtime / f"fastws-{os.geteuid()}"


def test_systems_without_such_sockets_have_none(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    assert own_socket(make=True) is None
    shown = CliRunner().invoke(main, ["status"])
    assert shown.exit_code == 1
