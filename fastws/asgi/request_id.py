"""Request ids: one for each request and each WebSocket, the same for everybody who had to do with it.

With --request-id-header an id is taken from that field of a request, where the peer is one whose X-Forwarded-* fields
are believed too, and otherwise made up. The application finds it in ``scope["state"]["request_id"]`` (Starlette's
``request.state.request_id``), the client in the response's field of that name, the operator in the log's lines, and
whatever runs in the request's task in `REQUEST_ID`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from fastws.http.forwarded import TrustedPeers

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("fastws_request_id", default=None)
"""The id of the request that this task serves, or None."""

MAX_LENGTH: Final = 128
"""Characters of an id; what a proxy sends that is longer, or has others than `_VALID`, is not taken."""

_VALID: Final = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,%d}" % MAX_LENGTH).fullmatch


class RequestIds:
    """Chooses the ids of a server whose field is called `header`; `trusted` are the peers whose ids are taken."""

    def __init__(self, header: str, trusted: TrustedPeers | None) -> None:
        self.name = header.lower().encode("latin-1")
        self._trusted = trusted

    def choose(self, headers: Iterable[tuple[bytes, bytes]], peer: str | None) -> str:
        """The id for a request with these header fields that came from the address `peer`; None is a Unix socket's."""
        given = [value for name, value in headers if name == self.name]
        if len(given) == 1 and self._trusted is not None and _VALID(given[0]) and self._trusted.trusts(peer):
            return given[0].decode("ascii")
        return secrets.token_hex(16)

    def line(self, request_id: str) -> bytes:
        """That header field as it is sent."""
        return b"%b: %b\r\n" % self.field(request_id)

    def field(self, request_id: str) -> tuple[bytes, bytes]:
        """The header field that tells a client its id."""
        return self.name, request_id.encode("ascii")


def request_id_of(scope: Mapping[str, Any]) -> str | None:
    """The id that the server gave to `scope`."""
    state = scope.get("state")
    found = state.get("request_id") if state is not None else None
    return found if isinstance(found, str) else None
