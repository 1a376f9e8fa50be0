"""The examples as users run them: with real clients, and their pages in Chromium."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import strawberry.asgi
from browser import Browser, chromium
from example_serving import (
    EXAMPLES,
    IMAGES,
    NAMES,
    ROOT,
    answer,
    closed,
    example,
    finish,
    open_page,
    picture,
    refused,
    wait_for_text,
)
from loose_modules import modules_of
from selenium.webdriver.common.keys import Keys
from serving import ServerProcess
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.deploy


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("name", NAMES)
def test_files_of_an_example(name: str) -> None:
    folder = EXAMPLES / name
    assert f"make example NAME={name}" in (folder / "README.md").read_text()
    assert re.match(r"fastws-server(\[\w+\])?\n", (folder / "requirements.txt").read_text())
    if name != "cluster":  # it serves the chat
        for path in (EXAMPLES / "shared").glob("*.*"):  # a link to it, or in a source distribution a copy
            assert (folder / "page" / "shared" / path.name).read_bytes() == path.read_bytes()
    for path in (folder / "page").glob("*.*"):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"innerHTML|https?://|[\"']//", text) == [], path


@pytest.mark.parametrize("name", NAMES)
def test_documentation_shows_each_example(name: str) -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    assert f"make example NAME={name}\n" in page
    image = ROOT / "docs" / "images" / f"example-{name}.png"
    assert f"(images/{image.name})" in page
    assert image.stat().st_size < 70_000


# ---------------------------------------------------------------------------------------------------- chat rooms


@pytest.fixture(scope="module")
def chat() -> Iterator[ServerProcess]:
    with example("chat") as server:
        yield server


def test_chat_members_hear_their_room_and_newcomers_what_was_said(chat: ServerProcess) -> None:
    url = f"{chat.ws_url}/ws?name="
    with connect(f"{url}Ada&room=a") as ada, connect(f"{url}Bob&room=b") as bob:
        assert answer(ada) == {"type": "hello", "history": []}
        assert answer(ada) == {"type": "joined", "name": "Ada", "here": 1}
        ada.send(" hello \ud83d\ude00 ".encode("utf-16", "surrogatepass").decode("utf-16"))
        said = answer(ada)
        assert (said["type"], said["name"], said["text"]) == ("said", "Ada", "hello \U0001f600")
        with connect(f"{url}Cora&room=a") as cora:
            assert [each["text"] for each in answer(cora)["history"]] == ["hello \U0001f600"]
            assert answer(ada) == {"type": "joined", "name": "Cora", "here": 2}
        assert answer(ada) == {"type": "left", "name": "Cora", "here": 1}
        bob.send("alone?")
        assert [answer(bob)["type"] for _ in range(3)] == ["hello", "joined", "said"]


@pytest.mark.parametrize("query", ["", "?name=Ada", "?room=a&name=%20", f"?room=a&name={'x' * 31}"])
def test_chat_refuses_who_has_no_name_or_room(chat: ServerProcess, query: str) -> None:
    assert refused(f"{chat.ws_url}/ws{query}") == 400
    assert refused(f"{chat.ws_url}/elsewhere{query}") == 403


@pytest.mark.parametrize("nonsense", [b"\x00", " "])
def test_chat_closes_who_says_nothing_as_text(chat: ServerProcess, nonsense: str | bytes) -> None:
    with connect(f"{chat.ws_url}/ws?room=a&name=Ada") as websocket:
        websocket.send(nonsense)
        assert closed(websocket) == (1008, "say something, as text")


def test_chat_outbox_drops_the_oldest_and_counts() -> None:
    with modules_of(EXAMPLES / "chat", "app") as (app,):
        pass
    member = app.Member("Ada")
    for number in range(app.OUTBOX + 5):
        member.tell(str(number))
    assert (member.missed, member._outbox.get_nowait()) == (5, "5")


def test_chat_page_shows_text_as_text_and_comes_back(browser: Browser) -> None:
    with example("chat") as server:
        open_page(browser, server, "/?room=tea&name=Ada")
        wait_for_text(browser, "#connection", "Connected")
        with connect(f"{server.ws_url}/ws?room=tea&name=Bob") as bob:
            bob.send("<img src=x onerror=alert(1)> & <b>bold</b>")
            wait_for_text(browser, "#said", "<img src=x onerror=alert(1)> & <b>bold</b>")
            browser.find("#text").send_keys("Nice try, Bob.", Keys.ENTER)
            wait_for_text(browser, "#said", "Nice try")
            wait_for_text(browser, "#here", "2 here")
            picture(browser, "example-chat")
        port = server.port
        assert browser.attribute("#text", "value") == ""
        server.stop()
        wait_for_text(browser, "#connection", "again in")
    with example("chat", port):
        wait_for_text(browser, "#connection", "Connected")
        browser.find("#text").send_keys("Still here?", Keys.ENTER)
        wait_for_text(browser, "#said", "Still here?")
        assert not [each for each in browser.console() if "WebSocket connection" not in each]
        finish(browser)


# ---------------------------------------------------------------------------------------------- live dashboard


@pytest.fixture(scope="module")
def dashboard() -> Iterator[ServerProcess]:
    with example("dashboard") as server:
        yield server


def test_dashboard_sends_history_and_then_what_is_new(dashboard: ServerProcess) -> None:
    with connect(f"{dashboard.ws_url}/ws") as websocket:
        history = answer(websocket)["history"]
        now = answer(websocket)
        assert now["number"] == len(history) + 1
        assert 0 <= now["cpu"] <= 100
        assert now["viewers"] >= 1
        websocket.send("2")  # the one that is waited for comes still
        numbers = [answer(websocket)["number"] for _ in range(3)]
        assert numbers[2] - numbers[1] == 2


@pytest.mark.parametrize("nonsense", ["", "0", "21", "1e1", "\u0661", "9" * 5000, b"1"])
def test_dashboard_closes_who_asks_for_nonsense(dashboard: ServerProcess, nonsense: str | bytes) -> None:
    with connect(f"{dashboard.ws_url}/ws") as websocket:
        websocket.send(nonsense)
        assert closed(websocket) == (1008, "expected a number from 1 to 20")


def test_dashboard_page_draws(browser: Browser, dashboard: ServerProcess) -> None:
    if IMAGES is not None:
        time.sleep(15)  # for a plot that is worth a picture
    open_page(browser, dashboard)
    browser.wait(lambda: int(browser.text("#shown") or 0) >= 2, "no snapshots")
    for plot in "load", "traffic", "late":
        assert int(browser.attribute(f"#{plot} svg", "data-points")) >= 2
        assert "NaN" not in browser.attribute(f"#{plot} polyline", "points")
        assert len(browser.attribute(f"#{plot} polyline", "points").split()) >= 2
    picture(browser, "example-dashboard")
    finish(browser)


# ------------------------------------------------------------------------------------------------- file upload

BLOCK = 2**18
CONTENT = bytes(range(256)) * (BLOCK // 100)
SENT = {"name": "../some\u00fc file.bin", "size": len(CONTENT), "id": ""}


def checksum(content: bytes) -> str:
    blocks = (content[at : at + BLOCK] for at in range(0, len(content), BLOCK))
    return hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()


def send_from(websocket: ClientConnection, offset: int) -> None:
    while offset < len(CONTENT):
        websocket.send(CONTENT[offset : offset + BLOCK])
        offset = min(len(CONTENT), offset + BLOCK)
        assert answer(websocket) == {"offset": offset}


def say(websocket: ClientConnection, **message: object) -> None:
    websocket.send(json.dumps(message))


def test_upload_goes_on_after_a_lost_connection_and_a_restart(tmp_path: Path) -> None:
    with example("upload", UPLOADS=str(tmp_path)) as server:
        with connect(f"{server.ws_url}/ws") as websocket:
            say(websocket, **SENT)
            begun = answer(websocket)
            assert (begun["offset"], begun["block"], begun["window"]) == (0, BLOCK, 4 * BLOCK)
            websocket.send(CONTENT[:BLOCK])
            assert answer(websocket) == {"offset": BLOCK}
            websocket.socket.close()  # as if it was lost
        (partial,) = tmp_path.iterdir()
        assert partial.read_bytes() == CONTENT[:BLOCK]
        partial.write_bytes(CONTENT[: BLOCK + 100])  # as if the next was being written when the server ended
    with example("upload", UPLOADS=str(tmp_path)) as server:
        with connect(f"{server.ws_url}/ws") as websocket:
            say(websocket, **{**SENT, "id": begun["id"]})
            again = answer(websocket)
            assert (again["id"], again["offset"]) == (begun["id"], BLOCK)
            send_from(websocket, BLOCK)
            say(websocket, checksum=checksum(CONTENT))
            assert answer(websocket) == {"done": True}
            assert closed(websocket)[0] == 1000
        with connect(f"{server.ws_url}/ws") as websocket:  # the answer may have been lost, too
            say(websocket, **{**SENT, "id": begun["id"]})
            assert answer(websocket) == {"done": True}
    (finished,) = tmp_path.iterdir()
    assert finished.name == f"{begun['id']}.some.file.bin"
    assert finished.read_bytes() == CONTENT


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("uploads")
    with example("upload", UPLOADS=str(folder), UPLOADS_QUOTA=str(4 * len(CONTENT))) as server:
        yield server


def test_upload_with_another_checksum_fails_and_frees_its_room(upload: ServerProcess) -> None:
    for _ in range(5):  # more than the quota, were it not freed
        with connect(f"{upload.ws_url}/ws") as websocket:
            say(websocket, **SENT)
            answer(websocket)
            send_from(websocket, 0)
            say(websocket, checksum=checksum(CONTENT[1:]))
            assert answer(websocket) == {"failed": "what arrived has another checksum"}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (["no JSON"], "expected a JSON object or a block, soon"),
        (["[" * 9000], "expected a JSON object or a block, soon"),
        (["[]"], "expected a JSON object or a block"),
        ([b"x"], "expected name, size and id"),
        ([json.dumps({**SENT, "size": -1})], "expected name, size and id"),
        ([json.dumps({**SENT, "size": 10**12})], "there is no room for so much"),
        ([json.dumps(SENT), b"short"], "expected the next block, or the checksum after the last"),
        ([json.dumps(SENT), json.dumps({"checksum": ""})], "expected the next block, or the checksum after the last"),
        ([json.dumps({**SENT, "size": 0}), b""], "expected the next block, or the checksum after the last"),
    ],
)
def test_upload_refuses_what_breaks_its_rules(upload: ServerProcess, messages: list[Any], reason: str) -> None:
    with connect(f"{upload.ws_url}/ws") as websocket:
        for message in messages:
            websocket.send(message)
        assert closed(websocket) == (1008, reason)


LOSE_ONCE = """
    window.said = [];
    const find = id => document.getElementById(id);
    new MutationObserver(() => said.push(find("result").textContent)).observe(find("result"), { childList: true });
    const bar = new MutationObserver(() => {
        if (find("bar").ariaValueNow < 20) return;
        bar.disconnect();
        find("lose").click();
    });
    bar.observe(find("bar"), { attributes: true });
