"""The events of the ASGI extension `fastws.topics`, read and checked: what is wrong with one is said in its error.

docs/topics.md is its specification. Values in, values out: nothing here knows a connection.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from fastws.errors import ApplicationError
from fastws.topics.backlog import POLICIES, Policy

LAST_ID: Final = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?", re.ASCII)
"""What a stream calls an entry."""
MAX_TOPIC: Final = 255
"""Characters of a topic's name, at most; of a key too."""

PRESENCE: Final = ":presence"
"""What the name of a topic is followed by, in that of the topic which tells who joins and leaves it."""


def check_topic(topic: object) -> str:
    """`topic`, if it is the name of one. Raises ValueError or TypeError, which say what would be."""
    return _check_name(topic, "a topic")


def presence_topic(topic: str) -> str:
    """The topic of those who join and leave `topic`. Raises TypeError or ValueError for a malformed topic."""
    return check_topic(check_topic(topic) + PRESENCE)


def describe_presence(event: str, topic: str, who: str) -> str:
    """The message to `presence_topic(topic)`: `event` is "join" or "leave"."""
    return json.dumps({"event": event, "topic": topic, "who": who})


def check_key(key: object) -> str | None:
    """`key`, if publications can have it. Raises ValueError or TypeError."""
    return None if key is None else _check_name(key, "a key")


def check_message(message: object) -> str | bytes:
    """`message` as it is published. Raises TypeError for what is no text and no bytes."""
    if isinstance(message, str):
        return message
    if isinstance(message, (bytes, bytearray, memoryview)):
        return bytes(message)
    raise TypeError(f"a message must be str or bytes, not {type(message).__name__}")


def read_topic(event: dict[str, Any]) -> str:
    """The topic of `event`. Raises ApplicationError where it has none that can be."""
    try:
        return check_topic(event.get("topic"))
    except (TypeError, ValueError) as error:
        raise ApplicationError(f"'topic' of '{event['type']}': {error}.") from None


def read_message(event: dict[str, Any]) -> str | bytes:
    """The text or the bytes of a `websocket.publish`. Raises ApplicationError unless it has exactly one."""
    text, data = event.get("text"), event.get("bytes")
    if (text is None) == (data is None):
        which = "neither" if text is None else "both"
        joined = "nor" if text is None else "and"
        raise ApplicationError(
            f"The event 'websocket.publish' has {which} 'text' {joined} 'bytes': exactly one must be given."
        )
    if text is not None:
        if not isinstance(text, str):
            raise ApplicationError(f"'text' of 'websocket.publish' must be str, not {type(text).__name__}.")
        return text
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ApplicationError(f"'bytes' of 'websocket.publish' must be bytes, not {type(data).__name__}.")
    return bytes(data)


def read_key(event: dict[str, Any]) -> str | None:
    """The key of a `websocket.publish`, if it has one. Raises ApplicationError."""
    try:
        return check_key(event.get("key"))
    except (TypeError, ValueError) as error:
        raise ApplicationError(f"'key' of 'websocket.publish': {error}.") from None


def read_exclude_self(event: dict[str, Any]) -> bool:
    """Whether the publisher of a `websocket.publish` gets no copy. Raises ApplicationError for what is no bool."""
    exclude = event.get("exclude_self", False)
    if not isinstance(exclude, bool):
        raise ApplicationError(f"'exclude_self' of 'websocket.publish' must be bool, not {type(exclude).__name__}.")
    return exclude


def read_policy(event: dict[str, Any], default: Policy) -> Policy:
    """What a `websocket.subscribe` asks for where its peer is slow. Raises ApplicationError."""
    slow, limit, ids = event.get("slow"), event.get("limit"), event.get("ids", False)
    if not isinstance(ids, bool):
        raise ApplicationError(f"'ids' of 'websocket.subscribe' must be bool, not {type(ids).__name__}.")
    if slow is None and limit is None and not ids:
        return default
    if slow is None:
        slow = default.slow
    elif slow not in POLICIES:
        raise ApplicationError(
            f"'slow' of 'websocket.subscribe' must be one of {', '.join(POLICIES)}, not {slow!r:.50}."
        )
    if limit is None:
        limit = default.limit
    elif not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise ApplicationError(f"'limit' of 'websocket.subscribe' must be a number of bytes, not {limit!r:.50}.")
    return Policy(slow, min(limit, default.limit), ids)


def read_last_id(event: dict[str, Any]) -> str | None:
    """The id after which a `websocket.subscribe` resumes, if it does. Raises ApplicationError for what is none."""
    last_id = event.get("last_id")
    if last_id is not None and not (isinstance(last_id, str) and LAST_ID.fullmatch(last_id)):
        raise ApplicationError(
            f"'last_id' of 'websocket.subscribe' must be an id as '1700000000000-0', not {last_id!r:.50}."
        )
    return last_id


def read_announced(event: dict[str, Any]) -> str | None:
    """As whom a `websocket.subscribe` joins, where others are to be told. Raises ApplicationError."""
    who = event.get("announce")
    if who is None:
        return None
    try:
        presence_topic(event["topic"])
        return _check_name(who, "a name")
    except (TypeError, ValueError) as error:
        raise ApplicationError(f"'announce' of 'websocket.subscribe': {error}.") from None


def _check_name(name: object, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be str, not {type(name).__name__}")
    if not 0 < len(name) <= MAX_TOPIC:
        raise ValueError(f"{what} must have 1 to {MAX_TOPIC} characters, not {len(name)}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} must be text that UTF-8 can encode, without lone surrogates") from None
    return name
