"""The logging configuration that a server has where nobody gives another: the default of --log-config."""

from __future__ import annotations

from typing import Any, Final

TRACE: Final = 5
"""The level below DEBUG that --log-level trace shows."""

LOGGING_CONFIG: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {
            "()": "fastws.observe.DefaultFormatter",
            "fmt": "%(levelprefix)s %(message)s",
            "use_colors": None,
        },
        "access": {
            "()": "fastws.observe.AccessFormatter",
            "fmt": '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
            "use_colors": None,
        },
    },
    "handlers": {
        "default": {"formatter": "default", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
        "access": {"formatter": "access", "class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        "fastws": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "fastws.error": {"level": "INFO"},
        "fastws.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
    },
}
"""The default of `log_config`, for `logging.config.dictConfig`. Copy it before you change it."""
