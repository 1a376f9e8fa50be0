"""Completion of command lines, as a real bash asks for it; and what the other shells are given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fastws.cli.main import COMMANDS, main
from fastws.config.app_names import all_applications, meant, modules, names

MAIN = """
import os
from fastapi import FastAPI
limit = 3
_hidden = 4
service = FastAPI()
def helper(x): ...
async def raw(scope, receive, send): ...
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with modules, a package, and what is none."""
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / "broken.py").write_text("def app(:\n")
    (tmp_path / "tools.py").write_text("number = 3\n")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "web.py").write_text("app = None\n")
    (tmp_path / "my-script.py").write_text("app = None\n")
    (tmp_path / "cert.pem").write_text("")
    return tmp_path


def complete(directory: Path, *lines: str) -> dict[str, list[str]]:
    """What a real bash offers for the last word of each line, as it would put it in the place of its own last word."""
    bash = shutil.which("bash")
    assert bash is not None
    script = """
compopt() { echo "compopt $*"; }
eval "$(fastws completion bash)"
complete -p fastws >&2
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
for line in "$@"; do
    COMP_LINE=$line COMP_POINT=${#line}
    _fastws_completion fastws
    printf '%s\\n' "${COMPREPLY[@]}" ""
done
"""
    run = subprocess.run(
        [bash, "--norc", "-c", script, "bash", *lines],
        cwd=directory,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "complete -o nosort -F _fastws_completion fastws" in run.stderr
    *answers, end = run.stdout.split("\n\n")
    assert end == ""
    return dict(zip(lines, (each.split("\n") for each in answers), strict=True))


OFFERED = {
    "fastws --ws-max-q": ["--ws-max-queue", "--ws-max-queue-bytes"],
    "fastws main:raw --no-acc": ["--no-access-log"],
    "fastws --ws ws": ["wsproto"],
    "fastws --ws=ws": ["wsproto"],
    "fastws --log-level=WAR": ["warning"],
    "fastws --ws-per-message-deflate ": ["true", "false"],
    "fastws --forwarded-headers forwarded,x-forwarded-h": ["forwarded,x-forwarded-host"],
    "fastws dr": ["drain"],
    "fastws --help webs": ["websocket"],
    "fastws completion ": ["bash", "zsh", "fish"],
    "fastws status --conn": ["--connections"],
    "fastws check --ws-max-a": ["--ws-max-age"],
    "fastws main": ["main:service", "main:raw"],
    "fastws check main": ["main:service", "main:raw"],
    "fastws main:": ["service", "raw", "limit", "helper"],
    "fastws --port 80 main:s": ["service"],
    "fastws pk": ["compopt -o nospace", "pkg."],
    "fastws pkg.": ["pkg.web:app"],
    "fastws tool": ["compopt -o nospace", "tools:"],
    "fastws --app-dir pkg we": ["web:app"],
    "fastws --ssl-certfile ce": ["compopt -o default"],
    "fastws --app-dir p": ["compopt -o dirnames -o plusdirs"],
    "fastws --config fa": ["compopt -o default"],
    "fastws ": ["main:service", "main:raw", *COMMANDS],
}


@pytest.mark.slow
def test_bash_completes(directory: Path) -> None:
    assert complete(directory, *OFFERED) == OFFERED


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_FASTWS_COMPLETE" in result.output


def test_shells_without_word_breaks_get_the_whole_word(directory: Path) -> None:
    for shell, expected in [("fish", "plain,--log-level=debug"), ("zsh", "plain\n--log-level=debug\n_")]:
        environ = {"COMP_WORDS": "fastws --log-level=de", "_FASTWS_COMPLETE": f"{shell}_complete"}
        environ["COMP_CWORD"] = "1" if shell == "zsh" else "--log-level=de"
        result = CliRunner().invoke(main, [], env=environ, prog_name="fastws")
        assert result.output.strip() == expected


def test_names_are_read_and_not_imported(directory: Path) -> None:
    (directory / "main.py").write_text(MAIN + "raise SystemExit\n")
    assert modules(str(directory)) == ["broken", "main", "pkg", "tools"]
    assert modules(str(directory), "pkg") == ["pkg.web"]
    assert names(str(directory), "broken") == names(str(directory), "nowhere") == []
    assert all_applications(str(directory)) == ["main:service", "main:raw"]
    assert meant("mian", str(directory)) == "main:service"
    assert meant("pkg.wbe", str(directory)) == "pkg.web:app"
    assert meant("zzz", str(directory)) is None
