"""The first lines of a process in the log: which Python, which engine and loop, and what an operator should look at."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator
from typing import Final

import fastws
from fastws.config import Config
from fastws.config.effects import without_effect
from fastws.config.http_versions import spoken

logger: Final = logging.getLogger("fastws.error")

BALANCER_SECONDS: Final = 55.0
"""Load balancers cut connections that are silent for 60 s: a ping interval from this on is too long for them."""


def log_hints(config: Config) -> None:
    """Say, once a service, what an operator should look at: options that do nothing, or that many get wrong."""
    for level, line in hints(config):
        logger.log(level, "%s", line)


def hints(config: Config) -> Iterator[tuple[int, str]]:
    """The lines, each with its level."""
    if config.ws != "none" and not config.ws_allowed_origins:
        yield logging.INFO, "Pages of any site may open WebSockets; --ws-allowed-origins says which may (* for all)"
    interval = config.ws_ping_interval
    if config.ws != "none" and (interval is None or interval >= BALANCER_SECONDS):
        shown = "none" if interval is None else f"{interval:g} s"
        yield (
            logging.WARNING,
            f"--ws-ping-interval is {shown}: load balancers cut what is silent for 60 s, so it should be less than 55",
        )
    for line in without_effect(config):
        yield logging.WARNING, line


def log_process(config: Config, engine: str, loop: str, transport: str) -> None:
    """Write the lines, of a process that serves WebSockets with `engine`, or with "none", in an event loop `loop`.

    `transport` is who moves the bytes of its connections.
    """
    python = f"{platform.python_implementation()} {platform.python_version()}"
    logger.info("Started server process [%d], fastws %s on %s", os.getpid(), fastws.__version__, python)
    logger.info("WebSocket engine %s, %s, event loop %s, transport %s", engine, spoken(config), loop, transport)
    if config.ws == "auto" and engine != "cython":
        logger.warning("The compiled module fastws._codec is not installed: the engine %s is slower", engine)
