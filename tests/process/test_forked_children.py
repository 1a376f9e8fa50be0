"""Children that an application forks: they are no servers, keep no sockets, and keep no server from its end."""

from __future__ import annotations

import asyncio
import errno
import http.client
import os
import re
import signal
import socket
from contextlib import closing

import pytest
from serving import PATIENCE, ServerProcess, run_process, serve_process
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from wire import handshake

from fastws.net.forking import descriptor_of, give_up, in_children
from fastws.process.scoreboard import Scoreboard, Stage

pytestmark = pytest.mark.slow

CHILD = r"child (\d+) handlers (\w+) sockets (\d+) epolls (\d+)"


def get(process: ServerProcess, path: str) -> str:
    with closing(http.client.HTTPConnection(process.host, process.port, timeout=PATIENCE)) as client:
        client.request("GET", path)
        return client.getresponse().read().decode()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_child_has_none_of_its_parents_handlers_and_sockets(workers: str, loop: str) -> None:
    arguments = ("forking_apps:app", "--workers", workers, "--loop", loop, "--timeout-graceful-shutdown", "1")
    with serve_process(*arguments) as process:
        if workers == "2":
            process.wait_for_line("2 workers serve")
        with connect(process.ws_url) as client:
            client.send("fork")
            client.recv()
            pid, handlers, sockets, epolls = process.wait_for_line(CHILD).groups()
            assert (handlers, epolls) == ("True", "1")  # an empty one
            assert int(sockets) <= 3  # the loop's own, by which threads wake it
            os.kill(int(pid), signal.SIGTERM)
            # The parent serves on, and says nothing about an end.
            for _ in range(10):
                client.send("still there")
                client.recv()
        assert process.popen.poll() is None
        assert "Shutting down" not in process.output
        assert "not told so" not in process.output
        assert process.stop() == 0


def test_a_child_that_is_ended_as_soon_as_it_is_there_ends() -> None:
    """A signal must not come between the fork and the end of our handlers, which would take it for the parent's."""
    with serve_process("forking_apps:app", "--timeout-graceful-shutdown", "1") as process:
        assert get(process, "/fork-and-terminate") == "-15 " * 50
        assert process.stop() == 0


def test_terminate_ends_a_child() -> None:
    with serve_process("forking_apps:app") as process:
        get(process, "/fork")
        process.wait_for_line(CHILD)
        assert get(process, "/terminate") == "-15"
        assert process.stop() == 0


