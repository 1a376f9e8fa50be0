"""The applications that every server is measured with: plain ASGI functions, no framework.

`app` echoes WebSocket messages (text as text, bytes as bytes) and answers any HTTP request with 13 bytes, on the path
/echo with its own body. On the path /fanout it is the smallest broadcast that an application can write itself: each
message goes to every open connection in turn; on /topics the server does that. It does nothing else on purpose: what is
measured is the server. Not an example of how to write an application.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY = b"Hello, world!"
HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(BODY))]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Echo (or, on /fanout, broadcast) on WebSocket, hello world on HTTP; lifespan is refused, as ASGI allows."""
    kind = scope["type"]
    if kind == "websocket":
        if scope["path"] == "/fanout":
            await fanout(receive, send)
            return
        if scope["path"] == "/topics":
            await topics(receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            text = message.get("text")
            if text is not None:
                await send({"type": "websocket.send", "text": text})
            else:
                await send({"type": "websocket.send", "bytes": message["bytes"]})
    elif kind == "http":
        if scope["path"] == "/echo":
            await echo_body(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})
    else:
        raise NotImplementedError(kind)


async def echo_body(receive: Receive, send: Send) -> None:
    """Answer a request with its own body."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_members: set[Send] = set()


async def fanout(receive: Receive, send: Send) -> None:
    """Send each text message that anybody sends to everybody: a loop in the application, one `send` a delivery."""
    await receive()
    await send({"type": "websocket.accept"})
    _members.add(send)
    try:
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            event = {"type": "websocket.send", "text": message["text"]}
            for member in list(_members):
                await member(event)
    finally:
        _members.discard(send)


async def topics(receive: Receive, send: Send) -> None:
    """The same by the extension `fastws.topics`: one `send` a message."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.subscribe", "topic": "all"})
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        await send({"type": "websocket.publish", "topic": "all", "text": message["text"]})
