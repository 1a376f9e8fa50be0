"""The bus over Redis: a real one, which is killed and comes back, and buses of several processes in this one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis_server import RedisProxy, RedisServer, until
from topics_locals import FakeLocal

from fastws.config.redis_url import check_redis_url, shown
from fastws.errors import ConfigError, StartupError
from fastws.topics import envelope
from fastws.topics.bus import Publication
from fastws.topics.envelope import Envelope, EnvelopeError
from fastws.topics.redis_bus import RedisBus
from fastws.topics.sequences import DUPLICATE, Incoming, Outgoing


def run(test: Callable[..., Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 40))  # type: ignore[arg-type]


@asynccontextmanager
async def processes(
    redis: RedisServer, count: int = 2, **options: Any
) -> AsyncIterator[list[tuple[RedisBus, FakeLocal]]]:
    """Buses that are subscribed to the topic room."""
    found = []
    for _ in range(count):
        bus, local = RedisBus(redis.url, **options), FakeLocal()
        await bus.start(local)
        local.add(bus, "room")
        await bus.confirmed("room")
        found.append((bus, local))
    try:
        yield found
    finally:
        for bus, _ in found:
            await bus.stop()


# Values


@pytest.mark.parametrize(
    "found",
    [
        Envelope("héllo", None, 7, 9, True),
        Envelope(b"\x00\xff", "kéy", 2**64 - 1, 2**64 - 1),
        Envelope("", "", 1, 1, control=True),
        Envelope(b"", None, 1, 1, sender=2**40),
        Envelope("x", "k", 1, 1, sender=1),
    ],
)
def test_an_envelope_comes_as_it_went(found: Envelope) -> None:
    assert envelope.decode(envelope.encode(found)) == found


def test_what_other_programs_publish_is_text_or_bytes() -> None:
    assert envelope.decode("grüße".encode()) == Envelope("grüße")
    assert envelope.decode(b"") == Envelope("")
    assert envelope.decode(b"\xff\x00") == Envelope(b"\xff\x00")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xf5", "cut short"),
        (b"\xf5\x02" + bytes(17), "version 2"),
        (b"\xf5\x01\x04" + bytes(16) + b"\x00\x09key", "the key is cut short"),
        (b"\xf5\x01\x04" + bytes(16) + b"\x00", "cut short"),
        (b"\xf5\x01\x01" + bytes(16) + b"\xff", "not UTF-8"),
    ],
)
def test_bad_envelopes(data: bytes, why: str) -> None:
    with pytest.raises(EnvelopeError, match=why):
        envelope.decode(data)


def test_numbers_tell_what_is_missing_and_what_was_there() -> None:
    outgoing, incoming = Outgoing(limit=2), Incoming(limit=2)
    assert [outgoing.next("a") for _ in range(3)] == [(1, True), (2, False), (3, False)]
    assert incoming.take("a", 1, 2) == 0  # the first that we get
    assert incoming.take("a", 1, 3) == 0
    assert incoming.take("a", 1, 3) == DUPLICATE
    assert incoming.take("a", 1, 7) == 3
    assert incoming.mark("a", 1, 9) == 2
    assert incoming.mark("a", 1, 9) == incoming.mark("a", 5, 9) == 0
    assert incoming.take("a", 2, 5) == 0
    assert incoming.take("a", 3, 5) == 0
    assert incoming.take("a", 1, 9) == 0  # it was forgotten
    assert incoming.take("a", 3, 9, first=True) == 0
    incoming.forget("a")
    assert incoming.take("a", 3, 9) == 0
    outgoing.next("b")
    outgoing.next("c")
    assert outgoing.last("a") is None
    assert outgoing.next("a") == (6, True)  # above all that it had


@pytest.mark.parametrize(
    ("url", "log"),
    [
        ("redis://user:secret@host:6379/2", "redis://host:6379/2"),
        ("rediss://:secret@[::1]?ssl_ca_certs=/x.pem&password=secret", "rediss://[::1]?ssl_ca_certs=%2Fx.pem"),
        ("unix://user:secret@/run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("redis+cluster://host", "redis+cluster://host"),
    ],
)
def test_urls_are_logged_without_secrets(url: str, log: str) -> None:
    assert shown(check_redis_url(url)) == log


@pytest.mark.parametrize(
    "url",
    [
        "http://secret",
        "redis:secret",
        "redis://:secret@",
        "redis://h:secret",
        "redis://h:0/secret",
        "redis://h/secret",
        "unix://",
        "redis+cluster://:secret@h/3",
        "redis://h:99999",
    ],
)
def test_bad_urls_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"^must ") as error:
        check_redis_url(url)
    assert "secret" not in str(error.value)


# Over Redis


@pytest.mark.usefixtures("redis_or_valkey")
def test_publications_reach_other_processes_in_order_and_never_come_back(redis: RedisServer) -> None:
    async def test() -> None:
        async with processes(redis, 3) as buses:
            for number in range(1000):
                for index, (bus, _) in enumerate(buses):
                    message: str | bytes = f"{index} {number}" if number % 2 else f"{index} {number}".encode()
                    bus.publish(Publication("room", message, f"k{number}"))
                if number % 100 == 0:
                    await asyncio.sleep(0)
            for index, (_, local) in enumerate(buses):
                await until(lambda local=local: len(local.got) == 2000)
                for other in {0, 1, 2} - {index}:
                    prefixes = f"{other} ", f"{other} ".encode()
                    theirs = [
                        each for each in local.got if each.message.startswith(prefixes[type(each.message) is bytes])
                    ]
                    assert [each.key for each in theirs] == [f"k{number}" for number in range(1000)]
            bus, local = buses[0]
            local.remove(bus, "room")
            await until(lambda: redis.do("PUBSUB", "NUMSUB", "fastws:room")[1] == 2)

    run(test)


def test_other_programs_publish_and_nonsense_is_counted(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with processes(redis) as [(one, local), (two, other)]:
            for payload in ("grüße", b"\xff", b"\xf5\x01", b"\xf5\x01\x09" + bytes(16) + b"no JSON", "end"):
                assert redis.do("PUBLISH", "fastws:room", payload) == 2
            for value in (b"[]", b'{"mark": "x"}', b'{"answer": []}', b'{"sync": 3}'):
                redis.do("PUBLISH", "fastws:room", b"\xf5\x01\x09" + bytes(16) + value)
            redis.do("PUBLISH", "fastws:room", "the very end")
            for each in (local, other):
                await until(lambda each=each: len(each.got) == 4)
                assert each.messages == ["grüße", b"\xff", "end", "the very end"]
            assert one.counts.bad == two.counts.bad == 6
            assert "Topics: no publication, on channel 'fastws:room': the envelope is cut short" in caplog.text

    run(test)


@pytest.mark.usefixtures("redis_or_valkey")
def test_presence_of_all_processes(redis: RedisServer) -> None:
    async def test() -> None:
        async with processes(redis, 3) as [(one, first), (two, second), (three, _)]:
            first.numbers["room"], second.numbers["room"] = 3, 5
            assert await one.presence("room") == await three.presence("room") == 9
            assert await two.audience("room") == (9, 3)
            assert await two.presence("empty") == 0

    run(test)


@pytest.mark.usefixtures("redis_or_valkey")
def test_a_redis_that_dies_and_comes_back_loses_nothing(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with processes(redis) as [(one, first), (two, second)]:
            for number in range(10):
                one.publish(Publication("room", f"{number}"))
            await until(lambda: len(second.got) == 10)
            redis.kill()
            for number in range(10, 20):
                one.publish(Publication("room", f"{number}"))
                two.publish(Publication("room", f"{number}"))
            await until(lambda: not one.connected and not two.connected)
            redis.start()
            await until(lambda: len(second.got) == 20 and len(first.got) == 10)
            assert second.messages == [f"{number}" for number in range(20)]
            assert first.messages == [f"{number}" for number in range(10, 20)]
            assert one.counts.missed == two.counts.missed == one.counts.dropped == 0
            assert one.connected
            assert two.connected
        for line in ("publications wait", "outage from 20", "10 publications waited, 0 dropped"):
            assert line in caplog.text

    run(test)


@pytest.mark.usefixtures("redis_or_valkey")
def test_what_is_missed_while_a_process_is_cut_off_is_counted(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Its way to Redis is lost; the publisher notices nothing."""

    async def test() -> None:
        proxy = RedisProxy(redis)
        async with processes(redis, 1) as [(one, _)], proxy:
            two, second = RedisBus(proxy.url), FakeLocal()
            await two.start(second)
            second.add(two, "room")
            await two.confirmed("room")
            one.publish(Publication("room", "before"))
            await until(lambda: second.got)
            proxy.closed = True
            proxy.cut()
            for _ in range(7):
                one.publish(Publication("room", "lost"))
            await until(lambda: one.counts.sent == 8 and not two.connected)
            proxy.closed = False
            # Nothing is published afterwards: the last number is asked for.
            await until(lambda: two.counts.missed == 7 and two.connected)
            one.publish(Publication("room", "after"))
            await until(lambda: len(second.got) == 2)
            assert second.messages == ["before", "after"]
            assert "Topics: missed 7 publications of 1 other process since 20" in caplog.text
            assert two.counts.missed == 7
            assert one.counts.outages == 0
            await two.stop()

    run(test)


