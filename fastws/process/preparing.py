"""What a server needs that needs no event loop: its application imported, its engine, its certificates."""

from __future__ import annotations

import logging
import ssl

from fastws.asgi.loading import ASGIApplication, load_application
from fastws.asgi.tracing import Traced
from fastws.config import Config
from fastws.config.environment import load_env_file
from fastws.config.log_defaults import TRACE
from fastws.net.accepting import transport_of
from fastws.net.tls import ReloadableContext
from fastws.websocket.deflate_backends import load_backend
from fastws.websocket.engine import Engine
from fastws.websocket.engines import load_engine


def prepare(
    config: Config, tls: ssl.SSLContext | None
) -> tuple[ASGIApplication, type[Engine] | None, ssl.SSLContext | None]:
    """The application, the WebSocket engine unless there are to be none, and the TLS context if it is spoken.

    A context that is given is taken. Raises ConfigError or StartupError, one line, for what cannot be had.
    """
    if config.env_file is not None:
        load_env_file(config.env_file)
    if tls is None and config.is_ssl:
        tls = ReloadableContext(config)
    transport_of(config)  # says at once what is missing
    engine = None
    if config.ws != "none":
        engine = load_engine(config.ws)
        load_backend(config.ws_deflate_backend)  # says at once what is missing
    application = load_application(config)
    if logging.getLogger("fastws.asgi").isEnabledFor(TRACE):
        application = Traced(application, config.log_query_values)
    return application, engine, tls
