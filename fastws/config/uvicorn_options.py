"""The options of uvicorn that fastws does not have, and the values that it does not take: why, and what instead.

The command line, the configuration file, the environment and `fastws.run(...)` say it where somebody uses one. A test
compares with the uvicorn that is installed, and docs/from-uvicorn.md with this table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from fastws.config.near import did_you_mean
from fastws.distribution import requirement
from fastws.errors import ConfigError


class Missing(NamedTuple):
    """An option that fastws does not have. A value of `already` asks for what is so anyway, and is let through."""

    why: str
    already: tuple[Any, ...]
    default: Any
    """Of uvicorn: not worth a word, as `None` never is."""
    flag: bool = False
    in_python_only: bool = False


MISSING: Final[Mapping[str, Missing]] = {
    "interface": Missing(
        "ASGI 3 and ASGI 2 are recognised; for WSGI wrap the application, for example in a2wsgi",
        already=("auto", "asgi3", "asgi2"),
        default="auto",
    ),
    "http2": Missing(
        f"install {requirement('http2')} and --http auto speaks HTTP/2, too", already=(False,), default=False, flag=True
    ),
    "h11_max_incomplete_event_size": Missing(
        "--limit-request-head bounds the size of a request head", already=(), default=None
    ),
    "reset_contextvars": Missing(
        "each request and each WebSocket runs in a context of its own already",
        already=(False, True),
        default=False,
        flag=True,
    ),
    "ssl_context_factory": Missing(
        "make the context and pass it on: fastws.Server(config, ssl_context=context).run()",
        already=(),
        default=None,
        in_python_only=True,
    ),
    "callback_notify": Missing(
        "pass a function as on_tick: fastws.Server(config, on_tick=function), called once a second",
        already=(),
        default=None,
        in_python_only=True,
    ),
    "timeout_notify": Missing(
        "on_tick of fastws.Server is called once a second", already=(30,), default=30, in_python_only=True
    ),
}
"""By the name in Python."""

NONE_IS_DEFAULT: Final = (
    *("app_dir", "forwarded_allow_ips", "headers", "reload_dirs", "reload_includes", "reload_excludes"),
)
"""Options for which uvicorn takes None for the default, where in fastws they hold a text or a sequence."""

_SEE: Final = ": see fastws.Config"
_ONE_PARSER: Final = "fastws parses HTTP/1.1 with httptools alone: leave --http out"
_OTHER_LOOP: Final = "for another loop, run `await fastws.Server(config).serve()` in it"

_VALUES: Final[Mapping[str, Mapping[str, str]]] = {
    "http": {"h11": _ONE_PARSER, "zttp": _ONE_PARSER},
    "loop": {"zuvloop": _OTHER_LOOP},
}
_CUSTOM: Final[Mapping[str, str]] = {
    "http": _ONE_PARSER,
    "loop": _OTHER_LOOP,
    "ws": "a protocol class of uvicorn's cannot be an engine: leave --ws out",
}
"""Where uvicorn takes ``module:attribute``, or the object, too."""


def instead_of(name: str) -> str:
    """What to do instead of an option that fastws does not have, by any spelling of its name; empty for other names."""
    missing = MISSING.get(name.lstrip("-").replace("-", "_"))
    return missing.why if missing is not None else ""


def no_such_option(name: str, names: Collection[str]) -> str:
    """The error for an option of Python's, by its name, that is not among `names`."""
    return f"{name}: {instead_of(name) or f'no such option{did_you_mean(name, names) or _SEE}'}"


def instead_of_value(name: str, value: Any) -> str:
    """Why an option of that name does not take a value that uvicorn's does; empty where uvicorn's does not either."""
    if not isinstance(value, str) or ":" in value:
        return _CUSTOM.get(name, "") if isinstance(value, str) or callable(value) else ""
    return _VALUES.get(name, {}).get(value, "")


def judge(name: str, value: Any) -> tuple[str, str]:
    """What becomes of `value` for the option `name` of MISSING: an error and a warning, both of which may be empty."""
    missing = MISSING[name]
    if value is None or (value == missing.default and type(value) is type(missing.default)):
        return "", ""
    if value in missing.already:
        return "", f"it has no effect: {missing.why}"
    return missing.why, ""


def known(options: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """The options that are among `names`, and warnings about those of uvicorn's that ask for what is so anyway.

    Raises ConfigError for every other name.
    """
    found, warnings = {}, []
    for name, value in options.items():
        if name in names:
            found[name] = value
            continue
        if name not in MISSING:
            raise ConfigError(no_such_option(name, names))
        error, warning = judge(name, value)
        if error:
            raise ConfigError(f"{name}: {error}")
        if warning:
            warnings.append(f"{name}: {warning}")
    return found, warnings
