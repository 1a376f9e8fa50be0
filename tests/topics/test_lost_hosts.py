"""Hosts are lost as real ones are, without a reset: of Redis, of a primary, and from some of the others alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack

import pytest
from hosts import Host, Network, apart, missing
from redis_server import RedisServer, Sentinel, until
from serving import PATIENCE
from topics_locals import FakeLocal

from fastws.topics.bus import Publication
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_streams import StreamBus

pytestmark = [pytest.mark.deploy, pytest.mark.skipif(bool(missing()), reason=missing() or "they can be made")]

PROCESSES = 3


@pytest.fixture(params=[False, True], ids=["pubsub", "streams"])
def streams(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr("fastws.topics.redis_bus.SETTLE_SECONDS", 0.05)
    found: bool = request.param
    return found


class Processes:
    """Some that are subscribed to one topic and publish to it all the while."""

    def __init__(self, url: str, streams: bool) -> None:
        self._url = f"{url}?socket_timeout=0.8"
        self._streams = streams
        self.buses: list[RedisBus] = []
        self._locals: list[FakeLocal] = []
        self._sent: list[str] = []

    async def __aenter__(self) -> Processes:
        self._stack = AsyncExitStack()
        for _ in range(PROCESSES):
            bus: RedisBus = StreamBus(self._url, 100_000) if self._streams else RedisBus(self._url)
            local = FakeLocal()
            await bus.start(local)
            self._stack.push_async_callback(bus.stop)
            local.add(bus, "room")
            await bus.confirmed("room")
            self.buses.append(bus)
            self._locals.append(local)
        await until(lambda: all(len(bus._roll) == PROCESSES - 1 for bus in self.buses))
        self._publishing = asyncio.ensure_future(self._publish())
        await until(lambda: all(len(local.got) > 100 for local in self._locals))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._publishing.cancel()
        await self._stack.aclose()

    async def have_noticed(self) -> None:
        """Wait until each has counted an outage."""
        await until(lambda: all(bus.counts.outages for bus in self.buses))

    async def ended(self) -> None:
        """Wait until all are back and nothing is under way, and see that what was lost is what the log says."""
        await until(lambda: all(bus.connected for bus in self.buses))
        before = len(self._sent)
        await until(lambda: len(self._sent) > before + 100)
        self._publishing.cancel()
        await until(lambda: self._lost() == self._told())
        assert self._lost() == 0 or not self._streams
        for local in self._locals:
            assert len(set(local.messages)) == len(local.messages)

    def _lost(self) -> int:
        lost = 0
        for index, local in enumerate(self._locals):
            got = set(local.messages)
            lost += sum(each not in got for each in self._sent if self._streams or int(each.split()[0]) != index)
        return lost

    def _told(self) -> int:
        return sum(bus.counts.missed + bus.counts.dropped * (PROCESSES - 1) for bus in self.buses)

    async def _publish(self) -> None:
        while True:
            for index, bus in enumerate(self.buses):
                self._sent.append(f"{index} {len(self._sent)}")
                bus.publish(Publication("room", self._sent[-1]))
            await asyncio.sleep(0.005)


def pair(network: Network, stack: ExitStack) -> tuple[Host, Host, RedisServer, RedisServer, Sentinel]:
    """A primary on a host; and on another one its replica, and who watches over them."""
    first, second = network.host(), network.host()
    primary = RedisServer("--repl-diskless-sync-delay", "0", port=6379, host=first)
    replica = RedisServer("--replicaof", primary.address, "6379", port=6379, host=second)
    sentinel = Sentinel(primary, host=second)
    for each in (primary, replica):
        stack.callback(each.close)
        each.start()
    _until(lambda: "state=online" in primary.do("INFO", "replication"))
    stack.callback(sentinel.close)
    sentinel.start()
    _until(lambda: len(sentinel.do("SENTINEL", "REPLICAS", "chat")) == 1)
    return first, second, primary, replica, sentinel


def test_the_host_of_redis_is_lost_for_a_while(streams: bool) -> None:
    async def test(network: Network, stack: ExitStack) -> None:
        host = network.host()
        redis = RedisServer(port=6379, host=host)
        stack.callback(redis.close)
        redis.start()
        async with Processes(redis.url, streams) as processes:
            host.cut()
            await processes.have_noticed()
            host.mend()
            await processes.ended()

    apart(test)


def test_the_host_of_the_primary_is_lost(streams: bool) -> None:
    async def test(network: Network, stack: ExitStack) -> None:
        first, _, _, replica, sentinel = pair(network, stack)
        url = f"redis+sentinel://{sentinel.address}/chat"
        async with Processes(url, streams) as processes:
            first.cut()
            await processes.have_noticed()
            await processes.ended()
            assert replica.do("ROLE")[0] == "master"

    apart(test)


def test_a_primary_is_cut_off_from_its_sentinels_and_not_from_us(streams: bool) -> None:
    """It goes on answering; when it can be reached again it becomes a replica, which nobody has to notice."""

    async def test(network: Network, stack: ExitStack) -> None:
        first, second, primary, replica, sentinel = pair(network, stack)
        url = f"redis+sentinel://{sentinel.address}/chat"
        async with Processes(url, streams) as processes:
            second.deaf_to(first)
            await processes.have_noticed()
            assert primary.do("ROLE")[0] == "master"
            await until(lambda: all(bus.connected for bus in processes.buses))
            second.hear(first)
            await until(lambda: "role:slave" in primary.do("INFO", "replication"))
            await processes.ended()
            assert [bus.counts.outages for bus in processes.buses] == [1] * PROCESSES
            assert replica.do("ROLE")[0] == "master"

    apart(test)


def test_a_node_is_cut_off_from_its_cluster_and_not_from_us(streams: bool) -> None:
    """It has the slot in its own eyes, and goes on with pub/sub; its replica is elected."""

    async def test(network: Network, stack: ExitStack) -> None:
        first, second = network.host(), network.host()
        nodes = []
        for host, port in ((first, 6379), (second, 6379), (second, 6380), (second, 6381)):
            options = {"cluster-enabled": "yes", "cluster-port": str(port + 10_000), "cluster-node-timeout": "1000"}
            options |= {"repl-diskless-sync-delay": "0", "cluster-replica-validity-factor": "0"}
            words = [word for name, value in options.items() for word in (f"--{name}", value)]
            node = RedisServer(*words, port=port, host=host)
            stack.callback(node.close)
            node.start()
            nodes.append(node)
        alone, replica, *others = nodes
        slots = ((alone, "0", "16000"), (others[0], "16001", "16200"), (others[1], "16201", "16383"))
        for epoch, (node, *ends) in enumerate(slots, 1):
            assert node.do("CLUSTER", "ADDSLOTSRANGE", *ends) == "+OK"
            assert node.do("CLUSTER", "SET-CONFIG-EPOCH", str(epoch)) == "+OK"
        for node in (replica, *others):
            alone.do("CLUSTER", "MEET", node.address, str(node.port), str(node.port + 10_000))
        _until(lambda: all(_knows(node, 4) for node in nodes))
        assert replica.do("CLUSTER", "REPLICATE", alone.do("CLUSTER", "MYID")) == "+OK"
        _until(lambda: "master_link_status:up" in replica.do("INFO", "replication"))
        _until(lambda: all(replica.do("CLUSTER", "MYID") in _replicas(node, alone) for node in (alone, *others)))
        async with Processes(f"redis+cluster://{alone.address}:6379", streams) as processes:
            second.deaf_to(first)
            await processes.have_noticed()
            await processes.ended()
            assert replica.do("ROLE")[0] == "master"
            assert "cluster_state:fail" in alone.do("CLUSTER", "INFO")

    apart(test)


def _knows(node: RedisServer, count: int) -> bool:
    information = node.do("CLUSTER", "INFO")
    return f"cluster_known_nodes:{count}" in information and "cluster_state:ok" in information


def _replicas(node: RedisServer, primary: RedisServer) -> str:
    return str(node.do("CLUSTER", "REPLICAS", primary.do("CLUSTER", "MYID")))


def _until(true: Callable[[], object]) -> None:
    """As `until`, before there is anything else to do."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it does not become true"
        time.sleep(0.02)
