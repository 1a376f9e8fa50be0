"""What each failure of Redis costs topics: three buses publish 200 messages a second each, while something breaks.

    python bench/topics_failures.py [NAME...]

prints a table for docs/deployment/topics.md: how many of them were lost with pub/sub and with streams, whether the log
says just that, and how long the one waited that waited longest. Each bus reaches a real redis-server through a proxy of
its own, but where whole hosts are lost: these are network namespaces, which needs root. It fails where streams lose
anything, or where the log says something else than what was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from hosts import Host, Network, apart, missing
from redis_server import RedisProxy, RedisServer, Sentinel, free_ports, until
from topics_locals import FakeLocal

from fastws.topics.bus import Publication
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_streams import StreamBus

PROCESSES = 3
PAUSE = 0.005
"""Seconds between two publications of a process."""
BEFORE, AFTER, REST = 2.0, 12.0, 3.0
"""Seconds that they publish before and after it, and that is waited for what is under way."""


class Stage(NamedTuple):
    """What a failure may use."""

    primary: RedisServer
    replica: RedisServer
    proxies: list[RedisProxy]
    hosts: list[Host]
    """Of the primary, and of the replica with its Sentinel; where whole hosts are lost."""


async def stop_redis(stage: Stage) -> None:
    stage.primary.pause()
    await asyncio.sleep(10)
    stage.primary.pause(False)


async def restart_redis(stage: Stage) -> None:
    stage.primary.kill()
    await asyncio.sleep(1)
    stage.primary.start()


async def fail_over(stage: Stage) -> None:
    stage.primary.pause()
    for proxy in stage.proxies:
        proxy.redis = stage.replica
    await asyncio.sleep(1)
    stage.replica.do("REPLICAOF", "NO", "ONE")


async def hang(stage: Stage) -> None:
    stage.primary.pause()


async def lose_host(stage: Stage) -> None:
    stage.hosts[0].cut()
    await asyncio.sleep(10)
    stage.hosts[0].mend()


async def lose_primary(stage: Stage) -> None:
    stage.hosts[0].cut()


async def part(stage: Stage) -> None:
    stage.hosts[1].deaf_to(stage.hosts[0])


async def forget(stage: Stage) -> None:
    stage.proxies[0].forget()


async def cut_off(stage: Stage) -> None:
    stage.proxies[0].forget()
    stage.proxies[0].closed = True
    await asyncio.sleep(10)
    stage.proxies[0].closed = False


async def cut_one(stage: Stage) -> None:
    stage.proxies[0].cut()


async def cut_receivers(stage: Stage) -> None:
    stage.primary.do("CLIENT", "KILL", "TYPE", "pubsub")


async def no_memory(stage: Stage) -> None:
    stage.primary.do("CONFIG", "SET", "maxmemory", "1")
    await asyncio.sleep(10)
    stage.primary.do("CONFIG", "SET", "maxmemory", "0")


FAILURES: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "Redis hangs for 10 s": stop_redis,
    "Redis is killed, and is there again after 1 s": restart_redis,
    "the primary hangs; behind a proxy a replica takes over after 1 s": fail_over,
    "the primary hangs; Sentinel has a replica take over": hang,
    "the host of Redis is lost for 10 s": lose_host,
    "the host of the primary is lost; Sentinel has a replica take over": lose_primary,
    "the primary is cut off from Sentinel and replica, and not from the processes": part,
    "the flows of one process are forgotten without a reset": forget,
    "one process has no way to Redis for 10 s": cut_off,
    "the connections of one process are reset": cut_one,
    "Redis cuts all receivers": cut_receivers,
    "Redis is out of memory for 10 s": no_memory,
}
WITH_SENTINEL = (hang, lose_primary, part)
ON_HOSTS = (lose_host, lose_primary, part)


class Local(FakeLocal):
    """One that writes down when each message came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[str, float] = {}

    def deliver(self, publication: Publication) -> int:
        message = str(publication.message)
        assert message not in self.came, "a message came twice"
        self.came[message] = time.monotonic()
        return 1


