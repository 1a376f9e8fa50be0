"""The options of other servers, as their --help has them; a helper, not a test."""

from __future__ import annotations

import re

HYPERCORN = {
    *re.findall(
        r"\S+",
        """
    --access-log --access-logfile --access-logformat --backlog --bind --ca-certs --cert-reqs --certfile --ciphers
    --config --daemon --debug --error-log --error-logfile --graceful-timeout --group --insecure-bind --keep-alive
    --keyfile --keyfile-password --log-config --log-file --log-level --max-requests --max-requests-jitter --pid
    --quic-bind --read-timeout --reload --root-path --server-name --statsd-host --statsd-prefix --umask --user
    --verify-mode --websocket-ping-interval --worker-class --workers
        """,
    )
}
"""Of hypercorn 0.18."""

GRANIAN = {
    *re.findall(
        r"\S+",
        """
    --access-log --access-log-fmt --backlog --backpressure --blocking-threads --blocking-threads-idle-timeout
    --env-files --factory --host --http --http1-buffer-size --http1-header-read-timeout --http1-keep-alive
    --http1-pipeline-flush --http2-adaptive-window --http2-initial-connection-window-size
    --http2-initial-stream-window-size --http2-keep-alive-interval --http2-keep-alive-timeout
    --http2-max-concurrent-streams --http2-max-frame-size --http2-max-headers-size --http2-max-send-buffer-size
    --interface --log --log-config --log-level --loop --metrics --metrics-address --metrics-port
    --metrics-scrape-interval --no-ws --pid-file --port --process-name --reload --reload-ignore-dirs
    --reload-ignore-paths --reload-ignore-patterns --reload-ignore-worker-failure --reload-paths --reload-tick
    --respawn-failed-workers --respawn-interval --rss-sample-interval --rss-samples --runtime-blocking-threads
    --runtime-mode --runtime-threads --ssl-ca --ssl-certificate --ssl-client-verify --ssl-crl --ssl-keyfile
    --ssl-keyfile-password --ssl-protocol-min --static-path-dir-to-file --static-path-expires --static-path-mount
    --static-path-route --task-impl --uds --uds-permissions --url-path-prefix --workers --workers-kill-timeout
    --workers-lifetime --workers-max-rss --working-dir --ws
        """,
    )
}
"""Of granian 2.8, without the other form of those that have a --no-."""
