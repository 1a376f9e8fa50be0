"""A bounded memory of what comes again: headers that an application repeats, fields that several WebSockets had.

Only what has come twice is kept, so that what never comes again (a head with a trace id in it) costs a hash and no
memory, and does not push out what does. Sans-IO; compiled by Cython where the extension was built (repeats.pxd).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

SLOTS = 256
"""How many hashes of what came once are remembered; a power of two."""


class Repeats:
    """Values for up to `entries` keys; `found` has them. When it is full it is emptied: what matters is soon back.

    `slots`, a power of two, are the hashes of what came once that are remembered.
    """

    def __init__(self, entries: int, slots: int = SLOTS) -> None:
        self.found: dict[Any, Any] = {}
        self._entries = entries
        self._once: list[int] = [0] * slots

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
        slot = mark & (len(self._once) - 1)
        if self._once[slot] == mark:
            return True
        self._once[slot] = mark
        return False