def test_a_receiver_that_redis_cuts_takes_all_connections_of_its_process_along(redis: RedisServer) -> None:
    """What it publishes waits until it is back."""

    async def test() -> None:
        async with processes(redis) as [(one, first), (two, second)]:
            one.publish(Publication("room", "before"))
            two.publish(Publication("room", "before"))
            await until(lambda: first.got and second.got)
            redis.do("CLIENT", "KILL", "TYPE", "pubsub")
            for number in range(7):
                one.publish(Publication("room", f"{number}"))
                two.publish(Publication("room", f"{number}"))
            await until(lambda: len(first.got) + one.counts.missed == len(second.got) + two.counts.missed == 8)
            await until(lambda: one.connected and two.connected)
            assert one.counts.outages == two.counts.outages == 1

    run(test)


def test_what_has_no_room_is_dropped_counted_and_logged(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with processes(redis, buffer_bytes=65_536) as [(one, _), (_, second)]:
            redis.pause()
            for number in range(1000):
                one.publish(Publication("room", f"{number:0100}"))
            assert one.counts.dropped > 500
            redis.pause(False)
            kept = 1000 - one.counts.dropped
            await until(lambda: len(second.got) == kept)
            assert second.messages == [f"{number:0100}" for number in range(kept)]
            await until(lambda: f"Topics: {one.counts.dropped} publications (" in caplog.text)

    run(test)


def test_what_was_carried_out_without_an_answer_comes_once(redis: RedisServer) -> None:
    """The connection is cut between the command and its answer: it is sent again."""

    async def test() -> None:
        proxy = RedisProxy(redis)
        async with processes(redis, 1) as [(two, second)], proxy:
            one = RedisBus(proxy.url)
            await one.start(FakeLocal())
            one.publish(Publication("room", "first"))
            await until(lambda: second.got)
            assert second.messages == ["first"]
            proxy.lose_answers = True
            for number in range(50):
                one.publish(Publication("room", f"{number}"))
            await until(lambda: len(second.got) == 51)
            proxy.cut()
            one.publish(Publication("room", "last"))
            await until(lambda: second.messages[-1] == "last")
            assert second.messages == ["first", *(f"{number}" for number in range(50)), "last"]
            assert two.counts.missed == 0
            assert proxy.commands > 100
            await one.stop()

    run(test)


def test_start_without_redis_and_with_a_wrong_password(redis: RedisServer) -> None:
    async def test() -> None:
        redis.do("CONFIG", "SET", "requirepass", "right")
        with pytest.raises(StartupError, match=r"--topics-url: unix:///.*/s: .*[Pp]assword") as error:
            await RedisBus(redis.url, password="wrong").start(FakeLocal())
        assert "'wrong'" not in str(error.value)
        with pytest.raises(StartupError, match=r"uthentication"):
            await RedisBus(redis.url).start(FakeLocal())
        redis.kill()
        bus, local = RedisBus(redis.url), FakeLocal()
        await bus.start(local)
        assert not bus.connected
        local.add(bus, "room")
        redis.start()
        await until(lambda: bus.connected)
        await until(lambda: redis.do("PUBLISH", "fastws:room", "hello") == 1)
        await until(lambda: local.got)
        await bus.stop()

    run(test)


def test_what_redis_refuses_is_dropped_and_the_rest_goes_on(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with processes(redis) as [(one, _), (_, second)]:
            redis.do("ACL", "SETUSER", "default", "-publish")
            one.publish(Publication("room", "refused"))
            await until(lambda: one.counts.dropped == 1)
            redis.do("ACL", "SETUSER", "default", "+publish")
            one.publish(Publication("room", "taken"))
            await until(lambda: second.got)
            assert second.messages == ["taken"]
            assert "refused PUBLISH: " in caplog.text

    run(test)


def test_a_url_that_the_client_does_not_take() -> None:
    with pytest.raises(ConfigError, match="--topics-url: "):
        RedisBus("redis://host?nonsense=1")
