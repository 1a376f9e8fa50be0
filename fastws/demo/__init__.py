"""The demo that `make run` serves: a page, an echo and a room, in a plain ASGI application without a framework.

It is an example to read, from the bottom up: `app` looks at the scope and picks one of four handlers.

- `lifespan` answers the server's start and stop.
- `page` serves the files in `static/`, which are read once, with a strict Content-Security-Policy.
- `echo` sends every message back as it came.
- `Room.join` passes what one member says to all, and never waits for a slow one. There is one room a process, so
  with several workers a tab sees those of its own worker only.

It knows ASGI only and runs on any server; pings, close handshakes and limits are the server's work.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import platform
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from fastws import __version__

Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

NAME_LIMIT: Final = 24
"""Characters of a member's name in the room; what is longer is cut."""
TEXT_LIMIT: Final = 500
"""Characters of a message in the room; what is longer is cut."""
HISTORY_LIMIT: Final = 30
"""Messages that somebody who comes later still sees."""
QUEUE_LIMIT: Final = 100
"""Messages that wait for a slow member; a newer one pushes the oldest out."""

CONTENT_TYPES: Final = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
CONTENT_SECURITY_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final[Headers] = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY),
    # These two isolate the page from other origins, for which a browser gives it a finer clock: 5 us, not 100.
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


def read_files(directory: Path) -> dict[str, tuple[bytes, Headers]]:
    """Every file of `directory` by the path that it is served at: its body and its headers."""
    files = {}
    for file in sorted(directory.iterdir()):
        body = file.read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode()
        headers = [(b"content-type", CONTENT_TYPES[file.suffix]), (b"etag", etag), (b"cache-control", b"no-cache")]
        files["/" if file.name == "index.html" else f"/{file.name}"] = (body, headers + SECURITY_HEADERS)
    return files


FILES: Final = read_files(Path(__file__).with_name("static"))


class Room:
    """Everyone here sees what everyone says; `members` holds the messages that still wait for each of them."""

    def __init__(self) -> None:
        self.members: dict[int, asyncio.Queue[str]] = {}
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY_LIMIT)
        self._ids = itertools.count(1)

    def publish(self, message: dict[str, Any]) -> None:
        """Give `message` to every member, without waiting for any."""
        text = json.dumps(message)
        for queue in self.members.values():
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(text)

    async def join(self, http_version: str, receive: Receive, send: Send) -> None:
        """Serve one member, from the handshake to the end of the connection."""
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        member, queue = next(self._ids), asyncio.Queue[str](QUEUE_LIMIT)
        hello = {"kind": "hello", "you": member, "history": list(self.history), "facts": facts(http_version)}
        queue.put_nowait(json.dumps(hello))
        self.members[member] = queue
        writer = asyncio.create_task(self._write(queue, send))
        try:
            self.publish({"kind": "presence", "count": len(self.members)})
            while (event := await receive())["type"] == "websocket.receive":
                said = read_said(event.get("text"))
                if said is None:
                    reason = 'expected {"name": ..., "text": ...}'
                    await send({"type": "websocket.close", "code": 1008, "reason": reason})
                    break
                message = {"kind": "message", "from": member, **said}
                self.history.append(message)
                self.publish(message)
        finally:
            del self.members[member]
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self.publish({"kind": "presence", "count": len(self.members)})

    async def _write(self, queue: asyncio.Queue[str], send: Send) -> None:
        while True:
            await send({"type": "websocket.send", "text": await queue.get()})


def read_said(text: str | None) -> dict[str, str] | None:
    """What a member said, cut to its limits; None where it is not an object with a name and a text."""
    try:
        said = json.loads(text or "")
        name, words = said["name"].strip()[:NAME_LIMIT], said["text"].strip()[:TEXT_LIMIT]
        (name + words).encode()  # JSON may spell half of a surrogate pair, which no text message can carry
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return {"name": name, "text": words} if name and words else None


def facts(http_version: str) -> dict[str, str]:
    """What the page shows about the process that serves it, and how its socket came there."""
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    version = f"HTTP/{http_version}"
    return {"version": __version__, "python": platform.python_version(), "loop": loop, "http": version}


async def echo(receive: Receive, send: Send) -> None:
    """Send every message back as it came, text as text and binary as binary."""
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        event["type"] = "websocket.send"  # the two events have the same fields, and this one is ours now
        await send(event)


async def page(path: str, scope: Event, send: Send) -> None:
    """Serve a file; GET and HEAD, with 304 for a browser that has it already."""
    status, body, headers = 200, b"", SECURITY_HEADERS
    if path not in FILES:
        status, body, headers = 404, b"Not Found\n", [(b"content-type", b"text/plain"), *SECURITY_HEADERS]
    elif scope["method"] not in ("GET", "HEAD"):
        status, headers = 405, [(b"allow", b"GET, HEAD"), *SECURITY_HEADERS]
    else:
        body, headers = FILES[path]
        if (b"if-none-match", dict(headers)[b"etag"]) in map(tuple, scope["headers"]):
            status, body = 304, b""
    if status != 304:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})


async def deny(scope: Event, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket: with 404 where the server can send an answer of ours, else with its own 403."""
    await receive()  # websocket.connect
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": 404})
        await send({"type": "websocket.http.response.body", "body": b"Not Found\n"})
    else:
        await send({"type": "websocket.close"})


async def lifespan(receive: Receive, send: Send) -> None:
    """Answer the server's start and stop; there is nothing to open or to close here."""
    while (event := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{event['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})


room: Final = Room()


async def app(scope: Event, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        await page(path, scope, send)
    elif path == "/ws/echo":
        await echo(receive, send)
    elif path == "/ws/room":
        await room.join(scope["http_version"], receive, send)
    else:
        await deny(scope, receive, send)
