"""The tables of `fastws status`: what each column shows, and which are left out where a terminal is too narrow.

Plain text: no library draws it. Who asks says how wide it may be; a pipe gets all columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from fastws.http.escaped import escape

GAP: Final = "  "
ELLIPSIS: Final = "…"
LEAST_OF_A_TEXT: Final = 10
"""Characters of a text that is cut to fit: with fewer of them it says nothing, and columns are left out instead."""

Row = dict[str, Any]


class Column(NamedTuple):
    """One column: its title, the text for a row, and when it goes."""

    title: str
    show: Callable[[Row], str]
    leaves: int = 0
    """Where the table is too wide, the highest goes first. 0 stays."""
    cut: bool = False
    """Whether its texts may be cut."""


WORKERS: Final = (
    Column("worker", lambda row: str(row["worker"])),
    Column("state", lambda row: row["state"]),
    Column("up", lambda row: duration(row["uptime"])),
    Column("engine", lambda row: f"{row['engine']}, {row['loop']}", leaves=9),
    Column("conns", lambda row: str(row["connections"])),
    Column("ws", lambda row: str(row["websockets"])),
    Column("requests", lambda row: str(row["requests"]), leaves=8),
    Column("in/s", lambda row: f"{row['messages_in_rate']:.0f}"),
    Column("out/s", lambda row: f"{row['messages_out_rate']:.0f}"),
    Column("http/s", lambda row: f"{row['requests_total_rate']:.0f}", leaves=4),
    Column("queued", lambda row: str(row["queue_messages"]), leaves=7),
    Column("unsent", lambda row: size(row["unsent_bytes"]), leaves=6),
    Column("cpu", lambda row: f"{row['cpu_seconds_rate']:.0%}", leaves=1),
    Column("memory", lambda row: size(row["memory_bytes"]), leaves=2),
    Column("lag", lambda row: f"{row['loop_lag'] * 1e3:.1f} ms", leaves=3),
)

CONNECTIONS: Final = (
    Column("id", lambda row: row["id"]),
    Column("kind", lambda row: row["kind"]),
    Column("http", lambda row: row["http"], leaves=9),
    Column(
        "state",
        lambda row: row["state"] + (" <" if row["reading_paused"] else "") + (" >" if row["writing_paused"] else ""),
    ),
    Column("age", lambda row: duration(row["age"])),
    Column("client", lambda row: escape(row["client"]), leaves=1),
    Column("path", lambda row: escape(row["path"]), leaves=2, cut=True),
    Column("in/s", lambda row: f"{row['messages_in_rate']:.1f}", leaves=3),
    Column("out/s", lambda row: f"{row['messages_out_rate']:.1f}", leaves=4),
    Column("in", lambda row: size(row["bytes_in"]), leaves=7),
    Column("out", lambda row: size(row["bytes_out"]), leaves=6),
    Column("queued", lambda row: str(row["queue_messages"]), leaves=8),
    Column("unsent", lambda row: size(row["unsent_bytes"]), leaves=5),
)


def table(columns: Sequence[Column], rows: Sequence[Row], width: int | None = None) -> list[str]:
    """The lines of a table, titles first, of up to `width` characters each where one is given."""
    cells = {each: [each.title, *(each.show(row) for row in rows)] for each in columns}
    widths = {each: max(map(len, texts)) for each, texts in cells.items()}
    if width is not None:
        _fit(widths, width)
    return [
        GAP.join(_cut(cells[each][line], wide).ljust(wide) for each, wide in widths.items()).rstrip()
        for line in range(len(rows) + 1)
    ]


def _fit(widths: dict[Column, int], width: int) -> None:
    """Leave columns out, and cut texts, until the rest is no wider than `width`, as far as there is something to."""
    while (over := sum(widths.values()) + len(GAP) * (len(widths) - 1) - width) > 0:
        text = next((each for each in widths if each.cut), None)
        if text is not None and widths[text] - over >= LEAST_OF_A_TEXT:
            widths[text] -= over
            return
        last = max(widths, key=lambda each: each.leaves)
        if not last.leaves:
            return
        del widths[last]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + ELLIPSIS


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
