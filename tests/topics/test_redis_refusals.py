"""What Redis answers instead of taking a publication: what passes is waited for, what stays is dropped and told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from redis_server import RedisServer, until
from topics_locals import FakeLocal

from fastws.topics import redis_sender
from fastws.topics.bus import Publication
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_connection import Connector
from fastws.topics.redis_streams import StreamBus

pytestmark = pytest.mark.slow


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 40))  # type: ignore[arg-type]


async def process(redis: RedisServer, streams: bool, buffer_bytes: int = 1 << 24) -> tuple[RedisBus, FakeLocal]:
    bus: RedisBus
    if streams:
        bus = StreamBus(redis.url, 10_000, buffer_bytes=buffer_bytes)
    else:
        bus = RedisBus(redis.url, buffer_bytes=buffer_bytes)
    local = FakeLocal()
    await bus.start(local)
    local.add(bus, "room")
    await bus.confirmed("room")
    return bus, local


def publish(bus: RedisBus, count: int, size: int = 1) -> None:
    for number in range(count):
        bus.publish(Publication("room", f"{number:0{size}}"))


@pytest.mark.parametrize(
    "answer",
    [
        "BUSY Redis is busy running a script.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "LOADING Redis is loading the dataset in memory",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "Error running script (call to f_1): @user_script:7: @user_script: 7: -OOM command not allowed",
    ],
)
def test_what_passes(answer: str) -> None:
    connector = Connector("redis://host")
    for error in (Exception(answer), _as_the_client_raises(answer)):
        assert connector.is_passing(error)
        assert not connector.is_elsewhere(error)
        assert not connector.is_hopeless(error)


@pytest.mark.parametrize(
    "answer",
    [
        "READONLY You can't write against a read only replica.",
        "MOVED 3999 127.0.0.1:6381",
        "ASK 3999 127.0.0.1:6381",
        "NOSCRIPT No matching script.",
    ],
)
def test_what_another_connection_mends(answer: str) -> None:
    connector = Connector("redis://host")
    for error in (Exception(answer), _as_the_client_raises(answer)):
        assert connector.is_elsewhere(error)
        assert not connector.is_passing(error)
        assert not connector.is_hopeless(error)


@pytest.mark.parametrize(
    "answer", ["NOPERM this user has no permissions", "WRONGTYPE Operation against a key", "ERR no"]
)
def test_what_stays(answer: str) -> None:
    connector = Connector("redis://host")
    error = _as_the_client_raises(answer)
    assert not connector.is_passing(error)
    assert not connector.is_elsewhere(error)
    assert connector.is_hopeless(error)


def _as_the_client_raises(answer: str) -> Exception:
    from redis._parsers.base import BaseParser

    found: Exception = BaseParser.parse_error(answer)
    return found


@pytest.mark.usefixtures("redis_or_valkey")
@pytest.mark.parametrize(
    ("option", "bad", "good", "word"),
    [("min-replicas-to-write", "1", "0", "replicas"), ("maxmemory", "1", "0", "maxmemory")],
)
def test_what_passes_is_waited_for(
    redis: RedisServer, option: str, bad: str, good: str, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Streams are written; and a server that starts meanwhile waits, too."""

    async def test() -> None:
        one, first = await process(redis, True)
        redis.do("CONFIG", "SET", option, bad)
        publish(one, 300)
        await until(lambda: not one.connected)
        two, second = await process(redis, True)
        assert not two.connected
        publish(two, 10)
        redis.do("CONFIG", "SET", option, good)
        await until(lambda: len(first.got) == len(second.got) == 310)
        assert first.messages == second.messages
        assert redis.do("XLEN", "fastws:room") == 310
        await until(lambda: one.connected and two.connected)
        assert (one.counts.dropped, one.counts.sent, one.counts.missed) == (0, 300, 0)
        assert one.counts.outages == 0
        await one.stop()
        await two.stop()
        assert "takes no publications now: " in caplog.text
        assert word in caplog.text
        assert "takes publications again, 300 waited" in caplog.text

    run(test)


