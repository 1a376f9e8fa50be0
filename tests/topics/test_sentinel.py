"""Sentinels say who the primary is: at the start, and after it was lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pytest
from redis_server import RedisServer, Sentinel, free_ports, until
from serving import PATIENCE
from topics_locals import FakeLocal

from fastws.config.redis_url import check_redis_url, client_url, sentinels_of, shown
from fastws.errors import StartupError
from fastws.topics.bus import Publication
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_sentinel import Named, SentinelConnector
from fastws.topics.redis_streams import StreamBus

NOTE = "redis+sentinel://user:secret@one,two:7,[::1]:8/chat?db=3&sentinel_password=secret&sentinel_username=me"


def one_host(url: str) -> SplitResult:
    """As newer Pythons split: what stands beside an address in brackets is no host of a URL."""
    parts = urlsplit(url)
    if "," in parts.netloc and "[" in parts.netloc:
        raise ValueError("Invalid IPv6 URL")
    return parts


def test_what_a_url_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.config.redis_url.urlsplit", one_host)
    assert check_redis_url(NOTE) == NOTE
    found = sentinels_of(NOTE)
    assert found.places == [("one", 26379), ("two", 7), ("::1", 8)]
    assert (found.service, found.options) == ("chat", {"password": "secret", "username": "me"})
    assert client_url(NOTE) == "redis://user:secret@primary/3"
    assert shown(NOTE) == "redis+sentinel://one,two:7,[::1]:8/chat?db=3&sentinel_username=me"
    tls = check_redis_url("rediss+sentinel://one/chat?ssl_cert_reqs=required")
    assert client_url(tls) == "rediss://primary/0?ssl_cert_reqs=required"


@pytest.mark.parametrize(
    "url",
    ["redis+sentinel://one", "redis+sentinel://[::1/chat", "redis+sentinel:///chat", "redis+sentinel://a:x,b/chat"],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"as redis\+sentinel://host"):
        check_redis_url(url)


class Saying:
    """A Sentinel that says something, or nothing, or fails."""

    place = ("127.0.0.1", 1)

    def __init__(self, said: Named | Exception | str | None) -> None:
        self.said = said

    async def ask(self, service: str) -> Named | None:
        if isinstance(self.said, Exception):
            raise self.said
        if isinstance(self.said, str):
            await asyncio.Event().wait()
            raise AssertionError
        return self.said


OLD, NEW = Named(("old", 1), 4, False), Named(("new", 2), 5, False)
OTHER_NAME = Named(("old.example", 1), 4, False)
AWAY = ConnectionError("away")


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ([OLD, OLD, OLD], "old"),
        ([OLD, NEW, "silence"], "new"),  # the first one was cut off with it
        ([NEW, OLD, AWAY], "new"),
        ([NEW, AWAY, AWAY], "new"),
        ([None, OLD, None], "old"),
        ([OLD._replace(down=True), NEW, "silence"], "new"),
    ],
)
def test_sentinels_of_different_minds(said: list[Any], place: str) -> None:
    async def test() -> None:
        connector = SentinelConnector("redis+sentinel://host/chat", None)
        connector._sentinels = [Saying(each) for each in said]  # type: ignore[misc]
        assert (await asyncio.wait_for(connector.locate(), PATIENCE)).place[0] == place

    asyncio.run(test())


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([None, AWAY], "no Sentinel that answers knows a primary called 'chat'"),
        ([AWAY, AWAY], "no Sentinel answers: away"),
        ([OLD._replace(down=True), AWAY], "the Sentinels say that 'chat' is down"),
    ],
)
def test_sentinels_that_name_nobody(said: list[Any], why: str) -> None:
    async def test() -> None:
        connector = SentinelConnector("redis+sentinel://host/chat", None)
        connector._sentinels = [Saying(each) for each in said]  # type: ignore[misc]
        with pytest.raises(ConnectionError, match=f"^{why}$"):
            await connector.locate()

    asyncio.run(test())


@pytest.mark.parametrize(
    ("said", "successor"),
    [
        ([OLD, OLD, OLD], None),
        ([OLD, NEW, "silence"], "new:2"),
        ([AWAY, AWAY, AWAY], None),
        ([OLD, OTHER_NAME, AWAY], None),  # Sentinels that resolve names, and others
        ([OTHER_NAME, OTHER_NAME, AWAY], "old.example:1"),  # SENTINEL REMOVE and MONITOR leave epoch 0
        ([OLD, NEW._replace(down=True), AWAY], None),
    ],
)
def test_what_is_an_election_to_follow(said: list[Any], successor: str | None) -> None:
    async def test() -> None:
        connector = SentinelConnector("redis+sentinel://host/chat", None)
        connector._sentinels = [Saying(OLD)]  # type: ignore[list-item]
        located = await connector.locate()
        connector._sentinels = [Saying(each) for each in said]  # type: ignore[misc]
        assert await asyncio.wait_for(connector.replaced(located), PATIENCE) == successor

    asyncio.run(test())


@pytest.mark.deploy
def test_nonsense_of_a_sentinel_is_no_answer() -> None:
    """And a Redis that is no Sentinel refuses the question: a start with it fails."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            asked = b"MASTERS" in data
            writer.write(
                b"*1\r\n*3\r\n$4\r\nname\r\n$4\r\nchat\r\n$2\r\nip\r\n" if asked else b"+OK\r\n" * data.count(b"*")
            )

    async def test() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connector = SentinelConnector(f"redis+sentinel://127.0.0.1:{port}/chat", None)
        with pytest.raises(ConnectionError, match=r"^no Sentinel answers: no answer of a Sentinel: "):
            await connector.locate()
        await connector.close()
        server.close()
        with closing(RedisServer(port=free_ports(1)[0])) as redis:
            redis.start()
            with pytest.raises(StartupError, match=r"(?i)unknown command.*SENTINEL"):
                await RedisBus(f"redis+sentinel://127.0.0.1:{redis.port}/chat").start(FakeLocal())

    asyncio.run(test())


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


