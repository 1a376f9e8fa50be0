"""Subscribers that do not keep up: what waits for them, what is dropped, and that nobody else notices."""

from __future__ import annotations

import pytest
import wire
from fake_loop import on_fake_clock, settle
from topics_sockets import Sockets, publish, subscribe, texts, unsubscribe

from fastws.observe.metrics import Metrics
from fastws.topics.backlog import CLOSE, DROP_NEWEST, DROP_OLDEST, LATEST, MESSAGE_BYTES, Backlog, Policy
from fastws.topics.outgoing import Outgoing

NAMES = {f"fastws_topics{name}" for name in ("", "_subscriptions", "_published_total", "_deliveries_total")}
NAMES |= {f"fastws_topics_{name}" for name in ("dropped_total", "slow_closes_total", "backlog_bytes")}

ROOM_OF_3 = 3 * (100 + MESSAGE_BYTES)


def message(text: str, size: int = 100, key: str | None = None) -> Outgoing:
    return Outgoing(text.ljust(size, "."), key)


def drained(backlog: Backlog) -> list[str]:
    found = []
    while (taken := backlog.take()) is not None:
        assert isinstance(taken.message, str)
        found.append(taken.message.rstrip("."))
    assert backlog.size == len(backlog) == 0
    return found


# ------------------------------------------------------------------------------------------------------------ a backlog


@pytest.mark.parametrize(
    ("slow", "dropped", "left"),
    [(DROP_NEWEST, [0, 0, 0, 1, 1], "abc"), (DROP_OLDEST, [0, 0, 0, 1, 1], "cde"), (LATEST, [0, 1, 1, 1, 1], "e")],
)
def test_what_is_dropped(slow: str, dropped: list[int], left: str) -> None:
    backlog = Backlog(ROOM_OF_3)
    policy = Policy(slow, ROOM_OF_3)
    assert [backlog.add("t", message(text), policy) for text in "abcde"] == dropped
    assert "".join(drained(backlog)) == left


def test_close_is_for_who_asked() -> None:
    backlog = Backlog(ROOM_OF_3)
    policy = Policy(CLOSE, ROOM_OF_3)
    for text in "abc":
        backlog.add("t", message(text), policy)
    with pytest.raises(OverflowError):
        backlog.add("t", message("d"), policy)


def test_the_latest_of_each_key_keeps_its_place() -> None:
    backlog = Backlog(10_000)
    policy = Policy(LATEST, 10_000)
    dropped = 0
    for text, key in [("a1", "a"), ("b1", "b"), ("n1", None), ("a2", "a"), ("c1", "c"), ("n2", None), ("a3", "a")]:
        dropped += backlog.add("t", message(text, key=key), policy)
    assert dropped == 3
    assert drained(backlog) == ["a3", "b1", "n2", "c1"]


def test_the_latest_is_kept_where_older_keys_must_go() -> None:
    backlog = Backlog(ROOM_OF_3)
    policy = Policy(LATEST, ROOM_OF_3)
    for text in "abc":
        backlog.add("t", message(text, key=text), policy)
    assert backlog.add("t", message("d", key="d"), policy) == 1
    assert backlog.add("t", message("c2", 250, key="c"), policy) == 2  # c, and b for its room
    assert drained(backlog) == ["c2", "d"]
    assert backlog.add("t", message("x", 1000, key="x"), policy) == 1
    assert drained(backlog) == []


def test_one_topic_drops_nothing_of_another_s() -> None:
    backlog = Backlog(2 * ROOM_OF_3)
    for text in "abc":
        backlog.add("kept", message(text), Policy(CLOSE, 2 * ROOM_OF_3))
    for number in range(20):
        backlog.add("flood", message(str(number)), Policy(DROP_OLDEST, 2 * ROOM_OF_3))
    assert drained(backlog) == ["a", "b", "c", "17", "18", "19"]


def test_messages_leave_in_the_order_in_which_they_came() -> None:
    backlog = Backlog(100_000)
    policy = Policy(DROP_OLDEST, 5 * (100 + MESSAGE_BYTES))
    for number in range(12):
        backlog.add(f"t{number % 3}", message(str(number)), policy)
    assert drained(backlog) == [str(number) for number in range(12)]
    for number in range(30):
        backlog.add(f"t{number % 3}", message(str(number)), policy)
    backlog.drop("t1")
    assert drained(backlog) == [str(number) for number in range(15, 30) if number % 3 != 1]


def test_a_message_that_has_no_room_at_all() -> None:
    for slow in (DROP_NEWEST, DROP_OLDEST, LATEST):
        backlog = Backlog(500)
        backlog.add("t", message("a", key="a"), Policy(slow, 500))
        assert backlog.add("t", message("b", 600, key="b"), Policy(slow, 500)) >= 1
        assert "b" not in drained(backlog)


def test_empty_messages_are_bounded_too() -> None:
    backlog = Backlog(1000)
    for _ in range(10_000):
        backlog.add("t", message("", 0), Policy(DROP_OLDEST, 1000))
    assert len(backlog) == 1000 // MESSAGE_BYTES


# ---------------------------------------------------------------------------------------------------------- connections


