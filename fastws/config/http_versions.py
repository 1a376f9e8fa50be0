"""Which versions of HTTP a server speaks, as options and what is installed have it."""

from __future__ import annotations

from fastws.config.table import Fields
from fastws.distribution import install_line
from fastws.errors import ConfigError
from fastws.http import header_blocks


def speaks_http2(config: Fields) -> bool:
    """Whether HTTP/2 is served. Raises ConfigError where it must be, and cannot."""
    if config.http in ("1", "httptools"):
        return False
    available = header_blocks.is_available()
    if config.http == "2" and not available:
        raise ConfigError(f"--http: 2 needs hpack: {install_line('http2')}")
    return available


def spoken(config: Fields) -> str:
    """The versions in words, for the log."""
    if config.http == "2":
        return "HTTP/2"
    return "HTTP/1.1 and HTTP/2" if speaks_http2(config) else "HTTP/1.1"
