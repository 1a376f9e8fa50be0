"""The configuration file: fastws.toml, or the table [tool.fastws] of pyproject.toml, checked key by key.

Keys are names of options, with hyphens or underscores. Here a file becomes values; which of several sources of an
option counts is decided in `fastws.config.sources`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastws.config.near import did_you_mean
from fastws.config.option import GROUPS, Option
from fastws.config.table import OPTION, OPTIONS
from fastws.config.uvicorn_options import instead_of
from fastws.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OWN_FILE: Final = "fastws.toml"
SHARED_FILE: Final = "pyproject.toml"
_LISTS: Final = ("list", "texts", "addresses", "origins", "certificates", "headers")

_BY_KEY: Final[Mapping[str, Option]] = {
    **{each.cli.removeprefix("--").replace("-", "_"): each for each in OPTIONS},
    **OPTION,
}


@dataclass(frozen=True)
class ConfigFile:
    """What a file says. `keys` are the options as the file spells them, by their names."""

    path: str
    app: str | None
    options: dict[str, Any]
    keys: dict[str, str]


def find(directory: str = ".") -> str | None:
    """The file of a directory that says something about fastws: its own before the project's."""
    own = os.path.join(directory, OWN_FILE) if directory != "." else OWN_FILE
    if os.path.exists(own):
        return own
    shared = os.path.join(directory, SHARED_FILE) if directory != "." else SHARED_FILE
    try:
        with open(shared, "rb") as file:
            return shared if b"fastws" in (text := file.read()) and _table(shared, text) is not None else None
    except OSError:  # somebody else's file, which need not be there, or for us
        return None


def read(path: str) -> ConfigFile:
    """Read and check a file. Raises ConfigError, one line that names the file, the key and what would be right."""
    try:
        with open(path, "rb") as file:
            table = _table(path, file.read())
    except OSError as error:
        raise ConfigError(f"--config: cannot read {path}: {error.strerror}") from None
    if table is None:
        raise ConfigError(f"--config: {path} has no table [tool.fastws]")
    app: str | None = None
    options: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for key, value in table.items():
        where = f"{path}: {key}"
        if key == "app":
            if not isinstance(value, str) or not all(value.partition(":")):
                raise ConfigError(f'{where}: must be module:attribute, as in "main:app", not {value!r:.100}')
            app = value
            continue
        option = _BY_KEY.get(key.replace("-", "_"))
        if option is None:
            raise ConfigError(f"{where}: no such option{_meant(key, value)}")
        if option.name in options:
            raise ConfigError(f"{where}: the file has it already, as {keys[option.name]}")
        keys[option.name] = key
        options[option.name] = _checked(option, value, where)
    return ConfigFile(path, app, options, keys)


def _table(path: str, text: bytes) -> dict[str, Any] | None:
    """The table that is ours; None where the project's file has none. Raises ConfigError."""
    try:
        document: dict[str, Any] = tomllib.loads(text.decode())
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    if os.path.basename(path) != SHARED_FILE:
        return document
    tool = document.get("tool")
    table = tool.get("fastws") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise ConfigError(f"{path}: tool.fastws: must be a table")
    return table


def _meant(key: str, value: Any) -> str:
    if isinstance(value, dict):
        if key.lower() in map(str.lower, GROUPS):
            return f": options of the group {key} stand at the top, without a table"
        if key == "tool":
            return ": a table [tool.fastws] belongs into pyproject.toml; here options stand at the top"
    instead = instead_of(key)
    if instead:
        return f": {instead}"
    return did_you_mean(key, ("app", *(each.cli.removeprefix("--") for each in OPTIONS)))


def _checked(option: Option, value: Any, where: str) -> Any:
    """The value of an option. TOML has no word for nothing, so that a number may be "none"; lists may be one text."""
    shown = _shown(value)
    if isinstance(value, str):
        if option.kind in ("headers", "mode") or (value.lower() == "none" and option.nullable):
            return option.parse(value, where)
    elif option.kind == "mode":
        raise ConfigError(f'{where}: must be a text, as in "660", not {shown}')
    elif option.kind in _LISTS:
        items = value.items() if isinstance(value, dict) and option.kind in ("headers", "certificates") else value
        if isinstance(items, dict) or not isinstance(items, Iterable):
            raise ConfigError(f"{where}: must be {option.expected()}, not {shown}")
        value = [_pair(option, item) for item in items]
    return option.check(value, where, shown)


def _pair(option: Option, item: Any) -> Any:
    """An item of a list: a header ``"name: value"``, or a name and what belongs to it."""
    if option.kind == "headers" and isinstance(item, str):
        return tuple(item.split(":", 1))
    if option.kind == "certificates" and isinstance(item, tuple):
        name, paths = item
        return (name, *(paths.split(":") if isinstance(paths, str) else paths))
    return item


def _shown(value: Any) -> Any:
    """The value as TOML has it, where Python would spell it otherwise."""
    return _Plain(str(value).lower()) if isinstance(value, bool) else value


class _Plain(str):
    """A text that an error shows without quotes."""

    def __repr__(self) -> str:
        return str(self)
