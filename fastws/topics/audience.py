"""Who is subscribed to a topic, in how many processes."""

from __future__ import annotations

from typing import NamedTuple


class Audience(NamedTuple):
    """The subscribers of a topic, as far as processes have answered."""

    subscribers: int
    processes: int
    """Of them, those that have a subscriber."""
