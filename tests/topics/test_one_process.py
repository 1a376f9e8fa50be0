"""Topics in one process: what the events of the extension `fastws.topics` do, on every engine."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import threading
import zlib
from typing import Any

import pytest
import wire
from driving import ACCEPT, connect
from fake_loop import on_fake_clock, settle
from topics_sockets import DEFLATE, Sockets, publish, subscribe, texts, unsubscribe

from fastws import topics
from fastws.errors import ApplicationError, ClientDisconnected
from fastws.topics.fallback import Rooms
from fastws.topics.hub import PUBLICATIONS_A_TURN
from fastws.topics.member import SLICE
from fastws.topics.outgoing import MOST_FRAMES

# ------------------------------------------------------------------------------------------------------------- delivery


@on_fake_clock
async def test_subscribers_get_what_is_published(engine: str) -> None:
    sockets = Sockets(engine)
    _, one = await sockets.open("room")
    _, two = await sockets.open("other", "room")
    publisher, three = await sockets.open("other")
    assert publisher.scope["extensions"]["fastws.topics"] == {"version": 1}
    await publisher.send(publish("room", "hello"))
    await publisher.send({"type": "websocket.publish", "topic": "room", "bytes": b"\x00\x01"})
    await publisher.send({"type": "websocket.publish", "topic": "nobody", "text": "x"})
    await settle()
    expected = [wire.Frame(wire.TEXT, b"hello"), wire.Frame(wire.BINARY, b"\x00\x01")]
    assert wire.read_frames(one.take()) == wire.read_frames(two.take()) == expected
    assert three.take() == b""
    assert (sockets.counts.published, sockets.counts.topics_delivered) == (3, 4)


@on_fake_clock
async def test_a_subscriber_gets_each_message_once_and_none_after_it_unsubscribed(engine: str) -> None:
    sockets = Sockets(engine)
    call, peer = await sockets.open("room", "room")
    assert topics_now(sockets) == (1, 1)
    await call.send(publish("room", "once"))
    await call.send(unsubscribe("room"))
    await call.send(unsubscribe("room"))
    await call.send(publish("room", "never"))
    await settle()
    assert texts(peer) == ["once"]
    assert topics_now(sockets) == (0, 0)
    await call.send(subscribe("room"))
    await call.send(publish("room", "again"))
    await settle()
    assert texts(peer) == ["again"]


def topics_now(sockets: Sockets) -> tuple[int, int]:
    counts = sockets.counts
    assert counts.topics == len(sockets.hub.topics())
    return counts.subscriptions, counts.topics


@on_fake_clock
async def test_publications_of_a_turn_are_one_write_of_one_object(engine: str) -> None:
    sockets = Sockets(engine)
    call, one = await sockets.open("room", "side")
    _, two = await sockets.open("room")
    _, three = await sockets.open("room", "side")
    for number in range(5):
        await call.send(publish("room", f"m{number}"))
        await call.send(publish("side", f"s{number}"))
    assert one.take_writes() == []
    await settle()
    both = [f"{kind}{number}" for number in range(5) for kind in "ms"]
    for peer, expected in ((one, both), (two, both[::2]), (three, both)):
        [write] = peer.take_writes()
        assert wire.read_frames(write) == wire.messages(*expected)


@on_fake_clock
async def test_exclude_self(engine: str) -> None:
    sockets = Sockets(engine)
    call, one = await sockets.open("room")
    other, two = await sockets.open("room")
    await call.send(publish("room", "a", exclude_self=True))
    await other.send(publish("room", "b", exclude_self=True))
    await call.send(publish("room", "c", exclude_self=False))
    await settle()
    assert texts(one) == ["b", "c"]
    assert texts(two) == ["a", "c"]


@on_fake_clock
async def test_who_joins_and_leaves_is_told_where_it_is_announced(engine: str) -> None:
    sockets = Sockets(engine)
    _, watcher = await sockets.open(topics.presence_topic("room"))
    call, peer = await sockets.open("room")  # without a name
    await call.send(subscribe("room", announce="too late"))
    await call.send(subscribe("side", announce="alice"))
    other, lost = await sockets.open("x:presence")
    for name in ("x", "room"):
        await other.send(subscribe(name, announce="bob \N{SNOWMAN}"))
    await other.send(unsubscribe("x"))
    await other.send(subscribe("x", announce="bobby"))
    await settle()
    assert [json.loads(each) for each in texts(watcher)] == [told("join", "room", "bob \N{SNOWMAN}")]
    first, second, third = (json.loads(each) for each in texts(lost))
    assert first == told("join", "x", "bob \N{SNOWMAN}")
    assert (second, third) == (told("leave", "x", "bob \N{SNOWMAN}"), told("join", "x", "bobby"))
    lost.transport.reset()
    await settle()
    assert [json.loads(each) for each in texts(watcher)] == [told("leave", "room", "bob \N{SNOWMAN}")]
    assert peer.take() == b""  # in the topic itself there are only the application's messages


def told(event: str, topic: str, who: str) -> dict[str, str]:
    return {"event": event, "topic": topic, "who": who}


@on_fake_clock
async def test_own_messages_and_publications_keep_their_order(engine: str) -> None:
    sockets = Sockets(engine)
    call, peer = await sockets.open("room")
    _, other = await sockets.open("room")
    await peer.send(wire.text("x") * 3)  # while these wait, what the application sends is gathered
    await call.receive()
    for number in range(3):
        await call.send({"type": "websocket.send", "text": f"own {number}"})
        await call.send(publish("room", f"published {number}"))
    await settle()
    assert texts(peer) == [f"{what} {number}" for number in range(3) for what in ("own", "published")]
    assert texts(other) == [f"published {number}" for number in range(3)]


@on_fake_clock
async def test_many_publications_in_one_turn_do_not_pile_up(engine: str) -> None:
    sockets = Sockets(engine)
    _, peer = await sockets.open("room")
    for number in range(MOST_FRAMES + 10):
        sockets.hub.publish("room", f"{number}")
    assert len(texts(peer)) == MOST_FRAMES  # written already
    for _ in range(3):
        sockets.hub.publish("room", "x" * 30_000)
    assert len(wire.read_frames(peer.take())) == 10 + 3
    sockets.hub.publish("room", "y" * 100_000)
    [frame] = wire.read_frames(peer.take())
    assert frame.payload == b"y" * 100_000


@on_fake_clock
@pytest.mark.slow
async def test_many_subscribers_are_written_to_in_slices(engine: str) -> None:
    sockets = Sockets(engine)
    peers = [(await sockets.open("room"))[1] for _ in range(SLICE + 5)]
    sockets.hub.publish("room", "1")
    await asyncio.sleep(0)
    assert [bool(peer.transport.writes[1:]) for peer in peers] == [True] * SLICE + [False] * 5
    sockets.hub.publish("room", "2")
    await settle()
    assert [texts(peer) for peer in peers] == [["1", "2"]] * len(peers)
    assert [len(peer.transport.writes) for peer in peers] == [3] * SLICE + [2] * 5


@on_fake_clock
async def test_a_publisher_gives_others_their_turn(engine: str) -> None:
    sockets = Sockets(engine)
    call, peer = await sockets.open("room")
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    for _ in range(PUBLICATIONS_A_TURN - 1):
        await call.send(publish("room", "x"))
    assert turns == []
    await call.send(publish("room", "x"))
    assert turns == [1]
    assert len(texts(peer)) == PUBLICATIONS_A_TURN


# --------------------------------------------------------------------------------------------------------- compression


def inflated(frames: list[wire.Frame], takeover: bool) -> list[bytes]:
    stream = zlib.decompressobj(-15)
    found = []
    for frame in frames:
        if not takeover:
            stream = zlib.decompressobj(-15)
        found.append(stream.decompress(frame.payload + b"\x00\x00\xff\xff") if frame.rsv1 else frame.payload)
    return found


@on_fake_clock
async def test_plain_and_deflated_peers_get_frames_of_their_own(engine: str) -> None:
    sockets = Sockets(engine)
    _, plain = await sockets.open("room")
    _, one = await sockets.open("room", fields=(DEFLATE,))
    _, two = await sockets.open("room", fields=(DEFLATE,))
    _, small = await sockets.open("room", fields=(DEFLATE + b"; server_max_window_bits=9",))
    messages = ["short", "long " * 100, "longer " * 100]
    before = sockets.server.state.deflaters.counts.plain_out
    for message in messages:
        sockets.hub.publish("room", message)
    await settle()
    assert texts(plain) == messages
    for peer in (one, two, small):
        frames = wire.read_frames(peer.take())
        assert [frame.rsv1 for frame in frames] == [False, True, True]
        assert inflated(frames, False) == [message.encode() for message in messages]
    # Each message went through a compressor once for the two that are alike, and once for the third.
    assert sockets.server.state.deflaters.counts.plain_out - before == 2 * (500 + 700)


@on_fake_clock
async def test_a_compressor_with_context_is_its_connection_s_own(engine: str) -> None:
    sockets = Sockets(engine, ws_deflate_context_takeover=True)
    call, one = await sockets.open("room", fields=(DEFLATE,))
    _, two = await sockets.open("room", fields=(DEFLATE + b"; server_no_context_takeover",))
    long = random.Random(1).randbytes(300).hex()
    messages = [f"{number} {long}" for number in range(4)]
    await call.send({"type": "websocket.send", "text": messages[0]})
    for message in messages[1:3]:
        await call.send(publish("room", message))
    await call.send({"type": "websocket.send", "text": messages[3]})
    await settle()
    frames = wire.read_frames(one.take())
    assert inflated(frames, True) == [message.encode() for message in messages]
    assert len(frames[1].payload) < len(frames[0].payload) / 2
    assert inflated(wire.read_frames(two.take()), False) == [message.encode() for message in messages[1:3]]


# -------------------------------------------------------------------------------------------------- beginnings and ends


@on_fake_clock
async def test_subscribing_is_for_after_the_accept(engine: str) -> None:
    sockets = Sockets(engine)
    peer = await connect(sockets.server)
    [call] = sockets.app.calls
    for event in (subscribe("room"), unsubscribe("room"), publish("room", "x")):
        with pytest.raises(ApplicationError, match="before the WebSocket is accepted"):
            await call.send(event)
    await call.send(ACCEPT)
    await call.send(subscribe("room"))
    peer.take()
    sockets.hub.publish("room", "x")
    await settle()
    assert texts(peer) == ["x"]


@on_fake_clock
async def test_a_close_comes_behind_what_was_published_before_it(engine: str) -> None:
    sockets = Sockets(engine)
    call, peer = await sockets.open("room")
    await call.send(publish("room", "before"))
    await call.send({"type": "websocket.close", "code": 4000})
    sockets.hub.publish("room", "after")
    await settle()
    assert wire.read_frames(peer.take()) == [*wire.messages("before"), wire.closing(4000)]
    assert topics_now(sockets) == (0, 0)
    with pytest.raises(ApplicationError, match="cannot be sent"):
        await call.send(subscribe("room"))


@on_fake_clock
async def test_subscriptions_end_with_the_connection(engine: str) -> None:
    sockets = Sockets(engine)
    call, closing = await sockets.open("room", "a", "b")
    _, lost = await sockets.open("room", "c")
    _, staying = await sockets.open("room")
    sockets.hub.publish("room", "1")
    await closing.send(wire.close(1000))
    lost.transport.reset()
    assert (await call.receive())["type"] == "websocket.disconnect"
    await settle()
    assert topics_now(sockets) == (1, 1)
    sockets.hub.publish("room", "2")
    await settle()
    assert texts(staying) == ["1", "2"]
    with pytest.raises(ClientDisconnected):
        await call.send(subscribe("room"))


@on_fake_clock
async def test_what_a_lost_peer_has_sent_is_still_published(engine: str) -> None:
    sockets = Sockets(engine)
    call, peer = await sockets.open("room")
    _, other = await sockets.open("room")
    await peer.send(wire.text("bye"))
    peer.transport.reset()
    assert (await call.receive())["text"] == "bye"
    await call.send(publish("room", "bye"))
    await settle()
    assert texts(other) == ["bye"]


@on_fake_clock
async def test_a_session_that_ends_while_a_publication_is_on_its_way(engine: str) -> None:
    sockets = Sockets(engine)
    opened = [await sockets.open("room") for _ in range(6)]
    sockets.hub.publish("room", "x")
    opened[1][1].transport.reset()
    await opened[2][0].send({"type": "websocket.close"})
    await opened[3][0].send(unsubscribe("room"))
    opened[4][1].transport.abort()
    await settle()
    assert [texts(opened[number][1]) for number in (0, 3, 5)] == [["x"]] * 3
    assert opened[1][1].take() == b""
    assert wire.read_frames(opened[2][1].take()) == [*wire.messages("x"), wire.closing(1000)]


@on_fake_clock
async def test_an_error_at_one_subscriber_is_no_other_s(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    sockets = Sockets(engine, ws_deflate_context_takeover=True)
    peers = [(await sockets.open("room", fields=(DEFLATE,)))[1] for _ in range(3)]
    deflater = peers[1].connection.handler.engine.deflater

    def fail(level: int, window_bits: int, mem_level: int) -> Any:
        raise MemoryError("no more")

    deflater.backend = dataclasses.replace(deflater.backend, make=fail)
    sockets.hub.publish("room", "x" * 500)
    await settle()
    for peer in (peers[0], peers[2]):
        assert inflated(wire.read_frames(peer.take()), True) == [b"x" * 500]
    assert wire.read_frames(peers[1].take()) == [wire.closing(1011, "Internal Error")]
    assert sockets.hub.subscribers("room") == 2
    assert "A publication cannot be sent" in caplog.text


@on_fake_clock
async def test_a_connection_that_cannot_be_written_to_is_no_other_s(engine: str) -> None:
    sockets = Sockets(engine)
    peers = [(await sockets.open("room"))[1] for _ in range(3)]
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["exception"]))

    def fail(data: bytes) -> None:
        raise ValueError("no")

    peers[1].transport.write = fail  # type: ignore[method-assign]
    for text in ("1", "2"):
        sockets.hub.publish("room", text)
        await settle()
    assert [texts(peers[0]), texts(peers[2])] == [["1", "2"]] * 2
    assert [str(error) for error in complaints] == ["no"]
    assert sockets.hub.subscribers("room") == 2


# --------------------------------------------------------------------------------------------------------------- events


@pytest.mark.parametrize(
    ("event", "wrong"),
    [
        ({"type": "websocket.subscribe"}, "'topic' of 'websocket.subscribe': a topic must be str, not NoneType"),
        (subscribe(""), "a topic must have 1 to 255 characters, not 0"),
        (subscribe("x" * 256), "a topic must have 1 to 255 characters, not 256"),
        (subscribe("\ud800"), "without lone surrogates"),
        ({**subscribe("x"), "topic": b"x"}, "a topic must be str, not bytes"),
        (subscribe("x", announce=7), "'announce' of 'websocket.subscribe': a name must be str, not int"),
        (subscribe("x", announce=""), "a name must have 1 to 255 characters, not 0"),
        (subscribe("x" * 250, announce="me"), "a topic must have 1 to 255 characters, not 259"),
        (subscribe("x", slow="fast"), "must be one of drop-newest, drop-oldest, latest, close, not 'fast'"),
        (subscribe("x", slow=1), "must be one of"),
        (subscribe("x", limit=-1), "'limit' of 'websocket.subscribe' must be a number of bytes, not -1"),
        (subscribe("x", limit="1"), "must be a number of bytes"),
        ({"type": "websocket.unsubscribe", "topic": 1}, "a topic must be str, not int"),
        ({"type": "websocket.publish", "topic": "x"}, "has neither 'text' nor 'bytes'"),
        (publish("x", "y", bytes=b"z"), "has both 'text' and 'bytes'"),
        ({"type": "websocket.publish", "topic": "x", "text": b"y"}, "'text' of 'websocket.publish' must be str"),
        ({"type": "websocket.publish", "topic": "x", "bytes": "y"}, "'bytes' of 'websocket.publish' must be bytes"),
        (publish("", "y"), "a topic must have 1 to 255 characters"),
        (publish("x", "y", key=1), "'key' of 'websocket.publish': a key must be str"),
        (publish("x", "y", exclude_self=1), "'exclude_self' of 'websocket.publish' must be bool, not int"),
    ],
)
@on_fake_clock
async def test_malformed_events_say_what_is_wrong(event: dict[str, Any], wrong: str) -> None:
    sockets = Sockets("auto")
    call, peer = await sockets.open("x")
    with pytest.raises(ApplicationError) as error:
        await call.send(event)
    assert wrong in str(error.value)
    await settle()
    assert peer.take() == b""
    await call.send(publish("x", "works"))
    await settle()
    assert texts(peer) == ["works"]


@on_fake_clock
async def test_text_that_is_no_unicode_reaches_nobody() -> None:
    sockets = Sockets("auto")
    call, peer = await sockets.open("room")
    with pytest.raises(UnicodeEncodeError):
        await call.send(publish("room", "\ud800"))
    with pytest.raises(UnicodeEncodeError):
        topics.publish_nowait("room", "\ud800")
    await settle()
    assert peer.take() == b""


@on_fake_clock
async def test_topics_of_a_connection_are_bounded() -> None:
    sockets = Sockets("auto", topics_per_connection=2)
    call, _ = await sockets.open("a", "b")
    with pytest.raises(ApplicationError, match="2 subscriptions, as many as --topics-per-connection allows"):
        await call.send(subscribe("c"))
    await call.send(subscribe("b", slow="latest"))
    await call.send(unsubscribe("a"))
    await call.send(subscribe("c"))
    assert sorted(sockets.hub.topics()) == ["b", "c"]


# ----------------------------------------------------------------------------------- from code that is no connection


@on_fake_clock
async def test_publish_from_tasks_and_threads() -> None:
    sockets = Sockets("auto")
    await sockets.hub.start()
    try:
        _, peer = await sockets.open("room")
        await topics.publish("room", "task")
        topics.publish_nowait("room", b"bytes")
        await asyncio.create_task(topics.publish("room", "another", key="k"))
        assert await topics.subscribers("room") == 1
        await settle()
        assert [frame.payload for frame in wire.read_frames(peer.take())] == [b"task", b"bytes", b"another"]

        def run() -> None:
            for number in range(10):
                topics.publish_nowait("room", str(number))
            asyncio.run(topics.publish("room", "loop"))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        await settle()
        assert texts(peer) == [*map(str, range(10)), "loop"]
        for wrong in (1, None, ["x"]):
            with pytest.raises(TypeError):
                await topics.publish("room", wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="1 to 255"):
            await topics.subscribers("")
    finally:
        await sockets.hub.stop()
    await topics.publish("room", "nobody is there")
    await settle()
    assert peer.take() == b""


def test_publish_without_a_server_says_so() -> None:
    with pytest.raises(RuntimeError, match="no server runs in this process"):
        topics.publish_nowait("room", "x")


def test_a_loop_that_is_closed_has_no_hub_any_more() -> None:
    async def subscribe_elsewhere() -> None:
        Rooms.of_running_loop()

    asyncio.run(subscribe_elsewhere())  # as on another server, which never says that it stops
    with pytest.raises(RuntimeError, match="no server runs in this process"):
        topics.publish_nowait("room", "x")
