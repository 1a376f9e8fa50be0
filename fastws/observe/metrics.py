"""What Prometheus gets to know: the table of metrics, and the numbers of one process as a snapshot.

A message and a request cost a few additions (`fastws.asgi.traffic`, `fastws.net.loop_counts`), a WebSocket a look-up or
two here. All the rest is done when somebody asks: then the counters of the loop are read, and the connections asked for
what waits in them. A snapshot is plain values, so that it can be written, read and added to those of other workers
(`fastws.observe.metrics_exchange`) before `fastws.observe.metrics_page` shows the sum.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeAlias

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]

from fastws.asgi.observer import CLIENT, Observer, Scope, WebSocketEnd
from fastws.asgi.session import Session
from fastws.net.http2_handler import Http2Handler
from fastws.net.http2_stream import Http2Stream
from fastws.net.loop_counts import SIZE_BOUNDS, TIME_BOUNDS
from fastws.net.loop_state import LoopState

Snapshot: TypeAlias = dict[str, dict[str, Any]]
"""By the metric's name, by its labels' values with `|` between: a number, or of a histogram its sum and its buckets."""


class Metric(NamedTuple):
    """One metric: `kind` is counter, gauge or histogram, `bounds` are a histogram's."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    largest: bool = False
    """Of several workers the largest value counts, not the sum."""


