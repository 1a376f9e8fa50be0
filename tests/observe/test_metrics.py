"""The metrics: exact numbers after known traffic, as Prometheus' parser reads them, of one process and of several."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wire
from driving import ACCEPT
from driving import connect as connect_peer
from fake_loop import DrivenApp, FakeServer, on_fake_clock, settle
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from serving import PATIENCE, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fastws.asgi.observer import APPLICATION, CLIENT, WebSocketEnd
from fastws.errors import ConfigError, StartupError
from fastws.net.loop_counts import SIZE_BOUNDS, TIME_BOUNDS, LoopCounts, time_bucket
from fastws.observe.control import Control
from fastws.observe.metrics import MAX_CLOSE_CODES, METRICS, Metrics, Snapshot, add, of_ended
from fastws.observe.metrics_exchange import MetricsExchange
from fastws.observe.metrics_page import metrics_page


def scrape(url: str) -> dict[str, float]:
    """The samples of a page by name and labels, such as ``a_total{direction="sent"}``."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        assert response.headers["content-type"].startswith("text/plain; version=")
        return samples(response.read().decode())


def samples(text: str) -> dict[str, float]:
    found = {}
    for family in parse_text(text):
        for each in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(each.labels.items()))
            found[f"{each.name}{{{labels}}}" if labels else each.name] = each.value
    return found


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Echoes, denies /no with 403, and closes with 4001 what says so."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404 if scope["path"] == "/none" else 200, "headers": []})
        await send({"type": "http.response.body", "body": b"12345"})
        return
    await receive()
    if scope["path"] == "/no":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001})
            continue
        await send({**event, "type": "websocket.send"})


def talk(url: str) -> None:
    """Known traffic: see what `check` expects."""
    with connect(url + "/a", compression=None) as socket:
        for message in ("x" * 64, "é" * 33, b"y" * 100_000):
            socket.send(message)
            assert socket.recv() == message
        socket.close(4321)
    with connect(url + "/b", compression=None) as socket:
        socket.send("close")
        with pytest.raises(ConnectionClosed, match="4001"):
            socket.recv()
    with pytest.raises(InvalidStatus):
        connect(url + "/no")
    with pytest.raises(InvalidStatus):
        connect(url + "/", origin="https://elsewhere")  # type: ignore[arg-type]  # a str is one
    for path in ("/", "/none"):
        request = urllib.request.Request(
            url.replace("ws", "http", 1) + path, method="PROPFIND" if path == "/" else "GET"
        )
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        except urllib.error.HTTPError as error:
            error.close()


def check(found: dict[str, float], times: int = 1) -> None:
    expected = {
        'fastws_websocket_handshakes_total{status="101"}': 2,
        'fastws_websocket_handshakes_total{status="403"}': 2,
        'fastws_websocket_closes_total{by="client",code="4xxx"}': 1,
        'fastws_websocket_closes_total{by="application",code="4001"}': 1,
        'fastws_websocket_messages_total{direction="received"}': 4,
        'fastws_websocket_messages_total{direction="sent"}': 3,
        'fastws_websocket_message_bytes_total{direction="received"}': 64 + 66 + 100_000 + 5,
        'fastws_websocket_message_bytes_total{direction="sent"}': 64 + 66 + 100_000,
        'fastws_websocket_message_size_bytes_bucket{direction="sent",le="64"}': 1,
        'fastws_websocket_message_size_bytes_bucket{direction="sent",le="256"}': 2,
        'fastws_websocket_message_size_bytes_bucket{direction="sent",le="65536"}': 2,
        'fastws_websocket_message_size_bytes_bucket{direction="sent",le="262144"}': 3,
        'fastws_websocket_message_size_bytes_bucket{direction="received",le="+Inf"}': 4,
        'fastws_http_requests_total{method="other",status="2xx"}': 1,
        'fastws_http_requests_total{method="GET",status="4xx"}': 1,
        'fastws_http_request_duration_seconds_count{method="GET"}': 1,
        "fastws_http_response_body_bytes_total": 10,
        "fastws_websocket_duration_seconds_count": 2,
    }
    got = {name: found.get(name) for name in expected}
    assert got == {name: value * times for name, value in expected.items()}
    assert found["fastws_websockets"] == 0
    assert found["fastws_http_requests_in_progress"] == 0


