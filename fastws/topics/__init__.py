"""Topics: one message to all who have subscribed, of this process and of others. docs/topics.md is the guide.

Connections subscribe and publish by the events of the ASGI extension `fastws.topics`. This is for all other code of an
application: HTTP handlers, background tasks, threads.
"""

from __future__ import annotations

import asyncio

from fastws.topics.events import check_key, check_message, check_topic
from fastws.topics.running import HUBS

__all__ = ["publish", "publish_nowait", "subscribers"]


async def publish(topic: str, message: str | bytes, *, key: str | None = None) -> None:
    """Send `message`, text or bytes, to all subscribers of `topic`: soon after this returns, without waiting for any.

    `topic` and `key` have 1 to 255 characters. `key` is what the message is the latest of, for subscribers that want
    only the latest while they are slow. A topic without subscribers is none that is wrong.

    Raises TypeError or ValueError for what cannot be published, RuntimeError where no server runs in this process.
    """
    publish_nowait(topic, message, key=key)
    for loop, hub in HUBS:
        if loop is asyncio.get_running_loop():
            waiter = hub.wait_for_turn()
            if waiter is not None:
                await waiter


def publish_nowait(topic: str, message: str | bytes, *, key: str | None = None) -> None:
    """As `publish`, for code that is no coroutine: in the server's thread or in any other one.

    From another thread, the message is on its way once the server's event loop has turned. The order is that of the
    calls of one thread.
    """
    topic, message, key = check_topic(topic), check_message(message), check_key(key)
    if isinstance(message, str):
        message.encode()  # raises here, and not in another thread
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    here = [hub for loop, hub in HUBS if loop is running]
    for hub in here:
        hub.publish(topic, message, key)
    if here:
        return
    if not HUBS:
        raise RuntimeError("no server of fastws runs in this process: nobody can have subscribed")
    for loop, hub in HUBS:
        loop.call_soon_threadsafe(hub.publish, topic, message, key)


def subscribers(topic: str) -> int:
    """How many connections of this process have subscribed to `topic`. Raises TypeError or ValueError for no topic."""
    topic = check_topic(topic)
    return sum(hub.subscribers(topic) for _, hub in HUBS)