@pytest.mark.parametrize("streams", [False, True])
def test_a_script_that_runs_is_waited_for(redis: RedisServer, streams: bool) -> None:
    async def test() -> None:
        (one, _), (two, second) = await process(redis, streams), await process(redis, streams)
        redis.do("CONFIG", "SET", "busy-reply-threshold", "1")
        with socket.socket(socket.AF_UNIX) as busy:
            busy.connect(str(redis.path))
            busy.sendall(b"EVAL 'while true do end' 0\r\n")
            await until(lambda: str(redis.do("GET", "x")).startswith("-BUSY") or publish(one, 1))
            await until(lambda: not one.connected)
            publish(one, 99)
            assert redis.do("SCRIPT", "KILL") == "+OK"
            sent = one.counts.sent + one._sender.waiting()
            await until(lambda: len(second.got) == sent)
            assert (one.counts.dropped, two.counts.missed) == (0, 0)
        await one.stop()
        await two.stop()

    run(test)


def test_one_that_comes_late_is_delivered_and_not_missed(caplog: pytest.LogCaptureFixture) -> None:
    """The first of several in one write was not taken, and those behind it were."""
    from fastws.topics.losses import BusCounts, Missed
    from fastws.topics.sequences import DUPLICATE, LATE, Incoming

    async def test() -> None:
        incoming, missed = Incoming(), Missed(BusCounts())
        assert incoming.take("room", 1, 1) == 0
        assert incoming.take("room", 1, 4) == 2
        missed.add("room", 1, 2)
        assert [incoming.take("room", 1, number) for number in (2, 2, 4)] == [LATE, DUPLICATE, DUPLICATE]
        missed.came_late()
        missed.tell()
        assert "missed 1 publication of 1" in caplog.text
        assert incoming.take("room", 1, 3) == LATE
        missed.came_late()
        missed.tell()
        assert "1 publication came late, after the log had called them missed" in caplog.text
        incoming.take("room", 1, 10_000_000)
        assert incoming.size() < 5000

    run(test)


@pytest.mark.parametrize("why", ["refused", "no room"])
def test_local_subscribers_get_theirs_whatever_redis_says(
    redis: RedisServer, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With streams they get it from Redis; what never is there comes from here."""

    async def test() -> None:
        one, first = await process(redis, True, 65_536)
        if why == "refused":
            redis.do("ACL", "SETUSER", "default", "-evalsha")
        else:
            redis.do("CONFIG", "SET", "min-replicas-to-write", "1")
            await until(lambda: publish(one, 1) or not one.connected)
        before = one._sender.waiting()
        publish(one, 500, 1000)
        await until(lambda: len(first.got) + one._sender.waiting() - before == 500)
        dropped = one.counts.dropped
        assert dropped == len(first.got)
        redis.do("ACL", "SETUSER", "default", "+evalsha")
        redis.do("CONFIG", "SET", "min-replicas-to-write", "0")
        await until(lambda: len(first.got) == 500 + before)
        await one.stop()
        assert f"Topics: {dropped} publications (" in caplog.text  # the last word
        assert one.counts.dropped == dropped

    run(test)


def test_what_is_refused_is_counted_in_the_last_word(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(redis_sender, "REFUSAL_SECONDS", 0.05)

    async def test() -> None:
        one, _ = await process(redis, False)
        redis.do("ACL", "SETUSER", "default", "-publish")
        await until(lambda: not one.connected)  # no message goes round
        publish(one, 7)
        await until(lambda: one.counts.dropped == 7)
        await until(lambda: "Topics: 7 publications (140 bytes) did not reach unix://" in caplog.text)
        assert caplog.text.count("refused PUBLISH: ") == 1
        redis.do("ACL", "SETUSER", "default", "+publish")
        await until(lambda: one.connected)
        assert one.counts.outages == 0
        await one.stop()

    run(test)
