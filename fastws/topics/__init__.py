"""Topics: one message to all subscribers, of this process and of others. docs/topics.md is the guide.

Connections subscribe and publish by the events of the ASGI extension `fastws.topics`, or by `subscribe`, `subscribed`
and `publish_from` with a WebSocket of Starlette's or FastAPI's. `publish` and `publish_nowait` are for all other code
of an application: HTTP handlers, background tasks, threads. `connect` is for programs that are not servers.

Knows `fastws.asgi` and below. In reading order: events (what an application may say), audience, outgoing, backlog,
member and hub (one process), running, helpers and fallback; bus (the seam to other processes), losses and buses;
interest, mesh_frames, mesh_streams and mesh (the workers of one machine); envelope, sequences, redis_names,
redis_control, redis_tls, redis_connection, redis_cluster, redis_sentinel, redis_connectors, redis_sender,
redis_receiver, redis_query, redis_link, redis_roll, redis_questions, redis_bus and redis_streams (many machines);
remote (programs that are no server).
"""

from __future__ import annotations

import asyncio

from fastws.topics.events import check_key, check_message, check_topic, presence_topic
from fastws.topics.helpers import publish_from, subscribe, subscribed, unsubscribe
from fastws.topics.remote import connect
from fastws.topics.running import hubs

__all__ = [
    "connect",
    "presence_topic",
    "publish",
    "publish_from",
    "publish_nowait",
    "subscribe",
    "subscribed",
    "subscribers",
    "unsubscribe",
]


async def publish(topic: str, message: str | bytes, *, key: str | None = None) -> None:
    """Send `message`, text or bytes, to all subscribers of `topic`: soon after this returns, without waiting for any.

    `topic` and `key` have 1 to 255 characters. For slow subscribers that want only the latest, a message replaces the
    waiting one with the same `key`. A topic without subscribers is not an error.

    Raises TypeError or ValueError for what cannot be published.
    """
    publish_nowait(topic, message, key=key)
    running = asyncio.get_running_loop()
    for loop, hub in hubs():
        if loop is running:
            waiter = hub.wait_for_turn()
            if waiter is not None:
                await waiter


def publish_nowait(topic: str, message: str | bytes, *, key: str | None = None) -> None:
    """As `publish`, for code that is not a coroutine, in any thread.

    From another thread, the server's event loop sends the messages in its next turn, in the order of that thread's
    calls. Raises TypeError or ValueError for what cannot be published, and RuntimeError if no server runs in this
    process and no event loop in this thread: nobody can have subscribed.
    """
    topic, message, key = check_topic(topic), check_message(message), check_key(key)
    if isinstance(message, str):
        message.encode()  # raises here, and not in another thread
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    found = hubs()
    here = [hub for loop, hub in found if loop is running]
    for hub in here:
        hub.publish(topic, message, key)
    if here:
        return
    if running is None and not found:
        raise RuntimeError("no server runs in this process: nobody can have subscribed to a topic")
    for loop, hub in found:
        try:
            loop.call_soon_threadsafe(hub.publish, topic, message, key)
        except RuntimeError:  # it has been closed since, in its own thread
            if not loop.is_closed():
                raise


async def subscribers(topic: str) -> int:
    """How many connections have subscribed to `topic`, in all workers and on all machines that topics reach.

    fastws asks them all; a process that does not answer within a second counts as having none. For coroutines of the
    server's event loop. Raises TypeError or ValueError for a malformed topic.
    """
    topic = check_topic(topic)
    found = 0
    for loop, hub in hubs():
        if loop is asyncio.get_running_loop():
            found += await hub.presence(topic)
    return found
