"""What the commands that talk to a running server take from the configuration file that the server was started with."""

from __future__ import annotations

import os
from typing import Any, Final

import click

from fastws.cli.command import Failure, UsageError
from fastws.cli.own_socket import own_socket
from fastws.config import file as config_file
from fastws.config.sources import CONFIG_VARIABLE
from fastws.errors import ConfigError

NONE_HERE: Final = "no server runs that was started in a terminal in this directory; --control-socket names another one"


def option_of_file(name: str) -> Any:
    """The option as $FASTWS_CONFIG, fastws.toml or pyproject.toml has it; None where none does.

    Raises UsageError for a file that is wrong: another place than the one it means must not be asked.
    """
    path = os.environ.get(CONFIG_VARIABLE) or config_file.find()
    if not path:
        return None
    try:
        return config_file.read(path).options.get(name)
    except ConfigError as error:
        raise UsageError(str(error)) from None


def or_of_file(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """A callback for an option of click's that is called as the server's: where nobody gives it, the file's value."""
    if value is None and not ctx.resilient_parsing:
        assert param.opts
        value = option_of_file(param.opts[0].removeprefix("--").replace("-", "_"))
    return value


def socket_of_server(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """The same for --control-socket, and then that of a server which was started in a terminal in this directory."""
    value = or_of_file(ctx, param, value)
    if value is None and not ctx.resilient_parsing and (value := own_socket()) is None:
        raise Failure(NONE_HERE)
    return value