"""
"""Clicks on "lose" from within the page, and keeps what it says: a busy WebDriver comes too late for both."""


def test_upload_page_shows_progress_and_goes_on(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(8 * BLOCK + 1))
    with example("upload", UPLOADS=str(tmp_path / "uploads"), SLOW_DISK="0.1") as server:
        open_page(browser, server)
        browser.find("#file").send_keys(str(file))
        browser.driver.execute_script(LOSE_ONCE)
        browser.find("#send").click()
        browser.wait(lambda: int(browser.attribute("#bar", "aria-valuenow")) >= 60, "no progress after that")
        picture(browser, "example-upload")
        wait_for_text(browser, "#result", "Uploaded; the checksums are the same.")
        waiting, going_on = browser.driver.execute_script("return said")[1:3]
        assert (waiting, going_on[:11]) == ("Waiting for the server", "Going on at")
        assert browser.attribute("#connection", "data-state") == "ended"
        (finished,) = (tmp_path / "uploads").iterdir()
        assert finished.read_bytes() == file.read_bytes()
        finish(browser)


# ---------------------------------------------------------------------------------------------- authentication


@pytest.fixture(scope="module")
def auth() -> Iterator[ServerProcess]:
    with example("auth") as server:
        yield server


@contextmanager
def logged_in(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http_url) as client:
        assert client.post("/login", data={"user": "ada", "password": "lovelace"}).status_code == 200
        yield client


def cookie(client: httpx.Client) -> dict[str, Any]:
    """Options of `connect` with the client's cookie."""
    return {"additional_headers": {"cookie": f"session={client.cookies['session']}"}}


