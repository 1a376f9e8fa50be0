"""Every option of the uvicorn that is installed is ours too, or is in the table of those that are not, with the reason.

One that a new uvicorn brings fails here until somebody has decided about it.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import click
import pytest
import uvicorn
from click.testing import CliRunner

import fastws
from fastws.cli.main import main
from fastws.config import OPTION, OPTIONS, Config
from fastws.config.uvicorn_options import MISSING, instead_of_value, judge, known
from fastws.errors import ConfigError

PAGE = (Path(__file__).parents[2] / "docs" / "from-uvicorn.md").read_text()
OURS = {option.cli: option for option in OPTIONS}
THEIRS: list[Any] = [param for param in uvicorn.main.params if isinstance(param, click.Option)]
RUN = {name: param.default for name, param in inspect.signature(uvicorn.run).parameters.items() if name != "app"}
CONFIG = {name: param.default for name, param in inspect.signature(uvicorn.Config).parameters.items() if name != "app"}

WORDS = {
    "ws": ("auto", "none", "websockets", "websockets-sansio", "wsproto"),
    "http": ("auto", "h11", "httptools", "zttp"),
    "loop": ("auto", "asyncio", "uvloop", "zuvloop"),
}
"""The words of options for which uvicorn takes a path too, and click knows no list."""


@pytest.mark.parametrize("param", THEIRS, ids=lambda param: param.opts[0])
def test_every_option_is_ours_or_explained(param: Any) -> None:
    spelled = param.opts[0]
    if spelled in ("--version", "--help"):
        return
    assert f"`{spelled}`" in PAGE or f"`{spelled} " in PAGE, "docs/from-uvicorn.md does not name it"
    option = OURS.get(spelled)
    if option is None:
        assert not MISSING[param.name].in_python_only
        return
    assert (option.metavar is None) is bool(param.is_flag)
    for other in param.secondary_opts:
        assert other == f"--no-{spelled.removeprefix('--')}"
        assert other in next(each for each in main.params if each.name == option.name).secondary_opts
    for word in getattr(param.type, "choices", None) or WORDS.get(param.name, ()):
        if instead_of_value(option.name, word):
            with pytest.raises(ConfigError):
                option.parse(word)
        else:
            option.parse(word)


def test_the_words_of_uvicorn_are_all_of_them() -> None:
    from uvicorn import config

    assert set(WORDS["ws"]) == set(config.WS_PROTOCOLS)
    assert set(WORDS["http"]) == set(config.HTTP_PROTOCOLS)
    assert set(WORDS["loop"]) == {*config.LOOP_FACTORIES} - {"none"}


@pytest.mark.parametrize("name", sorted({*RUN, *CONFIG}))
def test_every_argument_in_python_is_ours_or_explained(name: str) -> None:
    assert (name in OPTION) != (name in MISSING)
    assert f"`--{name.removesuffix('s').replace('_', '-')}" in PAGE or f"`{name}`" in PAGE or name in PAGE


def test_nothing_is_explained_that_uvicorn_has_not() -> None:
    assert MISSING.keys() <= {*RUN, *CONFIG}
    assert {name for name, each in MISSING.items() if each.in_python_only} == MISSING.keys() - {
        each.name for each in THEIRS
    }
    for name, each in MISSING.items():
        assert each.default == {**CONFIG, **RUN}[name]


def test_run_takes_the_defaults_of_uvicorn_run(capsys: pytest.CaptureFixture[str]) -> None:
    config = Config("a:b", **known({**RUN, **CONFIG}, OPTION)[0])
    assert capsys.readouterr().err == ""
    differing = {
        option.name for option in OPTIONS if getattr(config, option.name) != getattr(Config("a:b"), option.name)
    }
    # What docs/from-uvicorn.md has under "What differs".
    assert differing == {
        "log_config",
        "timeout_graceful_shutdown",
        "timeout_keep_alive",
        "timeout_worker_healthcheck",
    }


@pytest.mark.parametrize(
    ("name", "value", "error", "warning"),
    [
        ("interface", "auto", False, False),
        ("interface", "asgi2", False, True),
        ("interface", "wsgi", True, False),
        ("http2", False, False, False),
        ("http2", True, True, False),
        ("h11_max_incomplete_event_size", None, False, False),
        ("h11_max_incomplete_event_size", 65536, True, False),
        ("reset_contextvars", False, False, False),
        ("reset_contextvars", True, False, True),
        ("ssl_context_factory", lambda config, default: default(), True, False),
    ],
)
def test_what_becomes_of_a_value(
    name: str, value: Any, error: bool, warning: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    found = judge(name, value)
    assert tuple(map(bool, found)) == (error, warning)
    if error:
        with pytest.raises(SystemExit):
            fastws.run("a:b", **{name: value})
        assert capsys.readouterr().err == f"Error: {name}: {found[0]}\n"
    else:
        assert known({name: value}, OPTION) == ({}, [f"{name}: {found[1]}"] if warning else [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--interface", "asgi3"], "Warning: --interface: it has no effect: ASGI 3 and ASGI 2 are recognised; "),
        (["--reset-contextvars"], "Warning: --reset-contextvars: it has no effect: each request and each WebSocket "),
        (["--interface", "auto"], ""),
    ],
)
def test_what_is_so_anyway_is_let_through(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["nowhere_at_all:app", *arguments])
    assert result.exit_code == 3  # it went on, to where the application is looked for
    assert result.output.startswith(said or "Error:")


def test_a_mistyped_argument_of_run_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fastws.run("a:b", prot=1)
    assert capsys.readouterr().err == "Error: prot: no such option: did you mean 'port'?\n"


def test_a_warning_of_run_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fastws.run("nowhere_at_all:app", reset_contextvars=True)
    said = "Warning: reset_contextvars: it has no effect: each request "
    assert capsys.readouterr().err.startswith(said)


def test_page_names_no_other_version_of_uvicorn() -> None:
    assert re.search(rf"uvicorn {re.escape(uvicorn.__version__.rpartition('.')[0])}\b", PAGE)
