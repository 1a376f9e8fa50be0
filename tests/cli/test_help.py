"""What the command says of itself: pages of help that fit a screen, its version, and colours where they are wanted."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from serving import WITHOUT_EXTENSION

from fastws import __version__
from fastws.cli.help import MOST_USED
from fastws.cli.main import COMMANDS, main
from fastws.config import OPTION, OPTIONS
from fastws.config.option import GROUPS
from fastws.observe.terminal import say, wants_colors

SCREEN = 50
"""Lines of a terminal that is not small."""


@pytest.fixture(autouse=True)
def _no_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def output(*arguments: str) -> str:
    """What the command prints, in a terminal of 80 columns that is none."""
    result = CliRunner().invoke(main, arguments, prog_name="fastws", env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    return result.output


def words(text: str) -> list[str]:
    return re.findall(r"(?<![\w-])--?[\w-]+|\S+", text)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"], ["a:b", "--port", "1", "--help"], ["-h", "a:b"]])
def test_overview_names_all_groups_and_commands(arguments: list[str]) -> None:
    text = output(*arguments)
    assert text.startswith("Usage: fastws [OPTIONS] APP\n")
    for name in (*map(str.lower, GROUPS), *COMMANDS):
        assert f"\n  {name} " in text
    assert text.count("\n") <= SCREEN
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("group", GROUPS)
def test_page_of_a_group_has_each_option_and_fits_a_screen(group: str) -> None:
    for asked in (["--help", group], [f"--help={group.lower()}"], ["help", group.lower()]):
        text = output(*asked)
        named = words(text)
        assert [each.cli for each in OPTIONS if each.group == group and each.cli not in named] == []
        assert text.startswith(f"{group}:\n")
        assert text.count("\n") <= SCREEN
        assert max(map(len, text.splitlines())) <= 80


def test_overview_names_options_of_their_group() -> None:
    assert MOST_USED.keys() <= set(GROUPS)
    assert [name for group, names in MOST_USED.items() for name in names if OPTION[name].group != group] == []


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_page_of_an_option_says_it_whole(option: object) -> None:
    assert isinstance(option, type(OPTIONS[0]))
    text = output("--help", option.cli)
    assert option.name == "http" or output("--help", option.name) == text
    whole = re.sub(r"\s*\[default: .*\]$", "", option.help)
    assert " ".join(whole.split()) in " ".join(text.split())
    assert option.env in text


def test_help_about_all_has_everything() -> None:
    text = output("--help", "all")
    flat = " ".join(text.split())
    for option in OPTIONS:
        assert re.sub(r"\s*\[default: .*\]$", "", " ".join(option.help.split())) in flat
    for name in ("--config FILE", "--version", "--no-access-log"):
        assert name in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_about_a_command(command: str) -> None:
    assert output("--help", command).startswith(f"Usage: fastws {command} ")
    assert output(command, "--help") == output("--help", command)


def test_help_about_nothing_there_is() -> None:
    result = CliRunner().invoke(main, ["--help", "ws-max-sise"])
    assert (result.exit_code, result.output) == (
        2,
        "Error: --help: there is nothing about ws-max-sise: did you mean 'ws-max-size'?\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["statsu"], "statsu: neither an application nor a command: did you mean `fastws status`?"),
        (["chekc", "a:b"], "chekc: neither an application nor a command: did you mean `fastws check`?"),
        (["run", "a:b"], "run: neither an application nor a command: did you mean `fastws a:b`?"),
        (["status", "--conections"], "--conections: no such option: did you mean --connections?"),
        (["check", "a:b", "--prot", "1"], "--prot: no such option: did you mean --port?"),
        (["--max-size", "1"], "--max-size: no such option: did you mean --ws-max-size?"),
        (["completion"], "SHELL: is missing: one of bash, zsh, fish"),
        (["completion", "tcsh"], "SHELL: 'tcsh' is not one of "),
    ],
)
def test_what_was_mistyped_is_one_line_with_a_suggestion(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.output.startswith(f"Error: {message}")
    assert result.output.count("\n") == 1


def test_version_is_a_line_for_machines_and_the_facts_of_the_build() -> None:
    first, *lines = output("--version").splitlines()
    assert first == f"fastws {__version__}"
    facts = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    assert facts["Python"].startswith(f"CPython {sys.version.split()[0]} on ")
    assert {"uvloop", "httptools", "websockets", "wsproto", "zlib", "OpenSSL", "isal"} <= facts.keys()
    if WITHOUT_EXTENSION:
        assert (facts["engine"], facts["build"]) == ("websockets", "interpreted: the extensions are not built")
    else:
        assert facts["engine"] == "cython"
        assert re.match(r"compiled by (gcc|clang) \d+\.\d+.* with -O3 .*from Cython 3\.\d+\.\d+$", facts["build"])
        assert "/" not in facts["build"]
        assert re.match(r"(portable|sse2|avx2|neon) \(this machine has ", facts["unmasking"])


class Stream:
    """Something to write to, which says whether it is a terminal."""

    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("environ", "in_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": "", "FORCE_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_who_wants_colours(environ: dict[str, str], in_terminal: bool, elsewhere: bool) -> None:
    assert wants_colors(Stream(True), environ) is in_terminal  # type: ignore[arg-type]  # all that it asks for is there
    assert wants_colors(Stream(False), environ) is elsewhere  # type: ignore[arg-type]
    assert wants_colors(None, {}) is False


def test_colours_are_forced_on_help_and_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1mExamples" in CliRunner().invoke(main, ["--help"]).output
    say("Error", "it is so")
    assert capsys.readouterr().err == "\x1b[1;31mError:\x1b[0m it is so\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in CliRunner().invoke(main, ["--help"]).output


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal: our end of it and the other."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


@pytest.mark.parametrize(("environ", "colored"), [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False)])
@pytest.mark.parametrize("arguments", [["--help", "address"], ["a:b", "--port", "x"], ["nowhere_at_all:app"]])
@pytest.mark.slow
def test_terminal_gets_colours_of_help_errors_and_logs(
    terminal: tuple[int, int], environ: dict[str, str], colored: bool, arguments: list[str]
) -> None:
    ours, theirs = terminal
    command = [sys.executable, "-m", "fastws", *arguments]
    environ = {**os.environ, **environ}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(ours, 65536):
            said += chunk
    except OSError:  # what the end of a terminal reads like
        pass
    process.wait()
    assert said
    assert (b"\x1b[" in said) is colored