def test_auth_refuses_without_a_session_and_pages_of_other_sites(auth: ServerProcess) -> None:
    url = f"{auth.ws_url}/ws"
    assert refused(url) == 401
    assert refused(url, additional_headers={"cookie": "session=made-up"}) == 401
    assert refused(url, subprotocols=["example.v1", "ticket.made-up"]) == 401
    assert httpx.post(f"{auth.http_url}/login", data={"user": "ada", "password": "guess"}).status_code == 403
    with logged_in(auth) as client:
        cookies = cookie(client)
        assert refused(url, origin="http://evil.example", **cookies) == 403
        assert client.post("/ticket", headers={"origin": "http://evil.example"}).status_code == 401
        assert refused(url, subprotocols=[f"ticket.{client.cookies['session']}"]) == 401  # a cookie is no ticket
        with connect(url, origin=auth.http_url, subprotocols=["example.v1"], **cookies) as websocket:
            assert websocket.subprotocol == "example.v1"
            assert answer(websocket)["user"] == "ada"


def test_auth_of_a_program_by_ticket(auth: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    with modules_of(EXAMPLES / "auth", "client") as (client,):
        client.main(auth.http_url)
    printed = capsys.readouterr().out
    assert printed.startswith('example.v1 {"user": "ada"')
    assert '{"said": "hello"}' in printed


def test_auth_connection_is_prolonged_and_ends_with_its_session() -> None:
    with example("auth", SESSION_SECONDS="2") as server, logged_in(server) as client:
        with connect(f"{server.ws_url}/ws", **cookie(client)) as websocket:
            first = answer(websocket)["ends"]
            websocket.send(f"ticket.{client.post('/ticket').json()['ticket']}")
            assert answer(websocket)["ends"] > first
            assert closed(websocket) == (4401, "the session is over")
        assert refused(f"{server.ws_url}/ws", **cookie(client)) == 401


def test_auth_logging_out_closes_all_connections_of_the_session(auth: ServerProcess) -> None:
    url = f"{auth.ws_url}/ws"
    with logged_in(auth) as client, logged_in(auth) as other:
        mine, theirs = cookie(client), cookie(other)
        with connect(url, **mine) as first, connect(url, **mine) as second, connect(url, **theirs) as third:
            assert client.post("/logout").status_code == 204
            assert closed(first) == closed(second) == (4401, "logged out")
            assert refused(url, **mine) == 401
            third.send("still here")
            answer(third)
            assert answer(third) == {"said": "still here"}


def test_auth_page_logs_in_and_out(browser: Browser, auth: ServerProcess) -> None:
    open_page(browser, auth)
    browser.wait(lambda: browser.find("#login").is_displayed(), "no form")
    assert browser.text("#login label") == "User"
    assert "ada with the password lovelace" in browser.text("#login")
    browser.find("[name=user]").send_keys("ada")
    browser.find("[name=password]").send_keys("wrong", Keys.ENTER)
    wait_for_text(browser, "#why", "no such user")
    browser.find("[name=password]").clear()
    browser.find("[name=password]").send_keys("lovelace", Keys.ENTER)
    wait_for_text(browser, "#connection", "Connected")
    wait_for_text(browser, "#user", "ada")
    browser.find("#text").send_keys("<i>who</i> am I?", Keys.ENTER)
    wait_for_text(browser, "#said", "<i>who</i> am I?")
    browser.find("#prolong").click()
    wait_for_text(browser, "#left", ":")
    picture(browser, "example-auth")
    browser.find("#logout").click()
    wait_for_text(browser, "#why", "You were logged out: logged out.")
    assert [each for each in browser.console() if "403" not in each] == []
    finish(browser)


# ----------------------------------------------------------------------------------------------------- GraphQL


@pytest.fixture(scope="module")
def graphql() -> Iterator[ServerProcess]:
    with example("graphql") as server:
        yield server


def ask(server: ServerProcess, query: str) -> Any:
    return httpx.post(f"{server.http_url}/graphql", json={"query": query}).json()


@contextmanager
def subscription(server: ServerProcess, query: str) -> Iterator[ClientConnection]:
    url = f"{server.ws_url}/graphql"
    with connect(url, subprotocols=["graphql-transport-ws"]) as websocket:  # type: ignore[list-item]
        say(websocket, type="connection_init")
        assert answer(websocket) == {"type": "connection_ack"}
        say(websocket, type="subscribe", id="1", payload={"query": query})
        yield websocket


def test_graphql_subscribers_see_bids(graphql: ServerProcess) -> None:
    with subscription(graphql, 'subscription { lot(id: "1") { price bidder } }') as websocket:
        lot = answer(websocket)["payload"]["data"]["lot"]
        bid = f'mutation {{ bid(lot: "1", amount: {lot["price"] + 5}, bidder: "Bob") {{ bids }} }}'
        assert ask(graphql, bid)["data"]["bid"]["bids"] >= 1
        assert answer(websocket)["payload"]["data"]["lot"] == {"price": lot["price"] + 5, "bidder": "Bob"}
        assert "a bid is more than" in ask(graphql, bid)["errors"][0]["message"]
        say(websocket, type="complete", id="1")


def test_graphql_bounds_what_is_asked(graphql: ServerProcess) -> None:
    assert "errors" in ask(graphql, "{" + " ".join(f"a{number}: lots {{ id }}" for number in range(20)) + "}")
    with subscription(graphql, 'subscription { lot(id: "none") { price } }') as websocket:
        assert "there is no such lot" in json.dumps(answer(websocket))
    if hasattr(strawberry.asgi.GraphQL, "allowed_origins"):  # from 0.341 on, which is not for Python 3.10
        assert refused(f"{graphql.ws_url}/graphql", origin="http://evil.example") in (400, 403)


def test_graphql_page_bids_and_sees_others(browser: Browser, graphql: ServerProcess) -> None:
    open_page(browser, graphql)
    browser.wait(lambda: browser.driver.find_elements("css selector", "#lots form"), "no lots")
    browser.find("#lots .amount").send_keys("120", Keys.ENTER)
    wait_for_text(browser, "#lots .price", "120")
    ask(graphql, 'mutation { bid(lot: "0", amount: 150, bidder: "<b>Bob</b>") { id } }')
    wait_for_text(browser, "#lots .who", "by <b>Bob</b>")
    assert "150" in browser.text("#lots .price")
    browser.find("#lots .amount").send_keys("100", Keys.ENTER)
    wait_for_text(browser, "#refused", "a bid is more than 150")
    picture(browser, "example-graphql")
    finish(browser)


# --------------------------------------------------------------------------------------------- Redis broadcast


@contextmanager
def listeners(server: ServerProcess) -> Iterator[dict[str, ClientConnection]]:
    """A client of each of the two workers, by its worker."""
    found: dict[str, ClientConnection] = {}
    with ExitStack() as stack:
        while len(found) < 2:
            websocket = stack.enter_context(connect(f"{server.ws_url}/ws"))
            found.setdefault(answer(websocket)["you are on"], websocket)
        yield found


def test_broadcast_reaches_both_workers_and_survives_redis(browser: Browser) -> None:
    with example("broadcast") as server:
        server.wait_for_line("Listening to Redis")
        (redis,) = [each for each in psutil.Process(server.popen.pid).children() if each.name() == "redis-server"]
        open_page(browser, server)
        wait_for_text(browser, "#connection", "Connected")
        with listeners(server) as clients:
            (by, first), (_, second) = clients.items()
            for number in range(3):
                first.send(f"<b>{number}</b>")
            for websocket in first, second:
                heard = [each for _ in range(3) if "text" in (each := answer(websocket))]
                assert heard == [{"by": by, "text": f"<b>{number}</b>"} for number in range(3)]
            wait_for_text(browser, "#said", "<b>2</b>")
            picture(browser, "example-broadcast")
            redis.kill()
            assert answer(first) == answer(second) == {"redis": False}
            first.send("lost?")
            assert answer(first) == {"refused": "lost?"}
            wait_for_text(browser, "#redis", "Redis is away")
        finish(browser)
        assert server.stop() == 0
        assert "Traceback" not in server.output
