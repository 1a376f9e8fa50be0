"""Where the options of the command `fastws` come from, and which one counts where several sources have it.

The command line is stronger than the environment (FASTWS_*), which is stronger than the configuration file; what none
of them says is the default. --env-file is read first, into the environment. `fastws.run(...)` knows none of this.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastws.config import file as config_file
from fastws.config.app_names import all_applications, meant
from fastws.config.config import Config
from fastws.config.environment import load_env_file, read_environment
from fastws.config.near import nearest
from fastws.config.table import OPTION, OPTIONS
from fastws.config.uvicorn_options import MISSING
from fastws.errors import ConfigError

PREFIX: Final = "FASTWS_"
COMMAND_LINE: Final = "command line"
CONFIG_VARIABLE: Final = "FASTWS_CONFIG"
APP_VARIABLE: Final = "FASTWS_APP"

PORT_VARIABLE: Final = "PORT"
"""By which platforms say where a service must listen, for all who can reach it."""
ALL_ADDRESSES: Final = "0.0.0.0"

_KNOWN: Final = {CONFIG_VARIABLE, APP_VARIABLE, "FASTWS_EXTENSION", "FASTWS_CFLAGS", "FASTWS_TEST_ENGINES"}
"""Variables that are ours and no options: what setup.py and the tests read."""
_SERVICE_LINK: Final = re.compile(r"FASTWS_(?:.*_)?(?:SERVICE_(?:HOST|PORT)(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP)\w*)?)")
"""What Kubernetes sets for services, of which one is called fastws."""


@dataclass(frozen=True)
class Given:
    """What somebody gave, checked one by one: the options, and where each was found."""

    app: str
    options: dict[str, Any]
    origins: dict[str, str]
    file: str | None

    def config(self) -> Config:
        """The whole. Raises ConfigError where options contradict each other."""
        return Config(self.app, **self.options)


def read_config(app: str | None, values: Mapping[str, Any]) -> Config:
    """The configuration of a command line, completed from the other sources. Raises ConfigError."""
    return gather(app, values).config()


def gather(app: str | None, values: Mapping[str, Any]) -> Given:
    """All that is given, by the command line (`values`, as texts or as click has flags) or elsewhere.

    Reads --env-file into the environment first, so that it may hold FASTWS_* variables. Raises ConfigError.
    """
    before = set(os.environ)
    options = _parsed(values)
    origins = dict.fromkeys(options, COMMAND_LINE)
    env_file = options.get("env_file") or os.environ.get(OPTION["env_file"].env)
    _load(env_file)
    path = values.get("config") or os.environ.get(CONFIG_VARIABLE) or config_file.find()
    file = config_file.read(path) if path else None
    if env_file is None and file is not None:
        env_file = file.options.get("env_file")
        _load(env_file)
    found = read_environment(os.environ, skip=options)
    for name in found:
        variable = OPTION[name].env
        origins[name] = variable if variable in before else f"{variable} in {env_file}"
    options.update(found)
    if file is not None:
        for name, value in file.options.items():
            if name not in options:
                options[name], origins[name] = value, file.path
    if os.environ.get(PORT_VARIABLE) and not {"port", "bind", "uds", "fd"} & set(options):
        told = {"port": OPTION["port"].parse(os.environ[PORT_VARIABLE], PORT_VARIABLE), "host": ALL_ADDRESSES}
        for name in told.keys() - options.keys():
            options[name], origins[name] = told[name], PORT_VARIABLE
    app = app or os.environ.get(APP_VARIABLE) or (file.app if file is not None else None)
    return Given(_checked_app(app, os.fspath(options.get("app_dir", "."))), options, origins, path or None)


def notes(environ: Mapping[str, str]) -> list[str]:
    """What the operator should know about variables that look like options, and are none of ours; one line each."""
    lines = []
    spellings = {each.env: each for each in OPTIONS}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in spellings or variable in _KNOWN:
            continue
        if _SERVICE_LINK.fullmatch(variable):
            continue
        missing = MISSING.get(variable.removeprefix(PREFIX).lower())
        if missing is not None:
            lines.append(f"{variable} has no effect: {missing.why}")
            continue
        named = (each.removeprefix(PREFIX) for each in (*spellings, CONFIG_VARIABLE, APP_VARIABLE))
        found = nearest(variable.removeprefix(PREFIX), named)
        lines.append(f"{variable} names no option" + (f": did you mean {PREFIX}{found}?" if found is not None else ""))
    for variable in sorted(environ):
        ours = PREFIX + variable.removeprefix("UVICORN_")
        if variable.startswith("UVICORN_") and ours in {*spellings, APP_VARIABLE} and ours not in environ:
            lines.append(f"{variable} is not read: fastws has {ours}")
    return lines


def _parsed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the command line gives."""
    given = {}
    for option in OPTIONS:
        value = values.get(option.name)
        if value is None or value == ():
            continue
        if option.repeated:
            value = [each for text in value for each in option.parse(text)]
        given[option.name] = option.parse(value) if isinstance(value, str) else value
    return given


def _load(env_file: str | None) -> None:
    if env_file:
        load_env_file(env_file)


def _checked_app(app: str | None, app_dir: str) -> str:
    """APP, if it can be one: the error says what is there instead."""
    if not app:
        there = all_applications(app_dir)
        example = there[0] if there else "main:app"
        raise ConfigError(f"APP: is missing: say the application, as in `fastws {example}`")
    if ":" not in app:
        likely = meant(app, app_dir)
        hint = f": did you mean {likely!r}?" if likely is not None else ""
        raise ConfigError(f"APP: must be module:attribute, as in main:app, not {app!r:.100}{hint}")
    return app
