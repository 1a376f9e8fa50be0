"""Processes whose application is at fault: they serve on, and end when they are told to, in bounded time."""

from __future__ import annotations

import signal
import socket
from contextlib import closing

import fault_apps
import pytest
import wire
from serving import PATIENCE, ServerProcess, run_process, serve, serve_process

pytestmark = pytest.mark.slow


def begin(process: ServerProcess, data: bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") -> socket.socket:
    """A request, or handshake, of which the application has begun to make nothing."""
    client = socket.create_connection((process.host, process.port), PATIENCE)
    client.sendall(data)
    process.wait_for_line("^begun")
    return client


def tracebacks(process: ServerProcess) -> int:
    return process.output.count("Traceback (most recent call last)")


def test_an_application_that_exits_ends_only_its_own_request(engine: str) -> None:
    with serve(fault_apps.exits, ws=engine) as serving, wire.Client(serving) as other:
        other.send(b"GET /exit HTTP/1.1\r\nHost: x\r\n\r\n")
        assert other.response().status == 500
        for _ in range(2):
            with wire.Client(serving) as client:
                client.send(wire.handshake())
                assert client.response().status == 500
        with wire.Client(serving) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.response().body == b"ok"


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", wire.handshake()])
def test_an_application_that_refuses_to_be_cancelled_is_left_behind(request_: bytes) -> None:
    arguments = ("fault_apps:never_cancelled", "--timeout-graceful-shutdown", "0.2")
    with serve_process(*arguments) as process, closing(begin(process, request_)):
        process.signal(signal.SIGTERM)
        process.wait_for_line(r"goes on although it was cancelled, in refuse_to_end \(.*fault_apps.py:\d+\)")
        assert process.wait() == 0
        assert "the application shuts down" in process.output
        assert tracebacks(process) == 0


@pytest.mark.parametrize("app", ["blocks", "blocks_in_finally"])
def test_a_blocked_event_loop_ends_with_its_stack(app: str) -> None:
    arguments = (f"fault_apps:{app}", "--timeout-graceful-shutdown", "0.2")
    with serve_process(*arguments) as process, closing(begin(process)):
        process.signal(signal.SIGTERM)
        assert process.wait() == 1
        assert 'fault_apps.py", line' in process.output
        assert f"in {app}" in process.output


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    arguments = ("fault_apps:hangs_in_a_thread", "--timeout-graceful-shutdown", "0.2")
    with serve_process(*arguments) as process, closing(begin(process)):
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert "Waiting for 1 thread of the application: asyncio_0" in process.output
        assert "Leaving 1 thread of the application behind: asyncio_0" in process.output
        assert "the application shuts down" in process.output


def test_a_hanging_lifespan_is_given_up_in_time() -> None:
    arguments = ("fault_apps:framework", "--timeout-graceful-shutdown", "0.2")
    with serve_process(*arguments, env={"FAULT": "shutdown hangs"}) as process:
        process.signal(signal.SIGTERM)
        process.wait_for_line("Application shutdown failed: --timeout-graceful-shutdown of 0.2 s is over")
        assert process.wait() == 1
        assert tracebacks(process) == 0


def test_a_second_signal_gives_a_hanging_lifespan_up() -> None:
    with serve_process("fault_apps:framework", env={"FAULT": "shutdown hangs"}) as process:
        process.signal(signal.SIGTERM)
        process.wait_for_line("^hanging")
        process.signal(signal.SIGTERM)
        process.wait_for_line("Not waiting for the application to shut down")
        assert process.wait() == 0
        assert tracebacks(process) == 0


def test_a_signal_while_a_lifespan_starts_is_no_error() -> None:
    with run_process("fault_apps:framework", "--port", "0", env={"FAULT": "startup hangs"}) as process:
        process.wait_for_line("^hanging")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert "Told to exit during startup" in process.output
        assert "ERROR" not in process.output
        assert tracebacks(process) == 0


@pytest.mark.parametrize(("fault", "status"), [("startup", 3), ("shutdown", 1)])
def test_a_lifespan_that_raises_has_one_traceback(fault: str, status: int) -> None:
    with run_process("fault_apps:framework", "--port", "0", env={"FAULT": fault}) as process:
        if fault == "shutdown":
            process.wait_for_line("running on")
            process.signal(signal.SIGTERM)
        assert process.wait() == status
        assert tracebacks(process) == 1
        assert f"Application {fault} failed: ValueError: mine" in process.output


def test_a_lifespan_that_raises_while_it_is_served_has_one_traceback() -> None:
    with serve_process("fault_apps:framework", env={"FAULT": "serving"}) as process:
        process.wait_for_line("The lifespan of the application failed while it was served: ValueError: mine")
        with closing(socket.create_connection((process.host, process.port), PATIENCE)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert process.stop() == 0
        assert tracebacks(process) == 1
        assert "allowed is" not in process.output


def test_a_base_exception_at_startup_exits_3() -> None:
    with run_process("fault_apps:worst_at_startup", "--port", "0") as process:
        assert process.wait() == 3
        assert tracebacks(process) == 1
        assert "Application startup failed: it raised Worst" in process.output


def test_two_signals_end_an_application_that_refuses_to_be_cancelled() -> None:
    arguments = ("fault_apps:never_cancelled", "--timeout-graceful-shutdown", "none")
    with serve_process(*arguments) as process, closing(begin(process)):
        process.signal(signal.SIGTERM)
        process.wait_for_line("Waiting for 1 connection to close")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert tracebacks(process) == 0
