"""Topics for the WebSocket objects of Starlette and FastAPI, on fastws and, without its gains, on any other server.

    @app.websocket("/rooms/{room}")
    async def chat(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        async with subscribed(websocket, room):
            async for text in websocket.iter_text():
                await publish(room, text)

Applications that are plain ASGI send the events of the extension by themselves: docs/topics.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Literal, Protocol

from fastws.topics.backlog import Policy
from fastws.topics.events import check_key, check_message, check_topic, read_announced, read_policy
from fastws.topics.fallback import DEFAULT, Rooms

EXTENSION = "fastws.topics"

Slow = Literal["drop-newest", "drop-oldest", "latest", "close"]
"""What is done for a subscriber that does not keep up."""


class WebSocketLike(Protocol):
    """Starlette's and FastAPI's `WebSocket`, which has accepted."""

    scope: MutableMapping[str, Any]


async def subscribe(
    websocket: WebSocketLike,
    topic: str,
    *,
    slow: Slow | None = None,
    limit: int | None = None,
    announce: str | None = None,
) -> None:
    """Subscribe `websocket`, which is accepted, to `topic`, until it ends or unsubscribes.

    `slow` says what happens when `limit` bytes of the topic wait for it; --topics-slow is the default of the first, and
    --topics-backlog the default and the most of the second. `announce` is a name of 1 to 255 characters: subscribers of
    `presence_topic(topic)` get a message with it when the connection joins and when it leaves, however it ends.

    Raises ValueError or TypeError for a malformed topic, and `fastws.errors.ApplicationError` for a bad policy or
    name and for more topics than a connection may have.
    """
    event: dict[str, Any] = {"type": "websocket.subscribe", "topic": check_topic(topic)}
    if slow is not None:
        event["slow"] = slow
    if limit is not None:
        event["limit"] = limit
    if announce is not None:
        event["announce"] = announce
    if _has_topics(websocket):
        await _send(websocket)(event)
    else:
        policy: Policy = read_policy(event, DEFAULT)
        Rooms.of_running_loop().subscribe(websocket, _send(websocket), topic, policy, read_announced(event))


async def unsubscribe(websocket: WebSocketLike, topic: str) -> None:
    """End the subscription, if there is one and the connection has not ended."""
    topic = check_topic(topic)
    if not _has_topics(websocket):
        Rooms.of_running_loop().unsubscribe(websocket, topic)
        return
    with contextlib.suppress(OSError, RuntimeError):  # it has ended, and with it the subscription
        await _send(websocket)({"type": "websocket.unsubscribe", "topic": topic})


@contextlib.asynccontextmanager
async def subscribed(
    websocket: WebSocketLike,
    *topics: str,
    slow: Slow | None = None,
    limit: int | None = None,
    announce: str | None = None,
) -> AsyncIterator[None]:
    """As `subscribe` to `topics`, and `unsubscribe` when the block is left."""
    try:
        for topic in topics:
            await subscribe(websocket, topic, slow=slow, limit=limit, announce=announce)
        yield
    finally:
        for topic in topics:
            await unsubscribe(websocket, topic)


async def publish_from(
    websocket: WebSocketLike, topic: str, message: str | bytes, *, key: str | None = None, exclude_self: bool = False
) -> None:
    """As `fastws.topics.publish`, from a connection, which with `exclude_self` gets no copy.

    What one connection publishes arrives in its order. Raises TypeError or ValueError for what cannot be published.
    """
    topic, message, key = check_topic(topic), check_message(message), check_key(key)
    if _has_topics(websocket):
        name = "text" if isinstance(message, str) else "bytes"
        event = {"type": "websocket.publish", "topic": topic, name: message, "exclude_self": exclude_self}
        await _send(websocket)(event if key is None else {**event, "key": key})
        return
    rooms = Rooms.of_running_loop()
    rooms.publish(topic, message, key, rooms.number(websocket) if exclude_self else 0)
    waiter = rooms.wait_for_turn()
    if waiter is not None:
        await waiter


def _has_topics(websocket: WebSocketLike) -> bool:
    return EXTENSION in (websocket.scope.get("extensions") or ())


def _send(websocket: WebSocketLike) -> Callable[[dict[str, Any]], Awaitable[None]]:
    """The ASGI send below the framework's own, which lets no event pass that it does not know."""
    send: Callable[[dict[str, Any]], Awaitable[None]] = websocket._send  # type: ignore[attr-defined]  # see above
    return send