def test_a_client_gets_its_end_and_the_port_is_free_while_a_child_lives() -> None:
    with serve_process("forking_apps:app", "--timeout-graceful-shutdown", "1") as process:
        with connect(process.ws_url) as client:
            client.send("fork")
            client.recv()
            pid = int(process.wait_for_line(CHILD)[1])
            process.signal(signal.SIGKILL)
            with pytest.raises(ConnectionClosed):
                client.recv(PATIENCE)
        process.popen.wait(PATIENCE)
        try:
            with closing(socket.socket()) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((process.host, process.port))
                sock.listen()
        finally:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("transport", ["auto", "loop"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_client_gets_its_end_where_the_child_is_forked_as_it_leaves(loop: str, transport: str) -> None:
    arguments = ("--loop", loop, "--transport", transport, "--timeout-graceful-shutdown", "1")
    with serve_process("forking_apps:app", *arguments) as process:
        for _ in range(3):
            with closing(socket.create_connection((process.host, process.port), PATIENCE)) as sock:
                sock.sendall(handshake().replace(b"/chat", b"/fork-at-the-end"))
                assert sock.recv(65536).startswith(b"HTTP/1.1 101 ")
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
        assert process.stop() == 0


def test_a_child_that_comes_back_to_the_loop_ends_there() -> None:
    with serve_process("forking_apps:app") as process:
        assert get(process, "/come-back") == "ok"
        process.wait_for_line("the child goes on")
        process.wait_for_line("was forked by the application and came back to the event loop; it ends")
        assert get(process, "/") == "ok"
        assert process.stop() == 0
        assert process.output.count("the application shuts down") == 0


def test_a_child_that_exits_leaves_the_server_alone() -> None:
    with serve_process("forking_apps:app", "--workers", "2") as process:
        process.wait_for_line("2 workers serve")
        for _ in range(3):
            assert get(process, "/exit") == "ok"
        assert get(process, "/") == "ok"
        assert process.stop() == 0
        assert "not told so" not in process.output
        assert process.output.count("has ended") == 2


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("leaves", ["child", "deaf child", "thread", "executor", "processes", "atexit"])
def test_nothing_that_an_application_leaves_behind_keeps_the_process(leaves: str, workers: str) -> None:
    arguments = ("forking_apps:app", "--workers", workers, "--timeout-graceful-shutdown", "0.5")
    with serve_process(*arguments, env={"LEAVES": leaves}) as process:
        if workers == "2":
            process.wait_for_line("2 workers serve")
        process.signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
        if leaves == "deaf child":  # it holds the pipe of the output
            for pid in re.findall(r"Ending 1 child process of the application: \S+ \[(\d+)\]", process.output):
                os.kill(int(pid), signal.SIGKILL)
        process.wait()
        assert "Traceback" not in process.output
        assert "most recent call first" not in process.output


SCRIPT = """
import fastws, forking_apps
if __name__ == "__main__":
    fastws.run(forking_apps.app, port=0, access_log=False, timeout_graceful_shutdown=0.5)
    print("behind run", flush=True)
"""


@pytest.mark.parametrize("leaves", ["child", "thread"])
def test_nor_does_it_keep_a_script(leaves: str, tmp_path: object) -> None:
    with run_process(SCRIPT, module="code_runner", env={"LEAVES": leaves}) as process:
        process.wait_for_line("running on")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert "behind run" in process.output


# The parts.


def forked(run: object) -> int:
    """The exit status of a child that runs `run`."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = run()  # type: ignore[operator]
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_callbacks_run_in_children_of_their_block_alone() -> None:
    seen: list[str] = []

    def fails() -> None:
        raise LookupError

    with in_children(lambda: seen.append("one")), in_children(fails), in_children(lambda: seen.append("two")):
        assert forked(lambda: 0 if seen == ["one", "two"] else 1) == 0
        assert forked(lambda: forked(lambda: 0 if len(seen) == 2 else 1)) == 0  # once, and not in grandchildren
    assert forked(lambda: len(seen)) == 0
    assert seen == []


def test_descriptors_that_are_given_up_are_still_there_and_lead_nowhere() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        give_up([ours.fileno(), -1, 10**6])
        with pytest.raises(OSError, match="Socket operation on non-socket"):
            ours.send(b"x")
        assert theirs.recv(1) == b""  # the last copy is gone


def test_one_descriptor_that_cannot_be_had_keeps_no_other() -> None:
    """uvloop makes a socket object of a transport's descriptor, which fails where that leads to no socket."""

    class Transport(asyncio.Transport):
        def __init__(self, sock: socket.socket | None) -> None:
            self.sock = sock

        def get_extra_info(self, name: str, default: object = None) -> object:
            if self.sock is not None and self.sock.fileno() >= 0:
                socket.socket(fileno=os.dup(self.sock.fileno())).close()
                return self.sock
            raise OSError(errno.ENOTSOCK, "Socket operation on non-socket")

    ours, theirs = socket.socketpair()
    with ours, theirs:
        transports = [Transport(None), Transport(ours), Transport(ours), None]
        give_up(descriptor_of(each) for each in transports)
        assert theirs.recv(1) == b""


def test_a_scoreboard_that_is_left_shows_the_same_and_tells_nobody() -> None:
    board = Scoreboard.create()
    row, seen = board.take_row(), Scoreboard(os.dup(board.descriptor))
    row.stage, row.connections = Stage.ACCEPTING, 7
    board.leave()
    assert (row.stage, row.connections) == (Stage.ACCEPTING, 7)
    row.stage = Stage.ENDING
    row.beat()
    assert (seen.row(row.index).stage, seen.row(row.index).last_beat) == (Stage.ACCEPTING, 0.0)
    os.close(seen.descriptor)
    os.close(board.descriptor)
