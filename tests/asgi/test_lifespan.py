"""The lifespan protocol: what the application may do at startup and shutdown, and what becomes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fastws.asgi.lifespan import Lifespan, State
from fastws.errors import ApplicationError, StartupError

App = Callable[[Any, Any, Any], Awaitable[None]]


def run(app: App, mode: str = "auto") -> Lifespan:
    """Start the application and shut it down again."""

    async def main() -> Lifespan:
        lifespan = Lifespan(app, mode)
        await lifespan.startup()
        await lifespan.shutdown()
        assert len(asyncio.all_tasks()) == 1  # nothing is left behind
        return lifespan

    return asyncio.run(main())


async def good(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "lifespan"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
    assert await receive() == {"type": "lifespan.startup"}
    scope["state"]["pool"] = "open"
    await send({"type": "lifespan.startup.complete"})
    assert await receive() == {"type": "lifespan.shutdown"}
    scope["state"]["pool"] = "closed"
    await send({"type": "lifespan.shutdown.complete"})


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_startup_and_shutdown(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lifespan = run(good, mode)
    assert lifespan.status is State.STOPPED
    assert lifespan.state == {"pool": "closed"}
    assert caplog.messages == [
        "Waiting for application startup.",
        "Application startup complete.",
        "Waiting for application shutdown.",
        "Application shutdown complete.",
    ]


def test_off_does_not_call_the_application(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    assert run(never, "off").status is State.ABSENT
    assert caplog.messages == []


async def raises(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http", "only HTTP is served here"


async def returns(scope: Any, receive: Any, send: Any) -> None:
    return


@pytest.mark.parametrize("app", [raises, returns])
def test_an_application_without_lifespan_is_served_in_auto(app: App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert run(app).status is State.ABSENT
    assert len(caplog.messages) == 2
    assert "appears unsupported" in caplog.messages[1]
    assert not any(record.exc_info for record in caplog.records)


def test_an_application_that_raises_fails_with_on(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StartupError, match=r"^Application startup failed: it raised AssertionError$"):
        run(raises, "on")
    assert [record.message for record in caplog.records if record.exc_info] == ["Exception in ASGI lifespan at startup"]


def test_an_application_that_returns_early_fails_with_on() -> None:
    with pytest.raises(StartupError, match=r"it returned before it sent lifespan\.startup\.complete$"):
        run(returns, "on")


@pytest.mark.parametrize("mode", ["auto", "on"])
@pytest.mark.parametrize("then_raise", [False, True])
def test_startup_failed_fails_in_every_mode(mode: str, then_raise: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        if then_raise:  # as Starlette does
            raise RuntimeError("no database")

    with pytest.raises(StartupError, match=r"^Application startup failed: no database$"):
        run(app, mode)
    assert not any(record.exc_info for record in caplog.records)


def test_a_traceback_in_startup_failed_is_logged_once_and_its_last_line_is_the_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": "Traceback:\n  File x\nOSError: no disk\n"})

    with pytest.raises(StartupError, match=r"^Application startup failed: OSError: no disk$"):
        run(app)
    assert caplog.messages == ["Traceback:\n  File x\nOSError: no disk"]


def test_shutdown_failed(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "still writing"})

    assert run(app).status is State.STOP_FAILED
    assert caplog.messages == ["Application shutdown failed: still writing"]


def test_an_exception_in_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise RuntimeError

    assert run(app).status is State.STOP_FAILED
    assert caplog.messages == [
        "Exception in ASGI lifespan at shutdown",
        "Application shutdown failed: it raised RuntimeError",
    ]


def test_an_exception_while_serving_is_logged_once_and_shutdown_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await serving.wait()
        raise RuntimeError

    serving = asyncio.Event()

    async def main() -> None:
        lifespan = Lifespan(app, "auto")
        await lifespan.startup()
        serving.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})  # type: ignore[arg-type]  # there is one
        assert await lifespan.shutdown() is True

    asyncio.run(main())
    assert caplog.messages == ["Exception in ASGI lifespan between startup and shutdown"]


def test_an_application_that_loops_over_receive_is_ended() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            await send({"type": (await receive())["type"] + ".complete"})

    assert run(app).status is State.STOPPED


def test_what_the_application_does_after_shutdown_complete_is_awaited() -> None:
    done = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await good(scope, receive, send)
        for _ in range(5):
            await asyncio.sleep(0)
        done.append(True)

    run(app)
    assert done == [True]


def test_cancel_ends_an_application_that_hangs() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        lifespan = Lifespan(app, "auto")
        starting = asyncio.ensure_future(lifespan.startup())
        await asyncio.sleep(0)
        starting.cancel()
        await lifespan.cancel()
        await lifespan.cancel()
        assert asyncio.all_tasks() <= {starting, asyncio.current_task()}  # type: ignore[comparison-overlap]  # there is one
        assert await lifespan.shutdown() is True

    asyncio.run(main())


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (
            ["lifespan.shutdown.complete"],
            "while starting; allowed is lifespan.startup.complete or lifespan.startup.failed",
        ),
        (
            ["lifespan.startup.complete", "lifespan.startup.complete"],
            "while running; allowed is lifespan.shutdown.failed",
        ),
        (["http.response.start"], "got 'http.response.start' while starting"),
        ([None], "got None while starting"),
    ],
)
def test_a_wrong_event_is_an_error_that_says_what_was_allowed(events: list[Any], message: str) -> None:
    caught: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            for event in events:
                await send({"type": event})
        except ApplicationError as error:
            caught.append(str(error))
        if len(events) == 1:
            await send({"type": "lifespan.startup.complete"})
        await receive()
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    assert run(app).status is State.STOPPED
    assert message in caught[0]
