"""The ASGI server for WebSocket services.

`run(app, **options)` serves an application; `Config` holds the options and `Server` serves one; `LOGGING_CONFIG` is in
`fastws.config`. Each is imported when it is first asked for: who imports a part of fastws pays for that part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastws.config import Config
    from fastws.process.launch import run
    from fastws.process.server import Server

__version__ = "0.2.0"
__all__ = ["Config", "Server", "__version__", "run"]


def __getattr__(name: str) -> Any:
    if name == "Config":
        from fastws.config import Config

        return Config
    if name == "Server":
        from fastws.process.server import Server

        return Server
    if name == "run":
        from fastws.process.launch import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
