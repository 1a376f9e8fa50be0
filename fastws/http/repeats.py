"""A bounded memory of what comes again: headers that an application repeats, fields that several WebSockets had.

Only what has come twice is kept, so that what never comes again (a head with a trace id in it) costs a hash and no
memory, and does not push out what does. Sans-IO; compiled by Cython where the extension was built (repeats.pxd).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

SLOTS = 256
"""How many hashes of what came once are remembered."""


class Repeats:
    """Values for up to `entries` keys; `found` has them. When it is full it is emptied: what matters is soon back.

    `slots` are how many hashes of what came once are remembered. No two of them have the same place, in which each of
    two keys that take turns would push the other one out.
    """

    def __init__(self, entries: int, slots: int = SLOTS) -> None:
        self.found: dict[Any, Any] = {}
        self._entries = entries
        self._slots = slots
        self._once: set[int] = set()

    def keep(self, key: Hashable, value: object) -> bool:
        """Keep `value` for `key` if `key` has come before, lately; returns whether it is kept."""
        if not self.came_before(key):
            return False
        if len(self.found) >= self._entries:
            self.found.clear()
        self.found[key] = value
        return True

    def came_before(self, key: Hashable) -> bool:
        """Whether `key` has come lately; it has now."""
        mark = hash(key)
        if mark in self._once:
            return True
        if len(self._once) >= self._slots:
            self._once.clear()
        self._once.add(mark)
        return False
