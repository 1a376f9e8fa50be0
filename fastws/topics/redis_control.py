"""What processes tell each other over Redis beside publications: values in, bytes out. No event loop, no clock.

JSON in envelopes that are marked as such, each with one word and what belongs to it:

- on a topic's channel ``{"ask": n}``, which every subscribed process answers on the channel of the one that asked, with
  ``{"answer": n, "subscribers": m}``; and ``{"mark": n}``, the last number of its sender there;
- on the channel of all processes ``{"sync": [topics]}``, which asks for marks, ``{"roll": 1}``, which asks who is
  there, ``{"here": 1}``, which says it, and is the answer on the channel of the one that asked, ``{"bye": 1}``, and
  ``{"look": 1}``, of one that leaves for another server which has taken over: who stays should look, too;
- on a process's own channel ``{"probe": n}``, which it has sent to itself.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from fastws.topics import envelope
from fastws.topics.envelope import Envelope, EnvelopeError

ASK: Final = "ask"
ANSWER: Final = "answer"
MARK: Final = "mark"
SYNC: Final = "sync"
ROLL: Final = "roll"
HERE: Final = "here"
BYE: Final = "bye"
PROBE: Final = "probe"
LOOK: Final = "look"
WORDS: Final = frozenset({ASK, ANSWER, MARK, SYNC, ROLL, HERE, BYE, PROBE, LOOK})
MOST: Final = (1 << 63) - 1
"""The greatest number that is told."""


class Told(NamedTuple):
    """One thing that a process tells."""

    word: str
    value: int = 0
    subscribers: int = 0
    topics: tuple[str, ...] = ()


def encode(origin: int, word: str, value: Any = 1, subscribers: int | None = None) -> bytes:
    """The bytes for a channel; `value` is a number, or the topics of a SYNC."""
    what = {word: value} if subscribers is None else {word: value, "subscribers": subscribers}
    return envelope.encode(Envelope(json.dumps(what), None, origin, control=True))


def read(found: Envelope) -> Told | None:
    """What an envelope says, None for a word of a later version. Raises EnvelopeError for what says nothing."""
    try:
        what = json.loads(found.message)
    except (ValueError, RecursionError):
        raise EnvelopeError("what processes tell each other is JSON") from None
    if not isinstance(what, dict):
        raise EnvelopeError("what processes tell each other is an object")
    for word in WORDS & what.keys():
        value = what[word]
        if word == SYNC:
            return Told(word, topics=_topics(value))
        return Told(word, _number(value), _number(what.get("subscribers", 0)))
    return None


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise EnvelopeError("a number is none, or out of range")
    return value


def _topics(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise EnvelopeError("topics are not a list of names")
    try:
        "".join(value).encode()
    except UnicodeEncodeError:
        raise EnvelopeError("a topic has a lone surrogate") from None
    return tuple(value)
