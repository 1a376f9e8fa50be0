"""What ``fastws --version`` says: which fastws this is, how it was built, and the libraries that it would serve with.

The first line is for machines: ``fastws 0.2.0``. Nothing is imported for its version but what tells of the build.
"""

from __future__ import annotations

import importlib.metadata
import platform
import ssl
import sys
import zlib
from typing import Final

import fastws
from fastws.errors import ConfigError
from fastws.websocket.engines import load_engine

LIBRARIES: Final = (
    *("uvloop", "httptools", "websockets", "wsproto", "isal", "click", "watchfiles", "prometheus_client", "redis"),
)
"""What fastws can use, by the names of the distributions."""


def report() -> str:
    """All of it, a line a fact, with a line's end behind the last."""
    rows = {**_own(), **{name: _version(name) for name in LIBRARIES}}
    width = max(map(len, rows)) + 2
    return "".join((f"fastws {fastws.__version__}\n", *(f"{name:<{width}}{text}\n" for name, text in rows.items())))


def _own() -> dict[str, str]:
    try:
        engine = load_engine("auto").name
    except ConfigError as error:
        engine = str(error)
    try:
        from fastws._codec import BUILD, KERNELS
    except ImportError:
        built = "interpreted: the extensions are not built"
        masks = ""
    else:
        built = f"compiled by {BUILD['compiler']} with {BUILD['flags']}, from Cython {BUILD['cython']}"
        masks = f"{KERNELS[-1]} (this machine has {', '.join(KERNELS)})"
    rows = {
        "engine": engine,
        "build": built,
        "unmasking": masks,
        "Python": f"{platform.python_implementation()} {platform.python_version()} on {_system()}",
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "OpenSSL": ssl.OPENSSL_VERSION.removeprefix("OpenSSL "),
    }
    return {name: text for name, text in rows.items() if text}


def _system() -> str:
    """The system and the processor; that no lock is held, where Python has none."""
    free = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else ", without the GIL"
    return f"{platform.system()} {platform.machine()}{free}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
