"""Imports point down only, and the lower layers know neither the event loop nor the clock.

A new module of fastws is put into one of the layers here; `if TYPE_CHECKING:` is no import.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fastws"

# From the bottom. A name stands for a module or for all of a subpackage.
LAYERS = {
    "values": [
        "errors",
        "text_size",
        "events",
        "engine",
        "failures",
        "origin",
        "bind_address",
        "near",
        "uvicorn_options",
        "options",
        "redis_url",
        "log_atoms",
        "deflate_backends",
        "log_defaults",
        "option_pairs",
        "_zlib",  # compiled, and one of the backends
        "deflate_messages",
        "config",
        "environment",
    ],
    "compiled": ["_codec", "_text"],
    "sans-IO": [
        "handshake",
        "engines",
        "deflate",
        "http_head",
        "head_scan",
        "http_framing",
        "forwarded",
        "client_counts",
        "repeats",
        "pages",
        "rate_limit",
        "proxy_protocol",
        "forwarded_fields",
    ],
    "event loop": [
        "log_limit",
        "loop_core",
        "loop_counts",
        "connection",
        "_sockets",
        "accepting",
        "http_connection",
        "loop_state",
        "proxy_preamble",
        "sweep",
        "scoreboard",
        "even_spread",
        "descriptors",
    ],
    "ASGI": [
        "_awaitables",
        "asgi",
        "asgi_calls",
        "asgi_http",
        "asgi_opening",
        "asgi_states",
        "asgi_tls",
        "asgi_topics",
        "asgi_traffic",
        "asgi_waiting",
        "asgi_websocket",
        "observer",
        "request_id",
    ],
    "operations": [
        "access_log",
        "access_format",
        "log_format",
        "terminal",
        "metrics",
        "metrics_exchange",
        "metrics_page",
        "control",
        "control_client",
        "health",
        "topics",
    ],
    "process": [
        "__init__",
        "__main__",
        "app_loading",
        "app_names",
        "check",
        "cli",
        "cli_command",
        "cli_completion",
        "cli_help",
        "config_file",
        "config_sources",
        "versions",
        "control_cli",
        "publish_cli",
        "demo",
        "launch",
        "log_files",
        "recycling",
        "systemd",
        "worker_process",
        "worker_handle",
        "reloader",
        "event_loop",
        "gunicorn_requests",
        "gunicorn_settings",
        "lifespan",
        "listeners",
        "log_setup",
        "operations",
        "server",
        "supervisor",
        "pytest_plugin",
        "testing",
        "tls",
        "workers",
    ],
}
RANK = {name: rank for rank, names in enumerate(LAYERS.values()) for name in names}
SANS_IO = list(LAYERS).index("sans-IO")

FORBIDDEN = {
    "asyncio",
    "selectors",
    "signal",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "uvloop",
}
"""What nothing up to sans-IO may import: time and input are arguments there."""

SOURCES = sorted(path for pattern in ("*.py", "*.pyx") for path in PACKAGE.rglob(pattern))


def part(module: str) -> str:
    """The key of `RANK` for a module of fastws, written with dots: `fastws.engines.cython` is in `engines`."""
    return module.split(".")[1] if "." in module else "__init__"


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules that a source imports."""
    text = path.read_text()
    if path.suffix == ".pyx":  # no Python that ast reads: one import a line is enough here
        for module, names in re.findall(r"^\s*(?:from\s+(\S+)\s+)?c?import\s+(.+)$", text, re.MULTILINE):
            for name in names.split(","):
                yield ".".join(filter(None, (module, name.split()[0]))) if module in ("", "fastws") else module
        return
    pending: list[ast.AST] = [ast.parse(text)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module is not None
            if node.module == "fastws":
                yield from (f"fastws.{alias.name}" if is_module(alias.name) else "fastws" for alias in node.names)
            else:
                yield node.module
        pending.extend(ast.iter_child_nodes(node))


def is_module(name: str) -> bool:
    return (PACKAGE / name).is_dir() or any((PACKAGE / f"{name}{suffix}").exists() for suffix in (".py", ".pyx"))


def module_of(path: Path) -> str:
    return ".".join(("fastws", *path.relative_to(PACKAGE).with_suffix("").parts))


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_point_down(path: Path) -> None:
    name = part(module_of(path))
    assert name in RANK, f"put {name!r} into a layer of tests/test_layers.py"
    upwards = [
        module
        for module in imported(path)
        if module.partition(".")[0] == "fastws" and RANK.get(part(module), 0) > RANK[name]
    ]
    assert not upwards


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if RANK.get(part(module_of(path)), 99) <= SANS_IO], ids=module_of
)
def test_sans_io_knows_no_loop_no_socket_and_no_clock(path: Path) -> None:
    assert not {module.partition(".")[0] for module in imported(path)} & FORBIDDEN


@pytest.mark.parametrize("path", [path for path in SOURCES if part(module_of(path)) in LAYERS["values"]], ids=module_of)
def test_values_need_the_standard_library_only(path: Path) -> None:
    assert not {module.partition(".")[0] for module in imported(path)} & {"click", "httptools", "websockets", "wsproto"}


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_click_stays_in_the_process_layer(path: Path) -> None:
    if part(module_of(path)) not in LAYERS["process"]:
        assert "click" not in {module.partition(".")[0] for module in imported(path)}
