"""Sets Python's logging up as a `Config` asks: from a dictionary or a file, with its level and colours.

Called once when a server starts. What the lines look like is in `fastws.observe.log_format`.
"""

from __future__ import annotations

import configparser
import copy
import json
import logging
import logging.config
import logging.handlers
import os
import sys
import traceback
import weakref
from typing import Any, Final

from fastws.config import LOGGING_CONFIG, Config
from fastws.config.log_defaults import TRACE
from fastws.distribution import install_line
from fastws.errors import ConfigError
from fastws.observe.log_format import STOPS
from fastws.observe.log_losses import count_losses
from fastws.observe.terminal import say
from fastws.observe.uvicorn_logging import as_ours, ini_as_ours, is_for_uvicorn

_installed: weakref.WeakSet[logging.Handler] = weakref.WeakSet()
"""Handlers of our loggers that a configuration has put there: whatever else is there, the program did."""

LOGGERS = ("fastws.error", "fastws.access", "fastws.asgi")

_ELSEWHERE: Final = (
    logging.FileHandler,
    logging.handlers.SysLogHandler,
    logging.handlers.SocketHandler,
    logging.NullHandler,
)
"""Handlers that write to no terminal, unless a file is one."""


def configure_logging(config: Config) -> None:
    """Apply `log_config` and the options that change it. Raises ConfigError where they cannot be applied.

    A configuration that was written for uvicorn sets up our loggers like uvicorn's, with a warning. Where nobody would
    see what the server says, standard error says so, whatever the configuration asks for. A handler that a program has
    given one of our loggers stays where the configuration is the default.
    """
    logging.addLevelName(TRACE, "TRACE")
    for_uvicorn = False
    try:
        if isinstance(config.log_config, dict):
            for_uvicorn = _configure(config.log_config, config)
        elif config.log_config is not None:
            for_uvicorn = _configure_from_file(str(config.log_config), config)
    except OSError as error:
        raise ConfigError(f"--log-config: cannot read {config.log_config}: {error.strerror}") from None
    except ConfigError:
        raise
    except Exception as error:  # whatever the parsers and the classes that the configuration names raise
        raise ConfigError(f"--log-config: {_reasons(error)}") from None
    count_losses()
    if config.log_level is not None:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(config.log_level)
    if config.log_config is None:
        return
    for name in LOGGERS:
        # `disable_existing_loggers`, which is true where it is not given, means those of whom the configuration forgot.
        logging.getLogger(name).disabled = False
    logger = logging.getLogger("fastws.error")
    if not logger.hasHandlers():
        say("Warning", "--log-config gives fastws.error no handler: nobody will see what the server logs")
    if for_uvicorn:
        logger.warning(
            "--log-config sets up the loggers of uvicorn; those of fastws are fastws.error and fastws.access"
        )


def log_failure(error: Exception, cause: BaseException | None = None) -> None:
    """Log why the server cannot start, with the traceback of `cause`; say it where the log would not show it.

    `fastws.observe.terminal` has the rule.
    """
    logger = logging.getLogger("fastws.error")
    if logger.isEnabledFor(logging.ERROR) and logger.hasHandlers():
        logger.error("%s", error, exc_info=cause, extra={STOPS: True})
        if any(not _goes_elsewhere(handler) for handler in _handlers_of(logger)):
            return
    say("Error", str(error))
    if cause is not None:
        traceback.print_exception(cause)


def _handlers_of(logger: logging.Logger) -> list[logging.Handler]:
    """All that get what the logger is told."""
    found: list[logging.Handler] = []
    each: logging.Logger | None = logger
    while each is not None:
        found += each.handlers
        each = each.parent if each.propagate else None
    return found


def _goes_elsewhere(handler: logging.Handler) -> bool:
    """Whether nobody at the terminal sees what the handler writes; one that nobody knows may be seen."""
    if not isinstance(handler, _ELSEWHERE):
        return False
    try:
        written = getattr(handler, "stream", None)
        return written is None or not any(
            stream is not None and os.path.sameopenfile(written.fileno(), stream.fileno())
            for stream in (sys.stderr, sys.stdout)
        )
    except (OSError, ValueError):  # a stream of no descriptor, or a closed one
        return True


def _configure(dictionary: Any, config: Config) -> bool:
    """Apply a dictionary; whether it was for uvicorn."""
    if isinstance(dictionary, dict):
        for_uvicorn = is_for_uvicorn(dictionary)
        if dictionary == LOGGING_CONFIG:
            dictionary = _without_the_programs(dictionary)
        logging.config.dictConfig(_as_asked(as_ours(dictionary), config))
        _installed.update(handler for name in LOGGING_CONFIG["loggers"] for handler in logging.getLogger(name).handlers)
        return for_uvicorn
    raise ValueError("it is no table of settings")


def _without_the_programs(default: dict[str, Any]) -> dict[str, Any]:
    """The default without the loggers that a program has given handlers: they keep them, and their level if any."""
    loggers = dict(default["loggers"])
    for name, spec in default["loggers"].items():
        logger = logging.getLogger(name)
        if any(handler not in _installed for handler in logger.handlers):
            del loggers[name]
            if logger.level == logging.NOTSET:
                logger.setLevel(spec["level"])
    return {**default, "loggers": loggers}


def _configure_from_file(path: str, config: Config) -> bool:
    with open(path, encoding="utf-8") as file:
        if path.endswith(".json"):
            return _configure(json.load(file), config)
        if path.endswith((".yaml", ".yml")):
            try:
                import yaml
            except ImportError:
                raise ConfigError(f"--log-config: a YAML file needs PyYAML: {install_line('yaml')}") from None
            return _configure(yaml.safe_load(file), config)
        parser = configparser.ConfigParser()
        parser.read_file(file)
    for_uvicorn = ini_as_ours(parser)
    logging.config.fileConfig(parser, disable_existing_loggers=False)
    return for_uvicorn


def _as_asked(dictionary: dict[str, Any], config: Config) -> dict[str, Any]:
    """The dictionary, in which our formatters do what --log-format, --access-log-format and --use-colors say."""
    if config.use_colors is None and config.log_format == "text" and config.access_log_format is None:
        return dictionary
    dictionary = copy.copy(dictionary)
    formatters = {name: dict(each) for name, each in dictionary.get("formatters", {}).items()}
    for name, formatter in formatters.items():
        if not str(formatter.get("()", "")).startswith("fastws.observe."):
            continue
        if config.log_format == "json":
            formatters[name] = {"()": "fastws.observe.JsonFormatter"}
            continue
        if config.use_colors is not None:
            formatter["use_colors"] = config.use_colors
        if config.access_log_format is not None and formatter["()"].endswith(".AccessFormatter"):
            formatters[name] = {"format": "%(message)s"}
    return {**dictionary, "formatters": formatters}


def _reasons(error: BaseException | None) -> str:
    """The error and its causes on one line: dictConfig hides what was wrong in the cause."""
    reasons: list[str] = []
    while error is not None and len(reasons) < 3:
        reasons.append(" ".join(str(error).split()) or type(error).__name__)
        error = error.__cause__
    return ": ".join(dict.fromkeys(reasons))
