"""The examples of topics: a chat of few lines, alone and on two servers behind HAProxy, and a ticker."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from browser import Browser, chromium
from example_serving import EXAMPLES, answer, example, finish, open_page, picture, refused, wait_for_text
from proxies import free_port
from serving import serve_process
from websockets.sync.client import connect

pytestmark = pytest.mark.deploy


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
            assert (said := answer(bob)) == answer(ada)
            assert (said["type"], said["name"], said["text"]) == ("said", "Bob", "hello")
            eve.send("alone?")
            assert answer(eve)["text"] == "alone?"
        assert server.stop() == 0


def test_cluster_reaches_the_members_of_both_servers(browser: Browser) -> None:
    with example("cluster", port=free_port()) as server:
        url = f"{server.ws_url}/ws?room=tea&name="
        open_page(browser, server, "/?room=tea&name=Cora")
        wait_for_text(browser, "#connection", "Connected")
        with connect(f"{url}Ada") as ada, connect(f"{url}Bob") as bob:
            assert ada.response is not None
            assert bob.response is not None
            assert {each.response.headers["x-server"] for each in (ada, bob)} == {"a", "b"}
            for number in range(5):
                ada.send(f"<i>{number}</i>")
            for each in ada, bob:
                assert [answer(each)["text"] for _ in range(5)] == [f"<i>{number}</i>" for number in range(5)]
        wait_for_text(browser, "#said", "<i>4</i>")
        picture(browser, "cluster")
        finish(browser)
        assert server.stop() == 0


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
        browser.wait(lambda: len(browser.driver.find_elements("css selector", "#prices section")) == 12, "no prices")
        browser.wait(lambda: int(browser.text("#rate")) > 0, "no quotes")
        assert float(browser.text("#age").removesuffix(" s")) < 10
        picture(browser, "ticker")
        finish(browser)
