"""The command ``fastws``: options generated from `fastws.config.OPTIONS`, grouped by concern in --help.

Precedence is command line, environment (FASTWS_*), --env-file, default. A wrong option is one line and exit code 2;
what happens when the server cannot start is decided in `fastws.server`.
"""

from __future__ import annotations

import difflib
import functools
import os
import platform
from collections.abc import Mapping
from typing import Any, Final

import click

import fastws
from fastws.config import OPTION, OPTIONS, Config, read_environment
from fastws.errors import ConfigError
from fastws.options import GROUPS, Option, instead_of

CONTROL_COMMANDS: Final = ("status", "close", "drain")
"""Commands of `fastws.control_cli`. An application is never called so: its name has a colon."""


class UsageError(click.UsageError):
    """A wrong option. Shown as one line, without the usage that click would put before it."""

    def show(self, file: Any = None) -> None:
        """Print the line."""
        click.echo(f"Error: {self.format_message()}", file=file, err=file is None)


class _Command(click.Command):
    """A command whose options are grouped in --help and whose errors are one line."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {group: [] for group in (*GROUPS, "Other")}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                known = OPTION.get(param.name or "")
                groups[known.group if known is not None else "Other"].append(record)
        for group, records in groups.items():
            if records:
                with formatter.section(group):
                    formatter.write_dl(records, col_max=34)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] in CONTROL_COMMANDS:
            from fastws.control_cli import COMMANDS

            COMMANDS[args[0]].main(args[1:], prog_name=f"fastws {args[0]}")
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            raise UsageError(f"No such option: {name}: {instead_of(name) or _possibilities(error)}") from None
        except click.UsageError as error:
            raise UsageError(error.format_message()) from None


def _possibilities(error: click.NoSuchOption) -> str:
    close = difflib.get_close_matches(error.option_name, error.possibilities or (), 1)
    return f"did you mean {close[0]}?" if close else "see fastws --help"


def _click_option(option: Option) -> click.Option:
    """The option for click, which passes texts on as they are: `Option.parse` alone knows what they must be."""
    if option.kind == "flag":
        names = [option.cli] if option.default is False else [f"{option.cli}/--no-{option.cli[2:]}"]
        return click.Option([option.name, *names], is_flag=True, default=None, help=_help(option))
    return click.Option(
        [option.name, option.cli],
        type=str,
        metavar=option.metavar,
        multiple=option.repeated,
        default=None,
        help=_help(option),
    )


def _help(option: Option) -> str:
    default = option.default
    if default in (None, "", (), False) or "[default" in option.help:
        return option.help
    if isinstance(default, bool):
        return f"{option.help}  [default: {'on' if option.kind == 'flag' else 'true'}]"
    return (
        f"{option.help}  [default: {default:g}]"
        if isinstance(default, float)
        else f"{option.help}  [default: {default}]"
    )


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        python = f"{platform.python_implementation()} {platform.python_version()}"
        click.echo(f"fastws {fastws.__version__} with {python} on {platform.system()}")
        ctx.exit()


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the command line gives, parsed."""
    given = {}
    for option in OPTIONS:
        value = values.get(option.name)
        if value is None or value == ():
            continue
        if option.repeated:
            value = [each for text in value for each in option.parse(text)]
        given[option.name] = option.parse(value) if isinstance(value, str) else value
    return given


def read_config(app: str | None, values: Mapping[str, Any]) -> Config:
    """The configuration of a command line, completed from the environment. Raises ConfigError.

    Reads --env-file into the environment first, so that it may hold FASTWS_* variables.
    """
    given = _given(values)
    env_file = given.get("env_file") or os.environ.get(OPTION["env_file"].env)
    if env_file:
        from fastws.app_loading import load_env_file

        load_env_file(env_file)
    app = app or os.environ.get("FASTWS_APP")
    if not app:
        raise ConfigError("Missing argument APP: the application, as in `fastws main:app`")
    return Config(app, **{**read_environment(os.environ, skip=given), **given})


def _serve(app: str | None, **values: Any) -> None:
    environ = dict(os.environ)  # without what --env-file adds
    source = functools.partial(read_config, app, values)
    try:
        config = source()
    except ConfigError as error:
        raise UsageError(str(error)) from None
    from fastws.launch import serve_config  # late: --help needs no sockets

    serve_config(config, source, environ, last=True)


main: Final = _Command(
    "fastws",
    callback=_serve,
    params=[
        click.Argument(["app"], required=False, metavar="APP"),
        *map(_click_option, OPTIONS),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Show the version and exit.",
        ),
    ],
    help="Serve the ASGI application APP, given as module:attribute, over HTTP and WebSocket.\n\n"
    "Each option can be set by an environment variable as well: --ws-max-size by FASTWS_WS_MAX_SIZE.\n\n"
    "With --control-socket, `fastws status`, `fastws close` and `fastws drain` talk to the running server; each has a "
    "--help.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
"""The command, for the console script and for ``python -m fastws``."""
