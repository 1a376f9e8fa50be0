"""``fastws check APP``: all that a start does but listen, for images and CI, and a report of what was found.

The application is imported, the options are checked as the server checks them, TLS files are loaded, and the lifespan
is started and ended. The exit code is that of the server: 2 for a wrong option, 3 where it could not start, 1 where the
application failed to shut down.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

import fastws
from fastws.asgi.application import Application
from fastws.asgi.lifespan import Lifespan, State
from fastws.cli.command import MAX_WIDTH, MIN_WIDTH, SETTINGS, Command, Formatter, UsageError
from fastws.cli.main import server_params, take_from
from fastws.config import OPTION, Config
from fastws.config.effects import without_effect
from fastws.config.http_versions import spoken
from fastws.config.option import LOG_LEVELS
from fastws.config.sources import Given, gather, notes
from fastws.errors import ConfigError
from fastws.net.accepting import transport_of
from fastws.net.event_loop import loop_name
from fastws.net.loop_state import LoopState
from fastws.observe.log_format import STOPS
from fastws.observe.operations import Operations
from fastws.process.drain import unless
from fastws.process.greeting import log_hints, log_process
from fastws.process.reloader import ChangeWatcher
from fastws.process.server import Server

logger: Final = logging.getLogger("fastws.error")

_ELSEWHERE: Final = {"workers": "WEB_CONCURRENCY", "forwarded_allow_ips": "FORWARDED_ALLOW_IPS"}
"""Variables that are not ours, and what they set."""
_SECRET: Final = {each.name for each in dataclasses.fields(Config) if not each.repr}
_LIFESPAN: Final = {State.STOPPED: "started and ended", State.ABSENT: "none", State.STOP_FAILED: "failed to end"}


class Rehearsal(Server):
    """A server that starts its application and ends it, and listens nowhere.

    What it would warn about is kept in `warnings`, and only errors are logged unless --log-level asks for more.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.warnings: list[str] = []
        self.status = State.ABSENT
        self.found = ""
        """The engine, the event loop and the HTTP parser, for the report."""

    @property
    def application(self) -> Any:
        """What was imported, or what the factory returned."""
        return self._app

    def _prepare(self) -> None:
        super()._prepare()
        logger.addFilter(self._keep)  # after logging was set up; a second time it does nothing

    async def _serve(self, given: Sequence[socket.socket] | None) -> None:
        assert self._app is not None
        loop = asyncio.get_running_loop()
        engine = self._engine.name if self._engine is not None else "none"
        lifespan = Lifespan(self._app, self.config.lifespan)
        observer = Operations(self.config, engine, loop_name(loop)).observer
        application = Application(self._app, self.config, state=lifespan.state, observer=observer)
        LoopState(loop, self.config, application, self._engine, secure=self._tls is not None, tls=self._tls).close()
        if self.config.reload:
            ChangeWatcher(self.config)
        transport = transport_of(self.config)
        log_process(self.config, engine, loop_name(loop), transport)
        log_hints(self.config)
        self.found = f"{engine}, on {loop_name(loop)}, bytes by {transport}; {spoken(self.config)}"
        try:
            if await unless(self._exit, lifespan.startup()):
                await self._end_lifespan(lifespan)
            self.status = lifespan.status
        finally:
            await lifespan.cancel()

    def _keep(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR and not record.exc_info and "\n" not in record.getMessage():
            setattr(record, STOPS, True)  # nothing is served here
        if record.levelno == logging.WARNING:
            self.warnings.append(record.getMessage())
        return record.levelno >= logging.ERROR or self.config.log_level is not None


def _check(app: str | None, **values: Any) -> None:
    app, values, warnings = take_from(app, values)
    try:
        given = gather(app, values)
        config = given.config()
    except ConfigError as error:
        raise UsageError(str(error)) from None
    warnings += notes(os.environ)
    server = Rehearsal(config)
    try:
        server.run()
    finally:
        logger.removeFilter(server._keep)
    if server.should_exit:
        raise SystemExit(130)
    warnings = list(dict.fromkeys((*warnings, *without_effect(config), *server.warnings)))
    click.echo(_report(given, server, warnings), nl=False, color=click.get_current_context().color)


def _report(given: Given, server: Rehearsal, warnings: list[str]) -> str:
    config = server.config
    formatter = Formatter(width=max(MIN_WIDTH, min(shutil.get_terminal_size().columns, MAX_WIDTH)) - 2)
    kind = type(server.application)
    what = "a function" if kind.__name__ == "function" else f"{kind.__module__.partition('.')[0]}'s {kind.__name__}"
    formatter.write(click.style(f"fastws {fastws.__version__} can serve {given.app}", bold=True) + "\n")
    rows = [("application", what), ("lifespan", _LIFESPAN.get(server.status, server.status.value))]
    rows += [("WebSockets", server.found), ("address", ", ".join(_addresses(config)))]
    rows += [("file", given.file or "none")]
    changed = list(_changed(given, config))
    if not changed:
        rows.append(("options", "all have their defaults"))
    formatter.indent()
    formatter.write_dl(rows)
    formatter.dedent()
    if changed:
        with formatter.section("Options that are not the default"):
            formatter.write_dl(changed, col_max=44)
    if warnings:
        with formatter.section("Warnings"):
            for line in warnings:
                formatter.write_text(f"- {line}")
    return formatter.getvalue()


def _addresses(config: Config) -> list[str]:
    if config.bind:
        return list(config.bind)
    if config.uds is not None or config.fd is not None:
        return [f"unix:{config.uds}" if config.uds is not None else f"fd://{config.fd}"]
    host = f"[{config.host}]" if ":" in config.host else config.host
    return [f"http{'s' if config.is_ssl else ''}://{host}:{config.port}"]


def _changed(given: Given, config: Config) -> Iterator[tuple[str, str]]:
    """The options that are not the default, as the command line would have them, and where they come from."""
    origins = {name: variable for name, variable in _ELSEWHERE.items() if os.environ.get(variable)}
    origins |= given.origins
    for name, option in OPTION.items():
        value = getattr(config, name)
        if name not in origins or value == option.check(option.default):
            continue
        yield _spelled(name, value), origins[name]


def _spelled(name: str, value: Any) -> str:
    option = OPTION[name]
    if name in _SECRET:
        return f"{option.cli} ***"
    if option.kind == "flag":
        return option.cli if value else f"--no-{option.cli.removeprefix('--')}"
    if option.kind == "headers":
        return " ".join(f"{option.cli} '{field}: {content}'" for field, content in value)
    if option.kind == "certificates":
        return " ".join(f"{option.cli} {each}={':'.join(filter(None, paths))}" for each, *paths in value)
    if option.kind in ("texts", "addresses"):
        return " ".join(f"{option.cli} {each}" for each in value)
    if option.kind == "level":
        value = next((word for word, level in LOG_LEVELS.items() if level == value), value)
    elif option.kind == "mode":
        value = f"{value:o}"
    elif option.kind == "logging":
        value = "{...}" if isinstance(value, dict) else value
    elif isinstance(value, tuple):
        value = ",".join(value)
    elif isinstance(value, bool) or value is None:
        value = {True: "true", False: "false", None: "none"}[value]
    return f"{option.cli} {value:g}" if isinstance(value, float) else f"{option.cli} {value}"


check: Final = Command(
    "check",
    callback=_check,
    params=server_params(),
    help="Import APP, check the options, run the application's startup and shutdown, and say what was found.\n\n"
    "It takes the options of `fastws APP`, and the environment and the configuration file count as there. The "
    "exit code is 2 for a wrong option, 3 where the server could not start, 1 where the application failed to end.",
    context_settings=SETTINGS,
)
"""The command."""