async def measure(
    failure: Callable[[Stage], Awaitable[None]], streams: bool, network: Network | None = None
) -> tuple[int, int, float]:
    """How many messages were lost, how many the log tells of, and how long the slowest was under way."""
    ports = free_ports(2)
    with contextlib.ExitStack() as servers:
        hosts = [network.host(), network.host()] if network else []
        first, second = hosts or (None, None)
        primary = RedisServer("--repl-diskless-sync-delay", "0", port=ports[0], host=first)
        replica = RedisServer("--replicaof", primary.address, str(ports[0]), port=ports[1], host=second)
        for server in (primary, replica):
            servers.callback(server.close)
            server.start()
        await until(lambda: "state=online" in primary.do("INFO", "replication"))
        sentinel = Sentinel(primary, host=second)
        servers.callback(sentinel.close)
        if failure in WITH_SENTINEL:
            sentinel.start()
            await until(lambda: len(sentinel.do("SENTINEL", "REPLICAS", "chat")) == 1)
        async with contextlib.AsyncExitStack() as stack:
            proxies = [RedisProxy(primary) for _ in range(PROCESSES)]
            for proxy in proxies:
                await stack.enter_async_context(proxy)
            buses: list[tuple[RedisBus, Local]] = []
            for proxy in proxies:
                url = primary.url if hosts else proxy.url
                if failure in WITH_SENTINEL:
                    url = f"redis+sentinel://{sentinel.address}:{sentinel.port}/chat"
                bus: RedisBus = StreamBus(url, 1_000_000) if streams else RedisBus(url)
                local = Local()
                await bus.start(local)
                stack.push_async_callback(bus.stop)
                local.add(bus, "room")
                buses.append((bus, local))
            await until(lambda: all(len(bus._roll) == PROCESSES - 1 for bus, _ in buses))
            sent: dict[str, float] = {}
            ended = asyncio.Event()

            async def publish(index: int) -> None:
                while not ended.is_set():
                    message = f"{index} {len(sent)}"
                    sent[message] = time.monotonic()
                    buses[index][0].publish(Publication("room", message))
                    await asyncio.sleep(PAUSE)

            publishing = [asyncio.ensure_future(publish(index)) for index in range(PROCESSES)]
            await asyncio.sleep(BEFORE)
            await failure(Stage(primary, replica, proxies, hosts))
            await asyncio.sleep(AFTER)
            ended.set()
            await asyncio.gather(*publishing)
            await asyncio.sleep(REST)
            lost, slowest = 0, 0.0
            for index, (_, local) in enumerate(buses):
                wanted = [each for each in sent if streams or not each.startswith(f"{index} ")]
                lost += sum(each not in local.came for each in wanted)
                slowest = max(slowest, *(came - sent[each] for each, came in local.came.items()))
            if failure in (hang, fail_over):
                primary.pause(False)
            told = sum(bus.counts.missed + bus.counts.dropped * (PROCESSES - 1) for bus, _ in buses)
            return lost, told, slowest


def measured(failure: Callable[[Stage], Awaitable[None]], streams: bool) -> tuple[int, int, float]:
    """What `measure` gives, in a network of its own where that is needed."""
    if failure not in ON_HOSTS:
        return asyncio.run(measure(failure, streams))
    found: list[tuple[int, int, float]] = []

    async def run(network: Network, _: contextlib.ExitStack) -> None:
        found.append(await measure(failure, streams, network))

    apart(run, 120.0)
    return found[0]


def main(names: list[str]) -> int:
    logging.basicConfig(level=logging.CRITICAL)
    wrong = 0
    print("| what happens | lost, pub/sub | the log says | longest wait | lost, streams | longest wait |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names or FAILURES:
        if FAILURES[name] in ON_HOSTS and (why := missing()):
            print(f"{name}: left out: {why}", file=sys.stderr)
            continue
        lost, told, wait = measured(FAILURES[name], False)
        lost_of_streams, _, wait_of_streams = measured(FAILURES[name], True)
        print(f"| {name} | {lost} | {told} | {wait:.1f} s | {lost_of_streams} | {wait_of_streams:.1f} s |", flush=True)
        wrong += lost != told or lost_of_streams > 0
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
