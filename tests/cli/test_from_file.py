"""Commands that talk to a server take from the configuration file what the server took from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from serving import serve_process

from fastws.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("FASTWS_CONFIG", "FASTWS_CONTROL_SOCKET", "FASTWS_TOPICS_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("file", ["fastws.toml", "pyproject.toml", "elsewhere/prod.toml"])
def test_status_and_publish_find_the_control_socket(folder: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    table = "[tool.fastws]\n" if file == "pyproject.toml" else ""
    path.write_text(f'{table}control-socket = "{folder}/control"\n')
    if "/" in file:
        monkeypatch.setenv("FASTWS_CONFIG", str(path))
    with serve_process("echo_app:app", "--control-socket", f"{folder}/control") as process:
        process.wait_for_line("running on")
        shown = CliRunner().invoke(main, ["status", "--json", "--seconds", "0"])
        assert shown.exit_code == 0, shown.output
        assert json.loads(shown.output)["worker"] == process.popen.pid
        published = CliRunner().invoke(main, ["publish", "room", "x"])
        assert published.output == "published to 0 subscribers in 0 processes\n"


def test_without_any_it_is_asked_for(folder: Path) -> None:
    shown = CliRunner().invoke(main, ["status"])
    assert shown.exit_code == 1
    assert shown.output.endswith("; --control-socket names another one\n")


def test_a_file_that_is_wrong_is_told(folder: Path) -> None:
    (folder / "fastws.toml").write_text("control_socket = 5\n")
    shown = CliRunner().invoke(main, ["status"])
    assert shown.exit_code == 2
    assert "fastws.toml" in shown.output
