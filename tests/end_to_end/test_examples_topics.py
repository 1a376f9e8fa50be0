"""The examples of topics: a chat of few lines, alone and on two servers behind HAProxy, and a ticker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from browser import Browser, chromium
from example_serving import EXAMPLES, answer, example, finish, open_page, picture, refused, wait_for_text
from proxies import free_port
from serving import serve_process
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.deploy


heard_of: WeakKeyDictionary[ClientConnection, list[dict[str, Any]]] = WeakKeyDictionary()
"""What came to a client between what a test has asked for."""


def answer_of(websocket: ClientConnection, type: str) -> dict[str, Any]:
    """The next message of that type; others are kept."""
    others = heard_of.setdefault(websocket, [])
    while (found := answer(websocket)).get("type") != type:
        others.append(found)
    return found


def presence_of(websocket: ClientConnection) -> tuple[str, str]:
    """Who came or went next."""
    others = heard_of.setdefault(websocket, [])
    found = others.pop(0) if others else answer(websocket)
    return found["event"], found["who"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_chat_with_topics_in_one_server_of_two_workers() -> None:
    with serve_process("--workers", "2", "with_topics:app", cwd=EXAMPLES / "chat") as server:
        url = f"{server.ws_url}/ws?room="
        assert refused(url) == 400
        with connect(f"{url}a&name=Ada") as ada, connect(f"{url}a&name=Bob") as bob, connect(f"{url}b&name=Eve") as eve:
            bob.send("hello")
            assert (said := answer_of(bob, "said")) == answer_of(ada, "said")
            assert (said["name"], said["text"], said["server"].split()[0]) == ("Bob", "hello", "worker")
            eve.send("alone?")
            assert answer_of(eve, "said")["text"] == "alone?"


def test_chat_with_topics_tells_who_is_there() -> None:
    with serve_process("with_topics:app", cwd=EXAMPLES / "chat", env={"SERVER": "server x"}) as server:
        url = f"{server.ws_url}/ws?room=a&name="
        with connect(f"{url}Ada") as ada:
            assert answer_of(ada, "hello") == {"type": "hello", "server": "server x", "here": 1, "history": []}
            with connect(f"{url}Bob") as bob:
                assert answer_of(bob, "hello")["here"] == 2
            assert [presence_of(ada) for _ in range(3)] == [("join", "Ada"), ("join", "Bob"), ("leave", "Bob")]
        assert server.stop() == 0


def test_cluster_reaches_the_members_of_both_servers(browser: Browser) -> None:
    port = free_port()
    with example("cluster", port, FASTWS_HOST="127.0.0.1", FASTWS_PORT=str(port)) as server:  # as `make example` does
        url = f"{server.ws_url}/ws?room=tea&name="
        open_page(browser, server, "/?room=tea&name=Cora")
        wait_for_text(browser, "#connection", "Connected")
        with connect(f"{url}Ada") as ada, connect(f"{url}Bob") as bob:
            assert ada.response is not None
            assert bob.response is not None
            assert {each.response.headers["x-server"] for each in (ada, bob)} == {"a", "b"}
            for number in range(5):
                ada.send(f"<i>{number}</i>")
            heard = [[answer_of(each, "said") for _ in range(5)] for each in (ada, bob)]
            assert heard[0] == heard[1]
            assert [each["text"] for each in heard[0]] == [f"<i>{number}</i>" for number in range(5)]
            by = f"server {ada.response.headers['x-server']}"
            assert {each["server"] for each in heard[0]} == {by}
            wait_for_text(browser, "#said", "<i>4</i>")
            wait_for_text(browser, "#here", "3 here; this page is on server ")
            assert f", by {by}" in browser.text("#said")
            picture(browser, "example-cluster")
        wait_for_text(browser, "#here", "1 here")
        wait_for_text(browser, "#said", "Bob left")
        finish(browser)
        assert server.stop() == 0
        assert "WARNING" not in server.output


@pytest.mark.parametrize("name", ["broadcast", "cluster"])
def test_what_an_example_needs_and_is_missing_is_a_line(name: str) -> None:
    command = [sys.executable, "serve.py"]
    done = subprocess.run(command, cwd=EXAMPLES / name, env={"PATH": ""}, capture_output=True, text=True)
    assert re.fullmatch(r"(redis-server|haproxy) is missing: .*\n", done.stderr), done.stderr


def test_ticker_shows_a_slow_reader_the_newest(browser: Browser) -> None:
    with example("ticker") as server:
        with connect(f"{server.ws_url}/ws", compression=None, max_queue=2) as slow:
            first = answer(slow)
            with connect(f"{server.ws_url}/ws") as reader:
                while (newest := answer(reader))["at"] < first["at"] + 3:  # some 2 MB, which nobody else takes
                    pass
            reached = 0
            while (quote := json.loads(slow.recv(timeout=15)))["at"] < newest["at"]:
                reached += 1
            assert reached < 800  # of 1,200
            assert len(quote["book"]) == 200
        open_page(browser, server)
        browser.wait(lambda: len(browser.driver.find_elements("css selector", "#prices section")) == 10, "no prices")
        browser.wait(lambda: int(browser.text("#rate")) > 0, "no quotes")
        assert float(browser.text("#age").removesuffix(" s")) < 10
        picture(browser, "example-ticker")
        slow = "document.getElementById('slow').checked = "
        browser.driver.execute_script(slow + "true")
        browser.wait(lambda: int(browser.text("#waiting")) > 20, "nothing waits for a slow page")
        browser.driver.execute_script(slow + "false")
        finish(browser)
