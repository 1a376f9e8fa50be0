"""The commands ``fastws status``, ``fastws close`` and ``fastws drain``: they talk to a server's control sockets."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import click

from fastws.cli.command import command
from fastws.cli.from_file import required_or_of_file
from fastws.errors import ConfigError
from fastws.http.escaped import escape
from fastws.observe import control_client
from fastws.observe.terminal import wants_colors

_SOCKET = click.option(
    "--control-socket",
    "path",
    envvar="FASTWS_CONTROL_SOCKET",
    callback=required_or_of_file,
    metavar="PATH",
    help="What the server was given as --control-socket.  [default: that of the configuration file]",
)
_RATES: Final = ("messages_in", "bytes_in", "messages_out", "bytes_out", "cpu_seconds", "requests_total")


@command("status")
@_SOCKET
@click.option("--connections", is_flag=True, help="List every connection.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, with rates a second.")
@click.option("--seconds", default=1.0, show_default=True, help="Measure rates for so long.", type=click.FloatRange(0))
def status(path: str, connections: bool, as_json: bool, seconds: float) -> None:
    """Show the workers of a running server, or its connections."""
    take = _connections if connections else _workers
    before = {each["id"]: each for each in take(path)} if seconds else {}
    began = time.monotonic()
    time.sleep(seconds)
    rows = take(path)
    passed = time.monotonic() - began
    for row in rows:
        earlier = before.get(row["id"], {})
        for name in _RATES:
            if name in row:
                grown = row[name] - earlier.get(name, 0)
                span = passed if earlier else row.get("age") or row.get("uptime") or 1.0
                row[f"{name}_rate"] = round(max(grown, 0) / max(span, 1e-3), 3)
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
    else:
        _print(_CONNECTION_COLUMNS if connections else _WORKER_COLUMNS, rows)


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
        raise click.ClickException(str(error)) from None


def _find(path: str, worker: str) -> str:
    found = _sockets(path)
    if not worker.isdecimal() or int(worker) not in found:
        raise click.ClickException(f"there is no worker {worker}; there are {', '.join(map(str, found))}")
    return found[int(worker)]


def _ask(path: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        return list(control_client.ask(path, request))
    except control_client.ControlError as error:
        raise click.ClickException(str(error)) from None


def _workers(path: str) -> list[dict[str, Any]]:
    found = [_ask(each, {"do": "status"})[-1]["status"] for each in _sockets(path).values()]
    return [{"id": each["worker"], **each} for each in found]


def _connections(path: str) -> list[dict[str, Any]]:
    rows = []
    for each in _sockets(path).values():
        rows += [answer["connection"] for answer in _ask(each, {"do": "connections"}) if "connection" in answer]
    return rows


# What a table shows: the title of a column, and the text for it.
_WORKER_COLUMNS: Final[dict[str, Callable[[Any], str]]] = {
    "worker": lambda row: str(row["worker"]),
    "state": lambda row: row["state"],
    "up": lambda row: duration(row["uptime"]),
    "engine": lambda row: f"{row['engine']}, {row['loop']}",
    "conns": lambda row: str(row["connections"]),
    "websockets": lambda row: str(row["websockets"]),
    "requests": lambda row: str(row["requests"]),
    "in/s": lambda row: f"{row['messages_in_rate']:.0f}",
    "out/s": lambda row: f"{row['messages_out_rate']:.0f}",
    "http/s": lambda row: f"{row['requests_total_rate']:.0f}",
    "queued": lambda row: str(row["queue_messages"]),
    "unsent": lambda row: size(row["unsent_bytes"]),
    "cpu": lambda row: f"{row['cpu_seconds_rate']:.0%}",
    "memory": lambda row: size(row["memory_bytes"]),
    "lag": lambda row: f"{row['loop_lag'] * 1e3:.1f} ms",
}
_CONNECTION_COLUMNS: Final[dict[str, Callable[[Any], str]]] = {
    "id": lambda row: row["id"],
    "kind": lambda row: row["kind"],
    "http": lambda row: row["http"],
    "state": lambda row: (
        row["state"] + (" <" if row["reading_paused"] else "") + (" >" if row["writing_paused"] else "")
    ),
    "age": lambda row: duration(row["age"]),
    "client": lambda row: escape(row["client"]),
    "path": lambda row: escape(row["path"]),
    "in/s": lambda row: f"{row['messages_in_rate']:.1f}",
    "out/s": lambda row: f"{row['messages_out_rate']:.1f}",
    "in": lambda row: size(row["bytes_in"]),
    "out": lambda row: size(row["bytes_out"]),
    "queued": lambda row: str(row["queue_messages"]),
    "unsent": lambda row: size(row["unsent_bytes"]),
}


def _print(columns: dict[str, Callable[[Any], str]], rows: list[dict[str, Any]]) -> None:
    """A table: by rich, where it is installed and somebody looks on, else in plain columns."""
    table = [_line(columns, row) for row in rows]
    if sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text
        except ImportError:
            pass
        else:
            pretty = Table(*columns, box=None, header_style="bold")
            for line in table:
                pretty.add_row(*(Text(cell) for cell in line))
            Console(no_color=not wants_colors(sys.stdout)).print(pretty)
            return
    widths = [max(map(len, cells)) for cells in zip(columns, *table, strict=True)]
    for line in (list(columns), *table):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _line(columns: dict[str, Callable[[Any], str]], row: dict[str, Any]) -> list[str]:
    return [show(row) for show in columns.values()]


def duration(seconds: float) -> str:
    """``12s``, ``3m05s``, ``2h10m``, ``4d06h``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def size(number: float) -> str:
    """``812 B``, ``3.2 KiB``, ``1.0 GiB``."""
    if number < 1024:
        return f"{number:.0f} B"
    units = ["KiB", "MiB", "GiB", "TiB"]
    number /= 1024
    while number >= 1024 and len(units) > 1:
        number /= 1024
        del units[0]
    return f"{number:.1f} {units[0]}"
