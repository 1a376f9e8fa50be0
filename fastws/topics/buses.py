"""Which bus takes publications to other processes, as the options say."""

from __future__ import annotations

from typing import Any

from fastws.config import Config
from fastws.topics.bus import Bus


def bus_for(config: Config) -> Bus | None:
    """The bus of one process, which is not started yet; None where there is no other process.

    Raises ConfigError for what is not installed.
    """
    if config.topics_url is not None:
        options: dict[str, Any] = {
            "password": config.topics_password,
            "prefix": config.topics_prefix,
            "buffer_bytes": config.topics_buffer_bytes,
        }
        if config.topics_stream_length is not None:
            from fastws.topics.redis_streams import StreamBus

            return StreamBus(config.topics_url, config.topics_stream_length, **options)
        from fastws.topics.redis_bus import RedisBus

        return RedisBus(config.topics_url, **options)
    if config.topics_dir is not None:
        from fastws.topics.mesh import Mesh

        return Mesh(config.topics_dir, config.topics_buffer_bytes)
    return None
