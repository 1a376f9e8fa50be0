"""A logging configuration that was written for uvicorn, made to work here: its loggers and its formatters become ours.

A logger of uvicorn's stays as it is, since applications log to it, and the one of ours that corresponds to it is set up
alike, where the configuration names none of ours. A formatter of uvicorn's becomes ours everywhere: uvicorn need not be
installed, and its formatter for the access log knows no WebSockets.
"""

from __future__ import annotations

import configparser
import inspect
from typing import Any, Final

OURS: Final = "fastws"
THEIRS: Final = "uvicorn"
FORMATTERS: Final = {
    "uvicorn.logging.ColourizedFormatter": "fastws.observe.DefaultFormatter",
    "uvicorn.logging.DefaultFormatter": "fastws.observe.DefaultFormatter",
    "uvicorn.logging.AccessFormatter": "fastws.observe.AccessFormatter",
}


def is_for_uvicorn(dictionary: dict[str, Any]) -> bool:
    """Whether a configuration for `logging.config.dictConfig` sets up loggers of uvicorn's and none of ours."""
    return _are_theirs([str(name) for name in _section(dictionary, "loggers")])


def as_ours(dictionary: dict[str, Any]) -> dict[str, Any]:
    """The configuration with formatters and loggers of ours for those of uvicorn; itself where it has none."""
    formatters, loggers = _section(dictionary, "formatters"), _section(dictionary, "loggers")
    found = {name: _our_formatter(each) for name, each in formatters.items()}
    if is_for_uvicorn(dictionary):
        loggers = loggers | {_our_name(name): spec for name, spec in loggers.items() if _are_theirs([name])}
    if found == formatters and loggers == _section(dictionary, "loggers"):
        return dictionary
    return {**dictionary, "formatters": found, "loggers": loggers}


def ini_as_ours(parser: configparser.RawConfigParser) -> bool:
    """Change a configuration for `logging.config.fileConfig` alike; whether it was for uvicorn."""
    for section in parser.sections():
        if section.startswith("formatter_"):
            theirs = parser.get(section, "class", raw=True, fallback="")
            if theirs in FORMATTERS:
                parser.set(section, "class", FORMATTERS[theirs])
    keys = [key.strip() for key in parser.get("loggers", "keys", raw=True, fallback="").split(",")]
    names = {key: parser.get(f"logger_{key}", "qualname", raw=True, fallback="") for key in keys}
    if not _are_theirs(list(names.values())):
        return False
    for key, name in names.items():
        if _are_theirs([name]):
            parser.add_section(f"logger_{OURS}_{key}")
            for option, value in parser.items(f"logger_{key}", raw=True):
                parser.set(f"logger_{OURS}_{key}", option, _our_name(name) if option == "qualname" else value)
            keys.append(f"{OURS}_{key}")
    parser.set("loggers", "keys", ",".join(keys))
    return True


def _section(dictionary: dict[str, Any], key: str) -> dict[str, Any]:
    found = dictionary.get(key)
    return found if isinstance(found, dict) else {}


def _are_theirs(names: list[str]) -> bool:
    roots = {name.partition(".")[0] for name in names}
    return THEIRS in roots and OURS not in roots


def _our_name(name: str) -> str:
    return OURS + name.removeprefix(THEIRS)


def _our_formatter(spec: Any) -> Any:
    if not isinstance(spec, dict):
        return spec
    key = "()" if "()" in spec else "class"
    theirs = spec.get(key)
    if inspect.isclass(theirs):
        theirs = f"{theirs.__module__}.{theirs.__qualname__}"
    ours = FORMATTERS.get(str(theirs).removeprefix("ext://"))
    return spec if ours is None else {**spec, key: ours}
