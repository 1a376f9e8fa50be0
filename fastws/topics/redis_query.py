"""Questions to the Redis that is written to: one connection, one question after the other."""

from __future__ import annotations

import asyncio
from typing import Any

from fastws.topics.redis_connection import Connector, hang_up


class Query:
    """The connection for questions, which is made and replaced together with the others of its bus."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._connection: Any = None
        self._lock = asyncio.Lock()
        self._ended = asyncio.Event()
        # For the watch.
        self.awaiting = False
        """Whether an answer is due."""
        self.heard = 0
        """Answers until now."""
        self.size = 0

    async def serve(self, connection: Any) -> None:
        """Ask over this connection, until it fails. Raises ConnectionError then."""
        self._ended.clear()
        self._connection = connection
        try:
            await self._ended.wait()
            raise ConnectionError("the connection for questions was lost")
        finally:
            self._connection = None
            self.awaiting = False

    async def ask(self, *words: Any) -> Any:
        """The answer. Raises what the connection does, ConnectionError where there is none: who waits is not kept."""
        async with self._lock:
            connection = self._connection
            if connection is None:
                raise ConnectionError("there is no connection for questions")
            try:
                self.awaiting = True
                await connection.send_command(*words, check_health=False)
                answer = await connection.read_response(disable_decoding=True)
                self.heard += 1
                return answer
            except self._connector.answers:
                self.heard += 1
                raise
            except BaseException:  # its next answer would be that to this question
                if self._connection is connection:
                    self._connection = None
                    self._ended.set()
                await hang_up(connection)
                raise
            finally:
                self.awaiting = False
