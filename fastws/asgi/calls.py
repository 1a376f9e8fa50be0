"""Calls of the application: the task that serves a request, and what becomes of its end.

What an application is called with is not here: its scope is in scopes.py, its coroutines are in application.py. This
module has none, and is compiled by Cython where the extension was built (calls.pxd) and interpreted elsewhere.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.tasks import _enter_task, _leave_task  # documented, for other kinds of tasks
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from fastws.asgi.http_cycle import HttpCycle
from fastws.asgi.observer import Observer
from fastws.asgi.request_text import attributes
from fastws.asgi.responder import Stage
from fastws.asgi.scopes import Scopes
from fastws.asgi.session import Session
from fastws.asgi.states import State
from fastws.asgi.waiting import REUSED
from fastws.errors import ClientDisconnected
from fastws.http.head import RequestHead
from fastws.http.http2_head import HTTP2
from fastws.net.http_handler import Gateway, HttpHandler
from fastws.net.loop_core import Resumable

if TYPE_CHECKING:
    from fastws.asgi.scopes import Scope
    from fastws.config import Config
    from fastws.net.loop_state import LoopState
    from fastws.websocket.handshake import UpgradeRequest

    Event = dict[str, Any]
    ASGIApp = Callable[[Scope, Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]], Awaitable[None]]

DISCONNECTS = frozenset({"ClientDisconnect", "WebSocketDisconnect", "WebSocketDisconnected"})
"""Names of the exceptions by which frameworks (Starlette, FastAPI, Litestar, Falcon) tell that the peer is gone."""

EAGER = sys.version_info >= (3, 12)
"""Whether a task can begin when it is made, and needs no turn of the loop for its first step."""

NAMED = sys.version_info < (3, 13)
"""Whether asyncio writes the name of a task when it is made, by the slowest of ways, so that ours is cheaper."""

WEBSOCKET_NAME = "fastws-websocket" if sys.version_info < (3, 12) else None
"""The name of the tasks of WebSockets, where it would be kept for each of them and logging does not show it."""

Task: Any = asyncio.Task  # of coroutines, which a `Run` is

DONE = Stage.DONE
CLOSING = State.CLOSING
CLOSED = State.CLOSED


class Calls(Gateway):
    """Serves requests and WebSockets with an ASGI 3 application, as fastws.asgi.application.Application has it.

    `http_call`, `http2_call` and `websocket_call` are what an application is called with: an `HttpCycle` for each
    version of HTTP and a `Session`, with the coroutines `receive` and `send`.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        http_call: type[HttpCycle],
        http2_call: type[HttpCycle],
        websocket_call: type[Session],
        state: dict[str, Any] | None,
        observer: Observer | None,
    ) -> None:
        self._app = app
        self._eager = EAGER and config.app_wakeup == "auto"
        self._goes_on = REUSED and config.app_wakeup == "auto"
        self._scopes = Scopes(config, state)
        self._http_call = http_call
        self._http2_call = http2_call
        self._websocket_call = websocket_call
        self._observer = observer
        self._http_observer = observer if observer is not None and observer.hears_requests else None
        self._shared: LoopState
        self._task_options: dict[str, Any]
        self._requests: int = 0  # whose tasks have got their names

    def bind(self, state: LoopState) -> None:
        """Learn the state that is shared."""
        self._shared = state
        self._task_options = {"loop": state.loop, "eager_start": True} if self._eager else {"loop": state.loop}
        self._scopes.bind(state)

    def offer_websockets(self, extension: str, value: dict[str, Any]) -> None:
        """Let `scope["extensions"]` of WebSockets have `extension` with this value."""
        self._scopes.offer_websockets(extension, value)

    def exchange(self, http: HttpHandler, head: RequestHead) -> HttpCycle:
        """Call the application for the request `head`."""
        shared = self._shared
        scope = self._scopes.http(http, head)
        make = self._http_call if head.http_version is not HTTP2 else self._http2_call
        call = make()
        call._open(http, shared, head, scope, self._http_observer)
        shared.requests += 1
        self._start(self._run(scope, call))
        return call

    def websocket(self, http: HttpHandler, head: RequestHead, upgrade: UpgradeRequest, early_data: bytes) -> Session:
        """Call the application for the WebSocket that `head` asks for."""
        shared = self._shared
        scope = self._scopes.websocket(http, head, upgrade)
        call = self._websocket_call(http.connection, shared, scope, self._observer, head, upgrade, early_data)
        shared.websockets += 1
        run = self._run(scope, call)
        if self._goes_on and shared.loop.get_task_factory() is None:
            run.session = call
            run.context = shared.context.copy()
        self._start(run)
        return call

    def _run(self, scope: Scope, call: Any) -> Run:
        run = Run.__new__(Run)
        run._prepare(self, scope, call)
        return run

    def _start(self, run: Run) -> None:
        """Call the application in a task: when what has been read is understood, or from the loop's next turn on.

        Never here: a request is to be known to its connection first, and what has come of its body to be there.
        """
        if self._eager:
            self._shared.resume_soon(run)
        else:
            self._shared.woken = True
            self.begin(run)

    def begin(self, run: Run) -> None:
        """Make the task of `run`; an eager one has then taken its first step, which may have been all of it.

        Not by the loop's task factory: an application may have set an eager one where ours is not to be. The context
        that it copies is the server's own, in which all is that reads and resumes.
        """
        shared = self._shared
        call = run._call
        if shared.aborted:
            run.drop()  # as a task that is cancelled before it has begun
            return
        options = self._task_options
        name = WEBSOCKET_NAME
        cycle = call if isinstance(call, HttpCycle) else None
        if NAMED and cycle is not None:
            self._requests += 1
            name = f"fastws-{self._requests}"
        options["name"] = name
        context = run.context
        task: asyncio.Task[None] = Task(run, **options) if context is None else Task(run, context=context, **options)
        if not run.goes_on():
            return
        shared.tasks.add(task)
        if cycle is not None:
            cycle.task = task
        else:
            call.task = task

    # What becomes of the end of a call: `error` is what the application has raised.

    def _end_http(self, call: HttpCycle, scope: Scope, error: BaseException | None) -> None:
        shared = self._shared
        leaves = call.left() and (error is None or isinstance(error, asyncio.CancelledError) or is_disconnect(error))
        if leaves:
            pass  # a client that leaves is nobody's error
        elif not call.finished():
            if error is None:
                self._log("The application returned without completing its response.", scope)
            else:
                self._log_error(error, scope)
        elif error is not None and not is_disconnect(error):
            self._log_error(error, scope)
        self._end(call.task)
        if leaves:
            call.leave()
        else:
            call.fail()
        if call.stage is not DONE:  # else it was counted off when its response was complete
            shared.requests -= 1
        call.connection.call_ended()

    def _end_websocket(self, call: Session, scope: Scope, error: BaseException | None) -> None:
        shared = self._shared
        if error is None:
            if call.undecided():
                self._log("The application returned without accepting or closing the WebSocket.", scope)
        elif (call.state is not CLOSING and call.state is not CLOSED) or not is_disconnect(error):
            self._log_error(error, scope)
        self._end(call.task)
        shared.websockets -= 1
        call.end_by_application(error is not None)
        call.connection.call_ended()

    def _end(self, task: asyncio.Task[None] | None) -> None:
        """The task has ended, or, with None, one that was eager and is known to nobody."""
        shared = self._shared
        if shared.idle_waiters:
            shared.end_task(task)
        else:
            shared.tasks.discard(task)

    def _log_error(self, error: BaseException, scope: Scope) -> None:
        """Log what the application raised, with its traceback, once; nothing where it was we who cancelled it."""
        if not isinstance(error, asyncio.CancelledError):
            self._log("Exception in ASGI application", scope, error)
        elif not self._shared.shutting_down:
            self._log("The application's task was cancelled.", scope)

    def _log(self, message: str, scope: Scope, error: BaseException | None = None) -> None:
        shared = self._shared
        shared.log_application_error(message, error, attributes(scope, shared.config.log_query_values))


