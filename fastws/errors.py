"""The errors of fastws, apart by whose fault they are: the operator's, the peer's or the application's."""

from __future__ import annotations

from typing import Final

STARTUP_FAILURE: Final = 3
"""Exit code of a server that could not start."""


class ConfigError(Exception):
    """The operator's: an option is wrong. The message is one line that names it and says what would be right."""


class RequestError(Exception):
    """The peer's: a request that gets `status` (an HTTP status code) and then a closed connection.

    `detail` is one line of printable ASCII, sent as the body and never quoting the peer's bytes.
    `headers` are extra response header fields. `log_hint` is a line for the operator, where there is one to give.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        log_hint: str | None = None,
    ) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.headers = headers
        self.log_hint = log_hint


class HandshakeError(RequestError):
    """A request that asks wrongly for a WebSocket, or for one that it may not have."""


class ApplicationError(RuntimeError):
    """The application's: it sent an event that is malformed or not allowed now.

    The message names the event, the state and what was allowed.
    """


class ClientDisconnected(OSError):
    """The application sent to a peer that is gone. ASGI asks for a subclass of OSError; the server ignores it."""


class StartupError(Exception):
    """The operator's: the server cannot start, as when its port is taken. The message is one line."""
