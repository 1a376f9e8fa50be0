"""One HTTP request and its response, as an ASGI application sees them: the request's body, and the end of both.

The response itself is `Responder`'s. Neither has coroutines; those are in application.py, which is always interpreted,
since some libraries accept only native coroutines. This module is compiled by Cython where the extension was built
(http_cycle.pxd), else interpreted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastws.asgi.observer import OBSERVER_FAILED, Observer
from fastws.asgi.responder import Responder, Stage
from fastws.http.head import RequestHead
from fastws.net.waiters import Waiters

if TYPE_CHECKING:
    from fastws.net.http_handler import HttpHandler
    from fastws.net.loop_state import LoopState

LEFT = 499
"""What the log says of a request whose client has left before a response had begun, as nginx does; it is never sent."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

DONE = Stage.DONE


class HttpCycle(Responder):
    """A request with its body, and its response: the exchange of an `HttpHandler`."""

    def __init__(self) -> None:
        """Only `_open` makes it one of a request."""

    def _open(
        self,
        http: HttpHandler,
        state: LoopState,
        head: RequestHead,
        scope: dict[str, Any],
        observer: Observer | None,
    ) -> None:
        """Begin with the request of `head`. A method, since a compiled caller finds this at once."""
        self._prepare(http.connection, state, head, head.keep_alive)
        self.http = http
        self.scope = scope
        self.task: asyncio.Task[None] | None = None
        self._observer = observer
        self._began: float = state.clock() if observer is not None or state.counts.timed else 0.0
        self._body: bytes | bytearray | None = None
        self._body_size: int = 0
        self._body_complete: bool = not head.has_body
        self._body_taken: bool = False
        self._continue: bool = head.expect_continue
        self._half_closed: bool = False
        self._told: bool = False  # the application, that the client has left
        self._lost: bool = False  # the connection, before a response was complete
        self._waiter: asyncio.Future[None] | None = None
        self._crowd: Waiters | None = None  # who waits beside that one

    # What the connection calls.

    def body_received(self, data: bytes) -> None:
        self._continue = False
        self._body_size += len(data)
        body = self._body
        if body is None:
            self._body = data
        elif isinstance(body, bytearray):
            body += data
        else:  # one buffer: of a body in tiny chunks, a list would cost many times its bytes
            self._body = bytearray(body) + data
        self._wake()

    def body_completed(self) -> None:
        self._body_complete = True
        self._wake()

    def body_waiting(self) -> int:
        return 0 if self.stage is DONE else self._body_size

    def waits_for_continue(self) -> bool:
        return self._continue

    def half_closed(self) -> None:
        self._half_closed = True
        self._wake()

    def disconnected(self) -> None:
        self.gone = True
        self._lost = self.connection.is_gone()
        self._wake()
        if self._framing is not None:
            self._log()

    # What the application's receive() calls.

    def next_event(self) -> dict[str, Any] | None:
        """The next event for the application, or None where it must wait for one."""
        return self._next_event()

    def _next_event(self) -> dict[str, Any] | None:
        if self.stage is DONE or self.gone:
            return {"type": "http.disconnect"}
        if not self._body_taken:
            body = self._body
            if body is not None:
                waited = self._body_size
                self._body = None
                self._body_size = 0
                self._body_taken = self._body_complete
                if self.connection.reading_paused and waited:
                    self.http.update_reading()
                whole = body if type(body) is bytes else bytes(body)
                return {"type": "http.request", "body": whole, "more_body": not self._body_complete}
            if self._body_complete:
                self._body_taken = True
                return {"type": "http.request", "body": b"", "more_body": False}
        if self._half_closed:
            self._told = True
            return {"type": "http.disconnect"}
        if self._continue and self._framing is None:
            self._continue = False
            self.connection.last_seen = self.shared.now
            self._ask_for_body()
        return None

    def _ask_for_body(self) -> None:
        """Send 100 (Continue), which the peer may wait for before it sends the body."""
        self.connection.write(CONTINUE)

    def left(self) -> bool:
        """Whether the client has left before it had the whole response; one that only sends no more, once that is told.

        An application that ends then without a response does as it should.
        """
        return self.stage is not DONE and (self.gone or self._told)

    def leave(self) -> None:
        """The client has left and the application has ended for that: nobody's error, and nobody gets a response."""
        if self._framing is not None:
            self.fail()
        elif not self.gone:
            self.status = LEFT
            self.keep_alive = False
            self._complete()
        elif self._lost and not self.shared.shutting_down:
            self.status = LEFT
            self._log()

    def wait_for_event(self) -> asyncio.Future[None]:
        """A future that is done when `next_event` is worth another call."""
        waiter: asyncio.Future[None] = self.shared.loop.create_future()
        earlier = self._waiter
        if earlier is None or earlier.done():
            self._waiter = waiter
        else:
            if self._crowd is None:
                self._crowd = Waiters()
            self._crowd.add(waiter)
        return waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                self.shared.wake(waiter)
            if self._crowd is not None:
                crowd, self._crowd = self._crowd, None
                crowd.wake()

    def _may_keep_alive(self) -> bool:
        # A peer that was never told to go on may send the body or not: what follows could not be told apart.
        waits_for_continue = self._continue and not self._body_complete
        return self.keep_alive and not waits_for_continue and not self.shared.draining

    def _complete(self) -> None:
        self.stage = DONE
        self.shared.requests -= 1  # before the next one on this connection begins
        self._body = None
        self._wake()
        self._log()
        self.http.response_completed(self, self.keep_alive)

    def _log(self) -> None:
        began = self._began
        if began:
            self._began = 0.0
            shared = self.shared
            seconds: float = shared.clock() - began
            if shared.counts.timed:
                shared.counts.request(self.head.method, self.status, self.body_bytes, seconds)
            if self._observer is not None:
                try:
                    self._observer.request(self.scope, self.status, self.body_bytes, seconds, self._response)
                except Exception as error:  # the next request on this connection is to be answered all the same
                    shared.log_application_error(OBSERVER_FAILED, error)
