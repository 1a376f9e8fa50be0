"""The commands ``fastws status``, ``fastws close`` and ``fastws drain``: they talk to a server's control sockets."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import Any, Final

import click

from fastws.cli.command import Failure, command
from fastws.cli.from_file import NONE_HERE, socket_of_server
from fastws.cli.own_socket import own_socket
from fastws.cli.status_table import CONNECTIONS, WORKERS, table
from fastws.errors import ConfigError
from fastws.observe import control_client
from fastws.observe.terminal import wants_colors

_SOCKET = click.option(
    "--control-socket",
    "path",
    envvar="FASTWS_CONTROL_SOCKET",
    callback=socket_of_server,
    metavar="PATH",
    help="What the server was given as --control-socket.  [default: that of the configuration file, else that of a "
    "server which was started in a terminal in this directory]",
)
LEAST_SECONDS: Final = 0.1
"""Between two looks at a server that is watched."""
_RATES: Final = ("messages_in", "bytes_in", "messages_out", "bytes_out", "cpu_seconds", "requests_total")


@command("status")
@_SOCKET
@click.option("--connections", is_flag=True, help="List every connection.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, with rates a second.")
@click.option("--seconds", default=1.0, show_default=True, help="Measure rates for so long.", type=click.FloatRange(0))
@click.option("--watch", is_flag=True, help="Go on, every --seconds, until CTRL+C.")
def status(path: str, connections: bool, as_json: bool, seconds: float, watch: bool) -> None:
    """Show the workers of a running server, or its connections.

    Columns for which a terminal is too narrow are left out; --json has everything.
    """
    look = _Look(path, connections)
    if not watch:
        _show(look.rows(seconds), connections, as_json)
        return
    seconds = max(seconds, LEAST_SECONDS)
    try:
        look.rows()
        while True:
            try:
                _show(look.rows(seconds), connections, as_json, again=True)
            except Failure as error:  # it starts anew, perhaps
                _show_again([error.format_message()])
                time.sleep(seconds)
    except KeyboardInterrupt:
        click.echo()


@command("close")
@_SOCKET
@click.argument("connection", metavar="ID")
@click.option("--code", default=1001, show_default=True, help="Close code (RFC 6455 section 7.4).")
@click.option("--reason", default="", help="Reason, of up to 123 bytes.")
def close(path: str, connection: str, code: int, reason: str) -> None:
    """Close the connection ID, as `fastws status --connections` lists it.

    A WebSocket gets a Close, an HTTP connection is cut.
    """
    worker = connection.partition("-")[0]
    found = _find(path, worker)
    _ask(found, {"do": "close", "id": connection, "code": code, "reason": reason})
    click.echo(f"closed {connection}")


@command("drain")
@_SOCKET
@click.argument("worker", required=False)
def drain(path: str, worker: str | None) -> None:
    """Let WORKER, a process id, end gracefully, as SIGTERM does; without it, every worker.

    A supervisor starts another in its place.
    """
    for pid, found in ({worker: _find(path, worker)} if worker is not None else _sockets(path)).items():
        _ask(found, {"do": "drain"})
        click.echo(f"draining {pid}")


COMMANDS: Final = {command.name: command for command in (status, close, drain)}
"""By name; an application's name has a colon, so none can be meant."""


def _sockets(path: str) -> dict[Any, str]:
    try:
        return dict(control_client.workers(path))
    except ConfigError as error:
        if path == own_socket():
            raise Failure(NONE_HERE) from None
        raise Failure(str(error)) from None


def _find(path: str, worker: str) -> str:
    found = _sockets(path)
    if not worker.isdecimal() or int(worker) not in found:
        raise Failure(f"there is no worker {worker}; there are {', '.join(map(str, found))}")
    return found[int(worker)]


def _ask(path: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        return list(control_client.ask(path, request))
    except control_client.ControlError as error:
        raise Failure(str(error)) from None


def _workers(path: str) -> list[dict[str, Any]]:
    found = [_ask(each, {"do": "status"})[-1]["status"] for each in _sockets(path).values()]
    return [{"id": each["worker"], **each} for each in found]


def _connections(path: str) -> list[dict[str, Any]]:
    rows = []
    for each in _sockets(path).values():
        rows += [answer["connection"] for answer in _ask(each, {"do": "connections"}) if "connection" in answer]
    return rows


class _Look:
    """Looks at a server, and knows what it has seen last: rates are what has grown since."""

    def __init__(self, path: str, connections: bool) -> None:
        self._path = path
        self._take = _connections if connections else _workers
        self._before: dict[Any, dict[str, Any]] | None = None
        self._at = 0.0

    def rows(self, seconds: float = 0.0) -> list[dict[str, Any]]:
        """What there is after so many seconds, with rates; since the start of each, where it was not seen before."""
        if seconds and self._before is None:
            self.rows()
        time.sleep(seconds)
        before, self._before = self._before or {}, None
        rows = self._take(self._path)
        passed = time.monotonic() - self._at
        self._at += passed
        for row in rows:
            earlier = before.get(row["id"], {})
            for name in _RATES:
                if name in row:
                    grown = row[name] - earlier.get(name, 0)
                    span = passed if earlier else row.get("age") or row.get("uptime") or 1.0
                    row[f"{name}_rate"] = round(max(grown, 0) / max(span, 1e-3), 3)
        self._before = {row["id"]: row for row in rows}
        return rows


def _show(rows: list[dict[str, Any]], connections: bool, as_json: bool, again: bool = False) -> None:
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    titles, *lines = table(CONNECTIONS if connections else WORKERS, rows, width)
    lines.insert(0, click.style(titles, bold=True) if wants_colors(sys.stdout) else titles)
    if again:
        _show_again(lines)
    else:
        click.echo("\n".join(lines))


def _show_again(lines: list[str]) -> None:
    """Write over what was shown before, where a terminal can; else one below the other."""
    if not sys.stdout.isatty():
        click.echo("\n".join((*lines, "")))
        return
    height = shutil.get_terminal_size().lines
    click.echo("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines[: height - 1]) + "\x1b[J", nl=False)
