"""Options by variables of the environment, FASTWS_WS_MAX_SIZE for `ws_max_size`, and the file that --env-file names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from fastws.config.table import OPTIONS
from fastws.distribution import install_line
from fastws.errors import ConfigError


def read_environment(environ: Mapping[str, str], skip: Iterable[str] = ()) -> dict[str, Any]:
    """The options that `environ` sets by variables FASTWS_*, without those named in `skip`. An empty variable is unset.

    Raises ConfigError, naming the variable, for a value that is wrong.
    """
    skipped = set(skip)
    if environ.get("FASTWS_PORT", "").startswith("tcp://"):
        skipped.add("port")  # Kubernetes sets it, in every pod beside a service that is called fastws
    return {
        each.name: each.parse(environ[each.env], each.env)
        for each in OPTIONS
        if each.name not in skipped and environ.get(each.env)
    }


def load_env_file(path: str | os.PathLike[str]) -> None:
    """Set the environment variables that the file sets, except those that are set already.

    Raises ConfigError where the file cannot be read or python-dotenv is not installed.
    """
    try:
        import dotenv
    except ImportError:
        raise ConfigError(f"--env-file: needs python-dotenv: {install_line('env')}") from None
    try:
        with open(path, encoding="utf-8") as file:
            dotenv.load_dotenv(stream=file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"--env-file: cannot read {os.fspath(path)}: {reason}") from None
