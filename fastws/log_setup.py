"""Sets Python's logging up as a `Config` asks: from a dictionary or a file, with its level and colours.

Called once when a server starts. What the lines look like is in `fastws.log_format`.
"""

from __future__ import annotations

import copy
import json
import logging
import logging.config
from typing import Any

from fastws.config import Config
from fastws.errors import ConfigError
from fastws.log_format import TRACE

LOGGERS = ("fastws.error", "fastws.access")


def configure_logging(config: Config) -> None:
    """Apply `log_config`, `log_level` and `use_colors`. Raises ConfigError where they cannot be applied."""
    logging.addLevelName(TRACE, "TRACE")
    try:
        if isinstance(config.log_config, dict):
            logging.config.dictConfig(_with_colors(config.log_config, config.use_colors))
        elif config.log_config is not None:
            _configure_from_file(str(config.log_config), config.use_colors)
    except OSError as error:
        raise ConfigError(f"--log-config: cannot read {config.log_config}: {error.strerror}") from None
    except ConfigError:
        raise
    except Exception as error:  # whatever the parsers and the classes that the configuration names raise
        raise ConfigError(f"--log-config: {_reasons(error)}") from None
    if config.log_level is not None:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(config.log_level)


def _configure_from_file(path: str, use_colors: bool | None) -> None:
    if path.endswith(".json"):
        with open(path, encoding="utf-8") as file:
            logging.config.dictConfig(_with_colors(json.load(file), use_colors))
    elif path.endswith((".yaml", ".yml")):
        try:
            import yaml
        except ImportError:
            raise ConfigError("--log-config: a YAML file needs PyYAML: pip install fastws[yaml]") from None
        with open(path, encoding="utf-8") as file:
            logging.config.dictConfig(_with_colors(yaml.safe_load(file), use_colors))
    else:
        with open(path, encoding="utf-8") as file:
            logging.config.fileConfig(file, disable_existing_loggers=False)


def _with_colors(dictionary: dict[str, Any], use_colors: bool | None) -> dict[str, Any]:
    """The dictionary, in which our formatters do what --use-colors says, where it was said."""
    if use_colors is None:
        return dictionary
    dictionary = copy.copy(dictionary)
    formatters = {name: dict(each) for name, each in dictionary.get("formatters", {}).items()}
    for formatter in formatters.values():
        if str(formatter.get("()", "")).startswith("fastws.log_format."):
            formatter["use_colors"] = use_colors
    return {**dictionary, "formatters": formatters}


def _reasons(error: BaseException | None) -> str:
    """The error and its causes on one line: dictConfig hides what was wrong in the cause."""
    reasons: list[str] = []
    while error is not None and len(reasons) < 3:
        reasons.append(" ".join(str(error).split()) or type(error).__name__)
        error = error.__cause__
    return ": ".join(dict.fromkeys(reasons))
