"""What a bus has for a hub in tests."""

from __future__ import annotations

from typing import Any

from fastws.topics.bus import Publication


class FakeLocal:
    """Keeps what a bus delivers, and says how many subscribers there are."""

    id = "0" * 32

    def __init__(self) -> None:
        self.got: list[Publication] = []
        self.numbers: dict[str, int] = {}

    @property
    def messages(self) -> list[str | bytes]:
        return [each.message for each in self.got]

    def deliver(self, publication: Publication) -> int:
        self.got.append(publication)
        return self.subscribers(publication.topic)

    def subscribers(self, topic: str) -> int:
        return self.numbers.get(topic, 0)

    def topics(self) -> list[str]:
        return list(self.numbers)

    def add(self, bus: Any, topic: str, count: int = 1) -> None:
        """So many connections subscribe."""
        self.numbers[topic] = count
        bus.subscribe(topic)

    def remove(self, bus: Any, topic: str) -> None:
        """They end."""
        del self.numbers[topic]
        bus.unsubscribe(topic)
