"""Which topics a worker has subscribers for, as the others can see it at once: a file of bytes that all of them map.

A topic has one byte, by its checksum; it is 1 where somebody is subscribed to it or to another topic with that
checksum, so a look at it may say yes for nothing and never no for something. Nothing is sent and nothing awaited when
somebody subscribes: what is published a moment later, by whichever worker, is not missed.
"""

from __future__ import annotations

import mmap
import os
from typing import Final
from zlib import crc32

SLOTS: Final = 1 << 16
"""Bytes of the file."""


def slot_of(topic: str) -> int:
    """The place of a topic in the file."""
    return crc32(topic.encode()) & (SLOTS - 1)


class OwnInterest:
    """The file of this process. Raises OSError where it cannot be made."""

    def __init__(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(descriptor, SLOTS)
            self._memory = mmap.mmap(descriptor, SLOTS)
        finally:
            os.close(descriptor)
        self._topics: dict[int, int] = {}

    def add(self, topic: str) -> None:
        """There is a subscriber now."""
        slot = slot_of(topic)
        self._topics[slot] = self._topics.get(slot, 0) + 1
        self._memory[slot] = 1

    def remove(self, topic: str) -> None:
        """There is none any more."""
        slot = slot_of(topic)
        left = self._topics.pop(slot, 0) - 1
        if left > 0:
            self._topics[slot] = left
        else:
            self._memory[slot] = 0

    def __len__(self) -> int:
        return len(self._topics)

    def close(self) -> None:
        self._memory.close()


def map_interest(path: str) -> mmap.mmap:
    """The file of another process, to look into. Raises OSError or ValueError where it is not there or no such file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return mmap.mmap(descriptor, SLOTS, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
