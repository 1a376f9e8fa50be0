"""A program that logs in, and opens a WebSocket with a ticket: `python client.py http://127.0.0.1:8000`."""

from __future__ import annotations

import json
import sys
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

from websockets.sync.client import connect
from websockets.typing import Subprotocol


def main(site: str) -> None:
    opener = build_opener(HTTPCookieProcessor(CookieJar()))
    opener.open(f"{site}/login", urlencode({"user": "ada", "password": "lovelace"}).encode()).close()
    with opener.open(f"{site}/ticket", b"") as response:
        ticket = json.load(response)["ticket"]
    offered = [Subprotocol("example.v1"), Subprotocol(f"ticket.{ticket}")]
    with connect(site.replace("http", "ws", 1) + "/ws", subprotocols=offered) as websocket:
        print(websocket.subprotocol, websocket.recv())
        websocket.send("hello")
        print(websocket.recv())


if __name__ == "__main__":
    main(sys.argv[1])