METRICS: Final = (
    Metric("fastws_build_info", "gauge", "Always 1.", ("version", "python", "engine", "loop"), largest=True),
    Metric("fastws_workers", "gauge", "Workers that run."),
    Metric("fastws_workers_started_total", "counter", "Workers that were started; it grows by one at each restart."),
    Metric("fastws_worker_start_time_seconds", "gauge", "When the youngest worker began to serve.", largest=True),
    Metric("fastws_cpu_seconds_total", "counter", "CPU time of the workers.", ("mode",)),
    Metric("fastws_resident_memory_bytes", "gauge", "Memory of the workers."),
    Metric("fastws_loop_lag_seconds", "histogram", "How late the event loop's timer came.", bounds=TIME_BOUNDS),
    Metric("fastws_loop_lag_last_seconds", "gauge", "The last of them, of the worst worker.", largest=True),
    Metric("fastws_connections", "gauge", "Open connections, HTTP and WebSocket."),
    Metric("fastws_connections_accepted_total", "counter", "Connections that were accepted."),
    Metric("fastws_refused_total", "counter", "Connections, requests, WebSockets that a limit kept out.", ("limit",)),
    Metric("fastws_reading_pauses_total", "counter", "How often reading stopped, since the application was slower."),
    Metric("fastws_writing_pauses_total", "counter", "How often an application waited, since a client was slower."),
    Metric("fastws_reading_paused", "gauge", "Connections from which nothing is read now."),
    Metric("fastws_writing_paused", "gauge", "Connections whose client holds up the application now."),
    Metric("fastws_write_buffer_bytes", "gauge", "Bytes that wait for clients, all connections together."),
    Metric("fastws_write_buffer_largest_bytes", "gauge", "Bytes that wait for the slowest client.", largest=True),
    Metric("fastws_http_requests_total", "counter", "Requests that were answered.", ("method", "status")),
    Metric("fastws_http_request_duration_seconds", "histogram", "From a request's head to the end of its response.",
           ("method",), TIME_BOUNDS),
    Metric("fastws_http_requests_in_progress", "gauge", "Requests that are being answered."),
    Metric("fastws_http2_connections", "gauge", "Open connections that speak HTTP/2."),
    Metric("fastws_http2_streams", "gauge", "Requests and WebSockets that are open on them."),
    Metric("fastws_http2_websockets", "gauge", "Open WebSockets that came over HTTP/2."),
    Metric("fastws_http2_requests_total", "counter", "Requests and handshakes over HTTP/2, of those that were counted.",
           ("kind",)),
    Metric("fastws_http_response_body_bytes_total", "counter", "Bytes of response bodies."),
    Metric("fastws_tls_handshake_failures_total", "counter", "TLS handshakes that failed.", ("reason",)),
    Metric("fastws_http_errors_total", "counter", "Requests that the server answered with an error by itself.",
           ("status",)),
    Metric("fastws_websockets", "gauge", "Open WebSockets."),
    Metric("fastws_websocket_handshakes_total", "counter", "Handshakes that were answered: 101 is accepted, over "
           "HTTP/2 too.",
           ("status",)),
    Metric("fastws_websocket_closes_total", "counter", "WebSockets that ended, by close code and who closed.",
           ("code", "by")),
    Metric("fastws_websocket_duration_seconds", "histogram", "Lives of WebSockets that ended.",
           bounds=(1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600)),
    Metric("fastws_websocket_messages_total", "counter", "Messages.", ("direction",)),
    Metric("fastws_websocket_message_bytes_total", "counter", "Bytes of messages before compression.", ("direction",)),
    Metric("fastws_websocket_message_size_bytes", "histogram", "Sizes of messages before compression.", ("direction",),
           SIZE_BOUNDS),
    Metric("fastws_websocket_compression_bytes_total", "counter", "Bytes of compressed messages, before and after.",
           ("direction", "form")),
    Metric("fastws_websocket_queue_messages", "gauge", "Messages that wait for the application."),
    Metric("fastws_websocket_queue_bytes", "gauge", "Bytes of messages that wait for the application."),
    Metric("fastws_topics_bus_publications_total", "counter", "Publications sent to other processes, received from "
           "them, dropped since a buffer was full or Redis refused them, missed as their numbers say, and what was "
           "none.", ("fate",)),
    Metric("fastws_topics_bus_outages_total", "counter", "Times that the way to Redis was lost."),
    Metric("fastws_topics_bus_connected", "gauge", "Workers whose topics reach others: over Redis, a "
           "message to itself came back just now."),
    Metric("fastws_websocket_pings_total", "counter", "Keepalive pings that were sent."),
    Metric("fastws_websocket_ping_timeouts_total", "counter", "WebSockets that were given up without an answer."),
    Metric("fastws_websocket_ping_round_trip_seconds", "histogram", "From a ping to its pong.", bounds=TIME_BOUNDS),
    Metric("fastws_topics", "gauge", "Topics that have subscribers, of each worker."),
    Metric("fastws_topics_subscriptions", "gauge", "Subscriptions of connections to topics."),
    Metric("fastws_topics_published_total", "counter", "Publications, in the worker where they were published."),
    Metric("fastws_topics_deliveries_total", "counter", "Publications that were sent to a subscriber."),
    Metric("fastws_topics_dropped_total", "counter", "Publications that a subscriber was too slow for.", ("policy",)),
    Metric("fastws_topics_slow_closes_total", "counter", "Subscribers that were closed (1013) for being slow."),
    Metric("fastws_topics_backlog_bytes", "gauge", "Bytes of publications that wait for slow subscribers."),
)  # fmt: skip
"""Every metric there is."""

MAX_CLOSE_CODES: Final = 256
"""Different pairs of close code and closer that are told apart, of the application's own codes."""

_DURATIONS: Final = next(each.bounds for each in METRICS if each.name == "fastws_websocket_duration_seconds")


