"""`--header` beside the fields that the server writes itself: one of each, and none that frames a message."""

from __future__ import annotations

import pytest
import wire
from fake_loop import DrivenApp, FakeServer, on_fake_clock

from fastws import Config
from fastws.errors import ConfigError

GET = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"
OURS = [("Server", "mine"), ("DATE", "today"), ("X-A", "1")]
START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body", "body": b"x"}


def fields(head: bytes) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for line in head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        name, _, value = line.partition(b": ")
        found.setdefault(name.lower(), []).append(value)
    return found


@pytest.mark.parametrize("options", [{}, {"server_header": False, "date_header": False}])
@on_fake_clock
async def test_a_configured_server_or_date_stands_for_ours(options: dict[str, bool]) -> None:
    app = DrivenApp()
    server = FakeServer(app, headers=OURS, **options)
    peer = server.connect()
    await peer.send(GET)
    await app.calls[0].send(START)
    await app.calls[0].send(BODY)
    found = fields(peer.take())
    assert (found[b"server"], found[b"date"], found[b"x-a"]) == ([b"mine"], [b"today"], [b"1"])
    await peer.send(GET)
    await app.calls[1].send({**START, "headers": [(b"Server", b"the app's"), (b"date", b"never")]})
    await app.calls[1].send(BODY)
    found = fields(peer.take())
    assert (found[b"server"], found[b"date"], found[b"x-a"]) == ([b"the app's"], [b"never"], [b"1"])
    await peer.send(b"GET / HTTP/1.1\r\n\r\n")
    found = fields(peer.take())  # a refusal
    assert (found[b"server"], found[b"date"], found[b"x-a"]) == ([b"mine"], [b"today"], [b"1"])
    peer = server.connect()
    await peer.send(wire.handshake())
    await app.calls[2].send({"type": "websocket.accept", "headers": [(b"date", b"never")]})
    found = fields(peer.take())
    assert (found[b"server"], found[b"date"], found[b"x-a"]) == ([b"mine"], [b"never"], [b"1"])


REFUSED = (
    "Content-Length",
    "transfer-encoding",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Upgrade",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Protocol",
    "sec-websocket-extensions",
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_frames_a_message_or_belongs_to_a_handshake_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--header: {name} is the server's to write"):
        Config("app:app", headers=[("X-A", "1"), (name, "5")])
    with pytest.raises(ConfigError, match=f"--request-id-header: {name} is the server's to write"):
        Config("app:app", request_id_header=name)


@pytest.mark.parametrize("name", ["Server", "Date"])
def test_what_there_is_once_is_configured_once(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--header: {name} is given twice"):
        Config("app:app", headers=[(name, "1"), (name.lower(), "2")])
    with pytest.raises(ConfigError, match=f"--request-id-header: {name} is the server's to write"):
        Config("app:app", request_id_header=name)
