"""What a topic is called in Redis, and back: its name behind a prefix. No event loop, no clock.

What is no topic's is called by a byte behind the prefix that topics have twice there, if they begin with it.
"""

from __future__ import annotations

import re
from typing import Final

HASH_TAG: Final = re.compile(r"\{[^}]+\}")
"""What decides on the slot of a name in a cluster."""
RESERVED: Final = "\x00"


class Names:
    """The channels of one prefix; a channel and the key of its stream have one name."""

    def __init__(self, prefix: str, *, in_one_slot: bool) -> None:
        if in_one_slot and not HASH_TAG.search(prefix):
            prefix = f"{{{prefix}}}"
        self.prefix = prefix
        self._length = len(prefix.encode())

    def of_topic(self, topic: str) -> bytes:
        """The channel of a topic."""
        return (self.prefix + (RESERVED if topic.startswith(RESERVED) else "") + topic).encode()

    def of_processes(self) -> bytes:
        """The channel that all processes hear."""
        return (self.prefix + RESERVED + "everybody").encode()

    def of_process(self, origin: int) -> bytes:
        """The channel of one process."""
        return f"{self.prefix}{RESERVED}{origin:x}".encode()

    def topic(self, channel: bytes) -> str | None:
        """The topic of a channel of this prefix; None for one that is no topic's. Raises UnicodeDecodeError."""
        name = channel[self._length :].decode()
        if not name.startswith(RESERVED):
            return name
        return name[1:] if name.startswith(RESERVED * 2) else None
