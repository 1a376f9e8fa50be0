"""What an operator may choose: the one table of options, how a value is written, and where values come from.

Knows values alone, of `fastws.http` and `fastws.websocket` too. One frozen `Config` is the only place of an option.

In reading order: bind_address, option (how a value is written and checked), table (every option once), http_versions,
pairs, systems and effects (what does not go together, what a system lacks, what does nothing), config (all of them,
checked); log_defaults, log_atoms, redis_url; environment, file and sources (who wins); uvicorn_options (what becomes of
those that are not here), near and app_names (what somebody may have meant).
"""

from fastws.config.config import Config
from fastws.config.log_defaults import LOGGING_CONFIG
from fastws.config.option import LOG_LEVELS
from fastws.config.table import OPTION, OPTIONS, WS_ENGINES

__all__ = ["LOGGING_CONFIG", "LOG_LEVELS", "OPTION", "OPTIONS", "WS_ENGINES", "Config"]
