"""What one loop has counted since it began: plain numbers that only grow, for `fastws.observe.metrics` to read.

Counting is a few additions of C integers where the extension was built (loop_counts.pxd): no object, no clock, no
look-up. What happens with every message is counted only where somebody observes it (see `fastws.asgi.traffic`), the
rest always, for it is rare. A histogram is a list of how many values were in each bucket, not added up.
"""

from __future__ import annotations

SIZE_BOUNDS = tuple(64 * 4**power for power in range(10))
"""Upper bounds, in bytes, of the buckets of message sizes: 64 B to 16 MiB; the last bucket has no bound."""

TIME_BOUNDS = tuple(0.0005 * 2**power for power in range(15))
"""Upper bounds, in seconds, of the buckets of times: 0.5 ms to 8 s."""


METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "other")
"""Methods that are told apart."""


class RequestCounts:
    """The responses to requests of one method."""

    def __init__(self) -> None:
        self._statuses: list[int] = [0] * 10
        self._times: list[int] = [0] * 16
        self.seconds: float = 0.0
        self.body_bytes: int = 0

    def add(self, status: int, body_bytes: int, seconds: float) -> None:
        """Count one."""
        self._statuses[status // 100 if 0 <= status < 1000 else 0] += 1
        self._times[time_bucket(seconds)] += 1
        self.seconds += seconds
        self.body_bytes += body_bytes

    def statuses(self) -> list[int]:
        """The responses, by the first digit of their status."""
        return [self._statuses[digit] for digit in range(10)]

    def times(self) -> list[int]:
        """The responses, by the buckets of TIME_BOUNDS."""
        return [self._times[bucket] for bucket in range(16)]


class LoopCounts:
    """The counters of one loop."""

    def __init__(self) -> None:
        self.connections: int = 0
        # Connections and requests that a limit kept out, by the limit.
        self.refused_per_client: int = 0
        self.refused_descriptors: int = 0
        self.refused_websockets: int = 0
        self.refused_requests: int = 0
        # Responses with an error that the server gave by itself, by status; handshakes among them are apart.
        self.errors: dict[int, int] = {}
        self.handshake_errors: dict[int, int] = {}
        # Requests that were answered, where somebody wants to know; by method, of which a peer may invent many.
        self.timed: bool = False
        self.requests: dict[str, RequestCounts] = {method: RequestCounts() for method in METHODS}
        self._other_requests = self.requests["other"]
        # Those that came over HTTP/2.
        self.http2_requests: int = 0
        self.http2_websockets: int = 0
        self.reading_pauses: int = 0
        self.writing_pauses: int = 0
        # Messages of WebSockets, and their bytes before compression.
        self.messages_in: int = 0
        self.bytes_in: int = 0
        self.messages_out: int = 0
        self.bytes_out: int = 0
        self._sizes_in: list[int] = [0] * 11
        self._sizes_out: list[int] = [0] * 11
        # Keepalive.
        self.pings: int = 0
        self.ping_timeouts: int = 0
        self.round_trips: list[int] = [0] * 16
        self.round_trip_seconds: float = 0.0
        # Topics: publications in this process, what became of them, and what there is now.
        self.published: int = 0
        self.topics_delivered: int = 0
        self.dropped: dict[str, int] = {}  # by the policy of their subscriber
        self.closed_slow: int = 0
        self.subscriptions: int = 0
        self.topics: int = 0
        # How much later than it should the loop's timer came.
        self.lags: list[int] = [0] * 16
        self.lag_seconds: float = 0.0
        self.last_lag: float = 0.0

    def received(self, size: int) -> None:
        """Count a message of `size` bytes from a peer."""
        self.messages_in += 1
        self.bytes_in += size
        self._sizes_in[size_bucket(size)] += 1

    def sent(self, size: int) -> None:
        """Count a message of `size` bytes from the application."""
        self.messages_out += 1
        self.bytes_out += size
        self._sizes_out[size_bucket(size)] += 1

    def sizes_in(self) -> list[int]:
        """The messages received, by the buckets of SIZE_BOUNDS."""
        return [self._sizes_in[bucket] for bucket in range(11)]

    def sizes_out(self) -> list[int]:
        """The messages sent, by the buckets of SIZE_BOUNDS."""
        return [self._sizes_out[bucket] for bucket in range(11)]

    def request(self, method: str, status: int, body_bytes: int, seconds: float) -> None:
        """Count a response."""
        counts = self.requests.get(method)
        if counts is None:
            counts = self._other_requests
        counts.add(status, body_bytes, seconds)

    def error(self, status: int, handshake: bool) -> None:
        """Count a response of the server's own."""
        errors = self.handshake_errors if handshake else self.errors
        errors[status] = errors.get(status, 0) + 1

    def drop(self, policy: str, messages: int) -> None:
        """Count messages that a subscriber was too slow for."""
        self.dropped[policy] = self.dropped.get(policy, 0) + messages

    def round_trip(self, seconds: float) -> None:
        """Count a ping that was answered after so long."""
        self.round_trips[time_bucket(seconds)] += 1
        self.round_trip_seconds += seconds

    def lag(self, seconds: float) -> None:
        """Count a turn of the timer that came so much too late."""
        self.lags[time_bucket(seconds)] += 1
        self.lag_seconds += seconds
        self.last_lag = seconds


def size_bucket(size: int) -> int:
    """The index in SIZE_BOUNDS of the first bound that is not under `size`, in bytes."""
    bucket = 0
    while bucket < 10 and size > 64:
        size = (size + 3) >> 2
        bucket += 1
    return bucket


def time_bucket(seconds: float) -> int:
    """The index in TIME_BOUNDS of the first bound that is not under `seconds`."""
    bucket = 0
    bound = 0.0005
    while bucket < 15 and seconds > bound:
        bound += bound
        bucket += 1
    return bucket
