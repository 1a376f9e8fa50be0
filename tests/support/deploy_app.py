"""What the tests of proxies and deploys serve: it says what it knows of a request, echoes, and records messages.

$DEPLOY_RECORD is the file that messages to /record?CLIENT are appended to, a line each, before they are answered.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

_more = asyncio.Event()
_record = -1
if os.environ.get("DEPLOY_RECORD"):
    _record = os.open(os.environ["DEPLOY_RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _known(scope: dict[str, Any]) -> str:
    host = dict(scope["headers"]).get(b"host", b"").decode()
    known = {key: scope[key] for key in ("client", "scheme", "http_version")}
    return json.dumps({"name": os.environ.get("DEPLOY_NAME"), "host": host, **known})


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await _answer(scope, receive, send)
    elif scope["type"] == "websocket":
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.close" if scope["path"] == "/deny" else "websocket.accept"})
        if scope["path"] == "/deny":
            return
        await (_take_down if scope["path"] == "/record" else _echo)(scope, receive, send)
    else:
        while (event := await receive())["type"] != "lifespan.shutdown":
            await send({"type": event["type"] + ".complete"})
        await send({"type": "lifespan.shutdown.complete"})


async def _answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = b""
    while (event := await receive())["type"] == "http.request":
        body += event["body"]
        if not event["more_body"]:
            break
    if scope["path"] == "/stream":
        return await _stream(send)
    if scope["path"] == "/more":
        _more.set()
    if scope["path"] == "/slow":
        await asyncio.sleep(0.2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body or _known(scope).encode()})


async def _stream(send: Any) -> None:
    """Send one event, and a second one when somebody has asked for /more."""
    _more.clear()
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
    await _more.wait()
    await send({"type": "http.response.body", "body": b"data: 2\n\n"})


async def _echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "scope":
            await send({"type": "websocket.send", "text": _known(scope)})
        elif event.get("text") == "close":
            await send({"type": "websocket.close", "code": 4002, "reason": "as asked"})
        else:
            await send({**event, "type": "websocket.send"})
    print("closed with", event["code"], event["reason"], flush=True)


async def _take_down(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Take a moment for each message, so that some wait when the server is told to end."""
    client = scope["query_string"].decode()
    while (event := await receive())["type"] == "websocket.receive":
        os.write(_record, f"{client} {event['text']}\n".encode())
        await asyncio.sleep(0.002)
        await send({"type": "websocket.send", "text": event["text"]})
