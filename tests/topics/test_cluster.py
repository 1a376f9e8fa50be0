"""A cluster of two nodes: sharded pub/sub, on the node that has the slot of the prefix."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from redis_server import RedisServer, until
from serving import PATIENCE
from topics_locals import FakeLocal

from fastws.topics.bus import Publication
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_streams import StreamBus

pytestmark = pytest.mark.deploy


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


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
