"""The command ``fastws``: options generated from `fastws.config.OPTIONS`, and the way to the commands beside it.

What its --help shows is in `fastws.cli.help`, where options come from besides the command line in
`fastws.config.sources`. A wrong option is one line and exit code 2; what happens when the server cannot start is
decided in `fastws.process.server`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from typing import Any, Final

import click

from fastws.cli import help as cli_help
from fastws.cli.command import COMMANDS, NAME, SETTINGS, Command, UsageError, load_command
from fastws.cli.completion import COMPLETE_VARIABLE, complete_app, complete_value
from fastws.cli.own_socket import own_socket, wanted
from fastws.config import OPTIONS
from fastws.config.app_names import modules
from fastws.config.near import nearest
from fastws.config.option import Option
from fastws.config.sources import gather, notes, read_config
from fastws.config.uvicorn_options import MISSING, judge
from fastws.errors import ConfigError
from fastws.observe.terminal import say

LIKENESS: Final = 0.75
"""How much a word must be like the name of a command to be taken for one, from 0 to 1."""
_SHORT: Final = {"workers": ("-w",)}
"""Short spellings, as gunicorn has them."""
_HELP: Final = ("-h", "--help")


class _Main(Command):
    """The command itself, which hands over to a sub-command where the first argument is the name of one."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in COMMANDS:
            return load_command(args[0]).make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        if args and not extra.get("resilient_parsing") and (meant := _mistyped(args)) is not None:
            raise UsageError(f"{args[0]}: neither an application nor a command: did you mean `fastws {meant}`?")
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        return super().main(*args, **{"complete_var": COMPLETE_VARIABLE, **kwargs})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["help"]:
            args = ["--help", *args[1:]]
        if not ctx.resilient_parsing and (topic := _help_topic(args)) is not None:
            self._show_help(ctx, topic)
        return super().parse_args(ctx, args)

    def _show_help(self, ctx: click.Context, topic: str) -> None:
        if topic in COMMANDS:
            load_command(topic).make_context(f"{ctx.info_name} {topic}", ["--help"])
        try:
            text = cli_help.page(topic, {name: line for name, (_, line) in COMMANDS.items()}, _own())
        except LookupError as error:
            raise UsageError(f"--help: there is nothing about {topic}{error}") from None
        click.echo(text, nl=False, color=ctx.color)
        ctx.exit()


def _mistyped(args: list[str]) -> str | None:
    """What is meant by a first argument that is no command, and no application either: a command, or the next one."""
    first, *rest = args
    if first.startswith("-") or ":" in first or first in modules("."):
        return None
    if (name := nearest(first, COMMANDS, LIKENESS)) is not None:
        return name
    return rest[0] if rest and ":" in rest[0] and not rest[0].startswith("-") else None  # as in `fastws run main:app`


def _help_topic(args: Iterable[str]) -> str | None:
    """What help is asked for by the arguments: a topic, "" for the overview, None where it is not asked for."""
    rest = iter(args)
    for argument in rest:
        if argument == "--":
            return None
        if argument.startswith("--help="):
            return argument.partition("=")[2]
        if argument in _HELP:
            topic = next(rest, "")
            return "" if ":" in topic else topic
    return None


def server_params() -> list[click.Parameter]:
    """The parameters of a command that takes an application and the options of a server."""

    def given(option: Option) -> click.Option:
        """The option for click, which passes texts on as they are: `Option.parse` knows what they must be."""
        if option.kind == "flag":
            names = "/".join(cli_help.flag_names(option))
            return click.Option([option.name, names], is_flag=True, default=None, help=option.help)
        return click.Option(
            [option.name, option.cli, *_SHORT.get(option.name, ())],
            type=str,
            metavar=option.metavar,
            multiple=option.repeated,
            default=None,
            help=option.help,
            shell_complete=functools.partial(complete_value, option),
        )

    missing = [
        click.Option(
            [name, "--" + name.replace("_", "-")],
            type=None if each.flag else str,
            is_flag=each.flag,
            default=None,
            hidden=True,
        )
        for name, each in MISSING.items()
        if not each.in_python_only
    ]
    return [
        click.Argument(["app"], required=False, metavar="APP", shell_complete=complete_app),
        *map(given, OPTIONS),
        click.Option(
            ["--config"],
            type=click.Path(),
            metavar="FILE",
            help="Read options from this file.  [default: fastws.toml, or [tool.fastws] in pyproject.toml]",
        ),
        *missing,
    ]


def _own() -> dict[str, str]:
    """The options that are none of a server, for the page of all of them."""
    return {
        "--config FILE": "Read options from this file.  [default: fastws.toml, or pyproject.toml's tool.fastws]",
        "--version": "Show the versions of fastws and of what it stands on, and how it was built.",
        "-h, --help [GROUP|OPTION|COMMAND|all]": "Show help.",
    }


def take_from(app: str | None, values: dict[str, Any]) -> tuple[str | None, dict[str, Any], list[str]]:
    """What a command line gives, without what it does not, and the warnings about it.

    Raises UsageError for an option of uvicorn's that cannot mean anything here.
    """
    values = {name: value for name, value in values.items() if value is not None and value != ()}
    warnings = []
    for name in MISSING.keys() & values.keys():
        spelled = "--" + name.replace("_", "-")
        error, warning = judge(name, values.pop(name))
        if error:
            raise UsageError(f"{spelled}: {error}")
        if warning:
            warnings.append(f"{spelled}: {warning}")
    return app, values, warnings


def _serve(app: str | None, **values: Any) -> None:
    environ = dict(os.environ)  # without what --env-file adds
    app, values, warnings = take_from(app, values)
    source = functools.partial(read_config, app, values)
    try:
        config = gather(app, values).config()
        if config.control_socket is None and wanted(config.reload) and (path := own_socket(make=True)) is not None:
            values["control_socket"] = path  # source sees it, too
            config = source()
    except ConfigError as error:
        raise UsageError(str(error)) from None
    for line in (*warnings, *notes(os.environ)):
        say("Warning", line)
    from fastws.process.launch import serve_config  # late: --help needs no sockets

    serve_config(config, source, environ, last=True)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from fastws.cli.versions import report

        click.echo(report(), nl=False, color=ctx.color)
        ctx.exit()


main: Final = _Main(
    NAME,
    callback=_serve,
    params=[
        *server_params(),
        click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_version),
    ],
    context_settings=SETTINGS,
)
"""The command, for the console script and for ``python -m fastws``."""