@on_fake_clock
async def test_a_stalled_reader_delays_nobody_and_gets_all_of_it_later(engine: str) -> None:
    sockets = Sockets(engine)
    _, slow = await sockets.open_stalled("room")
    _, quick = await sockets.open("room")
    for number in range(100):
        sockets.hub.publish("room", f"{number} {'x' * 2000}")
    await settle()
    assert len(texts(quick)) == 100
    assert slow.take() == b""
    session = slow.connection.handler
    assert session.subscriber.waiting() > 200_000
    slow.transport.stalled = False
    slow.transport.drain()
    assert [text.split()[0] for text in texts(slow)] == [str(number) for number in range(100)]
    assert session.subscriber.waiting() == 0
    sockets.hub.publish("room", "next")
    await settle()
    assert texts(slow) == ["next"]
    assert (sockets.counts.topics_delivered, sockets.counts.dropped) == (202, {})


@on_fake_clock
async def test_a_backlog_empties_as_fast_as_the_peer_reads(engine: str) -> None:
    sockets = Sockets(engine)
    _, peer = await sockets.open_stalled("room")
    sent = [f"{number} {'x' * 20_000}" for number in range(30)]
    for text in sent:
        sockets.hub.publish("room", text)
    got: list[str] = []
    while len(got) < len(sent):
        peer.transport.drain()
        part = texts(peer)
        assert 0 < sum(map(len, part)) <= 2 * 65536 + 20_000
        got += part
        sockets.hub.publish("other", "x")
    assert got == sent


@pytest.mark.parametrize(("slow", "left"), [("drop-newest", "0 1 2"), ("drop-oldest", "7 8 9"), ("latest", "8 9")])
@on_fake_clock
async def test_policies_of_subscriptions(engine: str, slow: str, left: str) -> None:
    sockets = Sockets(engine)
    _, peer = await sockets.open_stalled("room", slow=slow, limit=3 * (1 + MESSAGE_BYTES))
    call, other = await sockets.open("room")
    for number in range(10):
        await call.send(publish("room", str(number), key=str(number % 2)))
    await settle()
    peer.transport.drain()
    assert texts(peer) == left.split()
    assert len(texts(other)) == 10
    assert sockets.counts.dropped == {slow: 10 - len(left.split())}


@on_fake_clock
async def test_who_is_too_slow_is_closed_by_default(engine: str) -> None:
    sockets = Sockets(engine, topics_backlog=1000, ws_close_timeout=5)
    call, peer = await sockets.open_stalled("room")
    _, other = await sockets.open("room")
    for number in range(5):
        sockets.hub.publish("room", f"{number}" * 300)
    await settle()
    assert len(texts(other)) == 5
    assert sockets.counts.closed_slow == 1
    assert sockets.hub.subscribers("room") == 1
    assert wire.read_frames(peer.take()) == [wire.closing(1013, "too slow")]
    assert (await call.receive())["code"] in (1013, 1006)


@on_fake_clock
async def test_options_are_the_default_of_subscriptions(engine: str) -> None:
    sockets = Sockets(engine, topics_slow="drop-oldest", topics_backlog=2 * (1 + MESSAGE_BYTES))
    _, peer = await sockets.open_stalled("room")
    _, more = await sockets.open_stalled("room", limit=10**9)
    for number in range(5):
        sockets.hub.publish("room", str(number))
    for each in (peer, more):
        each.transport.drain()
        assert texts(each) == ["3", "4"]


@on_fake_clock
async def test_what_is_sent_to_a_slow_peer_and_its_close_go_before_the_backlog(engine: str) -> None:
    sockets = Sockets(engine)
    call, peer = await sockets.open_stalled("room")
    sockets.hub.publish("room", "published")
    peer.connection.handler.engine.send_ping(b"p")
    await call.send({"type": "websocket.close", "code": 4000})
    await settle()
    frames = wire.read_frames(peer.take())
    assert frames == [wire.Frame(wire.PING, b"p"), wire.closing(4000)]
    peer.transport.drain()
    await settle()
    assert peer.take() == b""


@on_fake_clock
async def test_unsubscribing_forgets_what_waits(engine: str) -> None:
    sockets = Sockets(engine)
    call, peer = await sockets.open_stalled("a", "b")
    sockets.hub.publish("a", "of a")
    sockets.hub.publish("b", "of b")
    await call.send(unsubscribe("a"))
    await call.send(subscribe("a"))
    sockets.hub.publish("a", "again")
    peer.transport.drain()
    assert texts(peer) == ["of b", "again"]


@on_fake_clock
async def test_metrics() -> None:
    sockets = Sockets("auto", topics_backlog=3 * (100 + MESSAGE_BYTES))
    await sockets.open("a", "b")
    await sockets.open_stalled("a", slow="drop-oldest")
    await sockets.open_stalled("a", slow="drop-newest")
    await sockets.open_stalled("a")
    for _ in range(5):
        sockets.hub.publish("a", "x" * 100)
    sockets.hub.publish("b", "x")
    await settle()
    found = Metrics("1", "engine", "loop", 0.0).snapshot(sockets.server.state)
    assert {name: samples for name, samples in found.items() if name in NAMES} == {
        "fastws_topics": {"": 2},
        "fastws_topics_subscriptions": {"": 4},
        "fastws_topics_published_total": {"": 6},
        "fastws_topics_deliveries_total": {"": 6},
        "fastws_topics_dropped_total": {"drop-oldest": 2, "drop-newest": 2},
        "fastws_topics_slow_closes_total": {"": 1},
        "fastws_topics_backlog_bytes": {"": 2 * 3 * (100 + MESSAGE_BYTES)},
    }
