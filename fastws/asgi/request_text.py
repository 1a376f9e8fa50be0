"""A request in words, for the logs: from whom, and for what. All that a peer sent is escaped.

With --no-log-query-values the values of a query string stay out: browsers cannot set fields on a WebSocket's request,
so that tokens travel there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastws.http.escaped import escape, without_values

Scope = Mapping[str, Any]


def target(scope: Scope, query_values: bool = True) -> str:
    """Path and query as they came."""
    raw_path: bytes | None = scope.get("raw_path")
    path = raw_path.decode("latin-1") if raw_path is not None else scope["path"]
    return escape(f"{path}?{query(scope, query_values)}" if scope.get("query_string") else path)


def query(scope: Scope, query_values: bool = True) -> str:
    """The query string, not yet escaped."""
    text: str = scope.get("query_string", b"").decode("latin-1")
    return text if query_values else without_values(text)


def client(scope: Scope) -> str:
    """``127.0.0.1:5000``, ``[::1]:5000``, or ``unix`` where the peer has no address."""
    peer = scope.get("client")
    if not peer or not peer[0]:
        return "unix"
    host, port = peer
    if port is None:
        return escape(host)
    return escape(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def attributes(scope: Scope, query_values: bool = True) -> dict[str, object]:
    """What a record of the log says of the request that it belongs to: `client`, `method` and `path`.

    Of a WebSocket `method` is WebSocket, as in the access log. An application may have written anything into its scope.
    """
    try:
        method = escape(scope["method"]) if scope["type"] == "http" else "WebSocket"
        return {"client": client(scope), "method": method, "path": target(scope, query_values)}
    except Exception:
        return {"client": "-", "method": "-", "path": "-"}
