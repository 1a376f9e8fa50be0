"""Programs that are no server publish: by `fastws.topics.connect`, and by ``fastws publish``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis_server import RedisServer
from serving import PATIENCE, serve
from websockets.sync.client import ClientConnection, connect

from fastws import topics
from fastws.cli.main import main


async def room(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Subscribe each WebSocket to the topic room, and say so."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.subscribe", "topic": "room"})
    await send({"type": "websocket.send", "text": "here"})
    while (await receive())["type"] == "websocket.receive":
        pass


@contextlib.contextmanager
def subscribers(count: int, **options: Any) -> Iterator[list[ClientConnection]]:
    with serve(room, lifespan="off", **options) as serving, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(serving.ws_url)) for _ in range(count)]
        for client in clients:
            assert client.recv(PATIENCE) == "here"
        yield clients


def publish(*arguments: str, status: int = 0, given: bytes | None = None, **env: str) -> str:
    """What the command prints."""
    result = CliRunner().invoke(main, ["publish", *arguments], env=env, input=given)
    assert result.exit_code == status, result.output
    return result.output


def wait_until_subscribed(redis: RedisServer, prefix: str = "fastws:", servers: int = 1) -> None:
    waiting = threading.Event()
    while redis.do("PUBSUB", "NUMSUB", f"{prefix}room")[1] < servers:
        waiting.wait(0.005)


@pytest.mark.usefixtures("redis_or_valkey")
def test_a_script_and_a_coroutine_publish(redis: RedisServer) -> None:
    with subscribers(2, topics_url=redis.url) as clients, subscribers(1, topics_url=redis.url) as more:
        wait_until_subscribed(redis, servers=2)

        async def script() -> None:
            async with topics.connect(redis.url) as connected:
                assert (
                    await asyncio.gather(*(connected.publish("room", f"{number}") for number in range(50))) == [2] * 50
                )
                assert await connected.subscribers("room") == 3
                assert await connected.publish("nobody", b"x") == 0
                with pytest.raises(ValueError, match="topic must have 1 to 255"):
                    await connected.publish("", "x")

        asyncio.run(script())
        with topics.connect(redis.url) as connected:
            threads = [threading.Thread(target=connected.publish, args=("room", b"\xff")) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert connected.audience("room") == (3, 2)
        for client in [*clients, *more]:
            assert [client.recv(PATIENCE) for _ in range(53)] == [
                *(f"{number}" for number in range(50)),
                *[b"\xff"] * 3,
            ]


def test_a_redis_that_refuses_and_one_that_is_away(redis: RedisServer) -> None:
    redis.do("CONFIG", "SET", "requirepass", "right")
    with pytest.raises(ConnectionError, match=r"unix:///.*pass"), topics.connect(redis.url, password="wrong"):
        pass
    with topics.connect(redis.url, password="right", timeout=0.05) as connected:
        assert connected.publish("room", "x") == 0
        redis.kill()
        with pytest.raises(TimeoutError, match=r"has not answered within 0.05 s"):
            connected.publish("room", "x")
    with pytest.raises(ValueError, match="must begin with"):
        topics.connect("http://x")


def test_the_command_publishes_over_redis(redis: RedisServer, tmp_path: Path) -> None:
    with subscribers(2, topics_url=redis.url, topics_prefix="x:") as clients:
        wait_until_subscribed(redis, "x:")
        said = "published to 2 subscribers in 1 process\n"
        where = ("--topics-url", redis.url, "--topics-prefix", "x:")
        assert publish("room", "héllo", *where) == said
        assert publish("room", "by environment", FASTWS_TOPICS_URL=redis.url, FASTWS_TOPICS_PREFIX="x:") == said
        assert publish("room", "--file", "-", "--binary", *where, given=b"\xff" * 100_000) == said
        (tmp_path / "text").write_text("grüße")
        assert publish("room", "--file", str(tmp_path / "text"), *where) == said
        for client in clients:
            got = [client.recv(PATIENCE) for _ in range(4)]
            assert got == ["héllo", "by environment", b"\xff" * 100_000, "grüße"]
        assert publish("nobody", "x", *where) == "published to 0 subscribers in 0 processes\n"


def test_the_command_publishes_over_a_control_socket() -> None:
    with tempfile.TemporaryDirectory(prefix="fastws-") as directory:
        path = f"{directory}/control"
        shared = {"topics_dir": f"{directory}/topics"}
        with subscribers(1, control_socket=path, **shared) as [one], subscribers(2, **shared) as [two, three]:
            assert publish("room", "héllo", "--control-socket", path) == "published to 3 subscribers in 2 processes\n"
            publish("room", "bytes", "--binary", FASTWS_CONTROL_SOCKET=path)
            for client in (one, two, three):
                assert [client.recv(PATIENCE), client.recv(PATIENCE)] == ["héllo", b"bytes"]
            output = publish("", "x", "--control-socket", path, status=1)
            assert output == "Error: a topic must have 1 to 255 characters, not 0\n"
            output = publish("room", "x" * 40_001, "--control-socket", path, status=2)
            assert "at most 40000 bytes" in output
    with tempfile.TemporaryDirectory(prefix="fastws-") as directory, subscribers(1, control_socket=f"{directory}/c"):
        output = publish("room", "x", "--control-socket", f"{directory}/c")
        assert output == "published to 1 subscriber in 1 process\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("room",), 2, "say what to publish"),
        (("room", "x", "--file", "-"), 2, "say what to publish"),
        (("room", "x"), 2, "--topics-url: say where to publish, by this option or by --control-socket"),
        (("room", "--file", "-", "--topics-url", "redis://h"), 2, "not UTF-8: --binary"),
        (("room", "x", "--topics-url", "http://:secret@h"), 2, "--topics-url: must begin with one of redis://"),
        (("room", "x", "--control-socket", "/nowhere/c"), 1, "no server listens on /nowhere/c.PID"),
        (("x" * 256, "x", "--topics-url", "unix:///nowhere/s"), 2, "a topic must have 1 to 255 characters"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: tuple[str, ...], status: int, said: str) -> None:
    output = publish(*arguments, status=status, given=b"\xff")
    assert said in output
    assert "secret" not in output


def test_the_command_says_when_redis_is_away(redis: RedisServer) -> None:
    redis.do("CONFIG", "SET", "requirepass", "right")
    output = publish("room", "x", "--topics-url", redis.url, FASTWS_TOPICS_PASSWORD="wrong", status=1)
    assert "unix:///" in output
    assert os.path.basename(redis.directory) in output
