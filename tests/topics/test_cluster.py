"""A cluster of two nodes: sharded pub/sub, on the node that has the slot of the prefix."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from redis_server import RedisServer, free_ports, until
from serving import PATIENCE
from topics_locals import FakeLocal

from fastws.topics.bus import Publication
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_streams import StreamBus

pytestmark = pytest.mark.deploy


@pytest.fixture
def cluster() -> Iterator[list[RedisServer]]:
    """Two nodes, each of which has half of the slots."""
    ports = free_ports(4)
    nodes = []
    with ExitStack() as stack:
        for port, bus, slots in ((ports[0], ports[1], (0, 8191)), (ports[2], ports[3], (8192, 16383))):
            node = RedisServer("--cluster-enabled", "yes", "--cluster-port", str(bus), port=port)
            stack.callback(node.close)
            node.start()
            assert node.do("CLUSTER", "ADDSLOTSRANGE", *map(str, slots)) == "+OK"
            nodes.append(node)
        nodes[0].do("CLUSTER", "MEET", "127.0.0.1", str(ports[2]), str(ports[3]))
        deadline = time.monotonic() + PATIENCE
        while not all("cluster_state:ok" in node.do("CLUSTER", "INFO") for node in nodes):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield nodes


@pytest.mark.usefixtures("redis_or_valkey")
@pytest.mark.parametrize("streams", [False, True])
def test_topics_over_a_cluster(cluster: list[RedisServer], streams: bool) -> None:
    async def test() -> None:
        owners = set()
        for prefix in ("fastws:", "b{x}:", "c:", "d:"):
            buses = []
            for node in cluster:  # one asks the node that has the slot, the other one is sent there
                url = node.url.replace("redis://", "redis+cluster://")
                bus = StreamBus(url, 100, prefix=prefix) if streams else RedisBus(url, prefix=prefix)
                local = FakeLocal()
                await bus.start(local)
                local.add(bus, "room")
                await bus.confirmed("room")
                buses.append((bus, local))
            channel = f"{prefix}room" if "{" in prefix else f"{{{prefix}}}room"
            owners.add(
                next(index for index, node in enumerate(cluster) if node.do("PUBSUB", "SHARDNUMSUB", channel)[1])
            )
            for number in range(100):
                buses[0][0].publish(Publication("room", f"{number}"))
            await until(lambda local=buses[1][1]: len(local.got) == 100)
            assert buses[1][1].messages == [f"{number}" for number in range(100)]
            assert await buses[1][0].presence("room") == 2
            for bus, _ in buses:
                await bus.stop()
        assert owners == {0, 1}

    asyncio.run(asyncio.wait_for(test(), 40))


@pytest.mark.usefixtures("redis_or_valkey")
@pytest.mark.parametrize("streams", [False, True])
def test_a_node_takes_over(streams: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that the URL names hangs, and its replica, of which it had told, is the primary."""
    monkeypatch.setattr("fastws.topics.redis_bus.SETTLE_SECONDS", 0.05)
    ports = free_ports(4)
    with ExitStack() as stack:
        nodes = []
        for port, bus_port in (ports[:2], ports[2:]):
            options = {"enabled": "yes", "port": str(bus_port), "node-timeout": "1000", "replica-no-failover": "yes"}
            arguments = [word for name, value in options.items() for word in (f"--cluster-{name}", value)]
            node = RedisServer(
                *arguments, "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", port=port
            )
            stack.callback(node.close)
            node.start()
            nodes.append(node)
        first, second = nodes
        assert first.do("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == "+OK"
        first.do("CLUSTER", "MEET", "127.0.0.1", str(ports[2]), str(ports[3]))
        name = first.do("CLUSTER", "MYID")
        _until(lambda: name in second.do("CLUSTER", "NODES") and "cluster_state:ok" in second.do("CLUSTER", "INFO"))
        _until(lambda: second.do("CLUSTER", "REPLICATE", name) == "+OK")
        _until(lambda: "master_link_status:up" in second.do("INFO", "replication"))
        _until(lambda: str(ports[2]) in str(first.do("CLUSTER", "SLOTS")))

        async def test() -> None:
            url = f"redis+cluster://127.0.0.1:{ports[0]}?socket_timeout=0.5"
            one: RedisBus = StreamBus(url, 1000) if streams else RedisBus(url)
            local = FakeLocal()
            two: RedisBus = StreamBus(url, 1000) if streams else RedisBus(url)
            await one.start(local)
            await two.start(FakeLocal())
            local.add(one, "room")
            await one.confirmed("room")
            for number in range(30):
                two.publish(Publication("room", f"{number}"))
            await until(lambda: len(local.got) == 30)
            if streams:
                await until(lambda: _length(second) == 30)
            first.pause()
            for number in range(30, 60):
                two.publish(Publication("room", f"{number}"))
            assert second.do("CLUSTER", "FAILOVER", "TAKEOVER") == "+OK"
            await until(lambda: len(local.got) == 60)
            assert local.messages == [f"{number}" for number in range(60)]
            first.pause(False)
            await one.stop()
            await two.stop()

        asyncio.run(asyncio.wait_for(test(), 40))


def _length(replica: RedisServer) -> int:
    """Of the stream there: a replica answers who says that it reads only, on one connection."""
    with replica.client() as client:
        client.sendall(b"READONLY\r\nXLEN {fastws:}room\r\n")
        received = b""
        while received.count(b"\r\n") < 2:
            received += client.recv(100)
    return int(received.split(b"\r\n")[1][1:])


def _until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it does not become true"
        time.sleep(0.02)
