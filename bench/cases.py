"""What is measured: one row a case, with the load client's options and the ratio to uvicorn that fastws aims at.

Targets are of server CPU a unit of work, uvicorn with its websockets-sansio implementation = 1, higher is better; for
memory they are KiB a connection, lower is better. No test asserts them: noise would.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One kind of work: `arguments` for the load client, `unit` that its cost is counted in."""

    name: str
    title: str
    arguments: tuple[str, ...]
    unit: str = "message"
    target: float | None = None
    quick: bool = True
    deflate: bool = False
    memory: bool = False


def _echo(size: int, window: int, connections: int, *more: str) -> tuple[str, ...]:
    return ("--size", str(size), "--window", str(window), "--connections", str(connections), *more)


_CONNECT = ("--mode", "connect", "--connections", "16")

CASES = {
    case.name: case
    for case in (
        Case("64x1", "echo 64 B, 1 in flight, 64 connections", _echo(64, 1, 64), target=3.3),
        Case("64x16", "echo 64 B, 16 in flight, 32 connections", _echo(64, 16, 32), target=12),
        Case("1k", "echo 1 KiB, 8 in flight, 32 connections", _echo(1024, 8, 32), target=9),
        Case("64k", "echo 64 KiB binary, 8 connections", _echo(65536, 1, 8, "--binary"), target=1.7),
        Case("1m", "echo 1 MiB binary, 4 connections", _echo(1 << 20, 1, 4, "--binary"), target=2.5),
        Case(
            "deflate",
            "echo 1 KiB, deflated, 8 in flight, 32 connections",
            ("--window", "8", "--connections", "32"),
            target=3,
            quick=False,
            deflate=True,
        ),
        Case(
            "fanout",
            "one message to 100 connections, app-level loop",
            ("--mode", "fanout", "--path", "/fanout", "--connections", "100"),
            unit="delivery",
            target=2.5,
            quick=False,
        ),
        Case("http", "HTTP hello world, 32 connections", ("--mode", "http", "--connections", "32"), "request", 1.9),
        Case("connect", "new connections, one echo, close", _CONNECT, "connection", 3),
        Case(
            "connect-deflate",
            "new connections with deflate, one echo, close",
            _CONNECT,
            unit="connection",
            target=3,
            quick=False,
            deflate=True,
        ),
        Case("memory", "idle connection", (), "connection", target=4.5, memory=True),
        Case("memory-deflate", "idle connection, deflate used", (), "connection", 8, False, deflate=True, memory=True),
    )
}


def deflated_payload() -> bytes:
    """About 1 KiB of JSON as one permessage-deflate payload that needs no earlier one (RFC 7692 section 7.2.1)."""
    rows = [{"id": 7919 * i % 1000, "name": f"item {i}", "price": 1.25 * i, "on": i % 3 > 0} for i in range(18)]
    compressor = zlib.compressobj(6, zlib.DEFLATED, -12)
    data = compressor.compress(json.dumps(rows).encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(b"\x00\x00\xff\xff")
