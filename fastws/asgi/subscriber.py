"""What the WebSocket session needs of topics: the two seams to `fastws.topics`, which the ASGI layer does not know.

Compiled by Cython where the extension was built (subscriber.pxd), so that a session which has no subscriptions pays
for one comparison with None, and one that has them for no look-up.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol


class Subscriber:
    """The subscriptions of one open WebSocket; `fastws.topics.member` has them."""

    def settle(self) -> None:
        """Let publications that wait for the end of the loop's turn go before what the application sends now."""
        raise NotImplementedError

    def resume(self) -> None:
        """The peer takes more."""
        raise NotImplementedError

    def waiting(self) -> int:
        """Bytes that wait in its backlog."""
        raise NotImplementedError

    def leave(self) -> None:
        """Nothing more is sent: end all subscriptions."""
        raise NotImplementedError


class Topics(Protocol):
    """Where the sessions of a loop subscribe and publish; `fastws.topics.hub` has it."""

    def subscribe_event(self, session: Any, event: dict[str, Any]) -> asyncio.Future[None] | None:
        """The application sends `websocket.subscribe`; what it must wait for. Raises ApplicationError as below."""

    def unsubscribe_event(self, session: Any, event: dict[str, Any]) -> None:
        """The application sends `websocket.unsubscribe`. Raises ApplicationError for a malformed event."""

    def publish_event(self, session: Any, event: dict[str, Any]) -> asyncio.Future[None] | None:
        """The application sends `websocket.publish`; what it must wait for. Raises ApplicationError as above."""
