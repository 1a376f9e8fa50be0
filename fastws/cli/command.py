"""What the commands of `fastws` have in common: their names, errors of one line, suggestions, and colours.

Colours are there where they are wanted. Who needs a command loads it from here, so that no command knows another.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar, Final

import click

from fastws.config.near import did_you_mean
from fastws.counted import counted
from fastws.observe.terminal import say, wants_colors

NAME: Final = "fastws"
"""Of the command itself, which is no sub-command."""
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "check": ("fastws.cli.check", "Import and start APP, check the options, and exit."),
    "status": ("fastws.cli.control", "Show the workers of a running server, or its connections."),
    "close": ("fastws.cli.control", "Close a connection of a running server."),
    "drain": ("fastws.cli.control", "Let a running server, or one of its workers, end gracefully."),
    "publish": ("fastws.cli.publish", "Publish a message to the subscribers of a topic."),
    "completion": ("fastws.cli.completion", "Print what makes bash, zsh or fish complete command lines."),
}
"""The module of each sub-command, which has it under its name, and its line in --help.

An application is never called so: its name has a colon.
"""

MAX_WIDTH: Final = 120
MIN_WIDTH: Final = 40

SETTINGS: Final[dict[str, Any]] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": MAX_WIDTH,
    "allow_extra_args": True,  # `Command` refuses them
}
"""The context settings of every command."""


_DEFAULT: Final = re.compile(r"\[default: \S+\]")
_HYPHEN: Final = "\N{NON-BREAKING HYPHEN}"
_SPACE: Final = "\N{NO-BREAK SPACE}"


def _unbreakable(text: str) -> str:
    """The text with no place to end a line within the names of options and short defaults."""
    return _DEFAULT.sub(lambda found: found[0].replace(" ", _SPACE), text.replace("-", _HYPHEN))


class Failure(click.ClickException):
    """A command cannot do what it was asked for: one line, and exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line, as `fastws.observe.terminal` has it."""
        say("Error", self.format_message())


class UsageError(Failure):
    """A wrong command line, variable or file: one line, without the usage that click would put before it."""

    exit_code: ClassVar[int] = 2


class Formatter(click.HelpFormatter):
    """click's, with bold headings and names of options in colour; what prints takes that away where nobody wants it."""

    def write_heading(self, heading: str) -> None:
        super().write_heading(click.style(heading, bold=True))

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, click.style("Usage:", bold=True) + " " if prefix is None else prefix)

    def write_dl(self, rows: Any, col_max: int = 34, col_spacing: int = 2) -> None:
        rows = [(click.style(name, fg="cyan"), _unbreakable(text)) for name, text in rows]
        super().write_dl(rows, col_max, col_spacing)

    def write_text(self, text: str) -> None:
        super().write_text(_unbreakable(text))

    def getvalue(self) -> str:
        return super().getvalue().replace(_HYPHEN, "-").replace(_SPACE, " ")


class Context(click.Context):
    """A context whose help is written by `Formatter`."""

    formatter_class = Formatter

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.color = wants_colors(sys.stdout)


class Command(click.Command):
    """A command whose errors are one line, with what may have been meant."""

    context_class = Context

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            raise UsageError(self._line(ctx, error)) from None
        if rest and not ctx.resilient_parsing:
            raise UsageError(
                f"{' '.join(rest)}: {counted(len(rest), 'argument')} too many: see `{ctx.command_path} --help`"
            )
        return rest

    def _line(self, ctx: click.Context, error: click.UsageError) -> str:
        """What click has found wrong, in our words: first the option or argument, then what is wrong."""
        see = f": see `{ctx.command_path} --help`"
        if isinstance(error, click.NoSuchOption):
            known = [each for param in self.get_params(ctx) for each in (*param.opts, *param.secondary_opts)]
            meant = did_you_mean(error.option_name, (each for each in known if each.startswith("--"))).replace("'", "")
            return f"{error.option_name}: no such option{meant or see}"
        if isinstance(error, click.BadOptionUsage):
            wrong = "needs a value" if "requires" in error.message else "takes no value"
            return f"{error.option_name}: {wrong}{see}"
        if isinstance(error, click.BadParameter) and error.param is not None:
            name = error.param.opts[0] if error.param.param_type_name == "option" else error.param.human_readable_name
            if isinstance(error, click.MissingParameter):
                choices = error.param.type.choices if isinstance(error.param.type, click.Choice) else ()
                return f"{name}: is missing" + (f": one of {', '.join(choices)}" if choices else see)
            return f"{name}: {_joined(error.message)}"
        return _joined(error.format_message())


def _joined(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Decorator for the function of a sub-command."""
    return click.command(name, cls=Command, context_settings=SETTINGS)


def load_command(name: str) -> click.Command:
    """The sub-command of that name, one of COMMANDS."""
    found = getattr(importlib.import_module(COMMANDS[name][0]), name)
    assert isinstance(found, click.Command)
    return found
