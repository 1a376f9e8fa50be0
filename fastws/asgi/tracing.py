"""What `--log-level trace` shows of an application: each call, each event that it receives and sends, and its end.

A wrapper around the application, so that nobody pays for it who has not asked. What events carry is told by its size,
header fields not at all: they have passwords and cookies.
"""

from __future__ import annotations

import itertools
import logging
from typing import Any, Final

from fastws.asgi.loading import ASGIApplication, Message, Receive, Scope, Send
from fastws.asgi.request_text import client
from fastws.config.log_defaults import TRACE
from fastws.http.escaped import without_values

logger: Final = logging.getLogger("fastws.asgi")


class Traced:
    """The application `app`, whose calls and events are logged, with the values of query strings or without."""

    def __init__(self, app: ASGIApplication, query_values: bool = True) -> None:
        self._app = app
        self._query_values = query_values
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""
        who = f"{client(scope)} - ASGI" if scope.get("client") else "ASGI"
        prefix = f"{who} [{next(self._numbers)}]"

        async def traced_receive() -> Message:
            event = await receive()
            logger.log(TRACE, "%s Receive %s", prefix, _shown(event))
            return event

        async def traced_send(event: Message) -> None:
            logger.log(TRACE, "%s Send %s", prefix, _shown(event))
            await send(event)

        logger.log(TRACE, "%s Started scope=%s", prefix, self._shown_scope(scope))
        try:
            await self._app(scope, traced_receive, traced_send)
        except BaseException as error:
            logger.log(TRACE, "%s Raised exception %s", prefix, type(error).__name__)
            raise
        logger.log(TRACE, "%s Completed", prefix)

    def _shown_scope(self, scope: Scope) -> dict[str, Any]:
        shown: dict[str, Any] = _shown(scope)
        query = scope.get("query_string")
        if query and not self._query_values:
            shown["query_string"] = without_values(query.decode("latin-1")).encode("latin-1")
        return shown


def _shown(event: Any) -> Any:
    """An event or a scope with `<...>` for its header fields and `<3 bytes>` for what it carries."""
    if not isinstance(event, dict):
        return event
    shown = dict(event)
    for name, value in event.items():
        if name == "headers" and value:
            shown[name] = "<...>"
        elif name in ("body", "bytes", "text") and value is not None:
            kind = "chars" if isinstance(value, str) else "bytes"
            shown[name] = f"<{len(value)} {kind}>" if hasattr(value, "__len__") else "<...>"
    return shown
