"""Accepts connections for one of several workers that share a listening socket, so that each gets its even part.

Whoever is quickest accepts, and with long-lived connections one worker would end up with most of them. So a worker
that has more than its part leaves a connection that waits to the others, by looking away for a moment; where nobody has
taken it after `PATIENCE_SECONDS`, because the others are busy, it takes one each time that it looks. While nobody
connects nothing of this happens.

The queue of connections is the kernel's and belongs to the socket, which the supervisor holds: none is lost when a
worker ends, as it would be with SO_REUSEPORT.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from fastws.descriptors import ACCEPT_FAILED
from fastws.scoreboard import Row

logger: Final = logging.getLogger("fastws.error")

LOOK_AWAY_SECONDS: Final = 0.005
PATIENCE_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 1.0
"""When to try again after the process had no descriptor left."""


def has_its_part(mine: int, mean: float) -> bool:
    """Whether a worker with so many connections should leave the next one to the others."""
    return mine > mean + mean / 16 + 1


class Acceptor:
    """Accepts on `sock` for the worker whose row is `row`, until it is closed; `count` says what it has open.

    `tls` holds the arguments for `loop.connect_accepted_socket`.
    """

    def __init__(
        self,
        sock: socket.socket,
        factory: Callable[[], asyncio.BaseProtocol],
        row: Row,
        count: Callable[[], int],
        tls: dict[str, Any],
    ) -> None:
        self.sockets = (sock,)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._factory = factory
        self._row = row
        self._count = count
        self._tls = tls
        self._opening: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._waits_since = 0.0
        self._looked_away = 0.0
        self._loop.add_reader(sock, self._on_readable)

    def close(self) -> None:
        """Accept no more; those that are open stay. Others may go on with the socket."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _on_readable(self) -> None:
        row = self._row
        mine = self._count() + len(self._opening)
        row.connections = mine
        if has_its_part(mine, row.board.mean()):
            now = self._loop.time()
            if now - self._looked_away > 2 * LOOK_AWAY_SECONDS:
                self._waits_since = now  # nobody waited when we last looked
            self._looked_away = now
            self._look_away(LOOK_AWAY_SECONDS)
            if now - self._waits_since < PATIENCE_SECONDS:
                return
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was quicker, or the client is gone
        except OSError as error:  # no descriptors, as asyncio has it
            self._loop.call_exception_handler({"message": ACCEPT_FAILED, "exception": error})
            self._look_away(RETRY_SECONDS)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._open(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        row.connections = mine + 1

    def _look_away(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sock)
        self._timer = self._loop.call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._loop.add_reader(self._sock, self._on_readable)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection, **self._tls)
        except (OSError, ssl.SSLError, asyncio.TimeoutError) as error:
            logger.debug("A TLS handshake failed: %s", error)
            connection.close()