@pytest.mark.usefixtures("redis_or_valkey")
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
        (one, _), (two, second) = await two_processes([url, url], streams)
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


async def two_processes(urls: list[str], streams: bool) -> list[tuple[RedisBus, FakeLocal]]:
    """A bus at each of two `urls`, where "room" is subscribed to; they know of each other."""
    buses = []
    for url in urls:
        bus: RedisBus = StreamBus(url, 1000) if streams else RedisBus(url)
        local = FakeLocal()
        await bus.start(local)
        local.add(bus, "room")
        await bus.confirmed("room")
        buses.append((bus, local))
    await until(lambda: all(len(bus._roll) == 1 for bus, _ in buses))
    return buses


def cut_off(primary: RedisServer) -> None:
    """Let neither its Sentinels nor its replica reach it any more, but all others."""
    assert primary.do("ACL", "SETUSER", "app", "on", ">app", "~*", "&*", "+@all") == "+OK"
    assert primary.do("ACL", "SETUSER", "default", "resetpass", ">nobody") == "+OK"
    with primary.client() as client:
        client.sendall(b"AUTH app app\r\nCLIENT KILL USER default SKIPME yes\r\n")


def role(server: RedisServer) -> str:
    """What it is; whom a Sentinel makes a primary cuts its clients."""
    with suppress(ConnectionError):
        return str(server.do("ROLE")[0])
    return ""


@pytest.mark.usefixtures("redis_or_valkey")
@pytest.mark.deploy
@pytest.mark.parametrize("streams", [False, True])
def test_a_primary_that_its_sentinels_gave_up_is_left_though_it_answers(
    servers: tuple[RedisServer, RedisServer, Sentinel],
    streams: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One process asks the Sentinels soon; it tells the other one, and neither loses anything."""
    monkeypatch.setattr("fastws.topics.redis_link.LOOK_SECONDS", 500.0)
    monkeypatch.setattr("fastws.topics.redis_bus.SETTLE_SECONDS", 0.05)
    primary, replica, sentinel = servers
    for each in (primary, replica):
        each.do("ACL", "SETUSER", "app", "on", ">app", "~*", "&*", "+@all")
    url = f"redis+sentinel://app:app@127.0.0.1:{sentinel.port}/chat?socket_timeout="

    async def test() -> None:
        (one, first), (two, second) = await two_processes([url + "0.5", url + "500"], streams)
        await until(lambda: len(sentinel.do("SENTINEL", "REPLICAS", "chat")) == 1)
        cut_off(primary)
        number = 0
        while role(replica) != "master" or not one.counts.outages or not two.counts.outages or number < 100:
            for bus, name in ((one, "one"), (two, "two")):
                bus.publish(Publication("room", f"{name} {number}"))
            number += 1
            await asyncio.sleep(0.005)
        await until(lambda: one.connected and two.connected)
        assert replica.do("CLIENT", "LIST").count("name=fastws") == (6 if streams else 4)
        for local, name in ((first, "two"), (second, "one")):
            wanted = [f"{name} {each}" for each in range(number)]
            await until(lambda local=local, name=name: sum(str(m).startswith(name) for m in local.messages) >= number)
            assert [each for each in local.messages if str(each).startswith(name)] == wanted
        assert caplog.text.count(f"127.0.0.1:{replica.port} is the primary now; publications wait") == 2
        for bus in (one, two):
            assert bus.counts.missed == bus.counts.dropped == 0
            await bus.stop()

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
