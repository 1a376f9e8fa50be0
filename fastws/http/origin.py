"""Web origins (RFC 6454): their one form, for comparing what a browser says with what the operator allows.

Values only. Where the header is read and what a stranger gets is in `fastws.websocket.handshake`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

ANY: Final = "*"
"""Stands for every origin, and for clients that claim none."""

_ORIGIN: Final = re.compile(
    r"([a-z][a-z0-9+.-]*)://([a-z0-9_~!$&'()*+,;=.%-]+|\[[0-9a-f:.]+\])(?::([0-9]{0,5}))?", re.IGNORECASE | re.ASCII
).fullmatch
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def normalise_origin(text: str) -> str | None:
    """The one form of scheme://host[:port]: lower case, without the scheme's own port. None where it is no origin.

    ``null``, which browsers send for documents without an origin of their own (RFC 6454 section 6.1), is itself.
    """
    text = text.strip(" \t")
    if text.lower() == "null":
        return "null"
    match = _ORIGIN(text)
    if match is None:
        return None
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    if not port or int(port) == _DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{int(port)}" if int(port) < 65536 else None
