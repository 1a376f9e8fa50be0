"""The pages that load balancers and orchestrators ask: is this process alive, and is it ready for new clients?

Alive is what answers at all. Ready is what is not draining and whose event loop is not late: a server that is not ready
gets no new clients and keeps those that it has. Both are pages of `fastws.http.pages`: served at any load, not logged,
not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastws.http.head import RequestHead
from fastws.http.pages import PageResponse

if TYPE_CHECKING:
    from fastws.net.loop_state import LoopState

HEADERS = ((b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"))


class Health:
    """The health of the server whose connections share `state`."""

    def __init__(self, state: LoopState) -> None:
        self._state = state
        self._max_lag = state.config.readyz_max_lag
        config = state.config
        if config.livez_path:
            state.pages[config.livez_path] = self.alive
        if config.readyz_path:
            state.pages[config.readyz_path] = self.ready

    def alive(self, head: RequestHead) -> PageResponse:
        """200: whoever gets this knows that the event loop turns."""
        return PageResponse(200, HEADERS, b"alive\n")

    def ready(self, head: RequestHead) -> PageResponse:
        """200, or 503 with the reason."""
        if self._state.draining:
            return PageResponse(503, HEADERS, b"draining\n")
        lag = self._state.lag()
        if self._max_lag is not None and lag > self._max_lag:
            return PageResponse(503, HEADERS, b"the event loop is %.1f s late\n" % lag)
        return PageResponse(200, HEADERS, b"ready\n")
