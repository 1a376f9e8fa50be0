"""A TLS socket for clients that read in one thread and write in another, as `websockets.sync` does.

OpenSSL forbids that for one connection, and Python's module does not see to it. It goes wrong with TLS 1.3, where a
server sends session tickets behind the handshake: a request that one thread writes while the other takes in a ticket is
dropped without an error, about once in a thousand handshakes, and the client then waits for an answer in vain.
"""

from __future__ import annotations

import select
import ssl
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class TurnTakingSocket(ssl.SSLSocket):
    """A socket whose threads use OpenSSL one at a time, and wait for the network outside of their turns."""

    _turn: threading.Lock
    _timeout: float | None
    _shaken_hands = False

    def __new__(cls, *arguments: Any, **options: Any) -> TurnTakingSocket:  # there is no constructor to override
        made = super().__new__(cls, *arguments, **options)
        made._turn = threading.Lock()
        return made

    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        self._timeout = super().gettimeout()
        self._shaken_hands = True
        super().settimeout(0.0)

    def settimeout(self, value: float | None) -> None:
        if self._shaken_hands:
            self._timeout = value
        else:
            super().settimeout(value)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # the names are Python's; all that receives calls it
        read = super().read
        return self._take_turn(lambda: read(len, buffer))

    def send(self, data: Any, flags: int = 0) -> int:  # and this all that sends
        send = super().send
        return self._take_turn(lambda: send(data, flags))

    def _take_turn(self, call: Callable[[], Result]) -> Result:
        while True:
            try:
                with self._turn:
                    return call()
            except ssl.SSLWantReadError:
                event = select.POLLIN
            except ssl.SSLWantWriteError:
                event = select.POLLOUT
            poller = select.poll()
            poller.register(self, event)
            if not poller.poll(None if self._timeout is None else self._timeout * 1000.0):
                raise TimeoutError("timed out")


def for_threads(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let the sockets of `context`, a client's, take turns; returns it."""
    context.sslsocket_class = TurnTakingSocket
    return context
