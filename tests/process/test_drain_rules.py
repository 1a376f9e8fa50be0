"""How an end is spread and how it hurries: `fastws.process.drain` without a server."""

from __future__ import annotations

import asyncio

import pytest

from fastws.config import Config
from fastws.process.drain import MAX_WINDOW, drain_window, unless


@pytest.mark.parametrize(
    ("connections", "options", "seconds"),
    [
        (0, {}, 0.0),
        (9, {}, 0.0),
        (10, {}, 0.1),
        (500, {}, 5.0),
        (10**6, {}, MAX_WINDOW),
        (10**6, {"timeout_graceful_shutdown": 8.0}, 4.0),
        (10**6, {"timeout_graceful_shutdown": None}, MAX_WINDOW),
        (1, {"drain_window": 3.0}, 3.0),
        (1, {"drain_window": 3.0, "timeout_graceful_shutdown": 2.0}, 1.0),
        (10**6, {"drain_window": 0.0}, 0.0),
    ],
)
def test_the_window_suits_the_number_of_connections(
    connections: int, options: dict[str, float | None], seconds: float
) -> None:
    assert drain_window(Config("main:app", **options), connections) == pytest.approx(seconds)  # type: ignore[arg-type]


def test_what_ends_by_itself_has_ended_and_raises_what_it_raised() -> None:
    async def fails() -> None:
        raise LookupError

    async def main() -> None:
        assert await unless(asyncio.Event(), asyncio.sleep(0))
        assert await unless(None, asyncio.sleep(0))
        with pytest.raises(LookupError):
            await unless(asyncio.Event(), fails())

    asyncio.run(main())


def test_an_event_or_a_deadline_gives_it_up_and_waits_until_it_has_noticed() -> None:
    ended = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    async def main() -> None:
        force = asyncio.Event()
        force.set()
        assert not await unless(force, waits())
        assert not await unless(asyncio.Event(), waits(), 0.0)
        assert ended == [True, True]

    asyncio.run(main())
