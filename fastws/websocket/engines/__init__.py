"""The WebSocket implementations behind one seam, `fastws.websocket.engine.Engine`, and the choice of one."""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast

from fastws.distribution import install_line
from fastws.errors import ConfigError
from fastws.websocket.engine import Engine

ENGINE_NAMES: Final = ("cython", "websockets", "wsproto")

_CLASSES: Final = {
    "cython": ("fastws.websocket.engines.cython", "CythonEngine"),
    "websockets": ("fastws.websocket.engines.websockets", "WebsocketsEngine"),
    "wsproto": ("fastws.websocket.engines.wsproto", "WsprotoEngine"),
}

_REMEDIES: Final = {
    "cython": "reinstall fastws where a C compiler is, with FASTWS_EXTENSION=yes to see why its build fails",
    "websockets": "pip install 'websockets>=15'",
    "wsproto": install_line("wsproto"),
}


def load_engine(name: str) -> type[Engine]:
    """The engine of that name: one of ENGINE_NAMES, "auto" (the fastest there is) or "websockets-sansio".

    Raises ConfigError for another name, and for an engine that was asked for and cannot be imported.
    """
    if name == "auto":
        try:
            return _load("cython")
        except ImportError:
            name = "websockets"
    elif name == "websockets-sansio":
        name = "websockets"
    elif name not in ENGINE_NAMES:
        raise ConfigError(f"--ws: {name!r} is no engine; it must be auto, {', '.join(ENGINE_NAMES)} or none")
    try:
        return _load(name)
    except ImportError as error:
        raise ConfigError(f"--ws: the {name} engine cannot be imported ({error}); {_REMEDIES[name]}") from error


def _load(name: str) -> type[Engine]:
    module, attribute = _CLASSES[name]
    return cast("type[Engine]", getattr(import_module(module), attribute))
