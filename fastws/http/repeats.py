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
    """Values for up to `entries` keys; `found` has them. When it is full it is emptied: what matters is soon back."""

    def __init__(self, entries: int) -> None:
        self.found: dict[Any, Any] = {}
        self._entries = entries
        self._once: list[int] = [0] * SLOTS

    def keep(self, key: Hashable, value: object) -> bool:
        """Keep `value` for `key` if `key` has come before, lately; returns whether it is kept."""
        mark = hash(key)
        slot = mark & (SLOTS - 1)
        if self._once[slot] != mark:
            self._once[slot] = mark
            return False
        if len(self.found) >= self._entries:
            self.found.clear()
        self.found[key] = value
        return True
