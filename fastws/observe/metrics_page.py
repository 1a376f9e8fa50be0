"""The page that Prometheus scrapes: a snapshot of `fastws.observe.metrics` in its text format, or in OpenMetrics.

Needs prometheus_client, the extra `metrics`. Its own metric objects are not used to count: an increment of
theirs takes a lock and a Python call. Nor is its multiprocess mode, for which every worker would write each increment
into a mapped file: here numbers are read when somebody asks, and what workers tell each other is a file a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

from fastws.distribution import install_line
from fastws.errors import ConfigError
from fastws.http.head import RequestHead
from fastws.http.pages import Page, PageResponse
from fastws.observe.metrics import METRICS, Metric, Snapshot

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.exposition import choose_encoder
except ImportError:
    hint = install_line("metrics")
    raise ConfigError(f"--metrics-path, --metrics-port: need prometheus_client: {hint}") from None


class FastWSCollector:
    """A collector for a registry of prometheus_client's, of what `take` returns at each scrape."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def collect(self) -> Iterable[Any]:
        """The metric families, those without a sample included."""
        snapshot = self._take()
        for metric in METRICS:
            yield _family(metric, snapshot.get(metric.name, {}))

    def describe(self) -> Iterable[Any]:
        """The metric families without samples: registering must not take a snapshot."""
        return [_family(metric, {}) for metric in METRICS]


def metrics_page(take: Callable[[], Snapshot]) -> Page:
    """A page of what `take` returns, in the format that the request prefers."""
    registry = CollectorRegistry()
    registry.register(FastWSCollector(take))

    def page(head: RequestHead) -> PageResponse:
        encode, content_type = choose_encoder(head.fields.get(b"accept", b"").decode("latin-1"))
        headers = [(b"content-type", content_type.encode("latin-1")), (b"cache-control", b"no-store")]
        return PageResponse(200, headers, encode(registry))

    return page


def _family(metric: Metric, samples: dict[str, Any]) -> Any:
    kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
    family = kinds[metric.kind](metric.name, metric.help, labels=metric.labels)
    for joined, value in sorted(samples.items()):
        labels = joined.split("|") if metric.labels else []
        if metric.kind == "histogram":
            bounds = [*(f"{bound:g}" if bound < 1e6 else str(bound) for bound in metric.bounds), "+Inf"]
            buckets = list(zip(bounds, accumulate(value[1:]), strict=True))
            family.add_metric(labels, buckets, value[0])
        else:
            family.add_metric(labels, value)
    return family
