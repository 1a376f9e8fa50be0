"""Runs a server as the command line and `fastws.run` do: in this process, or in workers under a supervisor.

What is told to systemd, the log files that SIGUSR1 opens anew, and the exit codes are decided here.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from fastws.config import OPTION, Config
from fastws.config.environment import load_env_file
from fastws.config.near import did_you_mean
from fastws.config.uvicorn_options import MISSING, judge
from fastws.errors import ConfigError
from fastws.observe.log_files import reopen_on_signal
from fastws.observe.terminal import say
from fastws.process.systemd import Notifier

if TYPE_CHECKING:
    from fastws.process.server import Server

logger: Final = logging.getLogger("fastws.error")

MAX_NAMED_THREADS: Final = 5
"""How many threads that keep the process the log names."""


def run(app: Any, **options: Any) -> None:
    """Serve an ASGI application, given as a callable or as ``"module:attribute"``, until a signal ends the server.

    `options` are the fields of `fastws.Config`; those of `uvicorn.run` that fastws does not have are let through where
    they ask for what is so anyway. Exits the process with 2 for a wrong option, with 3 where the server cannot start,
    each with one line that says what is wrong.
    """
    environ = dict(os.environ)
    try:
        options = _known(options)
        source = functools.partial(_read_options, app, options)
        config = source()
    except ConfigError as error:
        say("Error", str(error))
        raise SystemExit(2) from None
    serve_config(config, source, environ)


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that `Config` has, without those of uvicorn's that ask for nothing. Raises ConfigError."""
    known = {}
    for name, value in options.items():
        if name in OPTION:
            known[name] = value
            continue
        if name not in MISSING:
            raise ConfigError(f"{name}: no such option{did_you_mean(name, OPTION) or ': see fastws.Config'}")
        error, warning = judge(name, value)
        if error:
            raise ConfigError(f"{name}: {error}")
        if warning:
            say("Warning", f"{name}: {warning}")
    return known


def _read_options(app: Any, options: dict[str, Any]) -> Config:
    if options.get("env_file") is not None:
        load_env_file(options["env_file"])  # it may set FORWARDED_ALLOW_IPS
    return Config(app, **options)


def serve_config(
    config: Config, source: Callable[[], Config], environ: Mapping[str, str], *, last: bool = False
) -> None:
    """Serve as `config` says, and exit as `run` does.

    New processes read it anew from `source`, which can be pickled, in the environment `environ`.
    `last` says that the process has nothing to do afterwards: then threads of the application that go on do not keep it
    for longer than --timeout-graceful-shutdown.
    """
    if config.reload or (config.workers or 1) > 1:
        if not isinstance(config.app, str):
            why = "--reload" if config.reload else "--workers (or WEB_CONCURRENCY)"
            say("Error", f"{why}: needs APP as module:attribute, since each process imports it by itself")
            raise SystemExit(2)
        from fastws.process.supervisor import supervise

        raise SystemExit(supervise(config, source, environ))
    from fastws.process.server import Server  # late: a supervisor needs neither an event loop nor the compiled modules

    notifier = Notifier()
    reopen = reopen_on_signal()

    def on_tick() -> None:
        reopen()
        notifier.alive()
        if server.should_exit:
            notifier.stopping()

    server = Server(config, on_started=notifier.ready, on_tick=on_tick)
    if notifier.watchdog_seconds is not None:
        server.tick_seconds = min(server.tick_seconds, notifier.watchdog_seconds)
    run_server(server, last=last)


def run_server(server: Server, sockets: Sequence[socket.socket] | None = None, *, last: bool) -> None:
    """Run the server to its end, on `sockets` if given. CTRL+C while the application is imported shows no traceback."""
    try:
        server.run(sockets)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        if last:
            _end_threads(server.config.timeout_graceful_shutdown)


def _end_threads(timeout: float | None) -> None:
    """Say which threads keep the process, and end it under them when they have had their time."""
    own = threading.current_thread()
    left = [each.name for each in threading.enumerate() if each is not own and not each.daemon]
    if left and timeout is not None:
        logger.info("Waiting for %d threads of the application: %s", len(left), ", ".join(left[:MAX_NAMED_THREADS]))
        from fastws.process.drain import watch_process

        watch_process(timeout)
