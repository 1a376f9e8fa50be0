"""The language of --access-log-format: gunicorn's, ``%(h)s %(l)s "%(r)s" %(s)s %({x-trace}i)s``. What may stand in it.

Values are filled in by `fastws.observe.access_format`; this file only knows what is right, so that a mistake is found
when the options are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

ATOMS: Final[Mapping[str, str]] = {
    "h": "address of the client",
    "l": "`-`",
    "u": "user of HTTP Basic authentication",
    "t": "time of the line, `[23/Nov/2026:10:00:00 +0000]`",
    "r": "request line, `GET /path?query HTTP/1.1`",
    "m": "method; GET for a WebSocket",
    "U": "path without the query",
    "q": "query",
    "H": "protocol, `HTTP/1.1`",
    "s": "status; 101 for a WebSocket that was accepted",
    "B": "bytes of the response's body; of a WebSocket, of the messages sent",
    "b": "the same, `-` for none",
    "f": "Referer",
    "a": "User-Agent",
    "T": "duration in whole seconds",
    "M": "duration in whole milliseconds",
    "D": "duration in whole microseconds",
    "L": "duration in seconds, with six decimals",
    "p": "process id, `<1234>`",
}
"""The atoms that are letters."""

KINDS: Final[Mapping[str, str]] = {
    "i": "header field of the request",
    "o": "header field of the response, as the application set it",
    "e": "variable of the process's environment",
    "x": "field of the record, such as `request_id` or `close_code`",
}
"""The atoms with a name in braces, ``{name}i``."""

RECORD_FIELDS: Final = (
    "request_id",
    "close_code",
    "close_reason",
    "closed_by",
    "messages_in",
    "bytes_in",
    "messages_out",
    "bytes_out",
)
"""What ``{name}x`` may name; all but the first are of a WebSocket that closed."""

_PLACE: Final = re.compile(r"%(?:%|\(([^)]*)\)(?:[-0-9.]*)([a-zA-Z]?)|)")
_NAMED: Final = re.compile(r"\{([^{}]+)\}([a-z])").fullmatch


def split_atom(atom: str) -> tuple[str, str]:
    """Kind and name of an atom: ``("i", "x-trace")``, ``("h", "")``. Raises ValueError, saying what is wrong."""
    if atom in ATOMS:
        return atom, ""
    named = _NAMED(atom)
    if named is None or named[2] not in KINDS:
        raise ValueError(
            f"there is no atom %({atom})s; there are {', '.join([*ATOMS, *('{name}' + k for k in KINDS)])}"
        )
    if named[2] == "x" and named[1] not in RECORD_FIELDS:
        raise ValueError(f"there is no field {named[1]!r}; there are {', '.join(RECORD_FIELDS)}")
    return named[2], named[1]


def read_format(text: str) -> dict[str, tuple[str, str]]:
    """The atoms of a format, each with its kind and name. Raises ValueError, saying what is wrong."""
    atoms = {}
    for place in _PLACE.finditer(text):
        if place[0] == "%%":
            continue
        if place[1] is None or place[2] != "s":
            raise ValueError(f"a % must begin an atom such as %(h)s, or be doubled: {text[place.start() :][:20]!r}")
        atoms[place[1]] = split_atom(place[1])
    return atoms