def when(url: str, ready: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """The first scrape that is `ready`: the server may see the end of a connection later than its client."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = scrape(url)
        if ready(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def all_ended(times: int = 1) -> Callable[[dict[str, float]], bool]:
    def ready(found: dict[str, float]) -> bool:
        requests = sum(value for name, value in found.items() if name.startswith("fastws_http_requests_total"))
        ended = found.get("fastws_websocket_duration_seconds_count")
        return ended == requests == 2 * times and found["fastws_websockets"] == 0

    return ready


def test_exact_numbers_after_known_traffic() -> None:
    with serve(echo, metrics_path="/metrics", ws_allowed_origins="https://here") as serving:
        talk(serving.ws_url)
        found = when(serving.http_url + "/metrics", all_ended())
        check(found)
        assert found["fastws_connections_accepted_total"] >= 7
        assert found["fastws_workers"] == found["fastws_workers_started_total"] == 1
        [info] = [name for name in found if name.startswith("fastws_build_info")]
        assert re.search(r'engine="\w+",loop="uvloop",python="3\.\d+\.\d+\S*",version="', info)
        assert found["fastws_loop_lag_seconds_count"] >= 1
        assert found["fastws_resident_memory_bytes"] > 1e6
        assert found['fastws_http_request_duration_seconds_sum{method="GET"}'] > 0
        check(scrape(serving.http_url + "/metrics"))  # asking changes nothing


def test_on_a_port_of_their_own() -> None:
    with serve(echo, metrics_port=0, metrics_path="/numbers") as serving:
        [(host, port)] = serving.call(lambda: serving.server.operations.metrics_addresses())
        url = f"http://{host}:{port}"
        assert scrape(url + "/numbers")["fastws_connections"] == 0
        for wrong in (url + "/", url + "/metrics"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(wrong, timeout=PATIENCE)
        with urllib.request.urlopen(serving.http_url + "/numbers", timeout=PATIENCE) as response:
            assert response.read() == b"12345"  # the application's
        with (
            pytest.raises(StartupError, match=f"--metrics-port: cannot listen on 127.0.0.1:{port}: "),
            serve(echo, metrics_port=port),
        ):
            pass


@on_fake_clock
async def test_what_waits_and_what_was_paused() -> None:
    metrics = Metrics("v", "e", "l", 0.0)
    app = DrivenApp()
    server = FakeServer(app, observer=metrics, ws_max_queue=4, ws_max_queue_bytes=20_000)
    peer = await connect_peer(server)
    [call] = app.calls
    await call.receive()
    await call.send(ACCEPT)
    await peer.send(wire.text("abc") * 5 + wire.frame(wire.BINARY, b"x" * 20_000))
    peer.transport.stalled = True
    sending = asyncio.ensure_future(call.send({"type": "websocket.send", "bytes": b"y" * 100_000}))
    await settle()
    found = metrics.snapshot(server.state)
    assert not sending.done()
    assert found["fastws_websockets"] == {"": 1}
    assert found["fastws_websocket_queue_messages"] == {"": 6}
    assert found["fastws_websocket_queue_bytes"] == {"": 20_015}
    assert found["fastws_reading_paused"] == found["fastws_reading_pauses_total"] == {"": 1}
    assert found["fastws_writing_paused"] == found["fastws_writing_pauses_total"] == {"": 1}
    assert found["fastws_write_buffer_bytes"] == found["fastws_write_buffer_largest_bytes"]
    assert 100_000 <= found["fastws_write_buffer_bytes"][""] <= 100_010
    peer.transport.reset()
    with pytest.raises(OSError, match="gone"):
        await sending
    found = metrics.snapshot(server.state)
    assert found["fastws_websocket_closes_total"] == {"1006|nobody": 1}
    assert found["fastws_websockets"] == found["fastws_connections"] == {"": 0}


@on_fake_clock
async def test_ping_round_trips_and_pings_without_answer() -> None:
    metrics = Metrics("v", "e", "l", 0.0)
    app = DrivenApp()
    server = FakeServer(app, observer=metrics, ws_ping_interval=20.0, ws_ping_timeout=20.0)
    peer = await connect_peer(server)
    await app.calls[0].receive()
    await app.calls[0].send(ACCEPT)
    peer.take()
    while not (sent := peer.take()):
        await asyncio.sleep(0.5)
    assert wire.read_frames(sent) == [wire.Frame(wire.PING, b"")]
    await asyncio.sleep(0.75)
    await peer.send(wire.frame(wire.PONG))
    await peer.send(wire.frame(wire.PONG))  # of its own accord: no answer to anything
    found = metrics.snapshot(server.state)
    assert found["fastws_websocket_pings_total"] == {"": 1}
    [times] = found["fastws_websocket_ping_round_trip_seconds"].values()
    assert sum(times[1:]) == 1
    assert 0.75 <= times[0] <= 1.3
    await asyncio.sleep(60)
    found = metrics.snapshot(server.state)
    assert found["fastws_websocket_ping_timeouts_total"] == {"": 1}
    assert found["fastws_websocket_closes_total"] == {"1006|server": 1}


@on_fake_clock
async def test_who_closed(engine: str) -> None:
    metrics = Metrics("v", "e", "l", 0.0)
    app = DrivenApp()
    server = FakeServer(app, engine=engine, observer=metrics)

    async def opened() -> tuple[Any, Any]:
        peer = await connect_peer(server)
        await app.calls[-1].receive()
        await app.calls[-1].send(ACCEPT)
        return app.calls[-1], peer

    call, peer = await opened()
    await peer.send(wire.close(1001))
    call, peer = await opened()
    await peer.send(b"\xff\xff\xff")
    call, peer = await opened()
    await call.send({"type": "websocket.close", "code": 3999})
    await peer.send(wire.close(3999))
    call, peer = await opened()
    call.end.set_result(None)
    await settle()
    await peer.send(wire.close(1000))
    call, peer = await opened()
    call.end.set_exception(ZeroDivisionError())
    await settle()
    await peer.send(wire.close(1011))
    call, peer = await opened()
    peer.connection.handler.close(4000, "by hand")
    await peer.send(wire.close(4000))
    assert metrics.snapshot(server.state)["fastws_websocket_closes_total"] == {
        "1001|client": 1,
        "1002|server": 1,
        "3999|application": 1,
        "1000|application": 1,
        "1011|application": 1,
        "4000|server": 1,
    }


@on_fake_clock
async def test_what_limits_keep_out_and_what_the_server_answers_itself() -> None:
    metrics = Metrics("v", "e", "l", 0.0)
    server = FakeServer(DrivenApp(), observer=metrics, limit_websockets=1, limit_concurrency=1)
    await connect_peer(server)
    await connect_peer(server)
    for _ in range(2):
        await server.connect().send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    await server.connect().send(b"GET / HTTP/1.1\r\n\r\n")
    for wrong in (b"Sec-WebSocket-Key: short", b"Sec-WebSocket-Version: 12", b"Content-Length: 1"):
        head = b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n%b\r\n\r\n"
        await server.connect().send(head % wrong)
    found = metrics.snapshot(server.state)
    assert found["fastws_refused_total"] == {
        "connections_per_client": 0,
        "descriptors": 0,
        "requests": 1,
        "websockets": 1,
    }
    assert found["fastws_http_errors_total"] == {"503": 1, "400": 1}
    assert found["fastws_websocket_handshakes_total"] == {"503": 1, "400": 1, "426": 2}
    assert found["fastws_http_requests_in_progress"] == {"": 1}


@on_fake_clock
async def test_requests_by_method_and_status_and_how_long_they_took() -> None:
    metrics = Metrics("v", "e", "l", 0.0)
    app = DrivenApp()
    server = FakeServer(app, observer=metrics)
    server.state.counts.timed = True
    for method, status in (("GET", 200), ("GET", 299), ("GET", 500), ("COPY", 204), ("LOCK", 204)):
        await server.connect().send(f"{method} / HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        await asyncio.sleep(0.75)
        await app.calls[-1].send({"type": "http.response.start", "status": status})
        await app.calls[-1].send({"type": "http.response.body"})
    found = metrics.snapshot(server.state)
    assert found["fastws_http_requests_total"] == {"GET|2xx": 2, "GET|5xx": 1, "other|2xx": 2}
    [times, others] = found["fastws_http_request_duration_seconds"].values()
    assert times[0] == pytest.approx(3 * 0.75)
    assert times[1:] == [0] * 11 + [3] + [0] * 4
    assert others[12] == 2


@on_fake_clock
async def test_connections_over_the_limit_of_a_client_are_counted() -> None:
    metrics = Metrics("v", "e", "l", 0.0)
    server = FakeServer(DrivenApp(), observer=metrics, limit_connections_per_client=1)
    for _ in range(3):
        server.connect()
    found = metrics.snapshot(server.state)
    assert found["fastws_refused_total"]["connections_per_client"] == 2
    assert found["fastws_connections_accepted_total"] == {"": 3}


@on_fake_clock
async def test_compression(engine: str) -> None:
    metrics = Metrics("v", "e", "l", 0.0)
    app = DrivenApp()
    server = FakeServer(app, engine=engine, observer=metrics)
    await connect_peer(server, b"Sec-WebSocket-Extensions: permessage-deflate")
    await app.calls[0].receive()
    await app.calls[0].send(ACCEPT)
    for _ in range(2):  # the second time from the compressor's memory
        await app.calls[0].send({"type": "websocket.send", "text": "z" * 1000})
    await app.calls[0].send({"type": "websocket.send", "text": "short"})
    found = metrics.snapshot(server.state)["fastws_websocket_compression_bytes_total"]
    assert found["sent|plain"] == 2000
    assert 0 < found["sent|compressed"] < 100
    assert found["received|plain"] == 0


@on_fake_clock
async def test_the_lag_of_the_loop() -> None:
    metrics = Metrics("v", "e", "l", 0.0)
    server = FakeServer(DrivenApp(), observer=metrics)
    await asyncio.sleep(1.5)
    server.loop.stall(3.0)  # type: ignore[attr-defined]  # the fake clock's
    await asyncio.sleep(0.01)
    found = metrics.snapshot(server.state)
    assert 2.0 < found["fastws_loop_lag_last_seconds"][""] <= 3.0
    assert found["fastws_loop_lag_seconds"][""][0] == pytest.approx(found["fastws_loop_lag_last_seconds"][""])


@pytest.mark.parametrize(
    ("size", "bucket"), [(0, 0), (64, 0), (65, 1), (256, 1), (257, 2), (16 << 20, 9), (1 << 40, 10)]
)
def test_buckets_of_sizes(size: int, bucket: int) -> None:
    assert len(SIZE_BOUNDS) == 10
    assert all(size > bound for bound in SIZE_BOUNDS[:bucket])
    assert all(size <= bound for bound in SIZE_BOUNDS[bucket:])
    counts = LoopCounts()
    if not hasattr(counts, "received"):
        pytest.skip("compiled: only compiled code can call it, and the tests above do")
    counts.received(size)
    counts.sent(size)
    assert counts.sizes_in()[bucket] == counts.sizes_out()[bucket] == 1


@pytest.mark.parametrize("seconds", [0.0, 0.0005, 0.00051, 0.001, 1.0, 8.192, 8.2, 1e9])
def test_buckets_of_times(seconds: float) -> None:
    bucket = time_bucket(seconds)
    assert all(seconds > bound for bound in TIME_BOUNDS[:bucket])
    assert all(seconds <= bound for bound in TIME_BOUNDS[bucket:])


def test_a_peer_cannot_make_new_time_series() -> None:
    metrics = Metrics("v", "e", "l", 0.0)
    for code in range(3000, 5000):
        for by in (CLIENT, APPLICATION):
            metrics.websocket_closed({}, WebSocketEnd(code, "", by, 0.1, 0, 0, 0, 0))
    assert len(metrics._closes) <= MAX_CLOSE_CODES + 4
    assert sum(metrics._closes.values()) == 4000


def test_pages_in_both_formats_have_every_metric_once_and_conventional_names() -> None:
    page = metrics_page(lambda: {"fastws_workers": {"": 1}, "fastws_http_requests_total": {"GET|2xx": 3}})

    class Head:
        fields: dict[bytes, bytes] = {}  # noqa: RUF012  # what the page reads of a head

    plain = page(Head())  # type: ignore[arg-type]
    Head.fields = {b"accept": b"application/openmetrics-text; version=1.0.0"}
    modern = page(Head())  # type: ignore[arg-type]
    assert plain.headers[0][1].startswith(b"text/plain")
    assert modern.headers[0][1].startswith(b"application/openmetrics-text")
    for families in (list(parse_text(plain.body.decode())), list(parse_openmetrics(modern.body.decode()))):
        names = [family.name for family in families]
        assert names == [each.name.removesuffix("_total") for each in METRICS]
        assert all(family.documentation.endswith(".") for family in families)
    for each in METRICS:
        assert each.name.endswith("_total") == (each.kind == "counter")
        assert bool(each.bounds) == (each.kind == "histogram")


def snapshot(requests: int, open_now: int) -> Snapshot:
    return {
        "fastws_http_requests_total": {"GET|2xx": requests},
        "fastws_connections": {"": open_now},
        "fastws_loop_lag_last_seconds": {"": open_now / 10},
        "fastws_loop_lag_seconds": {"": [0.5, *[requests] * 16]},
    }


def test_snapshots_are_added() -> None:
    total = add([snapshot(1, 2), snapshot(10, 20), {"fastws_http_requests_total": {"POST|5xx": 7}}])
    assert total["fastws_http_requests_total"] == {"GET|2xx": 11, "POST|5xx": 7}
    assert total["fastws_connections"] == {"": 22}
    assert total["fastws_loop_lag_last_seconds"] == {"": 2.0}  # of the worst
    assert total["fastws_loop_lag_seconds"] == {"": [1.0, *[11] * 16]}
    assert set(of_ended(total)) == {"fastws_http_requests_total", "fastws_loop_lag_seconds"}


WORKER = """
import sys
from fastws.observe.metrics_exchange import MetricsExchange
exchange = MetricsExchange(sys.argv[1])
exchange.publish({"fastws_http_requests_total": {"GET|2xx": 100}, "fastws_connections": {"": 5}})
print("published", flush=True)
sys.stdin.read()
"""


@pytest.mark.deploy
def test_workers_that_end_keep_their_counters_and_lose_their_gauges(tmp_path: Path) -> None:
    directory = tmp_path / "numbers"
    exchange = MetricsExchange(directory)
    assert exchange.others() == {}
    command = [sys.executable, "-c", WORKER, str(directory)]
    for ended in range(3):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "published\n"
            found = exchange.others()
            assert found["fastws_http_requests_total"] == {"GET|2xx": 100 * (ended + 1)}
            assert found["fastws_connections"] == {"": 5}
            worker.kill()
        found = exchange.others()
        assert found == {"fastws_http_requests_total": {"GET|2xx": 100 * (ended + 1)}}
    assert len(list(directory.iterdir())) == 3  # our lock, the file of the ended and its lock
    assert directory.stat().st_mode & 0o777 == 0o700
    exchange.close()


def fail(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_makes_numbers_old_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fastws.error")
    one, other = MetricsExchange(tmp_path), MetricsExchange(tmp_path)
    one.publish(snapshot(1, 1))
    dead = subprocess.run([sys.executable, "-c", WORKER, str(tmp_path)], input="", capture_output=True, text=True)
    assert dead.stdout == "published\n"
    with monkeypatch.context() as patch:
        patch.setattr(MetricsExchange, "_write", fail)
        for requests in (2, 3):
            one.publish(snapshot(requests, 1))
            found = other.others()  # the ended are counted, though they cannot be put away
            assert found["fastws_http_requests_total"] == {"GET|2xx": 101}
            assert found["fastws_connections"] == {"": 1}
    one.publish(snapshot(4, 1))
    assert caplog.messages == [
        f"Cannot write this worker's metrics to {tmp_path}: No space left on device; others see old ones",
        f"Writing this worker's metrics to {tmp_path} again",
    ]
    assert other.others()["fastws_http_requests_total"] == {"GET|2xx": 104}
    assert other.others()["fastws_http_requests_total"] == {"GET|2xx": 104}
    one.close()
    other.close()


def test_without_a_descriptor_the_numbers_are_those_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = MetricsExchange(tmp_path), MetricsExchange(tmp_path)
    one.publish(snapshot(1, 1))
    monkeypatch.setattr(MetricsExchange, "_open_lock", fail)
    assert other.others() == snapshot(1, 1)
    one.close()
    other.close()


@pytest.mark.parametrize(("what", "option"), [(MetricsExchange, "metrics_dir"), (Control, "control_socket")])
def test_a_server_starts_without_what_the_system_lacks_just_now(
    what: Any, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fastws.error")
    monkeypatch.setattr("fastws.observe.operations.FIRST_DELAY", 0.001)
    failures = iter([True, True, False])
    whole = what.__init__ if what is MetricsExchange else what.start

    def lacks(*arguments: Any, **options: Any) -> Any:
        if next(failures, False):
            raise StartupError("it cannot be had") from OSError(errno.ENOSPC, "full")
        done.set()
        return whole(*arguments, **options)

    done = threading.Event()
    monkeypatch.setattr(what, "__init__" if what is MetricsExchange else "start", lacks)
    options: dict[str, Any] = {option: tmp_path / "there", "ws_allowed_origins": "https://here"}
    with serve(echo, metrics_path="/metrics", **options) as server:
        assert done.wait(PATIENCE)
        assert scrape(f"{server.http_url}/metrics")["fastws_connections"] == 1
    assert caplog.messages.count("it cannot be had; doing without, and trying again") == 1


def test_two_servers_of_one_process_do_not_bury_each_other(tmp_path: Path) -> None:
    one, other = MetricsExchange(tmp_path), MetricsExchange(tmp_path)
    one.publish(snapshot(1, 1))
    assert other.others() == snapshot(1, 1)
    assert other.others() == snapshot(1, 1)
    one.close(snapshot(2, 0))
    assert other.others()["fastws_http_requests_total"] == {"GET|2xx": 2}
    other.close()


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match=r"--metrics-dir: cannot use .*file/x: "):
        MetricsExchange(tmp_path / "file" / "x")


def test_two_servers_answer_with_the_sum(tmp_path: Path) -> None:
    options = {"metrics_path": "/metrics", "metrics_dir": tmp_path, "ws_allowed_origins": "https://here"}
    with serve(echo, **options) as one:
        with serve(echo, **options) as other:
            talk(one.ws_url)
            talk(other.ws_url)
            for each in (one, other):
                found = when(each.http_url + "/metrics", all_ended(2))
                check(found, 2)
                assert found["fastws_workers"] == 2
        found = when(one.http_url + "/metrics", all_ended(2))
        check(found, 2)
        assert (found["fastws_workers"], found["fastws_workers_started_total"]) == (1, 2)


def test_without_prometheus_client_the_option_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fastws.observe.metrics_page")
    monkeypatch.delattr("fastws.observe.metrics_page")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'fastws-server\[metrics\]'"),
        serve(echo, metrics_path="/metrics"),
    ):
        pass
