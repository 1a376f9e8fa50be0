"""How many subscribers a topic has in all other processes: questions that wait for answers, so many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from fastws.topics.audience import Audience

COUNT_SECONDS: Final = 1.0
"""How long a process has to say how many subscribers it has."""
MOST_QUESTIONS: Final = 1000
"""Questions at once; who asks more waits."""


class Question:
    """How many there are, as far as processes have answered."""

    def __init__(self, answered: asyncio.Future[None]) -> None:
        self.answered = answered
        self.subscribers = self.processes = 0
        self.failed = False
        """Whether nobody was asked."""
        self._answers = 0
        self._expected: int | None = None

    def expect(self, receivers: Any) -> None:
        """Redis has given the question to so many; or has not, where this is an exception."""
        self.failed = not isinstance(receivers, int)
        self._expected = 0 if self.failed else receivers
        self._check()

    def take(self, subscribers: int) -> None:
        """One has answered."""
        self._answers += 1
        self.subscribers += subscribers
        self.processes += subscribers > 0
        self._check()

    def _check(self) -> None:
        if self._expected is not None and self._answers >= self._expected and not self.answered.done():
            self.answered.set_result(None)


class Questions:
    """Those of one process."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(MOST_QUESTIONS)
        self._questions: dict[int, Question] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._questions)

    async def ask(self, send: Callable[[int, Callable[[Any], None]], bool]) -> Audience | None:
        """What was answered in time; None where `send` could not ask. It gets the number of the question."""
        async with self._room:
            self._last += 1
            number = self._last
            question = self._questions[number] = Question(asyncio.get_running_loop().create_future())
            try:
                if not send(number, question.expect):
                    return None
                await asyncio.wait([question.answered], timeout=COUNT_SECONDS)
                return None if question.failed else Audience(question.subscribers, question.processes)
            finally:
                del self._questions[number]

    def take(self, number: int, subscribers: int) -> None:
        """An answer has come."""
        question = self._questions.get(number)
        if question is not None:
            question.take(subscribers)
