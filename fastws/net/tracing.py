"""What `--log-level trace` shows of connections: each that is made, and its end.

A state of its own, so that nobody pays for it who has not asked.
"""

from __future__ import annotations

from typing import Any

from fastws.config.log_defaults import TRACE
from fastws.net.connection import Connection
from fastws.net.loop_core import logger
from fastws.net.loop_state import LoopState


class TracedLoopState(LoopState):
    """The state of a loop whose connections are logged."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """See `LoopState`."""
        super().__init__(*arguments, **options)
        self._peers: dict[Connection, str] = {}  # a connection that is lost no longer knows whose it was

    def connection_opened(self, connection: Connection) -> None:
        """See `LoopState`."""
        peer = connection.peer_address()
        self._peers[connection] = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unix"
        logger.log(TRACE, "%s - HTTP connection made", self._peers[connection])
        super().connection_opened(connection)

    def connection_closed(self, connection: Connection) -> None:
        """See `LoopState`."""
        logger.log(TRACE, "%s - HTTP connection lost", self._peers.pop(connection, "-"))
        super().connection_closed(connection)
