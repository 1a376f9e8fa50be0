"""Streams of Redis: subscribers resume after the last id that they have seen, and outages lose nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis_server import RedisProxy, RedisServer, until
from serving import PATIENCE, serve
from topics_locals import FakeLocal
from websockets.sync.client import ClientConnection, connect

from fastws.topics.bus import Publication
from fastws.topics.redis_streams import Id, StreamBus


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 40))  # type: ignore[arg-type]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Send each message, an event, and answer "done"."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send(json.loads(event["text"]))
        await send({"type": "websocket.send", "text": "done"})


def subscribe(client: ClientConnection, **more: Any) -> list[str]:
    """Subscribe to the topic room; what comes before the subscription is done."""
    client.send(json.dumps({"type": "websocket.subscribe", "topic": "room", **more}))
    got: list[Any] = []
    while not got or got[-1] != "done":
        got.append(client.recv(PATIENCE))
    return got[:-1]


@pytest.mark.usefixtures("redis_or_valkey")
def test_clients_resume_after_the_last_id_that_they_have_seen(redis: RedisServer) -> None:
    """One publishes all the time, while others come and go: what they get together is everything, in order and once."""
    options = {"topics_url": redis.url, "topics_stream_length": 100_000, "lifespan": "off"}
    with serve(app, **options) as one, serve(app, **options) as two, contextlib.ExitStack() as stack:
        publisher = stack.enter_context(connect(one.ws_url))
        watcher = stack.enter_context(connect(one.ws_url, max_queue=None))
        subscribe(watcher)
        end = threading.Event()
        numbers: list[int] = []

        def publish() -> None:
            while not end.is_set():
                event = {"type": "websocket.publish", "topic": "room", "text": f"{len(numbers)}"}
                publisher.send(json.dumps(event))
                assert publisher.recv(PATIENCE) == "done"
                numbers.append(len(numbers))

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            last_id, got = "0", []
            for turn in range(8):
                # A client whose queue is full does not see the answer to its Close.
                with connect((one, two)[turn % 2].ws_url, max_queue=None) as client:
                    lines = subscribe(client, last_id=last_id, ids=True)
                    lines += [str(client.recv(PATIENCE)) for _ in range(turn)]
                for line in lines:
                    last_id, _, text = line.partition(" ")
                    got.append(int(text))
        finally:
            end.set()
            thread.join()
        with connect(two.ws_url) as client:
            lines = subscribe(client, last_id=last_id, ids=True)
            lines += [str(client.recv(PATIENCE)) for _ in range(len(numbers) - len(got) - len(lines))]
            got += [int(line.partition(" ")[2]) for line in lines]
            assert got == numbers
            assert subscribe(client, last_id="0") == [f"{number}" for number in numbers]  # without ids
        for number in numbers:
            assert watcher.recv(PATIENCE) == f"{number}"


def test_mistakes_and_streams_that_are_not_there(redis: RedisServer) -> None:
    with serve(app, lifespan="off") as serving, connect(serving.ws_url) as client:
        assert subscribe(client, last_id="17-0", ids=True) == []
    with serve(app, lifespan="off") as serving:
        for wrong in ({"last_id": "x"}, {"last_id": 17}, {"ids": 1}):
            with connect(serving.ws_url) as client:
                client.send(json.dumps({"type": "websocket.subscribe", "topic": "room", **wrong}))
                with pytest.raises(Exception, match="1011"):
                    client.recv(PATIENCE)
    assert Id.read("5") == (5, 0) < Id.read("5-1") < Id.read("17-0")
    for wrong_id in ("", "-", "x-1", "1-x", "1" * 50):
        with pytest.raises(ValueError, match="is no id"):
            Id.read(wrong_id)


def test_streams_are_bounded_and_what_is_cut_off_is_counted(redis: RedisServer) -> None:
    async def test() -> None:
        redis.do("CONFIG", "SET", "stream-node-max-entries", "10")
        proxy = RedisProxy(redis)
        async with proxy:
            one, two, local = StreamBus(redis.url, 20), StreamBus(proxy.url, 20), FakeLocal()
            await one.start(FakeLocal())
            await two.start(local)
            local.add(two, "room")
            await two.confirmed("room")
            one.publish(Publication("room", "first"))
            await until(lambda: local.got)
            proxy.closed = True
            proxy.cut()
            for number in range(200):
                one.publish(Publication("room", f"{number}"))
            await until(lambda: one.counts.sent == 201 and not two.connected)
            proxy.closed = False
            one.publish(Publication("room", "last"))
            await until(lambda: local.messages[-1] == "last")
            assert 20 <= redis.do("XLEN", "fastws:room") <= 40
            await until(lambda: two.counts.missed == 202 - len(local.got))
            numbers = [int(message) for message in local.messages[1:-1]]
            assert numbers == [*range(200 - len(numbers), 200)]
            assert 0 < redis.do("TTL", "fastws:room") <= 86_400
            await one.stop()
            await two.stop()

    run(test)


@pytest.mark.usefixtures("redis_or_valkey")
def test_outages_of_receivers_lose_nothing(redis: RedisServer) -> None:
    async def test() -> None:
        one, two, first, second = StreamBus(redis.url, 1000), StreamBus(redis.url, 1000), FakeLocal(), FakeLocal()
        for bus, local in ((one, first), (two, second)):
            await bus.start(local)
            local.add(bus, "room")
            await bus.confirmed("room")
        for number in range(300):
            if number % 100 == 50:
                redis.do("CLIENT", "KILL", "TYPE", "pubsub")
            (one, two)[number % 2].publish(Publication("room", f"{number}", sender=7))
            await asyncio.sleep(0)
        await until(lambda: len(first.got) == len(second.got) == 300)
        assert first.messages == second.messages  # in the order of the stream
        assert sorted(map(int, first.messages)) == [*range(300)]
        assert [each.origin for each in first.got if int(each.message) % 2 == 0] == [first.id] * 150
        assert {each.sender for each in first.got} == {7}
        assert one.counts.missed == two.counts.missed == 0
        await one.stop()
        await two.stop()

    run(test)


@pytest.mark.usefixtures("redis_or_valkey")
def test_what_was_carried_out_without_an_answer_is_in_the_stream_once(redis: RedisServer) -> None:
    async def test() -> None:
        proxy = RedisProxy(redis)
        async with proxy:
            bus, local = StreamBus(proxy.url, 1000), FakeLocal()
            await bus.start(local)
            local.add(bus, "room")
            await bus.confirmed("room")
            bus.publish(Publication("room", "first"))
            await until(lambda: redis.do("XLEN", "fastws:room") == 1)
            proxy.lose_answers = True
            for number in range(50):
                bus.publish(Publication("room", f"{number}"))
            await until(lambda: redis.do("XLEN", "fastws:room") == 51)
            proxy.cut()
            bus.publish(Publication("room", "last"))
            await until(lambda: local.messages[-1:] == ["last"])
            assert local.messages == ["first", *(f"{number}" for number in range(50)), "last"]
            assert redis.do("XLEN", "fastws:room") == 52
            await bus.stop()

    run(test)