WITHDRAWS = sys.version_info >= (3, 13)
"""Whether `Task.uncancel()` takes back a cancellation that the task has not been told."""

ENDED = object()
"""What a step is worth at the application's end: cheaper than an exception."""


class Run(Resumable):
    """What a task runs: one call of the application. A coroutine to asyncio (`collections.abc.Coroutine`).

    It is an object with the methods of a coroutine, since that is the smallest thing which can stand between a task and
    the application. Whatever the application raises ends here, SystemExit and KeyboardInterrupt included: beyond its
    task they would end the loop, and with it everybody else's connections. CTRL+C is none of them, `Server` handles
    the signals.
    """

    def _prepare(self, calls: Calls, scope: Scope, call: Any) -> None:
        """What would be `__init__`: a compiled one finds this at once."""
        self._calls: Calls | None = calls
        self._scope: Scope | None = scope
        self._call = call
        self._coroutine: Any = None
        # A WebSocket that the application may wait in without its task, and the context of that.
        self.session: Session | None = None
        self.context: Context | None = None
        self._future: Any = None  # what the task waits in while the application waits for an event
        self._straight: bool = True  # the last event was taken without waiting for anything else
        # What the application waits for, or how it ended, and the task has not been told.
        self._ahead: bool = False
        self._result: Any = None
        self._error: BaseException | None = None
        # Of a cancellation in a step that the task knew nothing of: that it was withdrawn, or its last message.
        self._withdrawn: bool = False
        self._message: tuple[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        """What else a coroutine tells of itself, such as where it waits, is the application's."""
        return getattr(self._coroutine, name)

    def __await__(self) -> Generator[Any, Any, None]:
        return self  # type: ignore[return-value]  # it has the methods of a generator that are used

    def __iter__(self) -> Run:
        return self

    def __next__(self) -> Any:
        result = self._step(None, None)
        if result is ENDED:
            raise StopIteration
        return result

    def send(self, value: Any) -> Any:
        """Go on until the application waits, for what is returned; raises StopIteration at its end."""
        result = self._step(value, None)
        if result is ENDED:
            raise StopIteration
        return result

    def resume(self) -> None:
        """Let the application go on with an event, without the task, which waits on unless it waits for something else.

        To the application it is a step of the task: its context, `asyncio.current_task()`.
        """
        if self._coroutine is None:
            if self._calls is not None:
                self._calls.begin(self)
            return
        session, future, context = self.session, self._future, self.context
        if session is None or context is None or future.done():
            return  # it is cancelled
        task: Any = session.task
        loop = session.shared.loop
        result: Any = None
        try:
            _enter_task(loop, task)
        except RuntimeError:  # this is a loop in a step of another task
            self._future = None
            session.shared.wake(future)
            return
        try:
            result = context.run(self._coroutine.send, None)
        except BaseException as error:
            self._error = error
        finally:
            _leave_task(loop, task)
        if result is future and self._error is None:
            session.parked = self
            return
        self._straight = False
        self._ahead = True
        self._result = result
        if future.cancelled():
            self._note_cancellation(task)
        if not future.done():
            session.shared.wake(future)

    def goes_on(self) -> bool:
        """Whether the application has not ended, or has not begun."""
        return self._calls is not None

    def drop(self) -> None:
        """Forget the call of the application, which has not begun."""
        self._calls = self._call = self._scope = None

    def give_up(self, error: Exception) -> None:
        if self._coroutine is None and self._calls is not None:
            self._end(error)  # no task could be made
        elif self.session is not None:
            self.session.give_up(error)

    def _note_cancellation(self, task: Any) -> None:
        """The application has cancelled its own task, which asyncio took for one that waits: what it would else mean.

        Inside a step the last message counts, and on 3.13 as many `uncancel()` take it back.
        """
        if WITHDRAWS and not task.cancelling():
            self._withdrawn = True
        elif task._must_cancel:  # it was cancelled more than once
            self._message = (task._cancel_message,)

    def _park(self, session: Session, result: Any) -> None:
        """The task is about to wait in `result`: if that is the next event, it need not be woken for it."""
        waits = result is not None and result is session.waits_in()
        if self._future is not None:
            self._straight = waits
        self._future = result if waits else None
        if waits and self._straight:
            session.parked = self

    def throw(self, kind: Any, value: BaseException | None = None, traceback: object = None) -> Any:
        """Go on with an exception in the application. Before it has begun there is nobody to have it."""
        error = kind if value is None else value
        if self._coroutine is None:
            self.drop()
            raise error
        result = self._step(None, error)
        if result is ENDED:
            raise StopIteration
        return result

    def close(self) -> None:
        """End the application's coroutine where it waits."""
        if self._coroutine is not None:
            self._coroutine.close()

    def _catch_up(self, error: BaseException | None) -> Any:
        """Tell the task what it has missed; `error` is what it throws meanwhile."""
        result, raised, message = self._result, self._error, self._message
        withdrawn = self._withdrawn
        session = self.session
        self._ahead = self._withdrawn = False
        self._result = self._error = self._future = self._message = None
        if raised is not None:
            return self._ended(raised)
        if withdrawn and session is not None:
            task: Any = session.task
            if not task.cancelling():
                return result
        if error is not None:
            # The task was cancelled in a step of its own: it cancels what it is to wait for, which tells who waits.
            cancel = getattr(result, "cancel", None)
            if message is not None:
                error = asyncio.CancelledError(*(each for each in message if each is not None))
            options = {"msg": error.args[0]} if error.args else {}
            if cancel is None or not isinstance(error, asyncio.CancelledError) or not cancel(**options):
                return self._step(None, error)
        return result

    def _step(self, value: Any, error: BaseException | None) -> Any:
        """What the application waits for, or ENDED."""
        if self._ahead:
            return self._catch_up(error)
        coroutine = self._coroutine
        session = self.session
        try:
            if error is not None:
                if session is not None:
                    session.parked = None
                return coroutine.throw(error)
            if coroutine is None:
                coroutine = self._begin()
            result = coroutine.send(value)
            if session is not None:
                self._park(session, result)
            return result
        except StopIteration:
            pass  # with nothing more here, Cython makes no traceback for it
        except BaseException as raised:
            return self._ended(raised)
        self._end(None)
        return ENDED

    def _ended(self, error: BaseException) -> Any:
        """The application has ended with `error`."""
        if isinstance(error, StopIteration):
            self._end(None)
            return ENDED
        self._end(error)
        if isinstance(error, asyncio.CancelledError):
            raise error
        return ENDED

    def _begin(self) -> Any:
        """Call the application: in its task, since it may be a plain function that returns something to await."""
        calls, call, scope = self._calls, self._call, self._scope
        assert calls is not None
        assert scope is not None
        awaitable: Any = calls._app(scope, call.receive, call.send)
        if type(awaitable) is not CoroutineType:
            awaitable = _wait_for(awaitable)
        self._coroutine = awaitable
        return awaitable

    def _end(self, error: BaseException | None) -> None:
        calls, call, scope = self._calls, self._call, self._scope
        assert calls is not None
        assert scope is not None
        self._calls = self._call = self._scope = self._coroutine = None
        self.session = self.context = self._future = None
        if isinstance(call, HttpCycle):
            calls._end_http(call, scope, error)
        else:
            calls._end_websocket(call, scope, error)


async def _wait_for(awaitable: Awaitable[None]) -> None:
    await awaitable


def is_disconnect(error: BaseException) -> bool:
    """Whether `error` only says that the peer is gone: ours, or what a framework has made of it or of a disconnect.

    By name, since the frameworks' classes have no base of their own and are not ours to import. The cause of an error
    is not asked: a mistake in an application's clean-up must be logged. A group is a disconnect if all in it are.
    """
    members = getattr(error, "exceptions", None)
    if isinstance(members, tuple) and members:
        return all(is_disconnect(member) for member in members)
    return isinstance(error, ClientDisconnected) or type(error).__name__ in DISCONNECTS
