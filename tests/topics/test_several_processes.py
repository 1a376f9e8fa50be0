"""Topics over several processes: workers, gunicorn's, with and without Redis; killed, replaced, restarted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from gunicorn_serving import serve_gunicorn
from redis_server import RedisServer
from serving import PATIENCE, SUPPORT, ServerProcess, serve_process
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.deploy


@contextmanager
def workers(count: int, *options: str, env: dict[str, str] | None = None) -> Iterator[ServerProcess]:
    """So many workers, all of which serve."""
    with serve_process("topics_apps:app", "--workers", str(count), "--no-access-log", *options, env=env) as process:
        process.wait_for_line(f"{count} workers? serves?")
        yield process
        if process.popen.poll() is None:
            assert process.stop() == 0, process.output


class Client:
    """A WebSocket to one worker, `pid`, with the messages of topics that it has got."""

    def __init__(self, url: str) -> None:
        self._stack = ExitStack()
        self.socket: ClientConnection = self._stack.enter_context(connect(url, compression=None))
        self.got: list[str] = []
        self.pid, _ = self.do("none", "")

    def do(self, *command: Any) -> Any:
        """The process and the answer."""
        self.socket.send(json.dumps(command))
        while True:
            message = self.socket.recv(PATIENCE)
            assert isinstance(message, str)
            if message.startswith("["):
                return json.loads(message)
            self.got.append(message)

    def take(self, count: int) -> list[str]:
        """The first `count` messages of topics."""
        while len(self.got) < count:
            message = self.socket.recv(PATIENCE)
            assert isinstance(message, str)
            self.got.append(message)
        return self.got

    def close(self) -> None:
        self._stack.close()


def client_of_each(stack: ExitStack, url: str, count: int, but: tuple[int, ...] = ()) -> dict[int, Client]:
    """A client of each of `count` workers, by their process ids; of none in `but`."""
    found: dict[int, Client] = {}
    deadline = time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} workers answer"
        try:
            client = Client(url)
        except (OSError, ConnectionClosed):
            continue
        stack.callback(client.close)
        if client.pid not in found and client.pid not in but:
            found[client.pid] = client
    return found


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it does not become true"
        time.sleep(0.01)


def check_all_reach_all(clients: list[Client], count: int = 200) -> None:
    """Each publishes `count` messages at once; every other one gets them in order, and once."""
    for client in clients:
        client.do("subscribe", "room")
        client.got.clear()
    for index, client in enumerate(clients):
        client.do("publish", "room", *(f"{index} {number}" for number in range(count)))
    for index, client in enumerate(clients):
        client.take(count * (len(clients) - 1))
        for other in {*range(len(clients))} - {index}:
            theirs = [each for each in client.got if each.startswith(f"{other} ")]
            assert theirs == [f"{other} {number}" for number in range(count)]
    for client in clients:
        assert client.do("count", "room")[1] == len(clients)
        assert len(client.got) == count * (len(clients) - 1)


def kill(process: ServerProcess, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    process.wait_for_line(rf"Worker \[{pid}\] was killed")


def test_workers_reach_each_other_through_kill_and_rolling_restart() -> None:
    with workers(3) as process, ExitStack() as stack:
        clients = client_of_each(stack, process.ws_url, 3)
        check_all_reach_all([*clients.values()])
        victim, *others = clients.values()
        kill(process, victim.pid)
        [new] = client_of_each(stack, process.ws_url, 1, but=tuple(clients)).values()
        check_all_reach_all([new, *others])
        process.signal(signal.SIGHUP)
        process.wait_for_line("All workers were replaced")
        clients = client_of_each(stack, process.ws_url, 3, but=(new.pid, *clients))
        check_all_reach_all([*clients.values()])
    assert "Topics" not in process.output
    assert "Traceback" not in process.output


def test_a_worker_that_starts_hears_what_the_others_publish_meanwhile() -> None:
    """A client that was cut off with a worker comes back to the new one, while another never stops publishing."""
    with workers(2) as process, ExitStack() as stack:
        publisher, listener = client_of_each(stack, process.ws_url, 2).values()
        end = threading.Event()

        def publish() -> None:
            number = 0
            while not end.is_set():
                publisher.do("publish", "room", *(f"{number + more}" for more in range(10)))
                number += 10

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            for last in (False, True):
                listener.do("subscribe", "room")
                listener.take(100)
                first = int(listener.got[0])
                assert listener.got == [f"{first + number}" for number in range(len(listener.got))]
                if not last:
                    kill(process, listener.pid)
                    but = publisher.pid, listener.pid
                    [listener] = client_of_each(stack, process.ws_url, 1, but=but).values()
        finally:
            end.set()
            thread.join()


def test_two_servers_of_one_machine_with_a_directory() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="fastws-topics-") as directory,
        serve_process("topics_apps:app", "--topics-dir", directory) as one,
        serve_process("topics_apps:app", "--topics-dir", directory) as two,
        ExitStack() as stack,
    ):
        clients = [client for each in (one, two) for client in client_of_each(stack, each.ws_url, 1).values()]
        check_all_reach_all(clients)


def test_gunicorn_s_workers_reach_each_other(tmp_path: Path) -> None:
    with ExitStack() as stack:
        process = stack.enter_context(serve_gunicorn(tmp_path, "-w", "2", app="topics_apps:app"))
        clients = client_of_each(stack, process.ws_url, 2)
        check_all_reach_all([*clients.values()])
        victim, other = clients.values()
        os.kill(victim.pid, signal.SIGKILL)
        [new] = client_of_each(stack, process.ws_url, 1, but=(victim.pid, other.pid)).values()
        check_all_reach_all([new, other])
        directory = Path(tempfile.gettempdir(), f"fastws-topics-{os.geteuid()}-{process.popen.pid}")
        assert directory.exists()
        assert process.stop() == 0
    assert not directory.exists()


def test_two_workers_and_redis_through_kill_restart_and_silence(redis: RedisServer) -> None:
    with (
        workers(2, "--topics-url", f"{redis.url}?socket_timeout=2", "--topics-prefix", "x:") as process,
        ExitStack() as stack,
    ):
        clients = client_of_each(stack, process.ws_url, 2)
        check_all_reach_all([*clients.values()])
        assert redis.do("PUBSUB", "NUMSUB", "x:room")[1] == 2
        victim, other = clients.values()
        kill(process, victim.pid)
        [new] = client_of_each(stack, process.ws_url, 1, but=(victim.pid, other.pid)).values()
        check_all_reach_all([new, other])
        redis.kill()
        process.wait_for_line("no way to")
        for client in (new, other):
            client.got.clear()
        for number in range(100):
            other.do("publish", "room", f"{number}")
        redis.start()
        new.take(100)
        assert new.got == [f"{number}" for number in range(100)]
        process.wait_for_line(r"is back; outage from .* 100 publications waited, 0 dropped")
        check_all_reach_all([new, other])
        redis.pause()
        new.got.clear()
        for number in range(100):
            other.do("publish", "room", f"{number}")
        assert new.do("count", "room")[1] == 1  # nobody else answers
        until(lambda: process.output.count("no answer within 2 s") == 2)  # one that has not noticed would go on
        redis.pause(False)
        new.take(100)
        assert new.got == [f"{number}" for number in range(100)]
    assert "missed" not in process.output


def test_what_is_lost_is_what_the_log_says(redis: RedisServer) -> None:
    """The subscribers' connections to Redis are cut again and again, while a client publishes."""
    with workers(2, "--topics-url", redis.url) as process, ExitStack() as stack:
        publisher, listener = client_of_each(stack, process.ws_url, 2).values()
        publisher.do("subscribe", "room")
        listener.do("subscribe", "room")
        publisher.do("publish", "room", "first")
        listener.take(1)
        number = 0
        for _ in range(5):
            redis.do("CLIENT", "KILL", "TYPE", "pubsub")
            for _ in range(20):
                publisher.do("publish", "room", *(f"{number + more}" for more in range(10)))
                number += 10
            until(lambda: redis.do("PUBSUB", "NUMSUB", "fastws:room")[1] == 2)
        publisher.do("publish", "room", "last")
        while listener.got[-1] != "last":
            listener.take(len(listener.got) + 1)
        got = [int(each) for each in listener.got[1:-1]]
        assert got == sorted({*got})
        assert process.stop() == 0
        missed = sum(int(each) for each in re.findall(r"Topics: missed (\d+) publications? of 1", process.output))
        assert missed == number - len(got)


def test_a_redis_that_is_not_there_and_one_that_refuses(redis: RedisServer) -> None:
    options = ("topics_apps:app", "--topics-url", redis.url, "--port", "0")
    redis.do("CONFIG", "SET", "requirepass", "right")
    env = {**os.environ, "FASTWS_TOPICS_PASSWORD": "wrong-one"}
    command = [sys.executable, "-m", "fastws", *options]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, cwd=SUPPORT)
    assert ended.returncode == 3
    assert "--topics-url: unix:///" in ended.stderr
    assert "wrong-one" not in ended.stderr
    redis.kill()
    with serve_process(*options, env={"FASTWS_TOPICS_PASSWORD": "right"}) as process:
        process.wait_for_line("Topics: no way to unix:///")
        client = Client(process.ws_url)
        client.do("subscribe", "room")
        client.do("publish", "room", "x")
        client.close()
        assert process.stop() == 0
    assert "1 publication did not reach" in process.output
