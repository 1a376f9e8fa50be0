"""What is measured: one row a case, with the load client's options and the ratio to uvicorn that fastws aims at.

Targets are of server CPU a unit of work, uvicorn with its websockets-sansio implementation = 1, higher is better; for
memory they are KiB a connection, lower is better. No test asserts them: noise would.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

APP = "apps:app"


@dataclass(frozen=True)
class Case:
    """One kind of work: `arguments` for the load client, `unit` that its cost is counted in.

    `in_flight` is how many messages the server may have at a time: latencies mean nothing without it. `app` is the
    application, `module:name` of this directory. `tls` says that all of it goes over TLS. `at` is the case's place on
    the axis of a curve.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    unit: str = "message"
    target: float | None = None
    in_flight: int = 0
    app: str = APP
    deflate: bool = False
    memory: bool = False
    tls: bool = False
    at: int | None = None


def _echo(size: int, window: int, connections: int, *more: str) -> tuple[str, ...]:
    return ("--size", str(size), "--window", str(window), "--connections", str(connections), *more)


def _fanout(members: int, target: float | None) -> Case:
    arguments = ("--mode", "fanout", "--path", "/fanout", "--connections", str(members))
    return Case(
        f"fanout-{members}",
        f"one message to {members:,} connections, app-level loop",
        arguments,
        unit="delivery",
        target=target,
        in_flight=members,
    )


def _framework(name: str, app: str, target: float) -> tuple[Case, Case]:
    return (
        Case(
            f"{app}-x1",
            f"{name} route, echo 64 B, 1 in flight, 64 connections",
            _echo(64, 1, 64),
            target=target,
            in_flight=64,
            app=f"framework_apps:{app}",
        ),
        Case(
            f"{app}-x16",
            f"{name} route, echo 64 B, 16 in flight, 32 connections",
            _echo(64, 16, 32),
            target=target,
            in_flight=512,
            app=f"framework_apps:{app}",
        ),
    )


def _browser(path: str) -> tuple[str, ...]:
    return ("--mode", "http", "--browser", "--path", path, "--connections", "32")


def _json_route(name: str, app: str) -> Case:
    return Case(
        f"{app}-json",
        f"{name} route, GET of JSON, a browser's heads, none twice, 32 connections",
        _browser("/items/7"),
        unit="request",
        in_flight=32,
        app=f"framework_apps:{app}",
    )


def _over_tls(case: Case) -> Case:
    return dataclasses.replace(case, name=f"tls-{case.name}", title=f"TLS: {case.title}", tls=True)


_CONNECT = ("--mode", "connect", "--connections", "16")


def _by_name(cases: Iterable[Case]) -> dict[str, Case]:
    return {case.name: case for case in cases}


CASES = _by_name(
    (
        Case("64x1", "echo 64 B, 1 in flight, 64 connections", _echo(64, 1, 64), target=2.8, in_flight=64),
        Case("64x16", "echo 64 B, 16 in flight, 32 connections", _echo(64, 16, 32), target=18, in_flight=512),
        Case("1k", "echo 1 KiB, 8 in flight, 32 connections", _echo(1024, 8, 32), target=11, in_flight=256),
        Case("64k", "echo 64 KiB binary, 8 connections", _echo(65536, 1, 8, "--binary"), target=1.7, in_flight=8),
        Case("1m", "echo 1 MiB binary, 4 connections", _echo(1 << 20, 1, 4, "--binary"), target=2, in_flight=4),
        Case(
            "deflate",
            "echo 1 KiB, deflated, 8 in flight, 32 connections",
            ("--window", "8", "--connections", "32"),
            target=3,
            in_flight=256,
            deflate=True,
        ),
        _fanout(100, 2.5),
        _fanout(1000, 2.5),
        Case(
            "http",
            "HTTP hello world, the same head each time, 32 connections",
            ("--mode", "http", "--connections", "32"),
            unit="request",
            target=3.2,
            in_flight=32,
        ),
        Case(
            "http-unique",
            "HTTP hello world, a browser's heads, none twice, 32 connections",
            _browser("/"),
            unit="request",
            target=2.9,
            in_flight=32,
        ),
        Case(
            "http-post",
            "POST of 1 KiB JSON, echoed, a browser's heads, none twice, 32 connections",
            (*_browser("/echo"), "--post", "--size", "1024"),
            unit="request",
            target=2.5,
            in_flight=32,
        ),
        Case("connect", "new connections, one echo, close", _CONNECT, "connection", 4.5, in_flight=16),
        Case(
            "connect-deflate",
            "new connections with deflate, one echo, close",
            _CONNECT,
            unit="connection",
            target=3,
            in_flight=16,
            deflate=True,
        ),
        *_framework("Starlette", "starlette", 3),
        *_framework("FastAPI", "fastapi", 2.5),
        _json_route("Starlette", "starlette"),
        _json_route("FastAPI", "fastapi"),
        *map(
            _over_tls,
            (
                Case("64x1", "echo 64 B, 1 in flight, 64 connections", _echo(64, 1, 64), target=2.6, in_flight=64),
                Case("64x16", "echo 64 B, 16 in flight, 32 connections", _echo(64, 16, 32), target=11, in_flight=512),
                Case(
                    "64k", "echo 64 KiB binary, 8 connections", _echo(65536, 1, 8, "--binary"), target=1.5, in_flight=8
                ),
                Case("connect", "new connections, one echo, close", _CONNECT, "connection", 1, in_flight=16),
                Case("memory", "idle connection", (), "connection", 14, memory=True),
            ),
        ),
        Case("memory", "idle connection", (), "connection", target=4.5, memory=True),
        Case("memory-deflate", "idle connection, deflate used", (), "connection", 8, deflate=True, memory=True),
    )
)
"""The table: what the targets are of."""

LONG = {"connect-deflate", "fanout-1000"}
PEER_CASES = [name for name, case in CASES.items() if case.app == APP and name not in LONG and not case.tls]
"""What the short comparison with all other servers takes of it."""

CONNECTIONS = _by_name(
    Case(f"open-{number}", f"echo 64 B, 1 in flight, {number:,} connections", _echo(64, 1, number), at=number)
    for number in (64, 256, 1000, 4000, 10000)
)
"""The cost of a message against the number of connections, all of which are in use."""

SIZES = _by_name(
    Case(f"size-{size}", f"echo {size:,} B binary, 1 in flight, 8 connections", _echo(size, 1, 8, "--binary"), at=size)
    for size in (16, 128, 1024, 8192, 65536, 262144, 1048576)
)
"""The cost of a message against its size."""

ALL = CASES | CONNECTIONS | SIZES


def json_payload(number: int, rows: int = 18) -> bytes:
    """JSON of about 57 bytes a row; another for each number."""
    made = [
        {"id": 7919 * (i + number) % 1000, "name": f"item {i}", "price": 1.25 * i + number, "on": (i + number) % 3 > 0}
        for i in range(rows)
    ]
    return json.dumps(made).encode()


def deflated(payload: bytes) -> bytes:
    """A permessage-deflate payload that needs no earlier one (RFC 7692 section 7.2.1)."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, -12)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(b"\x00\x00\xff\xff")


def deflated_payloads() -> bytes:
    """Eight different messages of 1 KiB for the load client: a server may keep what it made of one that comes again."""
    made = (deflated(json_payload(number)) for number in range(8))
    return b"".join(len(each).to_bytes(4, "big") + each for each in made)
