"""What `fastws status` shows where a terminal is narrow, and how it writes times and sizes."""

from __future__ import annotations

from typing import Any

import pytest

from fastws.cli.status_table import CONNECTIONS, WORKERS, duration, size, table

WORKER: dict[str, Any] = {
    "worker": 1234567,
    "state": "draining",
    "uptime": 400_000.0,
    "engine": "websockets",
    "loop": "asyncio",
    "connections": 12_345,
    "websockets": 12_340,
    "requests": 5,
    "messages_in_rate": 123_456.0,
    "messages_out_rate": 123_456.0,
    "requests_total_rate": 12_345.0,
    "queue_messages": 32_000,
    "unsent_bytes": 1_000_000,
    "cpu_seconds_rate": 1.0,
    "memory_bytes": 900_000_000,
    "loop_lag": 1.2345,
}
CONNECTION: dict[str, Any] = {
    "id": "1234567-1234567",
    "kind": "websocket",
    "http": "1.1",
    "state": "open",
    "reading_paused": True,
    "writing_paused": True,
    "age": 400_000.0,
    "client": "192.168.100.100:54321",
    "path": "/rooms/" + "x" * 200,
    "messages_in_rate": 12.3,
    "messages_out_rate": 12.3,
    "bytes_in": 123_456,
    "bytes_out": 123_456_789,
    "queue_messages": 5,
    "unsent_bytes": 123_456,
}


def test_all_columns_are_there_where_there_is_room() -> None:
    for columns, row in ((WORKERS, WORKER), (CONNECTIONS, CONNECTION)):
        titles, line = table(columns, [row])
        assert titles.split() == [each.title for each in columns]
        assert all(each.show(row) in line for each in columns)
        assert table(columns, [row], 500) == [titles, line]


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize(("columns", "row"), [(WORKERS, WORKER), (CONNECTIONS, CONNECTION)])
def test_a_narrow_terminal_gets_no_line_that_is_longer(columns: Any, row: dict[str, Any], width: int) -> None:
    lines = table(columns, [row, {**row, "path": "/"}], width)
    assert max(map(len, lines)) <= width
    assert lines[0].split()[0] == columns[0].title


def test_a_path_is_cut_before_its_column_goes() -> None:
    titles, line = table(CONNECTIONS, [CONNECTION], 80)
    assert "path" in titles.split()
    assert "…" in line
    assert "http" not in titles.split()


def test_what_is_needed_most_stays() -> None:
    titles = table(WORKERS, [WORKER], 20)[0].split()
    assert titles == ["worker", "state", "up", "conns", "ws", "in/s", "out/s"]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (59.9, "59s"), (185, "3m05s"), (7800, "2h10m"), (4 * 86400 + 6 * 3600, "4d06h")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (3277, "3.2 KiB"), (1 << 30, "1.0 GiB"), (1 << 50, "1024.0 TiB")],
)
def test_sizes(number: int, shown: str) -> None:
    assert size(number) == shown
