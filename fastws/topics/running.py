"""The hubs that run in this process: where `fastws.topics.publish` finds them, from whatever code it is called.

It is the one place where topics are a module's: code that is no connection (an HTTP handler, a background task, a
thread) has nothing in its hands that a hub could hang on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastws.topics.hub import Hub

HUBS: list[tuple[asyncio.AbstractEventLoop, Hub]] = []
"""Each hub between its start and its stop, with its loop, in the order of their starts."""
