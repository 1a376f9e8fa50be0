"""The demo as its visitors meet it: the page in real Chromium, and the application behind it over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from browser import Browser, chromium
from example_serving import picture, resize
from selenium.webdriver.common.keys import Keys
from serving import Serving, serve, serve_process
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fastws.demo import FILES, HISTORY_LIMIT, NAME_LIMIT, QUEUE_LIMIT, TEXT_LIMIT, Room, app

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "browser" in request.fixturenames:
        request.getfixturevalue("browser").close_tabs()


@pytest.fixture(scope="module")
def demo() -> Iterator[Serving]:
    with serve(app) as serving:
        yield serving


def open_connected(browser: Browser, url: str) -> str:
    tab = browser.open(url)
    browser.wait(lambda: browser.text("#status-text") == "Connected", "the page has not connected")
    return tab


# ---------------------------------------------------------------------------------------------------- the page


def test_page_loads_and_connects_without_a_word_in_the_console(browser: Browser, demo: Serving) -> None:
    open_connected(browser, demo.http_url)
    browser.wait(lambda: "fastws" in browser.text("#facts"), "the page does not name its server")
    assert browser.driver.title == "fastws demo"
    assert browser.attribute("#status", "data-state") == "open"
    assert browser.console() == []


def test_echo_comes_back_with_its_round_trip_time(browser: Browser, demo: Serving) -> None:
    open_connected(browser, demo.http_url)
    text = "Grüße <b>&</b> \u4e16\u754c"
    browser.find("#echo-text").send_keys(text, Keys.ENTER)
    browser.wait(lambda: browser.driver.find_elements("css selector", "#echo-log li"), "no echo came back")
    assert browser.text("#echo-log li span") == text
    assert browser.text("#echo-log .took").endswith(" ms")
    assert float(browser.text("#echo-log .took").removesuffix(" ms")) > 0
    assert browser.attribute("#echo-text", "value") == ""


def test_latency_plot_gets_points_and_percentiles_until_it_is_paused(browser: Browser, demo: Serving) -> None:
    open_connected(browser, demo.http_url)
    browser.wait(lambda: int(browser.attribute("#latency-plot", "data-points") or 0) >= 5, "no points in the plot")
    browser.wait(lambda: browser.text("#rtt-p99")[:1].isdigit(), "no percentiles")
    shown = (
        "return ['p50', 'p90', 'p99', 'max'].map((name) => Number(document.getElementById(`rtt-${name}`).textContent))"
    )
    p50, p90, p99, worst = browser.driver.execute_script(shown)
    assert 0 < p50 <= p90 <= p99 <= worst
    pixels = "document.getElementById('latency-plot').getContext('2d').getImageData(0, 0, 600, 200).data"
    assert browser.driver.execute_script(f"return {pixels}.some(Boolean)")
    browser.find("#pause").send_keys(Keys.SPACE)
    assert browser.attribute("#pause", "aria-pressed") == "true"


def test_run_ends_with_a_positive_number_and_a_plot(browser: Browser, demo: Serving) -> None:
    open_connected(browser, demo.http_url)
    browser.find("#run-seconds").send_keys("1 s")
    browser.find("#run-size").send_keys("1 KiB")
    browser.find("#run-start").send_keys(Keys.ENTER)
    browser.wait(lambda: browser.attribute("#run-rate", "data-final"), "the run has not ended")
    assert float(browser.attribute("#run-rate", "data-final")) > 0
    assert re.search(r"\d messages of 1 KiB in \d+\.\d s, ", browser.text("#run-detail"))  # a busy machine is late
    assert int(browser.attribute("#run-plot", "data-points")) >= 2
    assert browser.text("#runs tbody td") == "1 KiB"
    assert browser.text("#run-start") == "Run"
    assert browser.console() == []


def test_two_tabs_see_each_other(browser: Browser, demo: Serving) -> None:
    first = open_connected(browser, demo.http_url)
    browser.wait(lambda: browser.text("#presence") == "1", "the first tab does not count itself")
    second = open_connected(browser, demo.http_url)
    browser.wait(lambda: browser.text("#presence") == "2", "the second tab does not see the first")
    browser.find("#room-name").clear()
    browser.find("#room-name").send_keys("Ada")
    browser.find("#room-text").send_keys("<i>hello</i> from the second tab", Keys.ENTER)
    for tab, mine in (first, ""), (second, "mine"):
        browser.choose(tab)
        browser.wait(lambda: "from the second tab" in browser.text("#room-log"), "the message is not there")
        assert browser.text("#room-log li:last-child .who").startswith("Ada")
        assert browser.text("#room-log li:last-child").endswith("<i>hello</i> from the second tab")
        assert browser.attribute("#room-log li:last-child", "class") == mine
    browser.driver.close()
    browser.choose(first)
    browser.wait(lambda: browser.text("#presence") == "1", "the second tab is still counted")


def test_page_with_all_that_it_can_show(browser: Browser, demo: Serving) -> None:
    open_connected(browser, demo.http_url)
    resize(browser, 1100)
    browser.find("#echo-text").send_keys("Hello, fastws!", Keys.ENTER)
    browser.find("#room-text").send_keys("Open another tab and answer me.", Keys.ENTER)
    browser.find("#run-start").send_keys(Keys.ENTER)
    browser.wait(lambda: browser.attribute("#run-rate", "data-final"), "the run has not ended")
    for log in "#echo-log", "#room-log", "#events":
        assert browser.text(log)
    picture(browser, "demo", 1100)


def test_stop_of_the_server_shows_as_1012_and_the_page_comes_back(browser: Browser) -> None:
    with serve_process("fastws.demo:app") as server:
        open_connected(browser, server.http_url)
        server.signal(signal.SIGTERM)
        browser.wait(lambda: browser.attribute("#status", "data-state") == "closed", "the page has not noticed")
        assert server.wait() == 0
    assert browser.text("#status-text") == "Closed with 1012: server is restarting"
    events = browser.text("#events")
    assert "/ws/echo closed with 1012" in events.replace("\n", " ")
    assert "/ws/room closed with 1012" in events.replace("\n", " ")
    with serve_process("--port", str(server.port), "fastws.demo:app"):
        browser.wait(lambda: browser.text("#status-text") == "Connected", "the page has not come back")
        browser.find("#echo-text").send_keys("still here?", Keys.ENTER)
        browser.wait(lambda: "still here?" in browser.text("#echo-log"), "no echo after the reconnect")


@pytest.mark.parametrize("width", [360, 820, 1360])
def test_page_is_never_wider_than_its_window(browser: Browser, demo: Serving, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    open_connected(browser, demo.http_url)
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)  # for this tab
    assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= width


# ---------------------------------------------------------------------------------------------- the application


@pytest.mark.parametrize("path", sorted(FILES))
def test_files_are_served_with_a_strict_policy_and_revalidated(demo: Serving, path: str) -> None:
    with httpx.Client(base_url=demo.http_url) as client:
        response = client.get(path)
        assert response.status_code == 200
        assert response.content == FILES[path][0]
        assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in response.headers["content-security-policy"]
        again = client.get(path, headers={"if-none-match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(response.content))


def test_page_names_nothing_outside_itself() -> None:
    for path, (body, _) in FILES.items():
        assert b"//" not in body.replace(b"http://www.w3.org/2000/svg", b"").replace(b"// ", b""), path


def test_other_paths_and_methods_are_refused(demo: Serving) -> None:
    assert httpx.get(f"{demo.http_url}/nothing").status_code == 404
    assert httpx.get(f"{demo.http_url}/../demo.py").status_code == 404
    posted = httpx.post(f"{demo.http_url}/", content=b"x")
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD")
    with pytest.raises(InvalidStatus) as denied:
        connect(f"{demo.ws_url}/ws/nothing")
    assert (denied.value.response.status_code, denied.value.response.body) == (404, b"Not Found\n")


def test_application_works_below_a_root_path() -> None:
    async def below(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": "/demo"}, receive, send)

    with serve(below) as serving:
        assert httpx.get(f"{serving.http_url}/demo/").status_code == 200
        with connect(f"{serving.ws_url}/demo/ws/echo") as socket:
            socket.send("below")
            assert socket.recv() == "below"


def test_who_comes_late_gets_the_history(demo: Serving) -> None:
    with connect(f"{demo.ws_url}/ws/room") as early:
        hello = json.loads(early.recv())
        assert hello["kind"] == "hello"
        early.recv()  # presence
        for number in range(HISTORY_LIMIT + 1):
            early.send(json.dumps({"name": " Ada " + "x" * NAME_LIMIT, "text": f"{number} " + "y" * TEXT_LIMIT}))
            said = json.loads(early.recv())
        assert said["from"] == hello["you"]
        assert (len(said["name"]), len(said["text"])) == (NAME_LIMIT, TEXT_LIMIT)
        with connect(f"{demo.ws_url}/ws/room") as late:
            history = json.loads(late.recv())["history"]
        assert [message["text"].split()[0] for message in history] == [str(n) for n in range(1, HISTORY_LIMIT + 1)]


@pytest.mark.parametrize(
    "said",
    [
        b"\x00",
        "",
        "[]",
        "{}",
        "null",
        '{"name": 1, "text": ""}',
        '{"name": "a", "text": " "}',
        '{"name": "a", "text": "\\ud800"}',
        "[" * 5000,
    ],
)
def test_nonsense_in_the_room_is_closed_with_1008(demo: Serving, said: str | bytes) -> None:
    with connect(f"{demo.ws_url}/ws/room") as socket:
        socket.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            list(socket)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, 'expected {"name": ..., "text": ...}')


def test_room_never_waits_for_a_slow_member() -> None:
    async def main() -> None:
        room = Room()
        room.members[1] = asyncio.Queue(QUEUE_LIMIT)  # nobody takes anything out
        for number in range(QUEUE_LIMIT + 5):
            room.publish({"number": number})
        assert room.members[1].qsize() == QUEUE_LIMIT
        assert json.loads(room.members[1].get_nowait()) == {"number": 5}

    asyncio.run(main())
