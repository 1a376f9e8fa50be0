"""TLS handshakes that are under way on our own sockets: how many there are, and that none lasts too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio

    from fastws.net.loop_state import LoopState

LAST_HANDSHAKE_SECONDS = 2.0
"""How long a TLS handshake may still take when listening has ended."""


class Shaking(Protocol):
    """A transport whose handshake is under way."""

    def cancel(self) -> None:
        """Give the handshake up."""


class Handshakes:
    """Those of one listener. All have the same time, so the first that began is the first that is too late."""

    def __init__(self, state: LoopState, timeout: float | None) -> None:
        """`timeout` is in seconds; None is no bound."""
        self._state = state
        self._timeout = timeout
        self._began: dict[Shaking, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, transport: Shaking, counted: bool) -> None:
        """A handshake begins; `counted` says that its connection is none yet in the eyes of the state."""
        self._began[transport] = self._state.loop.time()
        if counted:
            self._state.opening.add(transport)
        if self._timer is None and self._timeout is not None:
            self._timer = self._state.loop.call_later(self._timeout, self._look)

    def end(self, transport: Shaking) -> None:
        """It has ended, well or not."""
        self._began.pop(transport, None)
        self._state.opened(transport)

    def failed(self, error: BaseException, peer: Any) -> None:
        """One with `peer` has failed, before its connection was one."""
        self._state.tls_failed(error, peer)

    def give_up_soon(self) -> None:
        """Listening has ended: what is under way has little time left."""
        if self._began:
            self._state.loop.call_later(LAST_HANDSHAKE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        for transport in list(self._began):
            transport.cancel()

    def _look(self) -> None:
        self._timer = None
        assert self._timeout is not None
        now = self._state.loop.time()
        while self._began:
            transport, began = next(iter(self._began.items()))
            if began + self._timeout > now:
                self._timer = self._state.loop.call_later(began + self._timeout - now, self._look)
                return
            transport.cancel()
