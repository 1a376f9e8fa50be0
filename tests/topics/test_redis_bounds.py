"""What a bus over Redis keeps: each table has a bound, or an owner whose end clears it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis_server import RedisServer, until
from topics_locals import FakeLocal

from fastws.topics.bus import Publication
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_questions import MOST_QUESTIONS, Questions
from fastws.topics.redis_streams import StreamBus

pytestmark = pytest.mark.slow


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 40))  # type: ignore[arg-type]


@pytest.fixture(params=[False, True], ids=["pubsub", "streams"])
def streams(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


async def process(redis: RedisServer, streams: bool, buffer_bytes: int = 65_536) -> tuple[RedisBus, FakeLocal]:
    """One whose budget of time is long: a Redis that is paused stays up for it."""
    url = f"{redis.url}?socket_timeout=30"
    options = {"buffer_bytes": buffer_bytes}
    bus: RedisBus = StreamBus(url, 10_000, **options) if streams else RedisBus(url, **options)
    local = FakeLocal()
    await bus.start(local)
    return bus, local


def count(bus: RedisBus) -> tuple[dict[str, int], int]:
    """All tables, and all tasks of this loop."""
    return bus.tables(), len(asyncio.all_tasks())


def test_questions_push_no_publication_out(redis: RedisServer, streams: bool) -> None:
    """Those that Redis does not hear are answered at once with what is here."""

    async def test() -> None:
        (one, first), (two, second) = await process(redis, streams), await process(redis, streams)
        first.add(one, "room", 3)
        second.add(two, "room")
        await one.confirmed("room")
        await two.confirmed("room")
        redis.pause()
        for number in range(100):
            one.publish(Publication("room", f"{number}"))
        asked = [asyncio.ensure_future(one.presence("room")) for _ in range(5000)]
        await until(lambda: len(one._questions) == MOST_QUESTIONS)
        assert one.tables()["sender"] <= 100 + MOST_QUESTIONS + 1
        for each in asked:
            each.cancel()
        await asyncio.wait(asked)
        assert len(one._questions) == 0
        redis.kill()
        await until(lambda: not one._link.up)
        for _ in range(20_000):
            assert await one.presence("room") == 3
        assert await one.audience("nobody") == (0, 0)
        assert one.tables()["sender"] == 100
        redis.start()
        await until(lambda: len(second.got) == 100)
        assert one.counts.dropped == 0
        await until(lambda: one.connected and two.connected)
        assert await two.audience("room") == (4, 2)
        await one.stop()
        await two.stop()

    run(test)


def test_a_question_that_nobody_was_asked_has_no_answer() -> None:
    """Its connection was lost, or Redis refused it: who is here is known without."""

    async def test() -> None:
        questions = Questions()
        assert await questions.ask(lambda number, expect: False) is None
        assert await questions.ask(lambda number, expect: expect(ConnectionError()) is None) is None
        assert await questions.ask(lambda number, expect: expect(0) is None) == (0, 0)
        assert len(questions) == 0

    run(test)


@pytest.mark.parametrize("redis_is", ["there", "paused", "away"])
def test_nothing_is_left_of_clients_that_leave(redis: RedisServer, streams: bool, redis_is: str) -> None:
    """Before Redis has confirmed their subscriptions, and while they resume."""

    async def test() -> None:
        at_first = len(asyncio.all_tasks())
        bus, local = await process(redis, streams)
        local.add(bus, "stays")
        await bus.confirmed("stays")
        await until(lambda: not bus._tasks)
        before = count(bus)
        if redis_is == "paused":
            redis.pause()
        elif redis_is == "away":
            redis.kill()
            await until(lambda: not bus._link.up)
        for number in range(3000):
            topic = f"room {number}"
            local.add(bus, topic)
            coming = bus.coming(topic)
            resuming = None
            if isinstance(bus, StreamBus) and number % 10 == 0:
                resuming = asyncio.ensure_future(bus.resume(topic, "0", lambda _: None))
            if number % 100 == 0:
                await asyncio.sleep(0)
            for waiting in (coming, resuming):
                if waiting is not None:
                    waiting.cancel()
            local.remove(bus, topic)
        for number in range(100):  # other processes' sequences, and topics that somebody asks about
            bus._take(bus._own, _told(b'{"sync": ["stays", "x"]}'))
            bus._take(bus._own, _told(b'{"here": 1}', number + 1))
            bus._take(bus._own, _told(b'{"bye": 1}', number + 1))
        if redis_is == "paused":
            redis.pause(False)
        elif redis_is == "away":
            redis.start()
        await until(lambda: bus.connected)
        await until(lambda: count(bus) == before)
        assert len(bus._roll) == 0
        await bus.stop()
        assert len(asyncio.all_tasks()) == at_first

    run(test)


def _told(what: bytes, origin: int = 9) -> bytes:
    return b"\xf5\x01\x09" + origin.to_bytes(8, "big") + bytes(8) + what


def test_what_is_told_has_a_bound_of_its_own(redis: RedisServer) -> None:
    """Questions of others, while Redis takes nothing: their answers wait up to a bound, and are about now."""

    async def test() -> None:
        bus, _ = await process(redis, False)
        redis.pause()
        for number in range(10_000):
            bus._take(bus._names.of_topic("room"), _told(b'{"ask": %d}' % number))
        for number in range(100):
            bus.publish(Publication("room", f"{number}"))
        assert bus.tables()["sender"] <= 4096 + 100
        assert bus.counts.dropped == 0
        redis.pause(False)
        await until(lambda: bus.tables()["sender"] == 0 and bus.counts.sent == 100)
        await bus.stop()

    run(test)


def test_what_comes_while_a_stream_is_read_has_a_bound(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is more is read, too, in order and once."""
    monkeypatch.setattr("fastws.topics.redis_streams.MOST_HELD", 5)

    async def test() -> None:
        (one, _), (two, second) = await process(redis, True), await process(redis, True)
        second.add(two, "room")
        await two.confirmed("room")
        assert isinstance(two, StreamBus)
        # As after an outage, in which three were missed, and while it is read nine come.
        two._topics["room"].held = []
        for number in range(12):
            one.publish(Publication("room", f"{number}"))
        await until(lambda: two._topics["room"].more or len(second.got))
        assert len(two._topics["room"].held or ()) <= 5
        two._start(two._catch_up)
        await until(lambda: len(second.got) == 12)
        assert second.messages == [f"{number}" for number in range(12)]
        await until(lambda: two._topics["room"].held is None)
        assert len(second.got) == 12
        await one.stop()
        await two.stop()

    run(test)
