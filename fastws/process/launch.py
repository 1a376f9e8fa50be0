"""Runs a server as the command line and `fastws.run` do: in this process, or in workers under a supervisor.

What is told to systemd, the log files that SIGUSR1 opens anew, and the exit codes are decided here.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from fastws.config import OPTION, Config
from fastws.config.environment import load_env_file
from fastws.config.uvicorn_options import known
from fastws.errors import ConfigError
from fastws.net.standard_descriptors import open_standard_descriptors
from fastws.observe.log_files import reopen_on_signal
from fastws.observe.terminal import say
from fastws.process.frozen import worker_channel
from fastws.process.guard import refuse_running_loop, refuse_without_guard
from fastws.process.systemd import Notifier

logger: Final = logging.getLogger("fastws.error")


def run(app: Any, **options: Any) -> None:
    """Serve an ASGI application, given as a callable or as ``"module:attribute"``, until a signal ends the server.

    `options` are the fields of `fastws.Config`. Options of `uvicorn.run` that fastws does not have are accepted if
    they ask for what fastws does anyway. Exits the process with 2 for a wrong option, and with 3 if the server cannot
    start, each with one line that says what is wrong.
    """
    _serve_if_worker()
    refuse_running_loop()
    refuse_without_guard(starts_processes=bool(options.get("reload")) or (options.get("workers") or 1) != 1)
    environ = dict(os.environ)
    try:
        options, warnings = known(options, OPTION)
        source = functools.partial(_read_options, app, options)
        config = source()
    except ConfigError as error:
        say("Error", str(error))
        raise SystemExit(2) from None
    for line in warnings:
        say("Warning", line)
    serve_config(config, source, environ)


def _read_options(app: Any, options: dict[str, Any]) -> Config:
    if options.get("env_file") is not None:
        load_env_file(options["env_file"])  # it may set FORWARDED_ALLOW_IPS
    return Config(app, **options)


def serve_config(
    config: Config, source: Callable[[], Config], environ: Mapping[str, str], *, last: bool = False
) -> None:
    """Serve as `config` says, and exit as `run` does.

    New processes read it anew from `source`, which can be pickled, in the environment `environ`.
    `last` says that the process has nothing to do afterwards, and was started for this alone. What the application left
    behind does not keep it for longer than --timeout-graceful-shutdown, behind the end of the main thread otherwise.
    """
    _serve_if_worker()
    open_standard_descriptors()
    refuse_without_guard(starts_processes=config.reload or (config.workers or 1) > 1)
    if config.reload or (config.workers or 1) > 1:
        if not isinstance(config.app, str):
            why = "--reload" if config.reload else "--workers (or WEB_CONCURRENCY)"
            say("Error", f"{why}: needs APP as module:attribute, since each process imports it by itself")
            raise SystemExit(2)
        from fastws.process.service import supervise

        raise SystemExit(supervise(config, source, environ, adopt=last))
    from fastws.process.leaving import run_server
    from fastws.process.server import Server  # late: a supervisor needs neither an event loop nor the compiled modules

    notifier = Notifier()
    reopen = reopen_on_signal()

    def on_tick() -> None:
        reopen()
        notifier.alive()
        if server.should_exit:
            notifier.stopping()

    server = Server(config, on_started=notifier.ready, on_tick=on_tick)
    server.adopts_descriptors = last
    if notifier.watchdog_seconds is not None:
        server.tick_seconds = min(server.tick_seconds, notifier.watchdog_seconds)
    run_server(server, last=last)


def _serve_if_worker() -> None:
    """Be a worker, if this frozen program was started as one, and then exit."""
    channel = worker_channel()
    if channel is not None:
        from fastws.process.worker import main

        main(channel)
        raise SystemExit(0)
