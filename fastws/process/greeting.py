"""The first lines of a process in the log: which Python, which engine and loop, and what an operator should look at."""

from __future__ import annotations

import logging
import os
import platform
from typing import Final

import fastws
from fastws.config import Config
from fastws.config.effects import without_effect

logger: Final = logging.getLogger("fastws.error")

BALANCER_SECONDS: Final = 55.0
"""Load balancers cut connections that are silent for 60 s: a ping interval from this on is too long for them."""


def log_without_effect(config: Config) -> None:
    """Name the options that do nothing."""
    for line in without_effect(config):
        logger.warning("%s", line)


def log_process(config: Config, engine: str, loop: str) -> None:
    """Write the lines, of a process that serves WebSockets with `engine`, or with "none", in an event loop `loop`."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    logger.info("Started server process [%d], fastws %s on %s", os.getpid(), fastws.__version__, python)
    http = "httptools" if config.http == "auto" else config.http
    logger.info("WebSocket engine %s, HTTP parser %s, event loop %s", engine, http, loop)
    if engine != "none" and not config.ws_allowed_origins:
        logger.info("Pages of any site may open WebSockets; --ws-allowed-origins says which may (* for all)")
    interval = config.ws_ping_interval
    if engine != "none" and (interval is None or interval >= BALANCER_SECONDS):
        logger.warning(
            "--ws-ping-interval is %s: load balancers cut what is silent for 60 s, so it should be less than 55",
            "none" if interval is None else f"{interval:g} s",
        )
    if not config.reload and (config.workers or 1) == 1:  # a supervisor says it once for all its workers
        log_without_effect(config)
    if config.ws == "auto" and engine != "cython":
        logger.warning("The compiled module fastws._codec is not installed: the engine %s is slower", engine)
