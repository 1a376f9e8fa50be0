"""Sets Python's logging up as a `Config` asks: from a dictionary or a file, with its level and colours.

Called once when a server starts. What the lines look like is in `fastws.observe.log_format`.
"""

from __future__ import annotations

import copy
import json
import logging
import logging.config
import traceback
from typing import Any

from fastws.config import Config
from fastws.errors import ConfigError
from fastws.observe.log_format import TRACE
from fastws.observe.terminal import say

LOGGERS = ("fastws.error", "fastws.access")


def configure_logging(config: Config) -> None:
    """Apply `log_config` and the options that change it. Raises ConfigError where they cannot be applied."""
    logging.addLevelName(TRACE, "TRACE")
    try:
        if isinstance(config.log_config, dict):
            logging.config.dictConfig(_as_asked(config.log_config, config))
        elif config.log_config is not None:
            _configure_from_file(str(config.log_config), config)
    except OSError as error:
        raise ConfigError(f"--log-config: cannot read {config.log_config}: {error.strerror}") from None
    except ConfigError:
        raise
    except Exception as error:  # whatever the parsers and the classes that the configuration names raise
        raise ConfigError(f"--log-config: {_reasons(error)}") from None
    if config.log_level is not None:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(config.log_level)
    if isinstance(config.log_config, dict) and _is_for_uvicorn(config.log_config):
        logging.getLogger("fastws.error").warning(
            "--log-config sets up the loggers of uvicorn; those of fastws are fastws.error and fastws.access"
        )


def _is_for_uvicorn(dictionary: dict[str, Any]) -> bool:
    names = [str(name).partition(".")[0] for name in dictionary.get("loggers", ())]
    return "uvicorn" in names and "fastws" not in names


def log_failure(error: Exception, cause: BaseException | None = None) -> None:
    """Log why the server cannot start, with the traceback of `cause`; say it where the log would not show it."""
    logger = logging.getLogger("fastws.error")
    if logger.isEnabledFor(logging.ERROR) and logger.hasHandlers():
        logger.error("%s", error, exc_info=cause)
        return
    say("Error", str(error))
    if cause is not None:
        traceback.print_exception(cause)


def _configure_from_file(path: str, config: Config) -> None:
    if path.endswith(".json"):
        with open(path, encoding="utf-8") as file:
            logging.config.dictConfig(_as_asked(json.load(file), config))
    elif path.endswith((".yaml", ".yml")):
        try:
            import yaml
        except ImportError:
            raise ConfigError("--log-config: a YAML file needs PyYAML: pip install fastws[yaml]") from None
        with open(path, encoding="utf-8") as file:
            logging.config.dictConfig(_as_asked(yaml.safe_load(file), config))
    else:
        with open(path, encoding="utf-8") as file:
            logging.config.fileConfig(file, disable_existing_loggers=False)


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
