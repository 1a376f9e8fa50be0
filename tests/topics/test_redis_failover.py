"""Redis is lost without a word: it hangs, flows are forgotten, another server takes over. Nothing resets anything."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
from redis_server import RedisProxy, RedisServer, until
from topics_locals import FakeLocal

from fastws.topics import redis_bus
from fastws.topics.bus import Publication
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_streams import StreamBus

pytestmark = pytest.mark.slow

BUDGET = "?socket_timeout=0.8"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_bus, "SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(redis_bus, "LONGEST_DELAY", 0.2)
    monkeypatch.setattr("fastws.topics.redis_connection.LONGEST_DELAY", 0.1)
    monkeypatch.setattr("fastws.topics.losses.GATHER_SECONDS", 0.05)


@pytest.fixture(params=[False, True], ids=["pubsub", "streams"])
def streams(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 40))  # type: ignore[arg-type]


async def process(url: str, streams: bool) -> tuple[RedisBus, FakeLocal]:
    """One that is subscribed to the topic room, and knows the others."""
    bus: RedisBus = StreamBus(url + BUDGET, 10_000) if streams else RedisBus(url + BUDGET)
    local = FakeLocal()
    await bus.start(local)
    local.add(bus, "room")
    await bus.confirmed("room")
    return bus, local


def publish(bus: RedisBus, name: str, count: int = 20) -> None:
    for number in range(count):
        bus.publish(Publication("room", f"{name} {number}"))


async def know_each_other(*buses: RedisBus) -> None:
    await until(lambda: all(len(each._roll) == len(buses) - 1 for each in buses))


def from_others(local: FakeLocal, name: str) -> list[str]:
    return [str(each) for each in local.messages if not str(each).startswith(f"{name} ")]


@pytest.fixture
def replica(redis: RedisServer) -> Iterator[RedisServer]:
    """A second Redis, which copies the first one."""
    port = _free_port()
    redis.do("CONFIG", "SET", "port", str(port))
    redis.do("CONFIG", "SET", "protected-mode", "no")
    redis.do("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    with contextlib.closing(RedisServer("--replicaof", "127.0.0.1", str(port))) as found:
        found.start()
        yield found


def _free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.mark.usefixtures("redis_or_valkey")
def test_a_redis_that_hangs_for_a_while(redis: RedisServer, streams: bool) -> None:
    async def test() -> None:
        (one, first), (two, second) = [await process(redis.url, streams) for _ in range(2)]
        await know_each_other(one, two)
        assert one.connected
        redis.pause()
        publish(one, "a")
        publish(two, "b")
        await until(lambda: not one.connected and not two.connected)
        await until(lambda: one.counts.outages and two.counts.outages)
        redis.pause(False)
        await until(lambda: len(from_others(first, "a")) == len(from_others(second, "b")) == 20)
        assert from_others(first, "a") == [f"b {number}" for number in range(20)]
        assert from_others(second, "b") == [f"a {number}" for number in range(20)]
        await until(lambda: one.connected and two.connected)
        for bus in (one, two):
            assert (bus.counts.missed, bus.counts.dropped, bus.counts.bad) == (0, 0, 0)
            await bus.stop()
        if streams:
            assert first.messages == second.messages  # in one order, and each once
            assert redis.do("XLEN", "fastws:room") == len(first.messages) == 40

    run(test)


def test_flows_that_are_forgotten_without_a_reset(
    redis: RedisServer, streams: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """One process after the other notices; what waits is sent when all are back."""

    async def test() -> None:
        near, far = RedisProxy(redis), RedisProxy(redis)
        async with near, far:
            (one, first), (two, second) = await process(near.url, streams), await process(far.url, streams)
            await know_each_other(one, two)
            far.forget()
            near.cut()  # this one notices at once
            publish(one, "a")
            await until(lambda: len(from_others(second, "b")) + two.counts.missed == 20)
            await until(lambda: one.connected and two.connected)
            publish(two, "b")
            await until(lambda: len(from_others(first, "a")) == 20)
            assert from_others(second, "b") == [f"a {number}" for number in range(20)]
            assert two.counts.missed == 0
            await one.stop()
            await two.stop()
        assert "no answer within 0.8 s" in caplog.text
        assert "not back after" not in caplog.text

    run(test)


@pytest.mark.parametrize("command", [b"SUBSCRIBE", b"EVALSHA", b"XRANGE"])
def test_each_connection_takes_the_others_along(redis: RedisServer, command: bytes) -> None:
    async def test() -> None:
        proxy = RedisProxy(redis)
        async with proxy:
            (one, _), (two, second) = await process(redis.url, True), await process(proxy.url, True)
            assert proxy.forget(command) == 1
            publish(one, "a")
            second.add(two, "other")  # a question to Redis
            beginning = two._beginning_of("other")
            assert beginning is not None
            await asyncio.wait([beginning])
            await until(lambda: two.counts.outages and two.connected)
            one.publish(Publication("other", "last"))
            await until(lambda: len(second.got) == 21)
            await until(lambda: sum(not flow.silent for flow in proxy.flows) == 3)
            await one.stop()
            await two.stop()

    run(test)


def test_who_subscribes_in_an_outage_gets_what_is_published_behind_that(redis: RedisServer) -> None:
    """With streams, for which nothing is lost: own publications, and those of others that wait."""

    async def test() -> None:
        (one, first), (two, _) = [await process(redis.url, True) for _ in range(2)]
        one.publish(Publication("new", "before"))
        await until(lambda: one.counts.sent == 1)
        redis.pause()
        await until(lambda: one.counts.outages and two.counts.outages)
        first.add(one, "new")
        one.publish(Publication("new", "own"))
        two.publish(Publication("new", "other"))
        redis.pause(False)
        await until(lambda: len(first.got) == 2)
        assert sorted(map(str, first.messages)) == ["other", "own"]
        await one.stop()
        await two.stop()

    run(test)


@pytest.mark.usefixtures("redis_or_valkey")
@pytest.mark.deploy
def test_another_server_takes_over_from_one_that_hangs(redis: RedisServer, replica: RedisServer, streams: bool) -> None:
    """Behind a proxy: its connections to the one that hangs stay, and new ones lead to the other one."""

    async def test() -> None:
        near, far = RedisProxy(redis), RedisProxy(redis)
        async with near, far:
            (one, first), (two, second) = await process(near.url, streams), await process(far.url, streams)
            await know_each_other(one, two)
            publish(one, "a")
            publish(two, "b")
            await until(lambda: len(from_others(first, "a")) == len(from_others(second, "b")) == 20)
            if streams:
                await until(lambda: replica.do("XLEN", "fastws:room") == 40)
            redis.pause()
            near.redis = far.redis = replica  # which is no primary yet: nobody takes it for one
            publish(one, "a'")
            publish(two, "b'")
            near.cut()
            await until(lambda: one.counts.outages)
            replica.do("REPLICAOF", "NO", "ONE")
            publish(one, 'a"')
            for local, name, others in ((first, "b", ("b", "b'")), (second, "a", ("a", "a'", 'a"'))):
                await until(lambda local=local, last=f"{others[-1]} 19": last in local.messages)
                theirs = [str(each) for each in local.messages if str(each).startswith(name)]
                assert theirs == [f"{other} {number}" for other in others for number in range(20)]
            assert one.counts.missed == two.counts.missed == 0
            await until(lambda: one.connected and two.connected)
            redis.pause(False)
            await one.stop()
            await two.stop()

    run(test)


def test_a_process_that_was_killed_is_waited_for_no_longer_than_one_needs(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        (one, _), (two, _), (three, third) = [await process(redis.url, False) for _ in range(3)]
        await know_each_other(one, two, three)
        await two._end()  # without a word
        redis.do("CLIENT", "KILL", "TYPE", "normal")
        await until(lambda: one.counts.outages and three.counts.outages)
        publish(one, "a")
        await until(lambda: len(third.got) == 20)
        assert "1 other process is not back after" in caplog.text
        await three.stop()  # which says so
        await until(lambda: len(one._roll) == 0)
        await one.stop()

    run(test)


@pytest.mark.usefixtures("redis_or_valkey")
def test_a_primary_that_becomes_a_replica_is_left(
    redis: RedisServer, streams: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """By hand, without a reset; and a replica is not taken for a primary at first."""

    async def test() -> None:
        one, _ = await process(redis.url, streams)
        redis.do("REPLICAOF", "127.0.0.1", "1")
        await until(lambda: one.counts.outages and not one.connected)
        await until(lambda: "not the primary" in caplog.text)
        publish(one, "a")
        redis.do("REPLICAOF", "NO", "ONE")
        await until(lambda: one.connected and one.counts.sent == 20)
        await one.stop()

    run(test)


def test_what_is_long_may_take_its_time_on_a_slow_way(redis: RedisServer, streams: bool) -> None:
    """Longer than the budget, in which neither an answer nor a probe comes."""

    async def test() -> None:
        proxy = RedisProxy(redis)
        async with proxy:
            (one, _), (two, second) = await process(proxy.url, streams), await process(redis.url, streams)
            proxy.delay = 0.01
            one.publish(Publication("room", b"x" * 10_000_000))
            await until(lambda: second.got)
            assert one.counts.outages == 0  # the other one's way is not slow, but the machine may be
            await one.stop()
            await two.stop()

    run(test)


def test_a_connection_for_questions_that_was_cut_is_missed_before_it_is_needed(redis: RedisServer) -> None:
    async def test() -> None:
        proxy = RedisProxy(redis)
        async with proxy:
            one, _ = await process(proxy.url, True)
            assert proxy.forget(b"XRANGE") == 1
            await until(lambda: one.counts.outages == 1 and one.connected)
            await one.stop()

    run(test)


def test_every_tcp_connection_is_kept_alive(redis: RedisServer) -> None:
    async def test() -> None:
        port = _free_port()
        redis.do("CONFIG", "SET", "port", str(port))
        bus = StreamBus(f"redis://127.0.0.1:{port}?socket_timeout=20", 100)
        await bus.start(FakeLocal())
        descriptors = bus.descriptors()
        assert len(descriptors) == 3
        for descriptor in descriptors:
            with socket.socket(fileno=socket.dup(descriptor)) as found:
                assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
        await bus.stop()

    run(test)


def test_a_loop_that_was_blocked_has_not_waited_for_redis(redis: RedisServer) -> None:
    async def test() -> None:
        import time

        one, _ = await process(redis.url, False)
        publish(one, "a")
        time.sleep(1.2)  # an application's fault: longer than the budget
        await until(lambda: one.counts.sent == 20 and one.connected)
        assert one.counts.outages == 0
        await one.stop()

    run(test)