class Metrics(Observer):
    """Counts the WebSockets of one server, and takes snapshots of all that was counted."""

    hears_requests = False  # LoopCounts has them

    __slots__ = (
        "_closes",
        "_durations",
        "_handshakes",
        "_labels",
        "_started",
    )

    def __init__(self, version: str, engine: str, loop: str, started: float) -> None:
        """`version` is that of fastws, `engine` and `loop` are names; `started` is the time as of `time.time`."""
        self._labels = f"{version}|{platform.python_version()}|{engine}|{loop}"
        self._started = started
        self._handshakes: dict[int, int] = {}
        self._closes: dict[tuple[str, str], int] = {}
        self._durations: list[float] = [0.0] * (len(_DURATIONS) + 2)

    def websocket_opened(self, scope: Scope, status: int) -> None:
        """See `Observer.websocket_opened`."""
        self._handshakes[status] = self._handshakes.get(status, 0) + 1

    def websocket_closed(self, scope: Scope, end: WebSocketEnd) -> None:
        """See `Observer.websocket_closed`."""
        code = str(end.code)
        if end.code >= 3000 and (end.by == CLIENT or len(self._closes) >= MAX_CLOSE_CODES):
            code = f"{end.code // 1000}xxx"  # two thousand codes that a peer may choose from
        key = (code, end.by)
        self._closes[key] = self._closes.get(key, 0) + 1
        self._durations[0] += end.seconds
        for bucket, bound in enumerate(_DURATIONS, 1):
            if end.seconds <= bound:
                self._durations[bucket] += 1
                return
        self._durations[-1] += 1

    def snapshot(self, state: LoopState) -> Snapshot:
        """The numbers as they are now."""
        counts = state.counts
        requests = {method: each for method, each in counts.requests.items() if any(each.statuses())}
        handshakes = dict(self._handshakes)
        for status, number in counts.handshake_errors.items():
            handshakes[status] = handshakes.get(status, 0) + number
        user_seconds, system_seconds = cpu_seconds()
        found: Snapshot = {
            "fastws_build_info": {self._labels: 1},
            "fastws_workers": {"": 1},
            "fastws_workers_started_total": {"": 1},
            "fastws_worker_start_time_seconds": {"": self._started},
            "fastws_cpu_seconds_total": {"user": user_seconds, "system": system_seconds},
            "fastws_resident_memory_bytes": {"": resident_memory()},
            "fastws_loop_lag_seconds": {"": [counts.lag_seconds, *counts.lags]},
            "fastws_loop_lag_last_seconds": {"": counts.last_lag},
            "fastws_connections": {"": len(state.connections)},
            "fastws_connections_accepted_total": {"": counts.connections},
            "fastws_refused_total": {
                "connections_per_client": counts.refused_per_client,
                "descriptors": counts.refused_descriptors,
                "requests": counts.refused_requests,
                "websockets": counts.refused_websockets,
            },
            "fastws_reading_pauses_total": {"": counts.reading_pauses},
            "fastws_writing_pauses_total": {"": counts.writing_pauses},
            "fastws_http_requests_total": {
                f"{method}|{digit}xx": number
                for method, each in requests.items()
                for digit, number in enumerate(each.statuses())
                if number
            },
            "fastws_http_request_duration_seconds": {
                method: [each.seconds, *each.times()] for method, each in requests.items()
            },
            "fastws_http_requests_in_progress": {"": state.requests},
            "fastws_http2_requests_total": {"request": counts.http2_requests, "websocket": counts.http2_websockets},
            "fastws_http_response_body_bytes_total": {"": sum(each.body_bytes for each in requests.values())},
            "fastws_tls_handshake_failures_total": dict(state.tls_failures),
            "fastws_http_errors_total": {str(status): number for status, number in counts.errors.items()},
            "fastws_websocket_handshakes_total": {str(status): number for status, number in handshakes.items()},
            "fastws_websocket_closes_total": {f"{code}|{by}": number for (code, by), number in self._closes.items()},
            "fastws_websocket_duration_seconds": {"": list(self._durations)},
            "fastws_websocket_messages_total": {"received": counts.messages_in, "sent": counts.messages_out},
            "fastws_websocket_message_bytes_total": {"received": counts.bytes_in, "sent": counts.bytes_out},
            "fastws_websocket_message_size_bytes": {
                "received": [counts.bytes_in, *counts.sizes_in()],
                "sent": [counts.bytes_out, *counts.sizes_out()],
            },
            "fastws_websocket_pings_total": {"": counts.pings},
            "fastws_websocket_ping_timeouts_total": {"": counts.ping_timeouts},
            "fastws_websocket_ping_round_trip_seconds": {"": [counts.round_trip_seconds, *counts.round_trips]},
            "fastws_topics": {"": counts.topics},
            "fastws_topics_subscriptions": {"": counts.subscriptions},
            "fastws_topics_published_total": {"": counts.published},
            "fastws_topics_deliveries_total": {"": counts.topics_delivered},
            "fastws_topics_dropped_total": dict(counts.dropped),
            "fastws_topics_slow_closes_total": {"": counts.closed_slow},
        }
        if state.deflaters is not None:
            deflated = state.deflaters.counts
            found["fastws_websocket_compression_bytes_total"] = {
                "received|compressed": deflated.compressed_in,
                "received|plain": deflated.plain_in,
                "sent|compressed": deflated.compressed_out,
                "sent|plain": deflated.plain_out,
            }
        found |= waiting(state)
        bus = state.topics.bus if state.topics is not None else None
        if bus is not None:
            counted = bus.counts
            found["fastws_topics_bus_publications_total"] = {
                fate: getattr(counted, fate) for fate in ("sent", "received", "dropped", "missed", "bad")
            }
            found["fastws_topics_bus_outages_total"] = {"": counted.outages}
            found["fastws_topics_bus_connected"] = {"": int(bus.connected)}
        return found


