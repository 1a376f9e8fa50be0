"""An application that takes SIGTERM for itself, when its lifespan starts."""

from __future__ import annotations

import signal
from typing import Any

from process_apps import stuck as stuck


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Never answers a request."""
    if scope["type"] == "lifespan":
        signal.signal(signal.SIGTERM, lambda *_: print("mine", flush=True))
    await stuck(scope, receive, send)
