"""What nobody may count on: malformed messages in Redis, options that change what comes, faults of our own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis_server import RedisServer, until
from topics_locals import FakeLocal

from fastws.config import Config
from fastws.config.redis_url import check_prefix, check_redis_url
from fastws.errors import ConfigError
from fastws.topics.bus import Publication
from fastws.topics.redis_bus import RedisBus
from fastws.topics.redis_control import read
from fastws.topics.redis_link import Link
from fastws.topics.redis_names import Names
from fastws.topics.redis_query import Query
from fastws.topics.redis_receiver import Receiver
from fastws.topics.redis_sender import Sender
from fastws.topics.redis_streams import StreamBus

HEAD = b"\xf5\x01\x09" + (9).to_bytes(8, "big") + bytes(8)
"""Of something that the process 9 tells."""
DEEP = b"[" * 100_000


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 40))  # type: ignore[arg-type]


TOLD = [
    b"",
    b"no JSON",
    b"[]",
    b"1e999",
    b"\xff",
    DEEP,
    b'{"sync": ' + DEEP,
    b'{"ask": ' + b"1" * 5000 + b"}",
    *(
        b'{"%s": %s}' % (word, value)
        for word in (b"ask", b"answer", b"mark", b"roll", b"here", b"bye", b"probe")
        for value in (b"1e999", b"NaN", b"-1", b"true", b"null", b'"1"', b"[]", b"{}", b"9223372036854775808")
    ),
    *(b'{"answer": 1, "subscribers": %s}' % value for value in (b"1e999", b"-1", b'"x"', b"[]")),
    *(b'{"sync": %s}' % value for value in (b"3", b'"x"', b"[1]", b'["\\ud800"]', b"[[]]", b"null")),
]
PUBLISHED = [
    b"\xf5",
    b"\xf5\x02" + bytes(17),  # another version
    b"\xf5\x01\x01" + bytes(16) + b"\xff",  # a text that is none
    b"\xf5\x01\x01" + bytes(16) + b"\xed\xa0\x80",  # a lone surrogate
    b"\xf5\x01\x05" + bytes(16) + b"\x00\x02\xff\xfex",  # a key
    b"\xf5\x01\x04" + bytes(16) + b"\x00\x09key",
    b"\xf5\x01\x10" + bytes(16) + b"\x00",  # a sender
]
GOOD = b"\xf5\x01\x01" + (9).to_bytes(8, "big") + (1).to_bytes(8, "big") + b"good"
WITH_ID = [
    b"\xf6",
    b"\xf6no id",
    b"\xf61e999-0 " + GOOD,
    b"\xf6-1-0 " + GOOD,
    b"\xf6" + b"9" * 20 + b"-0 " + GOOD,
    b"\xf6" + b"1" * 5000 + b"-0 " + GOOD,
    b"\xf6\xff-0 " + GOOD,
    b"\xf61-0 " + HEAD + b'{"ask": 1}',
    b"\xf61-0 plain text of nobody",
    *(b"\xf61-0 " + each for each in PUBLISHED),
]


@pytest.mark.parametrize("streams", [False, True])
def test_nonsense_is_dropped_counted_and_logged_one_by_one(
    redis: RedisServer, streams: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        bus: RedisBus = StreamBus(redis.url, 100) if streams else RedisBus(redis.url)
        local = FakeLocal()
        await bus.start(local)
        local.add(bus, "room")
        await bus.confirmed("room")
        nonsense = [*(HEAD + each for each in TOLD), *PUBLISHED, *(WITH_ID if streams else ())]
        for channel in (b"fastws:room", bus._everybody, bus._own):
            for number, each in enumerate(nonsense):
                before = bus.counts.bad
                bus._take(channel, each)
                if streams and channel == bus._own and each[:1] == b"\xf6":
                    continue  # what a process writes to see whether it can
                assert bus.counts.bad == before + 1, (channel, number, each[:100])
        for channel in ("fastws:room", bus._everybody):
            redis.do("PUBLISH", channel, HEAD + DEEP)
        redis.do("PUBLISH", bus._everybody, GOOD)
        redis.do("PUBLISH", "fastws:room", HEAD + b'{"of a later version": 1}')
        redis.do("PUBLISH", "fastws:room", "end")
        await until(lambda: local.messages == ["end"])
        assert "Topics: no publication, on channel 'fastws:room': " in caplog.text
        assert bus.connected
        assert bus.counts.outages == 0
        await bus.stop()

    run(test)


def test_entries_of_a_stream_that_are_none(redis: RedisServer) -> None:
    async def test() -> None:
        bus, local, got = StreamBus(redis.url, 100), FakeLocal(), []
        await bus.start(local)
        for value in (b"x", *PUBLISHED, HEAD + b"{}", GOOD):
            redis.do("XADD", "fastws:room", "*", "m", value)
        redis.do("XADD", "fastws:room", "*", b"\xff", "")
        await bus.resume("room", "0", got.extend)
        assert [each.message for each in got] == ["good"]
        assert bus.counts.bad == len(PUBLISHED) + 3
        redis.do("SET", "fastws:other", "no stream")
        await bus.resume("other", "0", got.extend)
        local.add(bus, "other")
        bus.publish(Publication("other", "x"))  # this process still gets it
        await until(lambda: local.messages == ["x"])
        await bus.stop()

    run(test)


def test_what_processes_tell_each_other_is_read_strictly() -> None:
    from fastws.topics import redis_control
    from fastws.topics.envelope import decode

    for word, value in (("sync", ["a", "ü"]), ("ask", 3), ("mark", 0)):
        told = read(decode(redis_control.encode(7, word, value)))
        assert told is not None
        assert (told.word, list(told.topics) or told.value) == (word, value)
    assert read(decode(HEAD + json.dumps({"later": 1}).encode())) is None


@pytest.mark.parametrize(
    "query",
    [
        "decode_responses=true",
        "protocol=3",
        "socket_connect_timeout=1",
        "health_check_interval=1",
        "retry_on_timeout=true",
        "encoding=latin-1",
        "max_connections=1",
        "parser_class=x",
        "db=x",
        "ssl_ca_certs=/x.pem",
        "socket_timeout=0",
        "socket_timeout=nan",
        "socket_timeout=x",
        "socket_timeout=601",
    ],
)
def test_options_that_change_what_comes_are_refused(query: str) -> None:
    for url in (f"redis://:secret@host?{query}", f"redis+sentinel://:secret@host/service?{query}"):
        if "sentinel" in url and query.startswith("db=0"):
            continue
        with pytest.raises(ValueError, match=r"^must (not )?have .*" + query.partition("=")[0]) as error:
            check_redis_url(url)
        assert "secret" not in str(error.value)
        with pytest.raises(ConfigError, match=r"^--topics-url: must "):
            Config("app:app", topics_url=url)


@pytest.mark.parametrize("prefix", ["", ":", "chat", "chat:eu:", "chat:eu", "{a:}b:", "\x00:", "{a:}:"])
def test_prefixes_that_may_be_others_are_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a name and a colon"):
        check_prefix(prefix)
    with pytest.raises(ConfigError, match=r"^--topics-prefix: must be"):
        Config("app:app", topics_url="redis://host", topics_prefix=prefix)
    with pytest.raises(ConfigError, match=r"^--topics-prefix: must be"):
        RedisBus("redis://host", prefix=prefix)


def test_no_channel_is_two_topics() -> None:
    """Nor a topic what is none: whoever names topics may be a client."""
    seen: dict[bytes, Any] = {}
    for prefix in ("a:", "{a:}", "a b:", "ü:"):
        assert check_prefix(prefix) == prefix
        names = Names(prefix, in_one_slot=False)
        for topic in ("x", "a:x", ":x", "\x00", "\x00everybody", "\x00\x00everybody", "\x009", "}x"):
            channel = names.of_topic(topic)
            assert names.topic(channel) == topic
            assert seen.setdefault(channel, (prefix, topic)) == (prefix, topic)
        for channel in (names.of_processes(), names.of_process(9)):
            assert names.topic(channel) is None
            assert channel not in seen


def _fails_once(method: Any, failed: list[str]) -> Any:
    """The method, whose first call fails as a fault of ours would."""

    def wrapped(*arguments: Any, **more: Any) -> Any:
        if not failed:
            failed.append(method.__name__)
            raise LookupError("a fault")
        return method(*arguments, **more)

    return wrapped


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Sender, "_exchange"),
        (Sender, "_next"),
        (Receiver, "_answer"),
        (Receiver, "_command"),
        (Query, "ask"),
        (Link, "_send_probe"),
        (Link, "_serve"),
        (StreamBus, "check"),
        (StreamBus, "came_up"),
        (StreamBus, "_assemble"),
        (StreamBus, "_catch_up"),
        (StreamBus, "_begin"),
    ],
)
def test_a_task_that_dies_is_logged_and_begins_again(
    redis: RedisServer, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        bus, local, failed = StreamBus(f"{redis.url}?socket_timeout=0.5", 100), FakeLocal(), list[str]()
        await bus.start(local)
        monkeypatch.setattr(owner, name, _fails_once(getattr(owner, name), failed))
        local.add(bus, "room")
        bus.publish(Publication("room", "x"))
        for _ in range(5):
            await asyncio.sleep(0)
        if not failed:  # it is called when the connections are made, or now and then
            redis.do("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: failed)
        await until(lambda: bus.connected and bus._beginning_of("room") is None)
        bus.publish(Publication("room", "y"))
        await until(lambda: local.messages[-1:] == ["y"])
        assert caplog.text.count("Topics: a fault in ") == caplog.text.count("LookupError: a fault") == 1
        await bus.stop()

    run(test)