def waiting(state: LoopState) -> Snapshot:
    """What waits in the connections, which are asked one by one."""
    websockets = messages = size = buffered = largest = reading = backlogs = streams = carriers = carried = 0
    for connection in state.channels():
        unsent = connection.unsent()
        buffered += unsent
        largest = max(largest, unsent)
        reading += connection.reading_paused
        handler = connection.handler
        is_stream = isinstance(connection, Http2Stream)
        streams += is_stream
        carriers += isinstance(handler, Http2Handler)
        if isinstance(handler, Session) and handler.engine is not None:
            websockets += 1
            carried += is_stream
            queued, queued_bytes = handler.queued()
            messages += queued
            size += queued_bytes
            if handler.subscriber is not None:
                backlogs += handler.subscriber.waiting()
    return {
        "fastws_websockets": {"": websockets},
        "fastws_http2_connections": {"": carriers},
        "fastws_http2_streams": {"": streams},
        "fastws_http2_websockets": {"": carried},
        "fastws_reading_paused": {"": reading},
        "fastws_writing_paused": {"": len(state.stalled)},
        "fastws_write_buffer_bytes": {"": buffered},
        "fastws_write_buffer_largest_bytes": {"": largest},
        "fastws_websocket_queue_messages": {"": messages},
        "fastws_websocket_queue_bytes": {"": size},
        "fastws_topics_backlog_bytes": {"": backlogs},
    }


def cpu_seconds() -> tuple[float, float]:
    """Seconds of CPU time of this process, outside of the system and in it."""
    if resource is None:
        times = os.times()
        return times.user, times.system
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime, usage.ru_stime


def resident_memory() -> int:
    """Bytes of memory that this process has in use; where the system does not say, the most it has had, or 0."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):  # the last where there is no sysconf
        if resource is None:
            return 0
        unit = 1 if platform.system() == "Darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def add(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The sum of several workers."""
    largest = {each.name for each in METRICS if each.largest}
    total: Snapshot = {}
    for snapshot in snapshots:
        for name, samples in snapshot.items():
            combine: Callable[[Any, Any], Any] = max if name in largest else _plus
            into = total.setdefault(name, {})
            for labels, value in samples.items():
                into[labels] = combine(into[labels], value) if labels in into else value
    return total


def of_ended(snapshot: Snapshot) -> Snapshot:
    """What stays of a worker that has ended: what it counted, not what it held."""
    kept = {each.name for each in METRICS if each.kind != "gauge"}
    return {name: samples for name, samples in snapshot.items() if name in kept}


def _plus(one: Any, other: Any) -> Any:
    if isinstance(one, list):
        return [first + second for first, second in zip(one, other, strict=True)]
    return one + other
