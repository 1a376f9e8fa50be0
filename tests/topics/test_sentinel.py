"""Sentinels say who the primary is: at the start, and after it was lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from redis_server import RedisServer, Sentinel, free_ports, until
from serving import PATIENCE
from topics_locals import FakeLocal

from fastws.config.redis_url import check_redis_url, client_url, sentinels_of, shown
from fastws.errors import StartupError
from fastws.topics.bus import Publication
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_streams import StreamBus

NOTE = "redis+sentinel://user:secret@one,two:7,[::1]:8/chat?db=3&sentinel_password=secret&sentinel_username=me"


def test_what_a_url_says() -> None:
    assert check_redis_url(NOTE) == NOTE
    found = sentinels_of(NOTE)
    assert found.places == [("one", 26379), ("two", 7), ("::1", 8)]
    assert (found.service, found.options) == ("chat", {"password": "secret", "username": "me"})
    assert client_url(NOTE) == "redis://user:secret@primary/3"
    assert shown(NOTE) == "redis+sentinel://one,two:7,[::1]:8/chat?db=3&sentinel_username=me"
    tls = check_redis_url("rediss+sentinel://one/chat?ssl_cert_reqs=required")
    assert client_url(tls) == "rediss://primary/0?ssl_cert_reqs=required"


@pytest.mark.parametrize("url", ["redis+sentinel://one", "redis+sentinel:///chat", "redis+sentinel://a:x,b/chat"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"as redis\+sentinel://host"):
        check_redis_url(url)


@pytest.fixture
def servers() -> Iterator[tuple[RedisServer, RedisServer, Sentinel]]:
    """A primary, its replica, and who watches over them."""
    ports = free_ports(2)
    with ExitStack() as stack:
        primary = RedisServer("--repl-diskless-sync-delay", "0", port=ports[0])
        replica = RedisServer("--replicaof", "127.0.0.1", str(ports[0]), port=ports[1])
        sentinel = Sentinel(primary)
        for each in (primary, replica):
            stack.callback(each.close)
            each.start()
        deadline = time.monotonic() + PATIENCE
        while "state=online" not in primary.do("INFO", "replication"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        stack.callback(sentinel.close)
        sentinel.start()  # which asks the primary at first, and then every ten seconds
        yield primary, replica, sentinel


@pytest.mark.deploy
@pytest.mark.parametrize("streams", [False, True])
def test_a_primary_that_hangs_is_replaced(
    servers: tuple[RedisServer, RedisServer, Sentinel], streams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first Sentinel of the list is not there."""
    monkeypatch.setattr("fastws.topics.redis_bus.SETTLE_SECONDS", 0.05)
    primary, replica, sentinel = servers

    async def test() -> None:
        places = f"127.0.0.1:{free_ports(1)[0]},127.0.0.1:{sentinel.port}"
        url = f"redis+sentinel://{places}/chat?socket_timeout=0.5"
        buses = []
        for _ in range(2):
            bus: RedisBus = StreamBus(url, 1000) if streams else RedisBus(url)
            local = FakeLocal()
            await bus.start(local)
            local.add(bus, "room")
            await bus.confirmed("room")
            buses.append((bus, local))
        (one, _), (two, second) = buses
        await until(lambda: len(one._roll) == len(two._roll) == 1)
        for number in range(30):
            one.publish(Publication("room", f"{number}"))
        await until(lambda: len(second.got) == 30)
        await until(lambda: replica.do("XLEN", "fastws:room") == (30 if streams else 0))
        await until(lambda: len(sentinel.do("SENTINEL", "REPLICAS", "chat")) == 1)
        primary.pause()
        for number in range(30, 60):
            one.publish(Publication("room", f"{number}"))
        await until(lambda: len(second.got) == 60)
        assert second.messages == [f"{number}" for number in range(60)]
        assert replica.do("ROLE")[0] == "master"
        primary.pause(False)
        await one.stop()
        await two.stop()

    asyncio.run(asyncio.wait_for(test(), 40))


@pytest.mark.deploy
def test_a_sentinel_that_refuses_or_knows_nobody(caplog: pytest.LogCaptureFixture) -> None:
    sentinel = Sentinel(RedisServer(port=free_ports(1)[0]), "requirepass right")
    sentinel.start()
    try:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}"

        async def test() -> None:
            with pytest.raises(StartupError, match="a Sentinel wants another sentinel_password"):
                await RedisBus(f"{url}/chat").start(FakeLocal())
            bus = RedisBus(f"{url}/other?sentinel_password=right")
            await bus.start(FakeLocal())
            assert "no Sentinel that answers knows a primary called 'other'" in caplog.text
            await bus.stop()

        asyncio.run(asyncio.wait_for(test(), 40))
    finally:
        sentinel.close()
