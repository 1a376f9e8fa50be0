"""What makes the connections of a URL: to one server, to a node of a cluster, or to whom Sentinels name."""

from __future__ import annotations

from fastws.config.redis_url import is_cluster, is_sentinel
from fastws.topics.redis_cluster import ClusterConnector
from fastws.topics.redis_connection import Connector
from fastws.topics.redis_sentinel import SentinelConnector


def connector_of(url: str, password: str | None, prefix: str) -> Connector:
    """`password` is used where the URL has none; `prefix` is that of the channels.

    Raises ConfigError where redis-py is not installed or cannot read the URL.
    """
    if is_cluster(url):
        return ClusterConnector(url, password, prefix)
    if is_sentinel(url):
        return SentinelConnector(url, password)
    return Connector(url, password)
